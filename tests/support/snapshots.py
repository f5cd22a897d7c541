"""What tests ask of a snapshot."""

from xds_server.xds.resource import ResourceKey
from xds_server.xds.snapshot import Snapshot


def dangling(snapshot: Snapshot) -> list[tuple[ResourceKey, ResourceKey]]:
    """Pairs of a resource and one that it refers to and that is not there; a good snapshot has none."""
    return sorted(
        (resource.key, ref)
        for of_type in snapshot.types.values()
        for resource in of_type.resources.values()
        for ref in resource.refs
        if snapshot.get(ref) is None
    )
