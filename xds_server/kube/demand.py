"""Determines which Pods and Secrets are watched, because canaries select or name them.

Pods are watched by the selectors of the canaries. A namespace with more than `SELECTORS_MAX` selectors has
one watch of all its Pods instead, because each watch is a connection to the API server, and every user who
may label workloads can add one. A Secret is watched by its name, so a Role can grant that Secret alone (RBAC
has ``resourceNames`` and no labels), and by the label `ALLOW`, so the API server sends no other Secret. At
most `SECRETS_MAX` Secrets of a namespace are watched.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from xds_server.core.keys import ALLOW, settings_of
from xds_server.core.layers import Layer
from xds_server.core.objects import WORKLOADS, Kind, Namespace, Ref, Workload, ref_of
from xds_server.core.policy import credential_source
from xds_server.core.selectors import as_query
from xds_server.core.world import Change, Delete, Upsert
from xds_server.kube.query import Query

SELECTORS_MAX: Final = 8
"""Selectors of one namespace that have a watch each."""

SECRETS_MAX: Final = 64
"""Secrets of one namespace that are watched: those of the oldest canaries."""


NO_SETTINGS: Final = Layer("", {})


class _Needs(NamedTuple):
    """What one canary needs: the selector of its Pods, and the name of a Secret or ""."""

    age: tuple[str, str]
    selector: str
    secret: str


@dataclass(slots=True)
class _Canaries:
    """The canaries of one namespace. `whole` is set once they have more than `SELECTORS_MAX` selectors, and
    stays set until no canary is left: otherwise a canary that comes and goes at the limit would cause a list
    of all Pods each time."""

    marked: dict[Ref, Workload] = field(default_factory=dict)
    needs: dict[Ref, _Needs] = field(default_factory=dict)
    selectors: frozenset[str] = frozenset()
    queries: frozenset[Query] = frozenset()
    whole: bool = False


class Wanted:
    """Kept up to date with workloads and Namespaces. `installation` are the settings of ``--policy``."""

    def __init__(self, installation: Mapping[str, str]) -> None:
        self._installation = Layer("", installation)
        self._namespaces: dict[str, _Canaries] = {}
        self._defaults: dict[str, Layer] = {}
        self._touched: dict[str, None] = {}

    def note(self, change: Change) -> None:
        """Take a change of a workload or Namespace into account."""
        match change:
            case Upsert(Workload(controller=None) as workload):
                canaries = self._namespaces.setdefault(workload.namespace, _Canaries())
                canaries.marked[ref_of(workload)] = workload
                canaries.needs[ref_of(workload)] = self._needs(workload)
                self._touched[workload.namespace] = None
            case Upsert(Namespace() as namespace):
                self._set_defaults(namespace.name, Layer("", settings_of(namespace.annotations)))
            case Upsert(Workload() as workload):
                self._forget(ref_of(workload))
            case Delete(ref) if ref.kind in WORKLOADS:
                self._forget(ref)
            case Delete(Ref(kind=Kind.NAMESPACE) as ref):
                self._set_defaults(ref.name, NO_SETTINGS)

    def _forget(self, ref: Ref) -> None:
        if ref.namespace in self._namespaces:
            canaries = self._namespaces[ref.namespace]
            canaries.marked.pop(ref, None)
            canaries.needs.pop(ref, None)
            self._touched[ref.namespace] = None

    def queries(self) -> set[Query]:
        """The queries that are to be watched now."""
        self._update()
        return {query for canaries in self._namespaces.values() for query in canaries.queries}

    def selectors(self) -> Mapping[str, Set[str]]:
        """The selectors of all canaries, by namespace."""
        self._update()
        return {name: canaries.selectors for name, canaries in self._namespaces.items()}

    def covered_by(self, query: Query) -> Set[str]:
        """The selectors of canaries whose Pods `query` asks for."""
        if query.kind is not Kind.POD:
            return frozenset()
        return {query.labels} if query.labels else self.selectors()[query.namespace]

    def _set_defaults(self, namespace: str, settings: Layer) -> None:
        self._defaults[namespace] = settings
        canaries = self._namespaces.get(namespace)
        if canaries:
            canaries.needs = {ref: self._needs(each) for ref, each in canaries.marked.items()}
            self._touched[namespace] = None

    def _update(self) -> None:
        for name in self._touched:
            canaries = self._namespaces[name]
            selectors = frozenset(each.selector for each in canaries.needs.values() if each.selector)
            canaries.selectors = selectors
            canaries.whole = len(selectors) > SELECTORS_MAX or (canaries.whole and bool(selectors))
            pods = {""} if canaries.whole else selectors
            canaries.queries = frozenset(
                [*(Query(Kind.POD, name, labels=each) for each in pods), *self._secrets(name, canaries)]
            )
            if not canaries.marked:
                del self._namespaces[name]
        self._touched.clear()

    def _secrets(self, namespace: str, canaries: _Canaries) -> Iterator[Query]:
        names = dict.fromkeys(each.secret for each in sorted(canaries.needs.values()) if each.secret)
        for name in islice(names, SECRETS_MAX):
            yield Query(Kind.SECRET, namespace, labels=f"{ALLOW}=true", name=name)

    def _needs(self, workload: Workload) -> _Needs:
        settings = Layer("", settings_of(workload.annotations))
        defaults = self._defaults.get(workload.namespace, NO_SETTINGS)
        found = credential_source(settings, defaults, self._installation)
        return _Needs(
            (workload.created, workload.key),
            as_query(workload.spec.selector),  # "" without a selector, which as a query would match every Pod
            found.name if found else "",
        )
