"""Excludes canaries from live traffic.

The Pods of a marked workload are excluded from the endpoints of every Service of its namespace, whatever the
label's value. There is one exception: a canary stays if a port would have no endpoint without it. It is then
excluded only when another endpoint of that port is ready.
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
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.objects import Service, Workload
from xds_server.core.ports import HttpPort
from xds_server.core.scene import Scene


class Separated(NamedTuple):
    """`backends` of each port without those of canaries, by the port's name. `kept` are the canaries that
    stay in live traffic, each with the condition that says why."""

    backends: Mapping[str, tuple[Backend, ...]]
    kept: Mapping[str, Condition]


def separate(
    scene: Scene,
    service: Service,
    ports: Sequence[HttpPort],
    canaries: Sequence[Canary],
    kept_before: frozenset[str],
) -> Separated:
    """Exclude the canaries, the oldest first: if only one of two can be excluded, it is the oldest.
    `kept_before` are the canaries that stayed in the previous plan."""
    backends = {http.name: backends_of(scene.view, service, http.port) for http in ports}
    kept: dict[str, Condition] = {}
    if not scene.marked:  # the usual case
        return Separated(backends, kept)
    for workload, endpoints in _marked(scene, ports, canaries, backends.values()):
        rest = {name: endpoints.excluded_from(each) for name, each in backends.items()}
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
            f" this {workload.kind} or to another canary; live traffic does not change. Give the stable"
            " version Pods of its own.",
        )
    return Separated(backends, kept)


def _marked(
    scene: Scene,
    ports: Sequence[HttpPort],
    canaries: Sequence[Canary],
    backends: Iterable[Sequence[Backend]],
) -> Iterable[tuple[Workload, CanaryEndpoints]]:
    """Every marked workload of the namespace that may own some of these backends, the oldest first, with its
    endpoints."""
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
    """The first port that needs the canary's endpoints; None if no port does. Usually any other endpoint
    suffices, ready or not: if all stable Pods crash, the canary must not get live traffic. A canary that
    already serves live traffic, because there was no other endpoint, is `waiting` for one that is ready."""
    for name, before in backends.items():
        if len(before) == len(rest[name]):
            continue
        if not rest[name] or (waiting and _ready(before) and not _ready(rest[name])):
            return name
    return None


def _ready(backends: Sequence[Backend]) -> bool:
    return any(backend.ready for backend in backends)
