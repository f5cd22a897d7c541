"""Limits the memory that all Services of one namespace take of an Envoy together.

Limits of a single Service do not bound a namespace with many Services. So the memory of every plan is
estimated, and each namespace has a budget. Older Services come before younger ones, and all Services before
all shadows. The estimate is based on measurements (docs/security.md) and is rounded up.
"""

import dataclasses
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from msgspec.structs import replace

from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core.annotations import Treatment
from xds_server.core.conditions import Reason
from xds_server.core.hosts import Age
from xds_server.core.plan import PortPlan, ServicePlan, ShadowStatus, State
from xds_server.core.routing import UNMIRRORED, size_of
from xds_server.core.services import problem_of

_PORT: Final = 80 * 1024
_ENDPOINT: Final = 2_200
_SHADOW: Final = 360 * 1024
_POLICY: Final = 9 * 1024
_BYTE: Final = 8
_SCRIPTED: Final = 16
_DOMAIN: Final = 300
_DOMAIN_BYTE: Final = 11
_SPELLINGS: Final = 2  # without and with a trailing dot
"""Bytes of Envoy's memory for a port (its cluster and virtual host), an endpoint, a shadow's cluster, a
mirror policy, a byte of a route, a character of the changes of mirrored requests, a domain, and a character
of a domain. Measured with Envoy 1.40 and two workers."""


class Weight(NamedTuple):
    """The bytes of an Envoy's memory that a plan takes: the Service without its shadows, and the shadows."""

    service: int = 0
    shadows: int = 0


class Allowed(IntEnum):
    """The part of a Service's plan that fits into its namespace's budget."""

    NOTHING = 0
    SERVICE = 1
    EVERYTHING = 2


class Entry(NamedTuple):
    """One Service in the ledger."""

    age: Age
    weight: Weight


def weigh(plan: ServicePlan) -> Weight:
    """The weight of a plan before `cut`."""
    service = sum(_PORT + _ENDPOINT * len(port.endpoints) + _domains(port) for port in plan.ports)
    return Weight(service, sum(_shadows(port) for port in plan.ports if port.mirrors))


def _domains(port: PortPlan) -> int:
    """The bytes of a port's domains. An Envoy may have the virtual host in each gateway's route
    configuration."""
    domains = (*port.domains, *port.closed)
    size = _DOMAIN * len(domains) + _DOMAIN_BYTE * sum(map(len, domains))
    return len(port.gateways) * _SPELLINGS * size


def _shadows(port: PortPlan) -> int:
    having = {mirror.canary: mirror.baselines for mirror in port.mirrors if mirror.baselines}
    endpoints = sum(len(mirror.endpoints) for mirror in port.mirrors) + len(having) * len(port.endpoints)
    policies = sum(
        len(route.mirrored) + sum(having[each] for each in route.baselines) for route in port.routes
    )
    size = sum(size_of(route, port.mirrors) for route in port.routes)
    treated = sum(_texts(mirror.treatment) for mirror in port.mirrors)
    clusters = _SHADOW * (len(port.mirrors) + len(having)) + _SCRIPTED * treated
    routes = len(port.gateways) * (_POLICY * policies + _BYTE * size)
    return clusters + _ENDPOINT * endpoints + routes


def _texts(treatment: Treatment) -> int:
    """The number of characters that describe how mirrored requests are changed."""
    parts = [*treatment.set_headers, *treatment.rewrites, *treatment.redactions]
    return sum(len(str(part)) for part in parts) + sum(map(len, treatment.remove_headers))


class Ledger:
    """The budgets of all namespaces. The result does not depend on the order of the entries."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[NamespacedName, Entry]] = {}
        self._short: dict[str, dict[NamespacedName, Allowed]] = {}

    def allowed(self, target: NamespacedName) -> Allowed:
        """The part of a Service's plan that fits."""
        return self._short.get(target.namespace, {}).get(target, Allowed.EVERYTHING)

    def settle(
        self, namespace: str, budget: int, changes: Mapping[NamespacedName, Entry | None]
    ) -> set[NamespacedName]:
        """Set or remove entries of a namespace; return the Services for which `allowed` changed."""
        entries = self._entries.setdefault(namespace, {})
        for target, entry in changes.items():
            entries.pop(target, None)
            if entry is not None:
                entries[target] = entry
        before = self._short.pop(namespace, {})
        after = _short(entries, budget)
        if after:
            self._short[namespace] = after
        if not entries:
            del self._entries[namespace]
        return {t for t in before.keys() | after.keys() if before.get(t) != after.get(t)}


def _short(entries: Mapping[NamespacedName, Entry], budget: int) -> dict[NamespacedName, Allowed]:
    """The Services of which not everything fits."""
    services = sum(entry.weight.service for entry in entries.values())
    if services + sum(entry.weight.shadows for entry in entries.values()) <= budget:
        return {}
    oldest_first = sorted(entries, key=lambda target: entries[target].age)
    found: dict[NamespacedName, Allowed] = {}
    taken = 0
    for target in oldest_first:
        if taken + entries[target].weight.service <= budget:
            taken += entries[target].weight.service
        else:
            found[target] = Allowed.NOTHING
    for target in oldest_first:
        shadows = entries[target].weight.shadows
        if target in found or not shadows:
            continue
        if taken + shadows <= budget:
            taken += shadows
        else:
            found[target] = Allowed.SERVICE
    return found


def cut(plan: ServicePlan, allowed: Allowed, budget: int) -> ServicePlan:
    """The allowed part of a plan."""
    if allowed is Allowed.EVERYTHING:
        return plan
    shadows = tuple(_rejected(shadow, budget) for shadow in plan.shadows)
    if allowed is Allowed.SERVICE:
        ports = tuple(replace(port, mirrors=(), routes=UNMIRRORED) for port in plan.ports)
        return replace(plan, ports=ports, shadows=shadows)
    conditions = [
        problem_of(service, Reason.NAMESPACE_FULL, f"It is not routed: {_why(service.namespace, budget)}")
        for service in {port.service for port in plan.ports}
    ]
    return replace(plan, ports=(), shadows=shadows, conditions=(*plan.conditions, *conditions))


def _rejected(shadow: ShadowStatus, budget: int) -> ShadowStatus:
    if shadow.state is not State.ACTIVE:
        return shadow
    message = f"Nothing is mirrored: {_why(shadow.namespace, budget)}"
    return dataclasses.replace(shadow, state=State.REJECTED, reason=Reason.NAMESPACE_FULL, message=message)


def _why(namespace: str, budget: int) -> str:
    return (
        f"Namespace {namespace} may take {budget // MIB}Mi of an Envoy's memory (namespace-memory-max), and"
        " with its older Services and shadows this would be more."
    )
