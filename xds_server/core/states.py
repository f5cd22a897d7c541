"""Decides the state of each shadow of one Service."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core.annotations import MAX_CONCURRENT, UNTIL, Policy, Selection, Treatment
from xds_server.core.branches import MAX_BRANCHES
from xds_server.core.canaries import Canary
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.keys import EXPOSE, SHADOW_OF
from xds_server.core.limits import Limits
from xds_server.core.objects import Kind, Service
from xds_server.core.plan import Mirror, Route, ShadowStatus, State
from xds_server.core.ports import HttpPort, no_http_port
from xds_server.core.routing import MAX_ROUTES, UNMIRRORED, fitting
from xds_server.core.scene import MAX_MARKED
from xds_server.core.service_annotations import GATEWAYS
from xds_server.core.services import Offer
from xds_server.core.terms import MILLION

MAX_SAMPLED = 4
"""Canaries of one Service that can be active below 100 percent. Independent samples need a route for each
combination (`sampling`)."""


class Judged(msgspec.Struct, frozen=True):
    """The states of a Service's shadows by canary. The mirrors and routes of active shadows, by the name of
    the port."""

    states: Mapping[str, ShadowStatus]
    mirrors: Mapping[str, tuple[Mirror, ...]]
    routes: Mapping[str, tuple[Route, ...]]


def judge(
    target: NamespacedName,
    canaries: Sequence[Canary],
    rejections: Mapping[str, Condition],
    ports: Sequence[HttpPort],
    *,
    limits: Limits,
    now: float,
    unbounded: bool = False,
) -> Judged:
    """`canaries` are all of the Service's, the oldest first. `rejections` are the conditions by canary that
    do not come from the canary itself. `unbounded` is whether the bounds of the namespace are not known
    yet."""
    if not canaries:  # the usual case
        names = [http.name for http in ports]
        return Judged({}, dict.fromkeys(names, ()), dict.fromkeys(names, UNMIRRORED))
    states = {each.name: status(target, each, rejections.get(each.name), now) for each in canaries}
    if unbounded:
        states = {name: _unbounded(each) for name, each in states.items()}
    active = [each for each in canaries if states[each.name].state is State.ACTIVE]
    rejected: dict[str, Condition] = {}
    for check in (_too_many_sampled, _too_much_memory):
        rejected |= check(target, active, limits)
        active = [each for each in active if each.name not in rejected]
    treatments = _shares(active, limits)
    mirrors = {http.name: _mirrors(http.name, active, treatments) for http in ports}
    fits, routes = fitting(mirrors, [each.name for each in active], limits.virtual_host_bytes)
    if fits < len(active):
        rejected |= _do_not_fit(target, active[fits:], limits)
        mirrors = {name: _without(rejected, each) for name, each in mirrors.items()}
    for name, rejection in rejected.items():
        states[name] = _rejected(states[name], rejection)
    return Judged(states, mirrors, routes)


def service_rejection(
    target: NamespacedName, service: Service | None, offer: Offer | None
) -> Condition | None:
    """Why no workload can shadow this Service, or None."""
    if not target.name:
        return Condition(
            _service(target),
            Reason.INVALID_LABEL,
            f"Its label {SHADOW_OF} is empty; set it to the name of a Service.",
        )
    if service is None or offer is None:
        hint = (
            f"Service {target} does not exist. The label {SHADOW_OF} must name a Service of the same"
            " namespace. Until then the canary's Pods are excluded from every Service of the namespace that"
            " has other endpoints."
        )
        return Condition(_service(target), Reason.SERVICE_NOT_FOUND, hint)
    if not offer.exposed:
        hint = f"Service {target} is not routed; label it, or its Namespace, with {EXPOSE}=true."
        return Condition(_service(target), Reason.SERVICE_NOT_EXPOSED, hint)
    if not offer.gateways:
        hint = f"Service {target} is not routed: its annotation {GATEWAYS.key} names no known gateway."
        return Condition(_service(target), Reason.UNKNOWN_GATEWAY, hint)
    if not offer.ports:
        return Condition(
            _service(target),
            Reason.NO_HTTP_PORT,
            f"Service {target} has nothing to mirror. {no_http_port(service)}",
        )
    return None


def _service(target: NamespacedName) -> Subject:
    return Subject(Kind.SERVICE, target.namespace, target.name)


def excess(target: NamespacedName, limits: Limits) -> Condition:
    """The condition of a shadow whose Service or namespace has the maximum of older shadows."""
    return Condition(
        _service(target),
        Reason.TOO_MANY_SHADOWS,
        f"Service {target} has the maximum of {limits.shadows} older shadows (shadows-max), or its namespace"
        f" has {MAX_MARKED} older ones; remove the label from one of them.",
    )


def status(target: NamespacedName, canary: Canary, outside: Condition | None, now: float) -> ShadowStatus:
    """The state of one shadow, without regard to others. `outside` is a condition of its Service, or that its
    Pods could not be excluded from live traffic."""
    policy = canary.policy or Policy()
    endpoints = tuple(sorted({e for at in canary.endpoints.by_port.values() for e in at}))
    state, reason, message = _state(target, canary, outside, now)
    return ShadowStatus(
        namespace=target.namespace,
        canary=canary.name,
        service=target.name,
        state=state,
        reason=reason,
        message=message,
        percent=policy.percent if canary.policy else "",
        methods=tuple(sorted(policy.selection.methods or ())),
        endpoints=endpoints,
        settings=policy.settings,
    )


def _state(
    target: NamespacedName, canary: Canary, outside: Condition | None, now: float
) -> tuple[State, str, str]:
    rejection = outside if outside and outside.reason is not Reason.WOULD_EMPTY_SERVICE else canary.rejection
    rejection = rejection or outside
    if rejection:
        also = f" {outside.message}" if outside and rejection is not outside else ""
        return State.REJECTED, rejection.reason, rejection.message + also
    policy = canary.policy or Policy()
    if policy.until is not None and policy.until <= now:
        message = f"The time of {_setting(canary, UNTIL.name)} has passed. No requests are mirrored."
        return State.EXPIRED, Reason.EXPIRED, message
    if policy.paused:
        message = f"Paused by {_setting(canary, 'paused')}. No requests are mirrored."
        return State.PAUSED, Reason.PAUSED, message
    if policy.per_million == 0:
        message = f"Paused by {_setting(canary, 'percent')}, which is 0. No requests are mirrored."
        return State.PAUSED, Reason.ZERO_PERCENT, message
    if not any(canary.endpoints.by_port.values()):
        return State.PENDING, Reason.NO_READY_ENDPOINT, _waiting(canary)
    what = f"{policy.percent} percent of {_which(policy.selection)} to Service {target}"
    return State.ACTIVE, Reason.CONFIGURED, " ".join([f"Configured to mirror {what}.", *canary.left_out])


def _setting(canary: Canary, name: str) -> str:
    """The setting that is in effect, with its owner unless that is the workload."""
    settings = canary.policy.settings if canary.policy else ()
    return next(setting.called for setting in reversed(settings) if setting.name == name)


def _which(selection: Selection) -> str:
    """The selected requests, in words. Only methods are named."""
    words = ["the"]
    if selection.paths or selection.exclude_paths or selection.headers:
        words.append("selected")
    if selection.methods:
        words.append(", ".join(sorted(selection.methods)))
    return " ".join([*words, "requests"])


def _waiting(canary: Canary) -> str:
    if canary.policy and canary.policy.endpoints_from:
        return f"Service {canary.policy.endpoints_from} has no ready endpoint yet."
    if canary.endpoints.pods and not canary.endpoints.all:
        return (
            "Its Pods have no address yet that can be an endpoint, or none of their containers has the"
            " Service's targetPort as a TCP port."
        )
    return "None of its Pods is ready yet."


def _unbounded(status: ShadowStatus) -> ShadowStatus:
    if status.state is State.REJECTED:
        return status
    message = (
        f"Namespace {status.namespace}, which may have bounds for it, has not been seen yet; nothing is"
        " mirrored until then."
    )
    return replace(status, state=State.PENDING, reason=Reason.NAMESPACE_UNKNOWN, message=message)


def _rejected(status: ShadowStatus, rejection: Condition) -> ShadowStatus:
    return replace(status, state=State.REJECTED, reason=rejection.reason, message=rejection.message)


def _too_many_sampled(target: NamespacedName, active: Sequence[Canary], _: Limits) -> dict[str, Condition]:
    sampled = [
        each.name
        for each in active
        if each.policy and each.policy.per_million < MILLION and not each.policy.correlated
    ]
    rejection = Condition(
        _service(target),
        Reason.TOO_MANY_SAMPLED,
        f"Service {target} has {MAX_SAMPLED} older shadows below 100 percent, the most that can be sampled"
        " independently of each other; sample: correlated has no such limit.",
    )
    return dict.fromkeys(sampled[MAX_SAMPLED:], rejection)


def _too_much_memory(
    target: NamespacedName, active: Sequence[Canary], limits: Limits
) -> dict[str, Condition]:
    """Envoy holds each mirrored request until it is complete, so requests in flight take memory. Shadows with
    `max-concurrent` get it first, the oldest before the others; the rest share what is left, at least one
    request each."""
    rejected: dict[str, Condition] = {}
    taken = 0
    for canary in sorted(active, key=lambda each: not _sets_max_concurrent(each)):
        treatment = canary.treatment
        memory = treatment.max_body * (treatment.max_concurrent if _sets_max_concurrent(canary) else 1)
        if taken + memory <= limits.mirror_memory:
            taken += memory
            continue
        rejected[canary.name] = Condition(
            _service(target),
            Reason.TOO_MUCH_MEMORY,
            f"Mirrored bodies of Service {target} may take {_mebibytes(limits.mirror_memory)} of an Envoy"
            " (mirror-memory-max):"
            f" max-concurrent times max-body of this shadow is {_mebibytes(memory)}, and others have"
            f" {_mebibytes(taken)}; lower one of the two.",
        )
    return rejected


def _sets_max_concurrent(canary: Canary) -> bool:
    policy = canary.policy
    return policy is not None and any(setting.name == MAX_CONCURRENT.name for setting in policy.settings)


def _shares(active: Sequence[Canary], limits: Limits) -> dict[str, Treatment]:
    """The treatment of mirrored requests. Shadows without `max-concurrent` share the memory that is left."""
    explicit = [each for each in active if _sets_max_concurrent(each)]
    others = [each for each in active if not _sets_max_concurrent(each)]
    left = limits.mirror_memory - sum(
        each.treatment.max_concurrent * each.treatment.max_body for each in explicit
    )
    each_may = left // max(1, sum(each.treatment.max_body for each in others))
    return {each.name: each.treatment for each in explicit} | {
        each.name: replace(each.treatment, max_concurrent=min(each.treatment.max_concurrent, each_may))
        for each in others
    }


def _mebibytes(size: int) -> str:
    return f"{size / MIB:.1f}".removesuffix(".0") + "Mi"


def _do_not_fit(target: NamespacedName, younger: Iterable[Canary], limits: Limits) -> dict[str, Condition]:
    first, *others = [each.name for each in younger]
    rejection = Condition(
        _service(target),
        Reason.TOO_MANY_CONDITIONS,
        f"Its conditions and those of the older shadows of Service {target} would take more than"
        f" {MAX_BRANCHES} branches, {MAX_ROUTES} routes or {limits.virtual_host_bytes // 1024}Ki of"
        " configuration (virtual-host-bytes-max); ask for fewer methods, paths and headers, or"
        " omit max-rps.",
    )
    behind = Condition(
        _service(target),
        Reason.TOO_MANY_CONDITIONS,
        f"The older shadow {first} of Service {target} has more conditions than fit, and the younger ones"
        " wait until it asks for fewer.",
    )
    return {first: rejection, **dict.fromkeys(others, behind)}


def _mirrors(port: str, active: Iterable[Canary], treatments: Mapping[str, Treatment]) -> tuple[Mirror, ...]:
    """The mirrors of one port: the active canaries with a ready endpoint, by name."""
    return tuple(
        Mirror(
            canary=canary.name,
            marker=f"{canary.intent.target.namespace}/{canary.intent.canary.name}",
            endpoints=endpoints,
            selection=policy.selection,
            per_million=policy.per_million,
            correlated=policy.correlated,
            treatment=treatments[canary.name],
            credential=canary.credential,
            compare=policy.compare,
            baseline=policy.baseline,
        )
        for canary in sorted(active, key=lambda each: each.name)
        if (policy := canary.policy)
        and port not in canary.unreadable
        and (endpoints := canary.endpoints.by_port.get(port, ()))
    )


def _without(rejected: Mapping[str, Condition], mirrors: Iterable[Mirror]) -> tuple[Mirror, ...]:
    return tuple(mirror for mirror in mirrors if mirror.canary not in rejected)


def ends(canaries: Iterable[Canary], now: float) -> tuple[float | None, float | None]:
    """The times from which and until which the states are valid; None if time does not limit them. The first
    is needed because a clock can be set back."""
    times = [c.policy.until for c in canaries if c.policy and c.policy.until is not None]
    return (
        max((until for until in times if until <= now), default=None),
        min((until for until in times if until > now), default=None),
    )
