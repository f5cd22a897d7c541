"""Istio: ``mirror`` and ``mirrors`` of a VirtualService, with the subsets of DestinationRules.

If several VirtualServices have one host, Istio uses one of them, or merges them in an order that the
documents do not define. So a statement about a host must hold for each of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import Document, Harmless, Part, PlainMetadata, lost, no_hosts, stops
from xds_server.cli.convert.reading import by_regex, documents, percent
from xds_server.cli.convert.rules import (
    Backend,
    Header,
    How,
    Match,
    Mirror,
    Path,
    Routing,
    Rule,
    Source,
    Subset,
)

PROJECT: Final = "Istio"
GROUPS: Final = ("networking.istio.io", "security.istio.io", "extensions.istio.io", "telemetry.istio.io")
PASSED: Final = (
    "ProxyConfig",
    "ServiceEntry",
    "Sidecar",
    "Telemetry",
    "WorkloadEntry",
    "WorkloadGroup",
)


class Text(Part, frozen=True):
    """StringMatch. Without any of the three it matches all values."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class HttpMatch(Part, frozen=True):
    """HTTPMatchRequest."""

    name: Harmless = None
    stat_prefix: Harmless = None
    uri: Text | None = None
    ignore_uri_case: bool = False
    method: Text | None = None
    headers: dict[str, Text] = {}
    without_headers: dict[str, Text] = {}
    scheme: Text | None = None
    authority: Text | None = None
    port: int | None = None
    query_params: dict[str, Text] = {}
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: list[str] = []


class Port(Part, frozen=True):
    """PortSelector."""

    number: int | None = None


class Destination(Part, frozen=True):
    """Destination."""

    host: str = ""
    subset: str = ""
    port: Port = Port()


class Operations(Part, frozen=True):
    """Headers."""

    request: Annotated[object, stops("xds-shadow does not change requests to the stable version")] = None
    response: Annotated[object, no_hosts("xds-shadow does not change responses")] = None


class RouteDestination(Part, frozen=True):
    """HTTPRouteDestination."""

    destination: Destination = Destination()
    weight: int | None = None
    headers: Operations = Operations()


class Percent(Part, frozen=True):
    """Percent. The default is 0."""

    value: float = 0


class MirrorPolicy(Part, frozen=True):
    """HTTPMirrorPolicy. The default percentage is 100."""

    destination: Destination = Destination()
    percentage: Percent = Percent(value=100)


class HttpRoute(Part, frozen=True):
    """HTTPRoute."""

    name: Harmless = None
    match: list[HttpMatch] = []
    route: list[RouteDestination] = []
    mirror: Destination | None = None
    mirrors: list[MirrorPolicy] = []
    mirror_percentage: Percent | None = None
    mirror_percent: int | None = None
    redirect: Annotated[object, lost("its requests are redirected; xds-shadow has no route for them")] = None
    direct_response: Annotated[
        object, lost("its requests get a direct response; xds-shadow has no route for them")
    ] = None
    delegate: Annotated[object, lost("another VirtualService routes its requests")] = None
    rewrite: Annotated[object, stops("xds-shadow does not rewrite requests to the stable version")] = None
    headers: Operations = Operations()
    fault: Annotated[object, stops("xds-shadow also mirrors the requests that are aborted or delayed")] = None
    cors_policy: Annotated[object, stops("it answers preflight requests; xds-shadow mirrors them")] = None
    timeout: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    retries: Annotated[object, lost("xds-shadow retries all requests alike")] = None


class VirtualServiceSpec(Part, frozen=True):
    """VirtualService."""

    hosts: list[str] = []
    gateways: Harmless = None
    export_to: Harmless = None
    http: list[HttpRoute] = []
    tls: Annotated[object, no_hosts("xds-shadow does not route connections by TLS server name")] = None
    tcp: Annotated[object, lost("xds-shadow does not route TCP")] = None


class VirtualService(Document, frozen=True):
    """A VirtualService."""

    metadata: PlainMetadata = PlainMetadata()
    spec: VirtualServiceSpec = VirtualServiceSpec()


class SubsetPart(Part, frozen=True):
    """Subset."""

    name: str = ""
    labels: dict[str, str] = {}
    traffic_policy: Annotated[object, lost("xds-shadow balances and limits all requests alike")] = None


class DestinationRuleSpec(Part, frozen=True):
    """DestinationRule."""

    host: str = ""
    subsets: list[SubsetPart] = []
    export_to: Harmless = None
    workload_selector: Annotated[object, lost("with xds-shadow the rule applies to all Envoys")] = None
    traffic_policy: Annotated[object, lost("xds-shadow balances and limits all requests alike")] = None


class DestinationRule(Document, frozen=True):
    """A DestinationRule."""

    metadata: PlainMetadata = PlainMetadata()
    spec: DestinationRuleSpec = DestinationRuleSpec()


KINDS: Final[Mapping[str, type[Document]]] = {
    "VirtualService": VirtualService,
    "DestinationRule": DestinationRule,
}

_NAMED: Final = (
    "scheme",
    "authority",
    "port",
    "source_namespace",
    "gateways",
)
"""Conditions of a match that annotations cannot express."""

_Subsets = Mapping[tuple[NamespacedName, str], Mapping[str, str]]


