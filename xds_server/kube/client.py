"""One request to an API server. Credentials that are no longer accepted are renewed.

The response's body is raw; the client library's deserializer is not used. Callers retry. The one retry here
follows renewed credentials, and is invisible to callers.
"""

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from xds_server.base.errors import XdsShadowError
from xds_server.kube.session import Connect, Session, Sessions

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, GONE = 200, 401, 403, 404, 409, 410
"""The HTTP statuses that are not simply retried."""

NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""The exceptions of a broken connection, while sending and while reading a response."""

NO_LIMITS = aiohttp.ClientTimeout(total=None)

RENEW_AFTER_S = 10.0
"""See `Sessions.renew`."""

_MAX_WAIT_S = 120.0


class UnreachableError(XdsShadowError):
    """No response arrived."""


class CredentialsError(XdsShadowError):
    """The service account's token cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `body` is a JSON value, sent with the given content type. By default there is no limit on
    its duration. aiohttp's total timeout is not used, because it can cancel a task that has just
    continued."""

    method: str = "GET"
    path: str
    parameters: Sequence[tuple[str, str]] = ()
    body: object = None
    content_type: str = "application/json"
    limits: aiohttp.ClientTimeout = NO_LIMITS


class KubeClient:
    """Sends requests to an API server. Create it with `open`, and call `close` in the end."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @classmethod
    async def open(cls, connect: Connect, renew_after: float = RENEW_AFTER_S) -> "KubeClient":
        """Raises `SourceError`."""
        return cls(await Sessions.open(connect, renew_after))

    async def close(self) -> None:
        """Close the session. Requests that still use it were cancelled."""
        await self._sessions.close()

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._sessions.server

    @asynccontextmanager
    async def request(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response, whatever its status. Raises `UnreachableError` and `CredentialsError`; reading the
        body may raise any of `NETWORK_ERRORS`."""
        session = self._sessions.current
        async with _send(session, call) as response:
            if response.status != UNAUTHORIZED or not await self._sessions.renew(session):
                yield response
                return
        async with _send(self._sessions.current, call) as response:
            yield response


def retry_after(response: aiohttp.ClientResponse) -> float:
    """How many seconds the server asks to wait (429 and 503 may), else 0. An API server writes a number; the
    other form of the header, a date, is ignored."""
    wanted = response.headers.get("Retry-After", "")
    return min(float(wanted), _MAX_WAIT_S) if wanted.isascii() and wanted.isdecimal() else 0.0


def cause_of(error: Exception) -> str:
    """Why a connection broke or was not established, without the library's text about the connection."""
    found = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(found, ConnectionError) and found.errno:  # its text has the address, which is known
        return os.strerror(found.errno).lower()
    if isinstance(found, socket.gaierror):
        return str(found.strerror).lower()
    return str(found) or type(found).__name__


@asynccontextmanager
async def _send(session: Session, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
    async with session.use() as client:
        response = await _request(client, call)
        try:
            yield response
        finally:
            response.close()


async def _request(client: ApiClient, call: Call) -> aiohttp.ClientResponse:
    headers = {"Accept": "application/json"}
    if call.body is not None:
        headers["Content-Type"] = call.content_type
    try:
        _, url, headers, _, _ = await client.param_serialize(
            call.method,
            call.path,
            query_params=list(call.parameters),
            header_params=headers,
            auth_settings=["BearerToken"],
        )
        answer: Any = await client.call_api(
            call.method, url, headers, call.body, _request_timeout=call.limits
        )
    except ConfigException as error:
        raise CredentialsError(str(error)) from error
    except NETWORK_ERRORS as error:
        raise UnreachableError(cause_of(error)) from error
    response: aiohttp.ClientResponse = answer.response
    return response
