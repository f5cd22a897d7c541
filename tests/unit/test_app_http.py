"""The HTTP address: under which names the page is answered, and connections that say or read nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.status import status_of
from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.history import Series
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.server.http import Readiness, Shown, http_server
from xds_server.xds.fleet import Fleet

METRICS = b"x" * 64 * 2**20
PAGE = ("/", "/api/v1/shadows", "/api/v1/nodes", "/api/v1/config", "/api/v1/pictures")
OPEN = ("/healthz", "/readyz", "/metrics")


@contextlib.asynccontextmanager
async def served(
    *, host: str = "127.0.0.1", names: Sequence[str] = (), idle_s: float = 30.0
) -> AsyncIterator[Address]:
    status = status_of(Fleet())

    class Stats:
        report = None

        def series(self) -> dict[NamespacedName, Series]:
            return {}

    async def metrics() -> bytes:
        return METRICS

    async with http_server(
        Address(host, 0),
        readiness=lambda: Readiness(ready=True, message="ok"),
        metrics=metrics,
        shown=Shown(status, Stats()),
        page_hosts=names,
        idle_s=idle_s,
    ) as address:
        yield Address("127.0.0.1", address.port)


async def asked(address: Address, path: str, *lines: str) -> tuple[int, str]:
    """Status and body of an answer."""
    reader, writer = await asyncio.open_connection(*address)
    head = [f"GET {path} HTTP/1.1", "Connection: close", *lines, "", ""]
    writer.write("\r\n".join(head).encode())
    raw = await reader.read()
    writer.close()
    head_of, _, body = raw.partition(b"\r\n\r\n")
    return int(head_of.split()[1]), body[:1000].decode()


@pytest.mark.parametrize("path", PAGE)
async def test_the_page_is_answered_under_its_own_names_alone(path: str) -> None:
    async with served(names=["shadows.example"]) as address:
        for host in (
            "localhost",
            f"LOCALHOST:{address.port}",
            str(address),
            "[::1]:1",
            "shadows.example:443",
        ):
            assert (await asked(address, path, f"Host: {host}"))[0] == 200, host
        for host in ("evil.example", f"evil.example:{address.port}", "10.1.2.3", "localhost.evil.example"):
            assert await asked(address, path, f"Host: {host}") == (
                421,
                f"Host {host!r} is not a name of this page; use localhost, or add it with --page-host\n",
            )


async def test_a_host_that_steers_a_terminal_or_never_ends_is_cut() -> None:
    async with served() as address:
        _, reported = await asked(address, "/", "Host: " + "e" * 5000)
        assert len(reported) < 250


async def test_the_page_is_answered_under_the_address_that_it_was_asked_at() -> None:
    async with served(host="0.0.0.0") as address:
        assert (await asked(address, "/", f"Host: 127.0.0.1:{address.port}"))[0] == 200
        assert (await asked(address, "/", "Host: 10.1.2.3"))[0] == 421


@pytest.mark.parametrize("path", OPEN)
async def test_kubelets_and_prometheus_may_say_any_host(path: str) -> None:
    async with served() as address:
        assert (await asked(address, path, "Host: 10.1.2.3:18081"))[0] == 200


@pytest.mark.parametrize("name", ["", "http://a", "a:80", "a b", "-a", "a/b", "*.example"])
def test_an_invalid_name_is_rejected(name: str) -> None:
    anywhere = Address("127.0.0.1", 0)
    with pytest.raises(UsageError, match=r"--page-host .* is not a host name"):
        ServeConfig(
            source=SourceConfig(),
            xds_address=anywhere,
            admin_address=anywhere,
            http_address=anywhere,
            page_hosts=(name,),
        )


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: a",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx",
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\n",
    ],
)
async def test_a_connection_that_sends_no_whole_request_is_closed(sent: bytes) -> None:
    async with served(idle_s=0.2) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        async with asyncio.timeout(PATIENCE_S):
            await reader.read()
        writer.close()


async def test_a_connection_that_takes_nothing_of_an_answer_is_closed() -> None:
    async with served(idle_s=0.2) as address:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(address)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            client.setblocking(False)  # noqa: FBT003 - the standard library's
            await eventually(lambda: _is_cut(client), what="being cut off")


def _is_cut(client: socket.socket) -> bool:
    """Whether the other side has forgotten the connection: it answers what it is sent with a reset."""
    try:
        client.send(b"x")
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False
