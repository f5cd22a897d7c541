"""Several processes on one port: they serve what the builder has, and the builder knows what happens in
them."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import grpc
import pytest
import structlog

from tests.support.waiting import eventually
from tests.wire.rig import Stream, bodies, node, resource
from xds_server.ads.convergence import Converged
from xds_server.ads.events import Acked, Event, Sent, StreamClosed, StreamOpened, Subscribed, Variant
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import StreamId
from xds_server.serving import link, pool
from xds_server.serving.pool import WorkerPool, _Worker
from xds_server.snapshot.snapshot import Snapshot
from xds_server.snapshot.types import CLUSTER

WORKERS = 2
STREAMS = 24
"""So many that both workers get some: all at one has a chance of one in eight million."""

E = TypeVar("E")


class Pool:
    """A pool under test, and what it observed."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.converged: list[Converged] = []
        self.pool = WorkerPool(
            WORKERS,
            identifier="xds-shadow/test",
            observe=lambda event, _: self.events.append(event),
            converged=self.converged.append,
        )
        self.snapshot = Snapshot()
        self.address = Address("127.0.0.1", 0)

    def commit(self, name: str, body: bytes) -> None:
        self.snapshot = self.snapshot.updated([resource(CLUSTER, name, body)])
        self.pool.commit(self.snapshot)

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def started() -> AsyncIterator[Pool]:
    pool = Pool()
    pool.address = await pool.pool.start(Address("127.0.0.1", 0))
    try:
        yield pool
    finally:
        await pool.pool.stop(0.0)


@pytest.fixture
async def connect(started: Pool) -> AsyncIterator[Callable[[], Stream]]:
    async with contextlib.AsyncExitStack() as stack:

        def opened() -> Stream:
            # A pool of its own for each channel: otherwise channels to one address share a connection.
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = grpc.aio.insecure_channel(str(started.address), options=options)
            stack.push_async_callback(channel.close)
            return Stream(channel, Variant.DELTA)

        yield opened


async def test_all_workers_serve_what_was_committed_and_say_what_happens(
    started: Pool, connect: Callable[[], Stream]
) -> None:
    started.commit("a", b"1")
    streams = [connect() for _ in range(STREAMS)]
    for number, stream in enumerate(streams):
        await stream.ask(CLUSTER, node=node(f"envoy-{number}"))
        answer = await stream.take()
        assert bodies(answer) == {"a": b"1"}
        await stream.ask(CLUSTER, answers=answer)
    await eventually(lambda: len(started.seen(Acked)) == STREAMS)
    opened = started.seen(StreamOpened)
    assert {event.node.id for event in opened} == {f"envoy-{number}" for number in range(STREAMS)}
    assert len({event.stream for event in opened}) == STREAMS, "numbers of streams are unique"
    assert {event.stream >> 32 for event in opened} == {0, 1}, "both workers serve"
    started.commit("b", b"2")
    for stream in streams:
        assert bodies(await stream.take()) == {"b": b"2"}
    assert len(started.seen(Sent)) == 2 * STREAMS


async def test_a_commit_has_converged_once_the_streams_of_all_workers_have_it(
    started: Pool, connect: Callable[[], Stream]
) -> None:
    started.commit("a", b"1")
    await eventually(lambda: [each[:2] for each in started.converged] == [(1, False)])
    streams = [connect() for _ in range(STREAMS)]
    for stream in streams:
        await stream.ask(CLUSTER, node=node())
        await stream.ask(CLUSTER, answers=await stream.take())
    await eventually(lambda: len(started.seen(Acked)) == STREAMS)
    assert {event.stream >> 32 for event in started.seen(StreamOpened)} == {0, 1}, "both workers serve"
    began = time.monotonic()
    started.commit("b", b"2")
    answers = [await stream.take() for stream in streams]
    for number, (stream, answer) in enumerate(zip(streams, answers, strict=True)):
        assert len(started.converged) == 1, "some have not answered"
        await stream.ask(CLUSTER, answers=answer)
        await eventually(lambda n=number: len(started.seen(Acked)) == STREAMS + n + 1)  # type: ignore[misc]
    await eventually(lambda: len(started.converged) == 2)
    assert started.converged[1][:2] == (2, True)
    assert began < started.converged[1].at < time.monotonic()


