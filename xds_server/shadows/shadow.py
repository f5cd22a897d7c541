"""Decides the state of each shadow of one Service, and keeps canaries out of its live endpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xds_server.base.ids import NamespacedName
from xds_server.model.objects import Deployment, Service
from xds_server.model.world import SHADOW_OF, NamespaceView
from xds_server.shadows.endpoints import (
    Backend,
    CanaryEndpoints,
    backends_of,
    canary_endpoints,
    service_endpoints,
)
from xds_server.shadows.plan import Mirror, Policy, Reason, ShadowStatus, State
from xds_server.shadows.policy import PolicyError, endpoints_source, parse_policy
from xds_server.shadows.services import EXPOSE, HttpPort, Offer, no_http_port

MAX_SAMPLED = 4
"""Canaries of one Service that can be active below 100 percent. Sampling them independently takes a route
for each combination of them (translate/sampling.py)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a canary is not mirrored to."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Canary:
    """A marked Deployment with what was read of it. A canary without a policy is refused, yet its Pods are
    kept out of live traffic all the same: the label says what they are."""

    deployment: Deployment
    policy: Policy | None
    endpoints: CanaryEndpoints
    refusal: Refusal | None


def canaries_of(view: NamespaceView, target: NamespacedName, ports: Sequence[HttpPort]) -> list[Canary]:
    """The Deployments marked with `target`, the oldest first, so that of two that cannot both be kept out
    of the Service the elder is."""
    marked = [view.deployments[name] for name in view.canaries.get(target.name, ())]
    marked.sort(key=lambda deployment: (deployment.created, deployment.name))
    return [_canary(view, deployment, target, ports) for deployment in marked]


def _canary(
    view: NamespaceView, deployment: Deployment, target: NamespacedName, ports: Sequence[HttpPort]
) -> Canary:
    endpoints = canary_endpoints(view, deployment, [http.port for http in ports])
    refusal = None
    source_name = endpoints_source(deployment.annotations)
    if source_name == target.name:
        loop = f"Its endpoints would come from Service {target}, the one that it shadows."
        refusal = Refusal(Reason.MIRROR_LOOP, loop)
    elif source_name is not None:
        source = view.services.get(source_name)
        if source is None:
            name = NamespacedName(target.namespace, source_name)
            missing = f"There is no Service {name}, which its endpoints are to come from."
            refusal = Refusal(Reason.SERVICE_NOT_FOUND, missing)
        else:
            theirs = service_endpoints(view, source, [http.port for http in ports])
            all_ = theirs.all | endpoints.all
            endpoints = replace(theirs, pods=theirs.pods | endpoints.pods, all=all_)
    try:
        policy = parse_policy(deployment.annotations)
    except PolicyError as error:
        return Canary(deployment, None, endpoints, Refusal(Reason.INVALID_POLICY, _sentence(str(error))))
    return Canary(deployment, policy, endpoints, refusal)


def separate(
    view: NamespaceView, service: Service, ports: Sequence[HttpPort], canaries: Sequence[Canary]
) -> tuple[dict[int, tuple[Backend, ...]], dict[str, Refusal]]:
    """The live backends by port number once the canaries' are taken out, and the canaries that stay in,
    because without them a port would have no endpoint at all, ready or not."""
    backends = {http.port.port: backends_of(view, service, http.port) for http in ports}
    refusals: dict[str, Refusal] = {}
    for canary in canaries:
        rest = {number: canary.endpoints.taken_out_of(all_) for number, all_ in backends.items()}
        emptied = [number for number, all_ in backends.items() if all_ and not rest[number]]
        if emptied:
            refusals[canary.deployment.name] = Refusal(
                Reason.WOULD_EMPTY_SERVICE,
                f"Every endpoint of Service {service.namespace}/{service.name} port {emptied[0]} belongs to"
                " this Deployment or to another canary; live traffic stays as it is. Give the stable version"
                " Pods of its own.",
            )
        else:
            backends = rest
    return backends, refusals


