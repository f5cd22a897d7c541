"""Decides the state of each shadow of one Service, and keeps canaries out of its live endpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.model.objects import Deployment, Service
from xds_server.model.world import SHADOW_OF, NamespaceView
from xds_server.shadows.bounds import NotAllowedError
from xds_server.shadows.credentials import credential_of
from xds_server.shadows.endpoints import (
    Backend,
    CanaryEndpoints,
    backends_of,
    canary_endpoints,
    service_endpoints,
)
from xds_server.shadows.plan import Credential, Mirror, Reason, ShadowStatus, State
from xds_server.shadows.policy import NO_FILE, Layer, endpoints_source, parse_policy, settings_of
from xds_server.shadows.refusal import Refusal
from xds_server.shadows.sampling import Share, ways
from xds_server.shadows.selection import MAX_BRANCHES, TooManyConditionsError, branches
from xds_server.shadows.services import EXPOSE, HttpPort, Offer, no_http_port
from xds_server.shadows.terms import MILLION, Policy, Selection
from xds_server.shadows.values import PolicyError

MAX_ROUTES = 512
"""Of one port; Envoy tries them in turn."""

MAX_SAMPLED = 4
"""Canaries of one Service that can be active below 100 percent. Sampling them independently takes a route
for each combination of them (`sampling`)."""


class Rules(NamedTuple):
    """What decides besides the objects: the installation's settings, whether every Service is exposed, and
    the time, in seconds since 1970."""

    installation: Layer = NO_FILE
    expose_all: bool = False
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Canary:
    """A marked Deployment with what was read of it. A canary without a policy is refused, yet its Pods are
    kept out of live traffic all the same: the label says what they are."""

    deployment: Deployment
    policy: Policy | None
    endpoints: CanaryEndpoints
    refusal: Refusal | None
    credential: Credential | None = None


def canaries_of(
    view: NamespaceView, target: NamespacedName, ports: Sequence[HttpPort], rules: Rules
) -> list[Canary]:
    """The Deployments marked with `target`, the oldest first, so that of two that cannot both be kept out
    of the Service the elder is."""
    marked = [view.deployments[name] for name in view.canaries.get(target.name, ())]
    marked.sort(key=lambda deployment: (deployment.created, deployment.name))
    return [_canary(view, deployment, target, ports, rules) for deployment in marked]


def _canary(
    view: NamespaceView,
    deployment: Deployment,
    target: NamespacedName,
    ports: Sequence[HttpPort],
    rules: Rules,
) -> Canary:
    endpoints, refusal = _endpoints(view, deployment, target, ports)
    try:
        policy = parse_policy(
            deployment.annotations, namespace_layer(view, target.namespace), rules.installation
        )
    except PolicyError as error:
        reason = Reason.NOT_ALLOWED if isinstance(error, NotAllowedError) else Reason.INVALID_POLICY
        return Canary(deployment, None, endpoints, Refusal(reason, _sentence(str(error))))
    credential = credential_of(view, target.namespace, policy.credential) if policy.credential else None
    if isinstance(credential, Refusal):
        return Canary(deployment, policy, endpoints, refusal or credential)
    return Canary(deployment, policy, endpoints, refusal, credential)


def namespace_layer(view: NamespaceView, name: str) -> Layer:
    """What a Namespace sets for its shadows."""
    annotations = view.namespace.annotations if view.namespace else {}
    return Layer(f"Namespace {name}", settings_of(annotations))


def _endpoints(
    view: NamespaceView, deployment: Deployment, target: NamespacedName, ports: Sequence[HttpPort]
) -> tuple[CanaryEndpoints, Refusal | None]:
    """The canary's endpoints, and what is wrong with where they come from."""
    own = canary_endpoints(view, deployment, [http.port for http in ports])
    source_name = endpoints_source(deployment.annotations)
    if source_name is None:
        return own, None
    if source_name == target.name:
        loop = f"Its endpoints would come from Service {target}, the one that it shadows."
        return own, Refusal(Reason.MIRROR_LOOP, loop)
    source = view.services.get(source_name)
    name = NamespacedName(target.namespace, source_name)
    if source is None:
        missing = f"There is no Service {name}, which its endpoints are to come from."
        return own, Refusal(Reason.SERVICE_NOT_FOUND, missing)
    theirs = service_endpoints(view, source, [http.port for http in ports])
    both = replace(theirs, pods=theirs.pods | own.pods, all=theirs.all | own.all)
    if target.name in _mirrored_to(view, source_name):
        loop = f"Its endpoints come from Service {name}, which is mirrored to Service {target} in turn."
        return both, Refusal(Reason.MIRROR_LOOP, loop)
    return both, None


def _mirrored_to(view: NamespaceView, service: str) -> set[str]:
    """The Services whose endpoints get copies of this one's requests, directly or by way of others."""
    found: set[str] = set()
    waiting = [service]
    while waiting:
        for name in view.canaries.get(waiting.pop(), ()):
            source = endpoints_source(view.deployments[name].annotations)
            if source is not None and source not in found:
                found.add(source)
                waiting.append(source)
    return found


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
    target: NamespacedName, canary: Canary, unfit: Refusal | None, kept: Refusal | None, now: float
) -> ShadowStatus:
    """The state of one shadow. `unfit` is why nothing can shadow the Service, `kept` why the canary's Pods
    could not be taken out of live traffic, if so."""
    policy = canary.policy or Policy()
    endpoints = tuple(sorted({e for at in canary.endpoints.by_port.values() for e in at}))
    state, reason, message = _verdict(target, canary, unfit, kept, now)
    return ShadowStatus(
        namespace=target.namespace,
        deployment=canary.deployment.name,
        service=target.name,
        state=state,
        reason=reason,
        message=message,
        percent=policy.percent if canary.policy else "",
        methods=tuple(sorted(policy.selection.methods or ())),
        endpoints=endpoints,
        settings=policy.settings,
    )


