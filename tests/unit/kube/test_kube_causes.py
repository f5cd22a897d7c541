"""The cause of a failed connection, in words without the library's text about the connection."""

import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from xds_server.kube.client import cause_of

_KEY = ConnectionKey(
    "127.0.0.1", 6443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            aiohttp.ClientConnectorError(
                _KEY, ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")
            ),
            "connection refused",
        ),
        (
            aiohttp.ClientConnectorDNSError(_KEY, socket.gaierror(-2, "Name or service not known")),
            "name or service not known",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_cause_is_short(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause
