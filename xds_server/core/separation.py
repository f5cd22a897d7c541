"""Keeps canaries out of live traffic.

A workload with the label is never live, whatever the label's value: not behind the Service that it names,
nor behind another of its namespace. The one exception is the guard. A canary whose going would leave a port
with nobody stays, and then it goes only once somebody else there is ready.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from xds_server.core.backends import (
    Backend,
    CanaryEndpoints,
    backends_of,
    canary_endpoints,
)
from xds_server.core.canaries import Canary
from xds_server.core.conditions import Condition, about
from xds_server.core.objects import Service, Workload
from xds_server.core.plan import Reason
from xds_server.core.ports import HttpPort
from xds_server.core.scene import Scene


class Separated(NamedTuple):
    """The backends of each port without the canaries', by its name, and the canaries that stay among them,
    with why."""

    backends: Mapping[str, tuple[Backend, ...]]
    kept: Mapping[str, Condition]


def separate(
    scene: Scene,
    service: Service,
    ports: Sequence[HttpPort],
    canaries: Sequence[Canary],
    kept_before: frozenset[str],
) -> Separated:
    """Take the canaries out, the oldest first, so that of two that cannot both go the oldest does.
    `kept_before` are those that stayed when this was last done."""
    backends = {http.name: backends_of(scene.view, service, http.port) for http in ports}
    kept: dict[str, Condition] = {}
    if not scene.marked:  # nearly always
        return Separated(backends, kept)
    for workload, endpoints in _marked(scene, ports, canaries, backends.values()):
        rest = {name: endpoints.taken_out_of(each) for name, each in backends.items()}
        needed = _needed(backends, rest, waiting=workload.key in kept_before)
        if needed is None:
            backends = rest
            continue
        number = next(http.port.port for http in ports if http.name == needed)
        which = "that is ready " if rest[needed] else ""
        kept[workload.key] = Condition(
            about(workload),
            Reason.WOULD_EMPTY_SERVICE,
            f"Every endpoint of Service {service.namespace}/{service.name} port {number} {which}belongs to"
            f" this {workload.kind} or to another canary; live traffic stays as it is. Give the stable"
            " version Pods of its own.",
        )
    return Separated(backends, kept)


def _marked(
    scene: Scene,
    ports: Sequence[HttpPort],
    canaries: Sequence[Canary],
    backends: Iterable[Sequence[Backend]],
) -> Iterable[tuple[Workload, CanaryEndpoints]]:
    """Every marked workload of the namespace that has to do with these backends, the oldest first, with
    the endpoints that are its own."""
    known = {canary.name: canary.endpoints for canary in canaries}
    keys = {key for each in backends for one in each for key in (one.pod, one.endpoint.address)}
    listed = {name for key in keys & scene.pods_by_key.keys() for name in scene.pods_by_key[key]}
    for workload in scene.marked.values():
        if workload.key in known:
            yield workload, known[workload.key]
        elif own := listed & scene.pods_of(workload).keys():
            pods = [scene.view.pods[name] for name in own]
            yield workload, canary_endpoints(pods, [http.port for http in ports])


def _needed(
    backends: Mapping[str, Sequence[Backend]], rest: Mapping[str, Sequence[Backend]], *, waiting: bool
) -> str | None:
    """The first port that cannot be without the canary. To begin with any endpoint will do, ready or not: a
    crash of all stable Pods must not put the canary in front of users. Where the canary serves already, as
    there was nobody else, it is `waiting` for one that is ready."""
    for name, before in backends.items():
        if len(before) == len(rest[name]):
            continue
        if not rest[name] or (waiting and _ready(before) and not _ready(rest[name])):
            return name
    return None


def _ready(backends: Sequence[Backend]) -> bool:
    return any(backend.ready for backend in backends)
