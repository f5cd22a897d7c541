"""Attributes NACKs to the objects whose configuration they are about.

A NACK names an object only by a generated name, or a host, in its message. It is attributed if the plan has
that object. A NACK that names nothing in the plan is shown with its Envoy alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName
from xds_server.base.text import listed, plain, shown
from xds_server.core.conditions import Condition, Reason, Subject, about
from xds_server.core.objects import Kind, Ref
from xds_server.core.plan import Plan
from xds_server.translate.blame import blame
from xds_server.xds.fleet import RouteSubscription, StandingNack
from xds_server.xds.nack_text import domains
from xds_server.xds.types import SHORT_NAMES

_MOST_NACKS: Final = 5
_MOST_UNKNOWN: Final = 10
_LONGEST_MESSAGE: Final = 500
_LONGEST_NODE: Final = 100


class Attributed(NamedTuple):
    """The conditions that NACKs are for the objects that they name; those of most Envoys first."""

    canaries: Mapping[NamespacedName, list[Condition]]
    services: Mapping[NamespacedName, list[Condition]]


def attributed(standing: Iterable[StandingNack], plan: Plan) -> Attributed:
    """Group the NACKs that stand by the objects that they name. A NACK that names a Service concerns its
    canaries too; one that names a canary's mirror concerns that canary alone."""
    canaries: dict[NamespacedName, list[Condition]] = defaultdict(list)
    services: dict[NamespacedName, list[Condition]] = defaultdict(list)
    for group in _alike(standing):
        concerned: dict[NamespacedName, Subject] = {}
        for service, canary in sorted(_owners(group[0].nack.message, plan)):
            if not canary:
                subject = about(Ref(Kind.SERVICE, service.namespace, service.name))
                services[service].append(_condition(group, subject))
            concerned |= {
                NamespacedName(shadow.namespace, shadow.canary): Subject(
                    shadow.kind, shadow.namespace, shadow.name
                )
                for shadow in plan.services[service].shadows
                if canary in ("", shadow.canary)
            }
        for name, subject in concerned.items():
            canaries[name].append(_condition(group, subject))
    return Attributed(_first(canaries), _first(services))


def unknown_routes(
    subscriptions: Iterable[RouteSubscription], gateways: Collection[str]
) -> Iterator[Condition]:
    """A condition for each route configuration that Envoys request and no gateway has. The listeners of these
    Envoys wait for it."""
    asked: dict[str, list[RouteSubscription]] = defaultdict(list)
    for each in subscriptions:
        for name in each.routes:
            if name not in gateways:
                asked[name].append(each)
    for name in sorted(asked)[:_MOST_UNKNOWN]:
        nodes = [each.node for each in asked[name]]
        who = f"{listed(nodes, len(nodes), 'Envoy')} {'requests' if len(nodes) == 1 else 'request'}"
        message = (
            f"{who} route configuration {shown(name)}, which does not exist. The route configurations are"
            f" {', '.join(sorted(gateways))}. Correct route_config_name, or add --route-config."
        )
        subject = Subject("Envoy", "", plain(nodes[0], _LONGEST_NODE))
        yield Condition(
            subject,
            Reason.UNKNOWN_ROUTE_CONFIGURATION,
            message,
            since=min(each.since for each in asked[name]),
        )


def _alike(standing: Iterable[StandingNack]) -> list[list[StandingNack]]:
    """The NACKs of one type with one message together: a whole fleet mostly sends the same."""
    groups: dict[tuple[str, str], list[StandingNack]] = defaultdict(list)
    for each in standing:
        groups[each.type_url, each.nack.message].append(each)
    return [groups[key] for key in sorted(groups, key=lambda key: (-len(groups[key]), key))]


def _condition(group: list[StandingNack], subject: Subject) -> Condition:
    first = group[0]
    who = listed([each.node for each in group], len(group), "Envoy")
    message = (
        f"{SHORT_NAMES[first.type_url]} rejected by {who}: {plain(first.nack.message, _LONGEST_MESSAGE)}"
    )
    return Condition(subject, Reason.REJECTED_BY_ENVOY, message, since=min(each.nack.at for each in group))


def _owners(message: str, plan: Plan) -> set[tuple[NamespacedName, str]]:
    """The Services and canaries of the plan that the message names."""
    owners = {(service, canary) for service, canary in blame(message) if service in plan.services}
    if hosts := domains(message):
        owners |= {
            (service, "")
            for service, share in plan.services.items()
            if any(not hosts.isdisjoint(port.domains) for port in share.ports)
        }
    return owners


def _first(found: Mapping[NamespacedName, list[Condition]]) -> Mapping[NamespacedName, list[Condition]]:
    return {name: found[name][:_MOST_NACKS] for name in sorted(found)}