def service_refusal(target: NamespacedName, service: Service | None, offer: Offer | None) -> Refusal | None:
    """Why nothing can shadow this Service, if so."""
    if not target.name:
        return Refusal(
            Reason.INVALID_LABEL, f"Its label {SHADOW_OF} is empty; give it the name of a Service."
        )
    if service is None or offer is None:
        hint = (
            f"There is no Service {target}; the label's value names one of its own namespace. Until it does,"
            " the Pods are kept out of no Service."
        )
        return Refusal(Reason.SERVICE_NOT_FOUND, hint)
    if not offer.exposed:
        hint = f"Service {target} is not routed; label it, or its Namespace, with {EXPOSE}=true."
        return Refusal(Reason.SERVICE_NOT_EXPOSED, hint)
    if not offer.ports:
        return Refusal(
            Reason.NO_HTTP_PORT, f"Service {target} has nothing to mirror. {no_http_port(service)}"
        )
    return None


def judge(
    target: NamespacedName, canary: Canary, unfit: Refusal | None, kept: Refusal | None
) -> ShadowStatus:
    """The state of one shadow. `unfit` is why nothing can shadow the Service, `kept` why the canary's Pods
    could not be taken out of live traffic, if so."""
    refusal = unfit or canary.refusal or kept
    policy = canary.policy or Policy()
    endpoints = tuple(sorted({e for at in canary.endpoints.by_port.values() for e in at}))
    state, reason, message = State.ACTIVE, Reason.MIRRORING, ""
    if refusal:
        state, reason, message = State.REJECTED, refusal.reason, refusal.message
        if kept and refusal is not kept:
            message = f"{message} {kept.message}"
    elif policy.paused:
        state, reason, message = State.PAUSED, Reason.PAUSED, "Paused by its annotation; nothing is copied."
    elif policy.per_million == 0:
        state, reason, message = (
            State.PAUSED,
            Reason.ZERO_PERCENT,
            "It asks for 0 percent; nothing is copied.",
        )
    elif not endpoints:
        state, reason, message = State.PENDING, Reason.NO_READY_ENDPOINT, _waiting(canary)
    else:
        which = f"{', '.join(sorted(policy.methods))} requests" if policy.methods else "requests"
        message = f"{policy.percent} percent of the {which} to Service {target} are copied to it."
    return ShadowStatus(
        namespace=target.namespace,
        deployment=canary.deployment.name,
        service=target.name,
        state=state,
        reason=reason,
        message=message,
        percent=policy.percent if canary.policy else "",
        methods=tuple(sorted(policy.methods or ())),
        endpoints=endpoints,
    )


def refuse_excess_samples(
    canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> dict[str, ShadowStatus]:
    """The states, where of the active canaries that are sampled all but the `MAX_SAMPLED` eldest are
    refused."""
    eldest_first = [states[canary.deployment.name] for canary in canaries]
    sampled = [s for s in eldest_first if s.state is State.ACTIVE and s.percent != Policy().percent]
    refused = {
        status.deployment: replace(
            status,
            state=State.REJECTED,
            reason=Reason.TOO_MANY_SAMPLED,
            message=f"Service {status.namespace}/{status.service} has {MAX_SAMPLED} older shadows below"
            " 100 percent, the most that can be sampled independently of each other.",
        )
        for status in sampled[MAX_SAMPLED:]
    }
    return {**states, **refused}


def mirrors_for(
    port: int, canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> tuple[Mirror, ...]:
    """The mirrors of one port: the active canaries that have a ready endpoint there, by name."""
    mirrors = []
    for canary in sorted(canaries, key=lambda c: c.deployment.name):
        name = canary.deployment.name
        endpoints = canary.endpoints.by_port.get(port, ())
        if canary.policy and endpoints and states[name].state is State.ACTIVE:
            marker = f"{canary.deployment.namespace}/{name}"
            mirrors.append(Mirror(name, marker, canary.policy.per_million, canary.policy.methods, endpoints))
    return tuple(mirrors)


def _waiting(canary: Canary) -> str:
    if canary.policy and canary.policy.endpoints_from:
        return f"Service {canary.policy.endpoints_from} has no ready endpoint yet."
    if canary.endpoints.pods and not canary.endpoints.all:
        return "Its Pods have no address yet, or none of their containers has the Service's targetPort."
    return "None of its Pods is ready yet."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
