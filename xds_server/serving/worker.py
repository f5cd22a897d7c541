"""``python -m xds_server.serving.worker``: one of several processes that serve one port.

It is told what to serve over the socket that it inherits, and says there what happens on its streams. It
holds no state of its own: when the builder goes, so does it. Signals are the builder's to handle; a terminal
sends them to all.
"""

import asyncio
import signal
import socket
import sys
import time

from xds_server.ads.convergence import Converged
from xds_server.ads.events import Event
from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.base.memory import expect_many_objects, keep_what_is_there
from xds_server.config import Security
from xds_server.logs import LogFormat, configure_logging
from xds_server.serving import link
from xds_server.serving.handshakes import Handshakes, left
from xds_server.serving.listening import AdsServer
from xds_server.serving.local import servicer
from xds_server.snapshot.cache import SnapshotCache
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate.views import View, derive

_ORPHANED_DRAIN_S = 2.0


class Outbox:
    """Gathers what happens until the loop comes round, and writes it at once."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._events: list[tuple[float, Event]] = []

    def put(self, event: Event) -> None:
        if not self._events:
            asyncio.get_running_loop().call_soon(self._flush)
        self._events.append((time.time(), event))

    def tell(self, converged: Converged) -> None:
        self._writer.write(link.frame(link.Reached(converged)))

    def _flush(self) -> None:
        found, self._events = self._events, []
        self._writer.write(link.frame(link.happened(found)))


async def work(
    channel: socket.socket, address: Address, identifier: str, first_stream: int, security: Security
) -> None:
    """Until told to stop, or until nobody is there to tell."""
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    cache: SnapshotCache[View] = SnapshotCache(derive)
    outbox = Outbox(writer)
    handshakes = Handshakes(lambda peer: outbox.put(left(peer)))
    service = servicer(
        cache,
        outbox.put,
        identifier,
        clients=security.clients,
        first_stream=first_stream,
        converged=outbox.tell,
        called=handshakes.called,
    )
    server = AdsServer(service, handshakes, share_port=True, tls=security.tls)
    try:
        await server.start(address)
    except XdsShadowError as error:
        writer.write(link.frame(link.Failed(str(error))))
        await writer.drain()
        return
    writer.write(link.frame(link.Listening()))
    snapshot, drain_s = Snapshot(), _ORPHANED_DRAIN_S
    first = True
    while (message := await link.to_worker(reader)) is not None:
        if isinstance(message, link.Drain):
            drain_s = message.over_s
            break
        snapshot = link.applied(snapshot, message)
        cache.commit(snapshot, message.generation)
        if first:
            first = False
            keep_what_is_there()
            await server.set_serving(True)
    await server.stop(drain_s)
    writer.close()


def main() -> None:
    """Arguments: the inherited socket, the address, the identifier, the first stream's number, the
    security, how log lines look."""
    channel, host, port, identifier, first_stream, security, log_format = sys.argv[1:]
    configure_logging(LogFormat(log_format))
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    expect_many_objects()
    inherited = socket.socket(fileno=int(channel))
    asyncio.run(
        work(inherited, Address(host, int(port)), identifier, int(first_stream), link.security_from(security))
    )


if __name__ == "__main__":
    main()
