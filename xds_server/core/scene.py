"""Derives data from the view of one namespace, once for all of its Services.

A scene is created when its namespace or the rules change. It reuses the results of the previous scene that
depend on unchanged objects only. So an intent is read once, even if its Service is planned many times.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.intents import Intent, read_label
from xds_server.core.keys import settings_of
from xds_server.core.layers import NO_FILE, Layer
from xds_server.core.limits import Limits, host_not_allowed, limits_of
from xds_server.core.objects import EndpointSlice, Kind, Namespace, Pod, Service, Workload
from xds_server.core.plan import GATEWAY
from xds_server.core.policy import check_defaults, namespace_unknown
from xds_server.core.selectors import as_query, matcher
from xds_server.core.values import PolicyError, sentence
from xds_server.core.world import NamespaceView

MAX_MARKED: Final = 256
"""Marked workloads of a namespace that count: the oldest. The plan of each Service depends on all of them."""


class Rules(NamedTuple):
    """The input besides the objects: the installation's settings, whether every Service is exposed, the time
    in seconds since the epoch, the gateways, sorted, and the cluster's DNS domains."""

    installation: Layer = NO_FILE
    expose_all: bool = False
    now: float = 0.0
    gateways: tuple[str, ...] = (GATEWAY,)
    cluster_domains: tuple[str, ...] = CLUSTER_DOMAINS


@dataclass(slots=True)
class Known:
    """Results that depend on single objects: the intent, the Pods and the Pods' keys of each workload, and
    what each EndpointSlice lists, with the slice."""

    intents: dict[str, Intent] = field(default_factory=dict)
    pods: dict[str, dict[str, Pod]] = field(default_factory=dict)
    keys: dict[str, frozenset[str]] = field(default_factory=dict)
    listed: dict[str, tuple[EndpointSlice, frozenset[str]]] = field(default_factory=dict)


class Scene:
    """The view of one namespace, with the data derived from it."""

    def __init__(
        self,
        name: str,
        view: NamespaceView,
        rules: Rules,
        before: "Scene | None" = None,
        changed_pods: Collection[str] = (),
    ) -> None:
        self.name = name
        self.view = view
        self.rules = rules
        same = before and before.view.namespace is view.namespace
        self.layer: Layer = before.layer if before and same else _layer(name, view.namespace)
        self.known = _still_valid(before, view, changed_pods, same_layer=bool(same)) if before else Known()

    @cached_property
    def limits(self) -> Limits:
        """The limits of each Service of the namespace."""
        return limits_of(self.layer, self.rules.installation)

    @cached_property
    def marked(self) -> Mapping[str, Workload]:
        """The workloads with the label, whatever its value, by key: the `MAX_MARKED` oldest, in order."""
        names = (name for group in self.view.canaries.values() for name in group)
        found = sorted(map(self.view.workloads.__getitem__, names), key=lambda d: (d.created, d.key))
        return {workload.key: workload for workload in found[:MAX_MARKED]}

    @cached_property
    def pods_by_key(self) -> Mapping[str, list[str]]:
        """The names of all Pods by the keys with which an EndpointSlice can list them. Several Pods can have
        one address, as on their host's network."""
        found: dict[str, list[str]] = {}
        for pod in self.view.pods.values():
            for key in keys_of(pod):
                found.setdefault(key, []).append(pod.name)
        return found

    def problems(self) -> tuple[Condition, ...]:
        """The conditions of the Namespace's own settings."""
        if not self.layer.values:
            return ()
        found = [each for each in self.limits.problems if each.subject == self.layer.subject]
        try:
            check_defaults(self.layer)
        except PolicyError as error:
            if not found:
                found.append(Condition(self.layer.subject, Reason.INVALID_ANNOTATION, sentence(error)))
        return tuple(found)

    @property
    def namespace_unknown(self) -> bool:
        """Whether the Namespace, which may have bounds, has not been seen yet."""
        return namespace_unknown(self.view.namespace, self.view.awaited)

    def host_rejected(self, host: str) -> str:
        """Why no Service of the namespace may have this host besides its own, or ""."""
        if self.namespace_unknown:
            return f"Host {host} waits until Namespace {self.name}, which may have bounds for it, was seen."
        return host_not_allowed(host, (self.layer, self.rules.installation))

    def intents(self, target: str) -> list[Intent]:
        """The intents to mirror this Service's requests, the oldest first."""
        found = [self.intent(self.view.workloads[name]) for name in self.view.canaries.get(target, ())]
        return sorted(found, key=lambda intent: intent.age)

    def intent(self, workload: Workload) -> Intent:
        """The intent of a marked workload."""
        known = self.known.intents.get(workload.key)
        if known is None or known.canary is not workload:
            known = read_label(workload, self.layer, self.rules.installation)
            self.known.intents[workload.key] = known
        return known

    def pods_of(self, workload: Workload) -> Mapping[str, Pod]:
        """The Pods that a marked workload selects, by name."""
        known = self.known.pods.get(workload.key)
        if known is None:
            selected = matcher(workload.spec.selector)
            known = {name: pod for name, pod in self.view.pods.items() if selected(pod.labels)}
            self.known.pods[workload.key] = known
        return known

    def keys_of(self, workload: Workload) -> frozenset[str]:
        """The keys with which an EndpointSlice can list a Pod of the workload."""
        known = self.known.keys.get(workload.key)
        if known is None:
            known = frozenset(key for pod in self.pods_of(workload).values() for key in keys_of(pod))
            self.known.keys[workload.key] = known
        return known

    def awaits(self, workload: Workload) -> bool:
        """Whether the Pods of a marked workload are awaited."""
        return bool(self.view.awaited) and as_query(workload.spec.selector) in self.view.awaited

    def unknown(self, service: Service) -> list[Workload]:
        """The marked workloads whose Pods are awaited and may be endpoints of this Service."""
        if not self.view.awaited:
            return []
        return [each for each in self.marked.values() if self.awaits(each) and may_select(service, each)]

    def listing(self, keys: Collection[str]) -> set[str]:
        """The Services whose EndpointSlices list a Pod by one of these keys."""
        wanted = frozenset(keys)
        if not wanted:
            return set()
        return {
            service
            for service, slices in self.view.slices.items()
            if any(not wanted.isdisjoint(self._listed_in(each)) for each in slices.values())
        }

    def _listed_in(self, endpoint_slice: EndpointSlice) -> frozenset[str]:
        known = self.known.listed.get(endpoint_slice.name)
        if known is None or known[0] is not endpoint_slice:
            known = self.known.listed[endpoint_slice.name] = endpoint_slice, _keys_in(endpoint_slice)
        return known[1]


