"""Gateway API: the filter ``RequestMirror`` of HTTPRoutes and GRPCRoutes, of Envoy Gateway and others.

The order of the specification: the most specific host, an exact path, the longest prefix, a method, the most
headers, the most query parameters, the oldest route.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Final

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import Document, Harmless, Part, PlainMetadata, lost, no_hosts, stops
from xds_server.cli.convert.gateway_parents import Attached, ParentRef, note_parents
from xds_server.cli.convert.reading import by_regex, documents
from xds_server.cli.convert.rules import Backend, Header, How, Match, Mirror, Path, Routing, Rule, Source

PROJECT: Final = "Gateway API"
GROUPS: Final = ("gateway.networking.k8s.io", "gateway.envoyproxy.io")
PASSED: Final = (
    "Backend",
    "BackendTLSPolicy",
    "EnvoyProxy",
    "GatewayClass",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "UDPRoute",
)

_CHANGED = "xds-shadow does not change requests to the stable version"


class BackendRef(Part, frozen=True):
    """BackendObjectReference."""

    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str = ""
    port: int | None = None


class Fraction(Part, frozen=True):
    """Fraction."""

    numerator: int = 0
    denominator: int = 100


class RequestMirror(Part, frozen=True):
    """HTTPRequestMirrorFilter."""

    backend_ref: BackendRef = BackendRef()
    percent: int | None = None
    fraction: Fraction | None = None


class Filter(Part, frozen=True):
    """HTTPRouteFilter and GRPCRouteFilter."""

    type: str = ""
    request_mirror: RequestMirror | None = None
    request_header_modifier: Annotated[object, stops(_CHANGED)] = None
    response_header_modifier: Annotated[object, no_hosts("xds-shadow does not change responses")] = None
    request_redirect: Annotated[
        object, lost("its requests are redirected; xds-shadow has no route for them")
    ] = None
    url_rewrite: Annotated[object, stops("xds-shadow does not rewrite requests to the stable version")] = None
    cors: Annotated[object, stops("it answers preflight requests; xds-shadow mirrors them")] = None
    external_auth: Annotated[
        object, stops("requests that it rejects are not mirrored; xds-shadow mirrors them")
    ] = None
    extension_ref: Annotated[object, stops("its effect is not known to xds-shadow")] = None


class WeightedRef(BackendRef, frozen=True):
    """HTTPBackendRef and GRPCBackendRef."""

    weight: int = 1
    filters: list[Filter] = []


class PathPart(Part, frozen=True):
    """HTTPPathMatch."""

    type: str = "PathPrefix"
    value: str = "/"


class Named(Part, frozen=True):
    """HTTPHeaderMatch, GRPCHeaderMatch and HTTPQueryParamMatch."""

    type: str = "Exact"
    name: str = ""
    value: str = ""


class HttpMatch(Part, frozen=True):
    """HTTPRouteMatch."""

    path: PathPart = PathPart()
    headers: list[Named] = []
    query_params: list[Named] = []
    method: str | None = None


class GrpcMethod(Part, frozen=True):
    """GRPCMethodMatch."""

    type: str = "Exact"
    service: str = ""
    method: str = ""


class GrpcMatch(Part, frozen=True):
    """GRPCRouteMatch."""

    method: GrpcMethod | None = None
    headers: list[Named] = []


class BaseRule(Part, frozen=True):
    """The common fields of the rules of both kinds."""

    name: Harmless = None
    filters: list[Filter] = []
    backend_refs: list[WeightedRef] = []
    session_persistence: Annotated[object, lost("xds-shadow has no session affinity")] = None


class HttpRule(BaseRule, frozen=True):
    """HTTPRouteRule."""

    matches: list[HttpMatch] = []
    timeouts: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    retry: Annotated[object, lost("xds-shadow retries all requests alike")] = None


class GrpcRule(BaseRule, frozen=True):
    """GRPCRouteRule."""

    matches: list[GrpcMatch] = []


class HttpSpec(Part, frozen=True):
    """HTTPRouteSpec."""

    parent_refs: list[ParentRef] = []
    use_default_gateways: Harmless = None
    hostnames: list[str] = []
    rules: list[HttpRule] = []


class GrpcSpec(Part, frozen=True):
    """GRPCRouteSpec."""

    parent_refs: list[ParentRef] = []
    use_default_gateways: Harmless = None
    hostnames: list[str] = []
    rules: list[GrpcRule] = []


class HTTPRoute(Document, frozen=True):
    """An HTTPRoute."""

    metadata: PlainMetadata = PlainMetadata()
    spec: HttpSpec = HttpSpec()


class GRPCRoute(Document, frozen=True):
    """A GRPCRoute."""

    metadata: PlainMetadata = PlainMetadata()
    spec: GrpcSpec = GrpcSpec()


KINDS: Final[Mapping[str, type[Document]]] = {"HTTPRoute": HTTPRoute, "GRPCRoute": GRPCRoute}

_Order = tuple[int, int, int, int, int]


def routing(docs: Documents) -> Routing:
    """The rules of all routes, the most specific first."""
    http, wrong = documents(docs, PROJECT, GROUPS, HTTPRoute, "HTTPRoute")
    grpc, further = documents(docs, PROJECT, GROUPS, GRPCRoute, "GRPCRoute")
    found: list[tuple[_Order, Rule]] = []
    for source, route in http:
        for number, rule in enumerate(route.spec.rules):
            matches = [_http_match(each) for each in rule.matches or [HttpMatch()]]
            found += _rules(source, route.spec.hostnames, number, rule, matches)
    for source, call in grpc:
        for number, each in enumerate(call.spec.rules):
            matches = [_grpc_match(one) for one in each.matches or [GrpcMatch()]]
            calls = _rules(source, call.spec.hostnames, number, each, matches)
            found += [(order, replace(rule, grpc=True)) for order, rule in calls]
    found.sort(key=lambda each: each[0])
    sources = [source for source, _ in http] + [source for source, _ in grpc]
    routes = [Attached(source, doc.spec.parent_refs, doc.spec.hostnames) for source, doc in http]
    routes += [Attached(source, doc.spec.parent_refs, doc.spec.hostnames) for source, doc in grpc]
    note_parents(routes, docs)
    unreadable = (*wrong, *further)
    rules = (*(rule for _, rule in found), *unreadable)
    return Routing(PROJECT, rules, (*sources, *(each.source for each in unreadable)), falls_through=True)


def _rules(
    source: Source, hosts: list[str], number: int, rule: BaseRule, matches: list[tuple[Match, int]]
) -> Iterator[tuple[_Order, Rule]]:
    namespace = source.name.namespace
    filters = [*rule.filters, *(each for ref in rule.backend_refs for each in ref.filters)]
    redirected = any(each.request_redirect for each in filters)
    backends = tuple(_backend(each, namespace, each.weight) for each in rule.backend_refs)
    mirrors = tuple(_mirror(each.request_mirror, namespace) for each in filters if each.request_mirror)
    for match, queries in matches:
        path = match.path
        order = (
            # The order of regular expressions depends on the implementation; here they precede all prefixes.
            0
            if path and path.how is How.EXACT
            else 1
            if any("the path" in each for each in match.others)
            else 2,
            -len(path.value if path else ""),
            0 if match.methods else 1,
            -len(match.headers) - sum(each.startswith("the header") for each in match.others),
            -queries,
        )
        place = ("spec", "rules", number)
        yield (
            order,
            Rule(source, place, tuple(hosts) or ("*",), match, () if redirected else backends, mirrors),
        )


def _backend(ref: BackendRef, namespace: str, weight: int = 1) -> Backend:
    is_service = ref.kind == "Service" and ref.group in ("", "core")
    service = NamespacedName(ref.namespace or namespace, ref.name) if is_service and ref.name else None
    return Backend(service, f"{ref.kind} {ref.name}", ref.port, weight=weight)


def _mirror(mirror: RequestMirror, namespace: str) -> Mirror:
    backend = _backend(mirror.backend_ref, namespace)
    if mirror.fraction is None:
        return Mirror(backend, Decimal(100 if mirror.percent is None else mirror.percent))
    numerator, denominator = mirror.fraction.numerator, mirror.fraction.denominator
    if denominator <= 0:
        return Mirror(backend, problems=(f"the fraction {numerator} of {denominator}",))
    return Mirror(backend, Decimal(numerator) * 100 / Decimal(denominator))


def _http_match(match: HttpMatch) -> tuple[Match, int]:
    others: list[str] = []
    hows = {"PathPrefix": How.SEGMENT, "Exact": How.EXACT}
    path: Path | None = None
    if match.path.type in hows:
        path = Path(hows[match.path.type], match.path.value)
    else:
        path = by_regex(match.path.value, others)
    headers = _headers(match.headers, others)
    others += [f"the query parameter {each.name}" for each in match.query_params]
    methods = frozenset({match.method}) if match.method else None
    return Match(path, methods, headers, tuple(others)), len(match.query_params)


def _grpc_match(match: GrpcMatch) -> tuple[Match, int]:
    others: list[str] = []
    path = None
    method = match.method or GrpcMethod()
    if method.type != "Exact":
        others.append(f"the gRPC method by {method.type}")
    elif method.service and method.method:
        path = Path(How.EXACT, f"/{method.service}/{method.method}")
    elif method.service:
        path = Path(How.PREFIX, f"/{method.service}/")
    elif method.method:
        others.append(f"the gRPC method {method.method} of any service")
    return Match(path, None, _headers(match.headers, others), tuple(others)), 0


def _headers(headers: list[Named], others: list[str]) -> tuple[Header, ...]:
    """The first condition of each name, as the specification requires."""
    found: dict[str, Named] = {}
    for each in headers:
        found.setdefault(each.name.lower(), each)
    others += [f"the header {each.name} by {each.type}" for each in found.values() if each.type != "Exact"]
    return tuple(Header(name, How.EXACT, each.value) for name, each in found.items() if each.type == "Exact")
