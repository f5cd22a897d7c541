"""What NetworkPolicies allow, by the rules of their documentation: a Pod that some policy selects for a
direction has only what one of those allows; a connection needs both ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from xds_server.local.kubeapi.validation import selects

Doc = dict[str, Any]


@dataclass(frozen=True)
class End:
    """A Pod, or with no `namespace` an address that is none. `ports` are its named ones."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = "10.9.9.9"


class Network:
    """Policies, in namespaces with labels."""

    def __init__(self, policies: Sequence[Doc], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._policies = policies
        self._namespaces = {
            name: {"kubernetes.io/metadata.name": name, **labels} for name, labels in namespaces.items()
        }

    def allows(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may connect to a port of `target`."""
        ends = (("Egress", source, target), ("Ingress", target, source))
        return all(self._one_way(*each, target=target, port=port, protocol=protocol) for each in ends)

    def _one_way(self, direction: str, of: End, peer: End, *, target: End, port: int, protocol: str) -> bool:
        policies = [
            each["spec"]
            for each in self._policies
            if each["metadata"]["namespace"] == of.namespace
            and direction in each["spec"]["policyTypes"]
            and selects(each["spec"]["podSelector"], dict(of.labels))
        ]
        return not policies or any(
            self._port(rule, target, port, protocol) and self._peer(rule, of, peer)
            for spec in policies
            for rule in spec.get(direction.lower(), ())
        )

    def _port(self, rule: Doc, target: End, port: int, protocol: str) -> bool:
        if "ports" not in rule:
            return True
        return any(
            target.ports.get(each["port"], each["port"]) == port and each.get("protocol", "TCP") == protocol
            for each in rule["ports"]
        )

    def _peer(self, rule: Doc, of: End, peer: End) -> bool:
        listed = rule.get("from", rule.get("to"))
        return listed is None or any(self._matches(each, of, peer) for each in listed)

    def _matches(self, wanted: Doc, of: End, peer: End) -> bool:
        if "ipBlock" in wanted:
            return ip_address(peer.address) in ip_network(wanted["ipBlock"]["cidr"])
        if not peer.namespace:
            return False
        where = (
            selects(wanted["namespaceSelector"], dict(self._namespaces[peer.namespace]))
            if "namespaceSelector" in wanted
            else peer.namespace == of.namespace
        )
        return where and selects(wanted.get("podSelector", {}), dict(peer.labels))
