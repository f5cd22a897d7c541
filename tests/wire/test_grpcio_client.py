"""grpcio's own xDS client: an implementation of the protocol that has nothing in common with Envoy.

It speaks state of the world, and asks for its listener, routes, cluster and endpoints by name, so what these
tests show of listeners and clusters no Envoy does, for which both are wildcards.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.support.ads_server import Server
from tests.support.resources import api_listener, assignment, cluster, route_configuration
from tests.support.waiting import PATIENCE_S, eventually
from tests.support.xds_caller import METHOD
from xds_server.base.address import Address
from xds_server.xds.resource import Resource
from xds_server.xds.stream_events import Acked, Nacked, Sent, StreamOpened
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE


class Caller:
    """The client's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self) -> str:
        """Make a call; the name of the backend that answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"hello\n")
        async with asyncio.timeout(PATIENCE_S):
            return (await self._process.stdout.readline()).decode().strip()

    async def until_answered_by(self, backend: str) -> None:
        """Call until this backend answers."""

        async def answered() -> bool:
            return await self.call() == backend

        await eventually(answered, what=f"an answer of {backend}")


@asynccontextmanager
async def _greeter(name: str) -> AsyncIterator[Address]:
    """A gRPC server that answers with its name."""

    async def greet(_request: bytes, _context: object) -> bytes:
        return name.encode()

    service, _, method = METHOD.strip("/").partition("/")
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method: grpc.unary_unary_rpc_method_handler(greet)
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        await server.stop(None)


@asynccontextmanager
async def _caller(server: Server, directory: Path) -> AsyncIterator[Caller]:
    bootstrap = directory / "bootstrap.json"
    address = f"{server.address.host}:{server.address.port}"
    management = {
        "server_uri": address,
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    bootstrap.write_text(
        json.dumps({"xds_servers": [management], "node": {"id": "grpcio", "cluster": "callers"}})
    )
    with (directory / "caller.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.xds_caller", "xds:///greeter"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(bootstrap)},
        )
    try:
        yield Caller(process)
    finally:
        process.kill()
        await process.wait()


def _served(*backends: Address) -> list[Resource]:
    """What the client needs, and as much that it does not ask for."""
    return [
        each
        for name in ("greeter", "other")
        for each in (
            api_listener(name, f"routes-{name}"),
            route_configuration(f"routes-{name}", f"cluster-{name}"),
            cluster(f"cluster-{name}"),
            assignment(f"cluster-{name}", *backends),
        )
    ]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def _sent(server: Server, type_url: str, since: int = 0) -> list[int]:
    """The number of resources in each response of a type."""
    sent = (event for event in server.events[since:] if isinstance(event, Sent))
    return [event.resources for event in sent if event.type_url == type_url]


async def test_calls_follow_what_is_served(stack: AsyncExitStack, tmp_path: Path) -> None:
    server = await stack.enter_async_context(Server())
    one = await stack.enter_async_context(_greeter("one"))
    two = await stack.enter_async_context(_greeter("two"))
    server.commit(*_served(one))
    caller = await stack.enter_async_context(_caller(server, tmp_path))
    assert await caller.call() == "one"

    # By name, and what it did not name it did not get.
    named = {asked.type_url: asked.names for asked in server.tap.asked}
    assert named == {
        LISTENER: {"greeter"},
        ROUTE: {"routes-greeter"},
        CLUSTER: {"cluster-greeter"},
        ENDPOINT: {"cluster-greeter"},
    }
    assert {type_url: _sent(server, type_url) for type_url in named} == {type_url: [1] for type_url in named}

    # Endpoints move.
    server.commit(*_served(two))
    await caller.until_answered_by("two")
    assert _sent(server, ENDPOINT) == [1, 1]
    assert _sent(server, CLUSTER) == [1]

    # Routes move, to a cluster that the client has not asked for until then.
    listener, _, *others = _served(one)
    server.commit(listener, route_configuration("routes-greeter", "cluster-other"), *others)
    await caller.until_answered_by("one")
    assert _nacks(server) == []

    # On the next stream it names everything again, and gets it, whether it changed or not.
    events = len(server.events)
    server.tap.reset()
    server.commit(*_served(two))
    await caller.until_answered_by("two")
    await eventually(lambda: sum(isinstance(event, StreamOpened) for event in server.events) == 2)
    await eventually(lambda: _sent(server, LISTENER, events) and _sent(server, ROUTE, events))
    assert _nacks(server) == []


async def test_a_nack_is_recorded_and_gone_with_the_next_content(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    server = await stack.enter_async_context(Server())
    one = await stack.enter_async_context(_greeter("one"))
    listener, routes, *others = _served(one)
    server.commit(*_served(one))
    caller = await stack.enter_async_context(_caller(server, tmp_path))
    assert await caller.call() == "one"

    bad = server.commit(listener, route_configuration("routes-greeter", ""), *others)
    await eventually(lambda: _nacks(server), what="a NACK")
    [rejected] = _nacks(server)
    assert (rejected.type_url, rejected.version) == (ROUTE, bad.of(ROUTE).version)
    assert "routes-greeter" in rejected.message
    assert await caller.call() == "one"

    events = len(server.events)
    server.commit(listener, routes, *others)
    await eventually(lambda: _acked(server, ROUTE, events), what="the good routes taken")
    assert await caller.call() == "one"
    assert len(_nacks(server)) == 1


def _nacks(server: Server) -> list[Nacked]:
    return [event for event in server.events if isinstance(event, Nacked)]


def _acked(server: Server, type_url: str, since: int) -> bool:
    return any(isinstance(event, Acked) and event.type_url == type_url for event in server.events[since:])
