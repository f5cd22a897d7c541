"""What is followed only while a canary needs it: the Pods that it selects, and the Secret that its credential
comes from.

A Secret is asked for by its name and by the label that allows its use, so that the permission can be for that
one alone (RBAC knows ``resourceNames`` and no labels), and what is not labelled never crosses the wire.
"""

from collections.abc import Iterator, Mapping

from xds_server.model.objects import ALLOW, Deployment, Kind, Namespace, Ref, ref_of
from xds_server.model.selectors import as_query
from xds_server.model.world import Change, Delete, Upsert
from xds_server.shadows.policy import credential_source, settings_of
from xds_server.sources.kube_query import Query


class Wanted:
    """Kept up to date with Deployments and Namespaces. `installation` are the settings of ``--policy``."""

    def __init__(self, installation: Mapping[str, str]) -> None:
        self._installation = installation
        self._canaries: dict[str, dict[Ref, Deployment]] = {}
        self._defaults: dict[str, Mapping[str, str]] = {}
        self._queries: dict[Ref, tuple[Query, ...]] = {}

    def note(self, change: Change) -> None:
        """Take a change of a Deployment or Namespace into account."""
        match change:
            case Upsert(Deployment() as deployment):
                self._canaries.setdefault(deployment.namespace, {})[ref_of(deployment)] = deployment
                self._ask(deployment)
            case Upsert(Namespace() as namespace):
                self._set_defaults(namespace.name, settings_of(namespace.annotations))
            case Delete(Ref(kind=Kind.DEPLOYMENT) as ref):
                self._canaries.get(ref.namespace, {}).pop(ref, None)
                self._queries.pop(ref, None)
            case Delete(Ref(kind=Kind.NAMESPACE) as ref):
                self._set_defaults(ref.name, {})

    def queries(self) -> set[Query]:
        """What is to be followed now."""
        return {query for queries in self._queries.values() for query in queries}

    def _set_defaults(self, namespace: str, settings: Mapping[str, str]) -> None:
        self._defaults[namespace] = settings
        for deployment in self._canaries.get(namespace, {}).values():
            self._ask(deployment)

    def _ask(self, deployment: Deployment) -> None:
        self._queries[ref_of(deployment)] = tuple(self._queries_for(deployment))

    def _queries_for(self, deployment: Deployment) -> Iterator[Query]:
        namespace = deployment.namespace
        selector = as_query(deployment.spec.selector)
        if selector:  # without one it would match every Pod
            yield Query(Kind.POD, namespace, labels=selector)
        own, defaults = settings_of(deployment.annotations), self._defaults.get(namespace, {})
        credential = credential_source(own, defaults, self._installation)
        if credential:
            yield Query(Kind.SECRET, namespace, labels=f"{ALLOW}=true", name=credential.name)