async def test_what_happens_has_the_time_of_its_worker() -> None:
    """The builder may have had no time to read it sooner."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's
    event = Subscribed(stream=StreamId(1), type_url=CLUSTER)
    with contextlib.closing(theirs):
        theirs.sendall(link.frame(link.happened([(123.5, event)])))
    found: list[tuple[Event, float]] = []
    worker = _Worker(await asyncio.create_subprocess_exec("true"), ours)
    await worker.run(lambda: None, lambda event, at: found.append((event, at)), lambda _: None, lambda: None)
    assert found == [(event, 123.5)]


async def test_a_worker_that_dies_is_replaced_and_its_streams_are_known_to_be_gone(
    started: Pool, connect: Callable[[], Stream]
) -> None:
    started.commit("a", b"1")
    streams = [connect() for _ in range(STREAMS)]
    for stream in streams:
        await stream.ask(CLUSTER, node=node())
        await stream.take()
    await eventually(lambda: len(started.seen(StreamOpened)) == STREAMS)
    before = started.pool.pids
    os.kill(before[0], signal.SIGKILL)
    await eventually(lambda: bool(started.seen(StreamClosed)))
    gone = {event.stream for event in started.seen(StreamClosed)}
    assert {event.reason for event in started.seen(StreamClosed)} == {"its worker process ended"}
    assert len({stream >> 32 for stream in gone}) == 1
    assert len(gone) < STREAMS
    await eventually(lambda: len(started.pool.pids) == WORKERS and started.pool.pids != before)
    started.commit("b", b"2")

    async def new_one_serves() -> bool:
        stream = connect()
        await stream.ask(CLUSTER, node=node())
        assert bodies(await stream.take()) == {"a": b"1", "b": b"2"}
        return any(event.stream >> 32 == WORKERS for event in started.seen(StreamOpened))

    await eventually(new_one_serves)


async def test_a_worker_that_cannot_be_started_is_tried_again(
    started: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the machine is out of processes for a moment."""
    start = asyncio.create_subprocess_exec
    failures: list[OSError] = []

    async def fails_once(*args: Any, **options: Any) -> Any:
        if not failures:
            failures.append(OSError(errno.EAGAIN, "Resource temporarily unavailable"))
            raise failures[0]
        return await start(*args, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails_once)
    started.commit("a", b"1")
    before = started.pool.pids
    os.kill(before[0], signal.SIGKILL)
    await eventually(lambda: failures and len(started.pool.pids) == WORKERS and started.pool.pids != before)


async def test_workers_that_end_at_once_do_not_fill_the_log(
    started: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[OSError] = []

    async def fails(*_: Any, **__: Any) -> Any:
        failures.append(OSError(errno.EAGAIN, "Resource temporarily unavailable"))
        raise failures[-1]

    monkeypatch.setattr(pool, "_REPLACED_AFTER_S", 0.0)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    with structlog.testing.capture_logs() as lines:
        os.kill(started.pool.pids[0], signal.SIGKILL)
        await eventually(lambda: len(failures) > 200)
    assert len(lines) <= 2 * (1 + pool._LINES)


async def test_workers_that_cannot_be_started_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    with pytest.raises(XdsShadowError, match="worker process cannot be started"):
        await Pool().pool.start(Address("127.0.0.1", 0))


async def test_stopping_ends_streams_and_processes(started: Pool, connect: Callable[[], Stream]) -> None:
    started.commit("a", b"1")
    streams = [connect() for _ in range(4)]
    for stream in streams:
        await stream.ask(CLUSTER, node=node())
        await stream.take()
    pids = started.pool.pids
    await started.pool.stop(0.2)
    assert started.pool.pids == []
    for stream in streams:
        assert (await stream.status()).code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    closed = started.seen(StreamClosed)
    assert {event.reason for event in closed} == {"the server is shutting down"}


async def test_a_port_that_somebody_has_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        pool = Pool()
        with pytest.raises(XdsShadowError, match="--xds-address"):
            await pool.pool.start(Address("127.0.0.1", taken.getsockname()[1]))
    assert pool.pool.pids == []


async def test_without_their_builder_workers_end() -> None:
    """Here the builder only lets go of them, as it would if it were killed."""
    pool = Pool()
    pool.address = await pool.pool.start(Address("127.0.0.1", 0))
    workers = list(pool.pool._workers)
    pool.pool._stopping = True
    for worker in workers:
        worker._channel.shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(20):
        assert [await worker.process.wait() for worker in workers] == [0] * WORKERS
    await pool.pool.stop(0.0)
