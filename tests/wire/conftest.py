"""A running server on a free port, and clients for it; whatever a test leaves open is closed and missed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from tests.wire.client import Client, Served
from tests.wire.rig import Rig, Stream, no_tasks_left, running
from xds_server.xds import resource, responses
from xds_server.xds.server_options import MAX_MESSAGE_BYTES
from xds_server.xds.stream_events import Variant


class Start(Protocol):
    """Starts a server that the test's end stops."""

    async def __call__(self, *, write_deadline_s: float = 30.0) -> Rig: ...


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """For tests that choose the server's settings."""
    async with no_tasks_left(), AsyncExitStack() as stack:

        async def begin(*, write_deadline_s: float = 30.0) -> Rig:
            return await stack.enter_async_context(running(write_deadline_s=write_deadline_s))

        yield begin


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response may be as large as gRPC allows: a write that is stuck needs one."""
    for module in (resource, responses):
        monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", MAX_MESSAGE_BYTES)


@pytest.fixture
async def rig(start: Start) -> Rig:
    """A server that has nothing to serve yet."""
    return await start()


@pytest.fixture(params=list(Variant), ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """The test runs once in each variant."""
    value: Variant = request.param
    return value


@pytest.fixture
def connect(rig: Rig, variant: Variant) -> Callable[[], Stream]:
    """Opens streams to `rig` in the variant under test."""
    return lambda: rig.connect(variant)


@pytest.fixture
def served(rig: Rig) -> Served:
    """What `rig` serves, for tests whose clients must know when they were told everything."""
    return Served(rig)


@pytest.fixture
async def either(served: Served, variant: Variant) -> Client:
    """A client in each variant."""
    return await served.client(variant)


@pytest.fixture
async def sotw(served: Served) -> Client:
    """A state-of-the-world client."""
    return await served.client(Variant.SOTW)


@pytest.fixture
async def delta(served: Served) -> Client:
    """An incremental client."""
    return await served.client(Variant.DELTA)
