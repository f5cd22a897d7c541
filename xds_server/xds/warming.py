"""Tracks which clusters a client was sent and cannot use yet (rule 41).

Measured: Envoy uses a cluster as soon as it has the cluster's endpoints and secrets, and sends their ACKs at
once. The ACK of the clusters follows when none of them is warming, so it may be late because of another
cluster; it also follows if Envoy rejected endpoints.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from xds_server.base.ids import TypeUrl
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER


@dataclass(slots=True)
class _Cold:
    """A cluster that the stream's response `number` brought. `needs` are the resources that the client has
    not accepted since. `taken` says that it accepted the cluster, or one of those resources."""

    number: int
    needs: set[ResourceKey]
    taken: bool = False


class Warming:
    """The new clusters of one stream."""

    def __init__(self) -> None:
        self._cold: dict[str, _Cold] = {}
        self._pruned_at: list[object] | None = None

    @property
    def cold(self) -> Collection[str]:
        """The names of the clusters that the client cannot use yet."""
        return self._cold.keys()

    def sent(self, clusters: Iterable[Resource], number: int) -> None:
        """The client is sent these clusters for the first time."""
        for cluster in clusters:
            self._cold[cluster.name] = _Cold(number, set(cluster.refs))
        self._pruned_at = None

    def accepted(
        self, type_url: TypeUrl, names: Collection[str], number: int, served: Collection[TypeUrl]
    ) -> None:
        """The client accepted a response; `served` are the types that it subscribed to."""
        for name, cluster in list(self._cold.items()):
            if number < cluster.number:
                continue
            if type_url == CLUSTER:
                cluster.taken = True
                cluster.needs = {key for key in cluster.needs if key.type_url in served}
            elif found := {key for key in cluster.needs if key.type_url == type_url and key.name in names}:
                cluster.taken = True
                cluster.needs -= found
            self._settle(name, cluster)

    def prune(self, snapshot: Snapshot) -> None:
        """Drop clusters that no longer exist, and needed resources that no longer exist."""
        moments: list[object] = [of_type.moment for of_type in snapshot.types.values()]
        if moments == self._pruned_at:
            return
        self._pruned_at = moments
        for name, cluster in list(self._cold.items()):
            if name not in snapshot.of(CLUSTER).resources:
                del self._cold[name]
                continue
            cluster.needs = {key for key in cluster.needs if snapshot.get(key) is not None}
            self._settle(name, cluster)

    def _settle(self, name: str, cluster: _Cold) -> None:
        if cluster.taken and not cluster.needs:
            del self._cold[name]
