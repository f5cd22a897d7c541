"""Determines which addresses serve a Service and which belong to a canary."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from xds_server.core.objects import (
    EndpointConditions,
    EndpointSlice,
    Pod,
    Service,
    ServicePort,
)
from xds_server.core.plan import Endpoint
from xds_server.core.ports import TCP, is_tcp
from xds_server.core.world import NamespaceView

_FAMILIES = ("IPv4", "IPv6")
_NO_CONDITIONS = EndpointConditions()


class Backend(msgspec.Struct, frozen=True, gc=False):
    """An endpoint of a Service, which may be the stable version's or a canary's. `pod` is the Pod's name, or
    empty if the EndpointSlice has none. `draining` means terminating and still serving."""

    endpoint: Endpoint
    pod: str
    ready: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class CanaryEndpoints:
    """The endpoints of a canary. `by_port` are the ready ones, by the name of the Service's port. `pods` and
    `all` are all Pods and endpoints that it owns, ready or not. None of them may serve live traffic."""

    by_port: Mapping[str, tuple[Endpoint, ...]]
    pods: frozenset[str] = frozenset()
    all: frozenset[Endpoint] = field(default=frozenset())

    def excluded_from(self, backends: Iterable[Backend]) -> tuple[Backend, ...]:
        """The backends of a Service that are not this canary's. An endpoint that gets mirrored requests is
        never live, whichever Pod an EndpointSlice names for it. For other endpoints the Pod's name decides if
        the slice has it, because Pods on their host's network share its address."""
        ready = {endpoint for at in self.by_port.values() for endpoint in at}
        return tuple(b for b in backends if b.endpoint not in ready and not self._owns(b))

    def _owns(self, backend: Backend) -> bool:
        return backend.pod in self.pods if backend.pod else backend.endpoint in self.all


def backends_of(view: NamespaceView, service: Service, port: ServicePort) -> tuple[Backend, ...]:
    """Every backend of one port, in the Service's first address family that has any."""
    slices = view.slices.get(service.name, {}).values()
    wanted = [family for family in service.spec.ip_families or () if family in _FAMILIES]
    for family in dict.fromkeys((*wanted, *_FAMILIES)):
        backends = tuple(b for s in slices if s.address_type == family for b in _backends(s, port))
        if backends:
            return backends
    return ()


def live(backends: Iterable[Backend]) -> tuple[Endpoint, ...]:
    """The endpoints to send live traffic to, sorted, without duplicates. As with kube-proxy (KEP-1669),
    draining endpoints serve only while no endpoint is ready."""
    ready, draining = set(), set()
    for backend in backends:
        if backend.ready:
            ready.add(backend.endpoint)
        elif backend.draining:
            draining.add(backend.endpoint)
    return tuple(sorted(ready or draining))


def canary_endpoints(pods: Collection[Pod], ports: Sequence[ServicePort]) -> CanaryEndpoints:
    """The endpoints of a canary's own Pods, at the ``targetPort`` of each port."""
    found = {port.name or "": [(pod, at) for pod in pods if (at := _targets(pod, port))] for port in ports}
    return CanaryEndpoints(
        by_port={
            name: tuple(sorted({at[0] for pod, at in pairs if pod.ready})) for name, pairs in found.items()
        },
        pods=frozenset(pod.name for pod in pods),
        all=frozenset(endpoint for pairs in found.values() for _, at in pairs for endpoint in at),
    )


def service_endpoints(view: NamespaceView, source: Service, ports: Iterable[ServicePort]) -> CanaryEndpoints:
    """The endpoints of the Service `source`, for each of the shadowed Service's `ports` (see
    `counterpart`)."""
    by_port: dict[str, tuple[Endpoint, ...]] = {}
    owned: set[Backend] = set()
    for port in ports:
        match = counterpart(source, port)
        backends = backends_of(view, source, match) if match else ()
        by_port[port.name or ""] = live(backends)
        owned.update(backends)
    return CanaryEndpoints(
        by_port=by_port,
        pods=frozenset(backend.pod for backend in owned if backend.pod),
        all=frozenset(backend.endpoint for backend in owned),
    )


def _backends(of: EndpointSlice, port: ServicePort) -> Iterable[Backend]:
    numbers = [p.port for p in of.ports or () if (p.name or "") == (port.name or "") and p.port]
    for number in numbers:
        for endpoint in of.endpoints or ():
            target, now = endpoint.target_ref, endpoint.conditions or _NO_CONDITIONS
            pod = (target.name or "") if target and target.kind == "Pod" else ""
            ready, draining = now.ready is not False, bool(now.serving and now.terminating)
            for address in endpoint.addresses[:1]:  # discovery/v1: consumers use the first
                yield Backend(Endpoint(address, number), pod, ready, draining)


def _targets(pod: Pod, port: ServicePort) -> tuple[Endpoint, ...]:
    """The endpoints of a Pod at the port's ``targetPort``, one for each of its addresses, the primary one
    first. Empty if the Pod has no address yet, or if no container has a TCP port of that name."""
    number = _target_number(pod, port)
    return tuple(Endpoint(address, number) for address in pod.addresses if number is not None)


def _target_number(pod: Pod, port: ServicePort) -> int | None:
    target = port.target_port or port.port
    if isinstance(target, int):
        return target
    containers = (*(pod.spec.containers or ()), *(pod.spec.init_containers or ()))
    ports = (each for container in containers for each in container.ports or ())
    return next((p.container_port for p in ports if p.name == target and (p.protocol or TCP) == TCP), None)


def counterpart(source: Service, port: ServicePort) -> ServicePort | None:
    """The TCP port of `source` that corresponds to this one: the port of the same name, else of the same
    number, else the only TCP port. None if there is none."""
    tcp = [each for each in source.ports if is_tcp(each)]
    for alike in (
        [p for p in tcp if port.name and p.name == port.name],
        [p for p in tcp if p.port == port.port],
        tcp if len(tcp) == 1 else [],
    ):
        if alike:
            return alike[0]
    return None
