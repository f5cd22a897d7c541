"""Whom a refusal concerns: joins what Envoys say with the objects that their words name.

What an Envoy says is believed only as far as the plan goes: a name that no Service or canary has concerns
nobody, and is shown with the Envoy alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName, NodeId
from xds_server.base.text import listed, plain, shown
from xds_server.core.plan import Plan
from xds_server.core.problems import Problem
from xds_server.server.status_api import Objection
from xds_server.translate.blame import blame, domains
from xds_server.xds.fleet import Asking, Standing
from xds_server.xds.types import SHORT_NAMES

REFUSED: Final = "RefusedByEnvoy"
"""Reason of a Service's problem."""

_MOST_OBJECTIONS: Final = 5
_MOST_NODES: Final = 10
_LONGEST_MESSAGE: Final = 500
_LONGEST_NODE: Final = 100


UNKNOWN_ROUTES: Final = "UnknownRouteConfiguration"
"""Reason of a problem with Envoys."""

_MOST_UNKNOWN: Final = 10


class Concerned(NamedTuple):
    """Objections by the canary or the Service that they concern; those of most Envoys first."""

    shadows: Mapping[NamespacedName, list[Objection]]
    services: Mapping[NamespacedName, list[Objection]]

    def problems(self) -> Iterator[Problem]:
        """For each Service a sentence for each objection."""
        for service, objections in self.services.items():
            for each in objections:
                who = listed(each.nodes, each.count, "Envoy")
                sentence = f"{SHORT_NAMES[each.type_url]} rejected by {who}: {each.message}"
                yield Problem(f"Service {service}", REFUSED, sentence)


def concerned(standing: Iterable[Standing], plan: Plan) -> Concerned:
    """Sort the refusals that stand by the objects that they concern. One of a Service concerns its canaries
    too; one of a canary's copies concerns that canary alone."""
    shadows: dict[NamespacedName, list[Objection]] = defaultdict(list)
    services: dict[NamespacedName, list[Objection]] = defaultdict(list)
    for objection in _objections(standing):
        told: set[NamespacedName] = set()
        for service, canary in sorted(_owners(objection.message, plan)):
            if not canary:
                services[service].append(objection)
            told |= {
                NamespacedName(shadow.namespace, shadow.canary)
                for shadow in plan.services[service].shadows
                if canary in ("", shadow.canary)
            }
        for name in told:
            shadows[name].append(objection)
    return Concerned(_first(shadows), _first(services))


def unknown_routes(fleet: Iterable[Asking], gateways: Collection[str]) -> Iterator[Problem]:
    """What is wrong with Envoys that ask for a route configuration of no gateway: their listeners wait for
    it."""
    asked: dict[str, list[NodeId]] = defaultdict(list)
    for each in fleet:
        for name in each.routes:
            if name not in gateways:
                asked[name].append(each.node)
    for name in sorted(asked)[:_MOST_UNKNOWN]:
        nodes = asked[name]
        who = f"{listed(nodes, len(nodes), 'Envoy')} {'asks' if len(nodes) == 1 else 'ask'}"
        message = (
            f"{who} for route configuration {shown(name)}, which there is not; there are"
            f" {', '.join(sorted(gateways))}. Correct route_config_name, or add --route-config."
        )
        yield Problem(f"Envoy {plain(nodes[0], _LONGEST_NODE)}", UNKNOWN_ROUTES, message)


def _objections(standing: Iterable[Standing]) -> list[Objection]:
    """A whole fleet mostly refuses the same for the same reason: told once, with how many they are."""
    alike: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for each in standing:
        alike[each.type_url, each.refusal.message].append(each)
    found = [
        Objection(
            type_url=group[0].type_url,
            message=plain(message, _LONGEST_MESSAGE),
            nodes=tuple(_names(group)),
            count=len(group),
            at=max(each.refusal.at for each in group),
        )
        for (_, message), group in alike.items()
    ]
    return sorted(found, key=lambda each: (-each.count, each.type_url, each.message))


def _names(group: list[Standing]) -> Iterator[NodeId]:
    return (each.node for each in group[:_MOST_NODES])


def _owners(message: str, plan: Plan) -> set[tuple[NamespacedName, str]]:
    """What the message names that there is."""
    owners = {(service, canary) for service, canary in blame(message) if service in plan.services}
    if hosts := domains(message):
        owners |= {
            (service, "")
            for service, share in plan.services.items()
            if any(not hosts.isdisjoint(port.domains) for port in share.ports)
        }
    return owners


def _first(found: Mapping[NamespacedName, list[Objection]]) -> Mapping[NamespacedName, list[Objection]]:
    return {name: found[name][:_MOST_OBJECTIONS] for name in sorted(found)}
