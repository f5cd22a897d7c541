"""Holds the plan of a Service while the Pods of a canary that may be its endpoints are not known.

Pods are not known before their first list, and while their watch is not open. Then an endpoint may be the
canary's. So the plan of the Service does not change, except that it loses hosts that now belong to another
Service. A Service that was not routed stays without routes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Reason, notices
from xds_server.core.intents import Intent
from xds_server.core.objects import Service, Workload
from xds_server.core.plan import PortPlan, ServicePlan, ShadowStatus, State
from xds_server.core.services import Offer, age_of, problem_of

_SOME = 3


def held_offer(service: Service, before: ServicePlan) -> Offer:
    """The offer of a held Service: its current hosts."""
    hosts = dict.fromkeys(_host(domain) for port in before.ports for domain in port.domains)
    return Offer(age_of(service), exposed=bool(before.ports), hosts=tuple(hosts))


def held(
    target: NamespacedName,
    unknown: Sequence[Workload],
    intents: Iterable[Intent],
    owner_of: Callable[[str], NamespacedName | None],
    before: ServicePlan,
) -> ServicePlan:
    """The plan of a held Service, from its previous plan `before`. `unknown` are the canaries whose Pods are
    not known."""
    names = {workload.key for workload in unknown}
    known = {shadow.canary: shadow for shadow in before.shadows if shadow.canary not in names}
    ports = (replace(port, domains=tuple(_own(port, target, owner_of))) for port in before.ports)
    shadows = (known.get(intent.name) or _pending(target, intent.name) for intent in intents)
    return ServicePlan(
        ports=tuple(port for port in ports if port.domains),
        shadows=tuple(sorted(shadows, key=lambda shadow: shadow.canary)),
        conditions=(
            problem_of(target, Reason.PODS_UNKNOWN, _message(sorted(names))),
            *notices(before.conditions),
        ),
        kept=before.kept,
    )


def _pending(target: NamespacedName, name: str) -> ShadowStatus:
    message = (
        f"Its Pods are not known at present; until they are, the routes and endpoints of Service {target} do"
        " not change."
    )
    return ShadowStatus(target.namespace, name, target.name, State.PENDING, Reason.PODS_UNKNOWN, message)


def _message(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
    return (
        f"The Pods of canary {', '.join(names[:_SOME])}{more} are not known at present, and may be among its"
        " endpoints. Until they are, the routes and endpoints of the Service do not change."
    )


def _own(
    port: PortPlan, target: NamespacedName, owner_of: Callable[[str], NamespacedName | None]
) -> Iterator[str]:
    return (domain for domain in port.domains if owner_of(_host(domain)) == target)


def _host(domain: str) -> str:
    return domain.partition(":")[0]
