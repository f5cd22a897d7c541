"""The same snapshot as `translate`, for the cost of the Services whose part of the plan changed."""

from collections.abc import Iterable

from xds_server.base.ids import NamespacedName
from xds_server.shadows.plan import NOTHING, Plan
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.snapshot import Snapshot
from xds_server.translate.translate import frame, translate_service


class Translator:
    """Holds the snapshot of the plan it has been brought to."""

    def __init__(self, *, gateway_port: int) -> None:
        self._shares: dict[NamespacedName, tuple[Resource, ...]] = {}
        self.snapshot = frame(gateway_port)

    def update(self, plan: Plan, targets: Iterable[NamespacedName]) -> Snapshot:
        """Bring the snapshot to `plan`, in which only `targets` differ from the last one.

        Raises:
            DanglingReferenceError: a Service's share is not whole; a bug of ours.
        """
        upserts: list[Resource] = []
        removals: list[ResourceKey] = []
        for target in sorted(targets):
            before = self._shares.pop(target, ())
            share = translate_service(plan.services.get(target, NOTHING))
            if share:
                self._shares[target] = share
            known = {resource.key: resource for resource in before}
            upserts.extend(r for r in share if known.pop(r.key, None) != r)
            removals.extend(known)
        self.snapshot = self.snapshot.updated(upserts, removals)
        return self.snapshot
