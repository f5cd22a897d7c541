"""Streams served in this process."""

import time
from collections.abc import Callable

from xds_server.ads.convergence import Converged
from xds_server.ads.events import Event
from xds_server.ads.servicer import AdsServicer
from xds_server.base.address import Address
from xds_server.base.memory import Trimmer
from xds_server.config import PLAIN, Security
from xds_server.serving.handshakes import Handshakes, left
from xds_server.serving.identity import Allowed, Clients, names_of
from xds_server.serving.listening import AdsServer
from xds_server.snapshot.cache import SnapshotCache
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate.views import View, derive, view_of


def servicer(
    cache: SnapshotCache[View],
    observe: Callable[[Event], None],
    identifier: str,
    *,
    clients: Allowed | None = None,
    first_stream: int = 1,
    converged: Callable[[Converged], None] = lambda _: None,
    called: Callable[[str], None] = lambda _: None,
) -> AdsServicer[View]:
    """The discovery service of this program."""
    known = Clients(clients)
    return AdsServicer(
        cache=cache,
        view_of=lambda node, names: view_of(node.metadata, known.namespaces(names)),
        identify=names_of,
        observe=observe,
        identifier=identifier,
        first_stream=first_stream,
        converged=converged,
        called=called,
        ended=Trimmer().soon,
    )


class LocalFleet:
    """One server for all streams. `observe` is called with what happens on them and when, in seconds since
    the epoch; `converged` with every commit that all of them have."""

    def __init__(
        self,
        *,
        identifier: str,
        observe: Callable[[Event, float], None],
        converged: Callable[[Converged], None] = lambda _: None,
        security: Security = PLAIN,
    ) -> None:
        self._cache: SnapshotCache[View] = SnapshotCache(derive)
        handshakes = Handshakes(lambda peer: observe(left(peer), time.time()))
        service = servicer(
            self._cache,
            lambda event: observe(event, time.time()),
            identifier,
            clients=security.clients,
            converged=converged,
            called=handshakes.called,
        )
        self._server = AdsServer(service, handshakes, tls=security.tls)

    def commit(self, snapshot: Snapshot, generation: int | None = None) -> None:
        """Serve `snapshot` from now on; for its number see `SnapshotCache.commit`."""
        self._cache.commit(snapshot, generation)

    async def start(self, address: Address) -> Address:
        """Listen; returns where.

        Raises:
            XdsShadowError: the address cannot be listened on.
        """
        return await self._server.start(address)

    async def set_serving(self) -> None:
        """There is something to serve."""
        await self._server.set_serving(True)

    async def stop(self, drain_s: float) -> None:
        """End the streams one after another over so many seconds."""
        await self._server.stop(drain_s)
