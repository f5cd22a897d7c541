"""What an installation may do in a cluster, from its Roles and their bindings."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.installation import SYSTEM, Doc, of_kind


@dataclass(frozen=True)
class Rule:
    """One thing that somebody may do; an empty namespace or name means any."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        return (
            (self.verb, self.group, self.resource) == (verb, group, resource)
            and self.namespace in ("", namespace)
            and self.name in ("", name)
        )


def rules(docs: list[Doc]) -> Iterator[Rule]:
    """Everything that the bindings give to the control plane's ServiceAccount."""
    for binding in of_kind(docs, "RoleBinding") + of_kind(docs, "ClusterRoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "xds-shadow", "namespace": SYSTEM}]
        namespace = binding["metadata"].get("namespace")
        [role] = [
            doc
            for doc in of_kind(docs, binding["roleRef"]["kind"])
            if (doc["metadata"]["name"], doc["metadata"].get("namespace"))
            == (binding["roleRef"]["name"], namespace)
        ]
        for rule in role["rules"]:
            assert rule.keys() <= {"apiGroups", "resources", "resourceNames", "verbs"}
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        for verb in rule["verbs"]:
                            yield Rule(verb, group, resource, namespace or "", name)