def _verdict(
    target: NamespacedName, canary: Canary, unfit: Refusal | None, kept: Refusal | None, now: float
) -> tuple[State, Reason, str]:
    refusal = unfit or canary.refusal or kept
    if refusal:
        also = f" {kept.message}" if kept and refusal is not kept else ""
        return State.REJECTED, refusal.reason, refusal.message + also
    policy = canary.policy or Policy()
    if policy.until is not None and policy.until <= now:
        return State.EXPIRED, Reason.EXPIRED, "The time of its annotation until has come; nothing is copied."
    if policy.paused:
        return State.PAUSED, Reason.PAUSED, "Paused by its annotation; nothing is copied."
    if policy.per_million == 0:
        return State.PAUSED, Reason.ZERO_PERCENT, "It asks for 0 percent; nothing is copied."
    if not any(canary.endpoints.by_port.values()):
        return State.PENDING, Reason.NO_READY_ENDPOINT, _waiting(canary)
    what = f"{policy.percent} percent of {_which(policy.selection)} to Service {target}"
    return State.ACTIVE, Reason.MIRRORING, f"{what} are copied to it."


def _which(selection: Selection) -> str:
    """The requests, in words: all of those few that are told apart by nothing but their method."""
    which = f"the {', '.join(sorted(selection.methods))} requests" if selection.methods else "the requests"
    if selection.paths or selection.exclude_paths or selection.headers:
        return f"{which} that its annotations select,"
    return which


def expiry(canaries: Iterable[Canary], now: float) -> float | None:
    """When the next of these shadows ends by itself, if one does."""
    times = [c.policy.until for c in canaries if c.policy and c.policy.until is not None]
    return min((until for until in times if until > now), default=None)


def refuse_excess_samples(
    canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> dict[str, ShadowStatus]:
    """The states, where of the active canaries that are sampled by themselves all but the `MAX_SAMPLED`
    eldest are refused."""
    sampled = [
        states[canary.deployment.name]
        for canary, policy in _active(canaries, states)
        if policy.per_million < MILLION and not policy.correlated
    ]
    refused = {
        status.deployment: replace(
            status,
            state=State.REJECTED,
            reason=Reason.TOO_MANY_SAMPLED,
            message=f"Service {status.namespace}/{status.service} has {MAX_SAMPLED} older shadows below"
            " 100 percent, the most that can be sampled independently of each other; sample: correlated has"
            " no such limit.",
        )
        for status in sampled[MAX_SAMPLED:]
    }
    return {**states, **refused}


def refuse_excess_conditions(
    canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> dict[str, ShadowStatus]:
    """The states, where an active canary is refused whose conditions, together with those of the elder ones,
    would take more routes than there may be."""
    kept: list[Policy] = []
    refused = {}
    for canary, policy in _active(canaries, states):
        if not _feasible([*kept, policy]):
            status = states[canary.deployment.name]
            refused[status.deployment] = replace(
                status,
                state=State.REJECTED,
                reason=Reason.TOO_MANY_CONDITIONS,
                message="Its conditions and those of the elder shadows of Service"
                f" {status.namespace}/{status.service} would take more than {MAX_BRANCHES} branches or"
                f" {MAX_ROUTES} routes; ask for fewer methods, paths and headers.",
            )
        else:
            kept.append(policy)
    return {**states, **refused}


def _feasible(policies: Sequence[Policy]) -> bool:
    try:
        found = branches(tuple(policy.selection for policy in policies))
    except TooManyConditionsError:
        return False
    shares = [Share(policy.per_million, policy.correlated) for policy in policies]
    return sum(ways([shares[index] for index in branch.wanted]) for branch in found) <= MAX_ROUTES


def _active(
    canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> Iterable[tuple[Canary, Policy]]:
    for canary in canaries:
        if canary.policy and states[canary.deployment.name].state is State.ACTIVE:
            yield canary, canary.policy


def mirrors_for(
    port: int, canaries: Sequence[Canary], states: Mapping[str, ShadowStatus]
) -> tuple[Mirror, ...]:
    """The mirrors of one port: the active canaries that have a ready endpoint there, by name."""
    mirrors = []
    for canary, policy in _active(sorted(canaries, key=lambda c: c.deployment.name), states):
        name = canary.deployment.name
        endpoints = canary.endpoints.by_port.get(port, ())
        if endpoints:
            mirror = Mirror(
                deployment=name,
                marker=f"{canary.deployment.namespace}/{name}",
                endpoints=endpoints,
                selection=policy.selection,
                per_million=policy.per_million,
                correlated=policy.correlated,
                treatment=policy.treatment,
                credential=canary.credential,
            )
            mirrors.append(mirror)
    return tuple(mirrors)


def _waiting(canary: Canary) -> str:
    if canary.policy and canary.policy.endpoints_from:
        return f"Service {canary.policy.endpoints_from} has no ready endpoint yet."
    if canary.endpoints.pods and not canary.endpoints.all:
        return "Its Pods have no address yet, or none of their containers has the Service's targetPort."
    return "None of its Pods is ready yet."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