def routing(docs: Documents) -> Routing:
    """The rules of all VirtualServices."""
    services, wrong = documents(docs, PROJECT, GROUPS, VirtualService, "VirtualService")
    destinations, _ = documents(docs, PROJECT, GROUPS, DestinationRule, "DestinationRule")
    subsets = {
        (service, each.name): each.labels
        for source, rule in destinations
        if (service := docs.local(rule.spec.host, source.name.namespace))
        for each in rule.spec.subsets
    }
    roots = _roots(services)
    rules = [rule for source, doc in services for rule in _rules(source, doc.spec, docs, subsets, roots)]
    sources = [*(source for source, _ in (*services, *destinations)), *(rule.source for rule in wrong)]
    return Routing(PROJECT, (*rules, *wrong), tuple(sources), ordered=False)


def _rules(
    source: Source,
    spec: VirtualServiceSpec,
    docs: Documents,
    subsets: _Subsets,
    roots: Mapping[NamespacedName, Source],
) -> Iterator[Rule]:
    namespace = source.name.namespace
    hosts = tuple(_host(each, docs, namespace) for each in spec.hosts)
    root = roots.get(source.name, "a root VirtualService, which is not in the input,")
    problems = () if hosts else (f"it has no hosts: {root} delegates to it",)
    for number, route in enumerate(spec.http):
        backends = tuple(
            _backend(each.destination, docs, namespace, subsets, _weight(each, len(route.route)))
            for each in route.route
        )
        elsewhere = route.redirect or route.direct_response or route.delegate
        mirrors = tuple(
            Mirror(_backend(to, docs, namespace, subsets), percent(share), assumed=_without_effect(route))
            for to, share in _mirrors(route)
        )
        for match in route.match or [HttpMatch()]:
            yield Rule(
                source,
                ("spec", "http", number),
                hosts,
                match_of(match),
                () if elsewhere else backends,
                mirrors,
                problems,
            )


def _host(host: str, docs: Documents, namespace: str) -> str:
    service = docs.local(host, namespace)
    return docs.own_name(service) if service else host


def _weight(each: RouteDestination, count: int) -> int:
    return each.weight or 0 if count > 1 else 1


def _mirrors(route: HttpRoute) -> Iterator[tuple[Destination, float]]:
    if route.mirror:
        share = route.mirror_percentage
        yield route.mirror, share.value if share else _or_all(route.mirror_percent)
    for each in route.mirrors:
        yield each.destination, each.percentage.value


def _without_effect(route: HttpRoute) -> tuple[str, ...]:
    said = route.mirror_percentage is not None or route.mirror_percent is not None
    if not said or route.mirror or not route.mirrors:
        return ()
    return ("mirrorPercentage has no effect: each of `mirrors` has its own percentage",)


def _roots(services: Iterable[tuple[Source, VirtualService]]) -> dict[NamespacedName, Source]:
    """The delegating VirtualService, by the name of the delegate."""
    found: dict[NamespacedName, Source] = {}
    for source, doc in services:
        for each in (route.delegate for route in doc.spec.http if isinstance(route.delegate, Mapping)):
            name = str(each.get("name")), str(each.get("namespace") or source.name.namespace)
            found.setdefault(NamespacedName(name[1], name[0]), source)
    return found


def _or_all(percent: int | None) -> int:
    return 100 if percent is None else percent


def _backend(
    destination: Destination, docs: Documents, namespace: str, subsets: _Subsets, weight: int = 1
) -> Backend:
    service = docs.local(destination.host, namespace)
    subset = None
    if destination.subset:
        labels = subsets.get((service, destination.subset)) if service else None
        subset = Subset(destination.subset, labels)
    return Backend(service, destination.host, destination.port.number, subset, weight)


def match_of(match: HttpMatch) -> Match:
    """A match, which Flagger has too."""
    others: list[str] = []
    headers = [*_headers(match.headers, others), *_without(match.without_headers, others)]
    others += [f"the query parameter {name}" for name in match.query_params]
    others += [f"the label {name} of the client workload" for name in match.source_labels]
    others += [f"the {name.replace('_', ' ')}" for name in _NAMED if getattr(match, name)]
    path = _path(match, others)
    methods = _methods(match.method, others)
    return Match(path, methods, tuple(headers), tuple(others))


def _path(match: HttpMatch, others: list[str]) -> Path | None:
    uri = match.uri or Text()
    if match.ignore_uri_case and match.uri:
        others.append("a path that ignores case")
    elif uri.exact is not None:
        return Path(How.EXACT, uri.exact)
    elif uri.prefix is not None:
        return Path(How.PREFIX, uri.prefix)
    elif uri.regex is not None and uri.regex not in (".*", "/.*"):
        return by_regex(uri.regex, others)
    return None


def _methods(method: Text | None, others: list[str]) -> frozenset[str] | None:
    if method and method.exact is not None:
        return frozenset({method.exact})
    if method and (method.prefix is not None or method.regex is not None):
        others.append("the method not exactly")
    return None


def _headers(headers: Mapping[str, Text], others: list[str]) -> Iterator[Header]:
    for name, how in headers.items():
        if how.exact is not None:
            yield Header(name.lower(), How.EXACT, how.exact)
        elif how == Text():
            yield Header(name.lower(), How.PRESENT)
        else:
            others.append(f"the header {name} not exactly")


def _without(headers: Mapping[str, Text], others: list[str]) -> Iterator[Header]:
    for name, how in headers.items():
        if how == Text():
            yield Header(name.lower(), How.ABSENT)
        else:
            others.append(f"the header {name} with another value")