def _still_valid(
    before: Scene, view: NamespaceView, changed_pods: Collection[str], *, same_layer: bool
) -> Known:
    found = Known()
    if same_layer:
        found.intents = {n: each for n, each in before.known.intents.items() if n in view.workloads}
    for name, pods in before.known.pods.items():
        workload = view.workloads.get(name)
        if workload is not None and workload is before.view.workloads.get(name):
            found.pods[name] = _with(pods, workload, view, changed_pods)
            if found.pods[name] is pods and name in before.known.keys:
                found.keys[name] = before.known.keys[name]
    found.listed = {n: each for n, each in before.known.listed.items() if n in view.slice_owner}
    return found


def _with(
    pods: dict[str, Pod], workload: Workload, view: NamespaceView, changed: Collection[str]
) -> dict[str, Pod]:
    """The Pods of a workload after these Pods of the namespace changed."""
    selected = matcher(workload.spec.selector)
    now = {name: pod for name in changed if (pod := view.pods.get(name)) and selected(pod.labels)}
    if not now and pods.keys().isdisjoint(changed):
        return pods
    return {**{name: pod for name, pod in pods.items() if name not in changed}, **now}


def keys_of(pod: Pod) -> set[str]:
    """The keys with which an EndpointSlice can list a Pod."""
    return {pod.name, *pod.addresses}


def _keys_in(endpoint_slice: EndpointSlice) -> frozenset[str]:
    targets = (each.target_ref for each in endpoint_slice.endpoints or ())
    named = {target.name for target in targets if target and target.name}
    return frozenset(named.union(*(each.addresses for each in endpoint_slice.endpoints or ())))


def _layer(name: str, namespace: Namespace | None) -> Layer:
    annotations: Mapping[str, str] = namespace.annotations if namespace else {}
    subject = Subject(Kind.NAMESPACE, "", name)
    return Layer(str(subject), settings_of(annotations), subject=subject)


def may_select(service: Service, workload: Workload) -> bool:
    """Whether a Service can select Pods of a workload, by their selectors. A Service without a selector can
    have any Pod."""
    wanted = workload.spec.selector.match_labels or {}
    return all(wanted.get(key, value) == value for key, value in (service.spec.selector or {}).items())
