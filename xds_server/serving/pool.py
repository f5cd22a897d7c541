"""Streams served by several processes on one port (SO_REUSEPORT): the kernel spreads connections over them.

This process stays the builder. Each worker is sent what changed since what it has, the latest state and no
queue: while one is busy, changes gather. A worker that dies loses its streams, which reconnect to the others,
and is replaced.
"""

import asyncio
import contextlib
import itertools
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog

from xds_server.ads.convergence import Converged
from xds_server.ads.events import Cause, Event, StreamClosed, StreamOpened
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import NodeId, StreamId
from xds_server.base.log_limit import LogLimit, omitted
from xds_server.config import PLAIN, Security
from xds_server.logs import configured_format
from xds_server.serving import link
from xds_server.serving.together import Together
from xds_server.snapshot.snapshot import Snapshot

_STREAMS_EACH: Final = 1 << 32
"""Numbers of streams that one worker has for itself."""

_REPLACED_AFTER_S: Final = 1.0
_LINES: Final = 10
"""Ends of workers that are logged in a minute: one that ends at once is started again at once."""

_log = structlog.get_logger("xds_shadow.pool")


class _Committed(NamedTuple):
    """What is served, and its number."""

    snapshot: Snapshot
    generation: int


class _Worker:
    """One process, and what it has been sent."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.process = process
        self.streams: dict[StreamId, NodeId] = {}
        self.news = asyncio.Event()
        self.drain_s: float | None = None
        self._channel = channel

    async def run(
        self,
        current: Callable[[], _Committed | None],
        observe: Callable[[Event, float], None],
        converged: Callable[[Converged], None],
        ready: Callable[[], None],
    ) -> None:
        """Talk to it until it ends.

        Raises:
            XdsShadowError: it cannot listen.
        """
        reader, writer = await asyncio.open_unix_connection(sock=self._channel)
        tell = asyncio.create_task(self._tell(writer, current), name="xds-shadow/worker-tell")
        try:
            while (message := await link.from_worker(reader)) is not None:
                match message:
                    case link.Happened():
                        for at, event in link.events_of(message):
                            self._note(event)
                            observe(event, at)
                    case link.Reached(converged=found):
                        converged(found)
                    case link.Failed(message=why):
                        raise XdsShadowError(why)
                    case link.Listening():
                        ready()
        finally:
            tell.cancel()
            await asyncio.gather(tell, return_exceptions=True)
            for stream, node in sorted(self.streams.items()):
                why = "its worker process ended"
                ended = StreamClosed(stream=stream, node=node, reason=why, cause=Cause.WORKER)
                observe(ended, time.time())
            writer.close()
            await self.process.wait()

    def _note(self, event: Event) -> None:
        if isinstance(event, StreamOpened):
            self.streams[event.stream] = event.node.id
        elif isinstance(event, StreamClosed):
            self.streams.pop(event.stream, None)

    async def _tell(self, writer: asyncio.StreamWriter, current: Callable[[], _Committed | None]) -> None:
        sent: _Committed | None = None
        with contextlib.suppress(ConnectionError):
            while True:
                self.news.clear()
                wanted = current()
                if wanted is not None and wanted is not sent:
                    before = sent.snapshot if sent else Snapshot()
                    writer.write(link.frame(link.difference(before, wanted.snapshot, wanted.generation)))
                    sent = wanted
                    await writer.drain()
                    continue
                if self.drain_s is not None:
                    writer.write(link.frame(link.Drain(self.drain_s)))
                    return
                await self.news.wait()


class WorkerPool:
    """So many processes. `observe` is called with what happens on the streams of all and when, in seconds
    since the epoch; `converged` with commits that all have, of which it may skip some."""

    def __init__(
        self,
        count: int,
        *,
        identifier: str,
        observe: Callable[[Event, float], None],
        converged: Callable[[Converged], None] = lambda _: None,
        security: Security = PLAIN,
    ) -> None:
        self._count = count
        self._security = link.security_argument(security)
        self._identifier = identifier
        self._observe = observe
        self._together = Together(converged)
        self._current: _Committed | None = None
        self._workers: set[_Worker] = set()
        self._keepers: Sequence[asyncio.Task[None]] = ()
        self._numbers = itertools.count()
        self._stopping = False
        self._limit = LogLimit(lines=_LINES)
        self._reserved = contextlib.ExitStack()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return sorted(worker.process.pid for worker in self._workers)

    def _generation(self) -> int:
        return self._current.generation if self._current else 0

    def commit(self, snapshot: Snapshot, generation: int | None = None) -> None:
        """Serve `snapshot` from now on; for its number see `SnapshotCache.commit`."""
        self._current = _Committed(snapshot, self._generation() + 1 if generation is None else generation)
        for worker in self._workers:
            worker.news.set()

    async def start(self, address: Address) -> Address:
        """Start the workers; returns where they listen, all of them.

        Raises:
            XdsShadowError: the address cannot be listened on.
        """
        address = self._reserve(address)
        listening = [asyncio.get_running_loop().create_future() for _ in range(self._count)]
        self._keepers = [
            asyncio.create_task(self._keep(address, future), name=f"xds-shadow/worker-{number}")
            for number, future in enumerate(listening)
        ]
        try:
            await asyncio.gather(*listening)
        except XdsShadowError:
            await self.stop(0.0)
            raise
        return address

    def _reserve(self, address: Address) -> Address:
        """Bind the port without listening: it is known before a worker starts, and stays ours between
        workers."""
        try:
            family, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections do not count
                probe.bind(where)
                if address.port:
                    probe.listen()  # fails where somebody listens who does not share
            reserved = self._reserved.enter_context(
                contextlib.closing(socket.socket(family, socket.SOCK_STREAM))
            )
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(where)
        except OSError as error:
            raise XdsShadowError(
                f"cannot listen on {address} ({error}); choose another with --xds-address"
            ) from error
        return Address(address.host, reserved.getsockname()[1])

    async def _keep(self, address: Address, listening: "asyncio.Future[None]") -> None:
        """Run one worker after another, until stopping."""

        def ready() -> None:
            if not listening.done():
                listening.set_result(None)

        while not self._stopping:
            failed: Exception | None = None
            try:
                await self._work(address, ready)
            except Exception as error:  # noqa: BLE001 - a bug must not cost the place of a worker
                if isinstance(error, XdsShadowError) and not listening.done():
                    listening.set_exception(error)
                    return
                failed = error
            if not self._stopping:
                self._log_end(failed)
                await asyncio.sleep(_REPLACED_AFTER_S)

    def _log_end(self, failed: Exception | None) -> None:
        left_out = self._limit.admit(type(failed).__name__, now=time.monotonic())
        if left_out is None:
            return
        if isinstance(failed, XdsShadowError):
            _log.warning("a worker cannot serve", reason=str(failed))
        elif failed is not None:
            _log.error("talking to a worker failed", exc_info=failed)
        _log.error("a worker process ended; starting another", **omitted(left_out))

    async def _work(self, address: Address, ready: Callable[[], None]) -> None:
        """One worker, until it ends.

        Raises:
            XdsShadowError: it cannot be started, or cannot listen.
        """
        try:
            worker = await self._spawn(address)
        except OSError as error:
            raise XdsShadowError(f"a worker process cannot be started ({error})") from error
        self._workers.add(worker)
        self._together.join(worker, self._generation(), time.monotonic())
        try:
            await worker.run(
                lambda: self._current, self._observe, partial(self._together.note, worker), ready
            )
        finally:
            self._workers.discard(worker)
            self._together.leave(worker, time.monotonic())
            if worker.process.returncode is None:
                worker.process.kill()

    async def _spawn(self, address: Address) -> _Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's
        first_stream = next(self._numbers) * _STREAMS_EACH + 1
        with contextlib.closing(theirs), contextlib.ExitStack() as unless_it_runs:
            unless_it_runs.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "xds_server.serving.worker", str(theirs.fileno())),
                *(address.host, str(address.port), self._identifier, str(first_stream), self._security),
                configured_format().value,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
            unless_it_runs.pop_all()
        return _Worker(process, ours)

    async def set_serving(self) -> None:
        """Nothing to do: a worker serves as soon as it is sent something."""

    async def stop(self, drain_s: float) -> None:
        """Let every worker end its streams one after another over so many seconds."""
        self._stopping = True
        for worker in self._workers:
            worker.drain_s = drain_s
            worker.news.set()
        _, late = await asyncio.wait(self._keepers, timeout=drain_s + 3)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._reserved.close()
