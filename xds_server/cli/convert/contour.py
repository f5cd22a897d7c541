"""Contour: services of an HTTPProxy's route with ``mirror: true``, including included HTTPProxies.

Contour configures Envoy to try exact paths first, then regular expressions, then the longest prefix, and for
equal paths those with the most header and query conditions. A prefix compares characters.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Annotated, Final, NamedTuple

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import (
    Annotations,
    Document,
    Harmless,
    Metadata,
    Part,
    lost,
    no_hosts,
    stops,
)
from xds_server.cli.convert.reading import by_regex, documents
from xds_server.cli.convert.rules import Backend, Header, How, Match, Mirror, Path, Routing, Rule, Source

PROJECT: Final = "Contour"
GROUPS: Final = ("projectcontour.io",)
PASSED: Final = ("TLSCertificateDelegation", "ContourConfiguration", "ContourDeployment", "ExtensionService")

_CHANGED: Final = "xds-shadow does not change requests to the stable version"
_REJECTED: Final = "requests that it rejects are not mirrored; xds-shadow mirrors them"
_MOST_VISITS: Final = 10_000
"""The maximum of paths through the includes. A document that includes itself is visited once."""

_Rejected = Annotated[object, stops(_REJECTED)]


class ContourAnnotations(Annotations, frozen=True):
    """The Contour instance that it is for."""

    own_prefixes = ("projectcontour.io/",)

    ingress_class: Harmless = msgspec.field(default=None, name="projectcontour.io/ingress.class")


class ContourMetadata(Metadata, frozen=True):
    """``metadata``."""

    annotations: ContourAnnotations = ContourAnnotations()


class HeaderPart(Part, frozen=True):
    """HeaderMatchCondition."""

    name: str = ""
    present: bool = False
    notpresent: bool = False
    exact: str | None = None
    notexact: str | None = None
    contains: str | None = None
    notcontains: str | None = None
    regex: str | None = None
    ignore_case: bool = False
    treat_missing_as_empty: bool = False


class Query(Part, frozen=True):
    """QueryParameterMatchCondition."""

    name: str = ""
    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    regex: str | None = None
    contains: str | None = None
    ignore_case: bool = False
    present: bool = False


class Condition(Part, frozen=True):
    """MatchCondition."""

    prefix: str | None = None
    exact: str | None = None
    regex: str | None = None
    header: HeaderPart | None = None
    query_parameter: Query | None = None


class ServicePart(Part, frozen=True):
    """Service of a route."""

    name: str = ""
    port: int | None = None
    weight: int = 0
    mirror: bool = False
    protocol: Annotated[object, lost("the Service's port declares its protocol")] = None
    health_port: Annotated[object, lost("xds-shadow has no active health checks")] = None
    validation: Annotated[object, lost("xds-shadow connects to endpoints in plain text")] = None
    request_headers_policy: Annotated[object, stops(_CHANGED)] = None
    response_headers_policy: Annotated[object, no_hosts("xds-shadow does not change responses")] = None
    cookie_rewrite_policies: Annotated[object, no_hosts("xds-shadow does not change responses")] = None
    slow_start_policy: Annotated[object, lost("xds-shadow balances all requests alike")] = None


class Route(Part, frozen=True):
    """Route."""

    conditions: list[Condition] = []
    services: list[ServicePart] = []
    enable_websockets: Harmless = None
    permit_insecure: Annotated[
        object, lost("the gateway listener has no TLS; a listener of your own can have it")
    ] = None
    timeout_policy: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    retry_policy: Annotated[object, lost("xds-shadow retries all requests alike")] = None
    health_check_policy: Annotated[object, lost("xds-shadow has no active health checks")] = None
    load_balancer_policy: Annotated[object, lost("xds-shadow balances all requests alike")] = None
    internal_redirect_policy: Annotated[
        object, lost("xds-shadow passes redirects of the stable version to the client")
    ] = None
    path_rewrite_policy: Annotated[
        object, stops("xds-shadow does not rewrite requests to the stable version")
    ] = None
    request_headers_policy: Annotated[object, stops(_CHANGED)] = None
    response_headers_policy: Annotated[object, no_hosts("xds-shadow does not change responses")] = None
    cookie_rewrite_policies: Annotated[object, no_hosts("xds-shadow does not change responses")] = None
    request_redirect_policy: Annotated[
        object, lost("its requests are redirected; xds-shadow has no route for them")
    ] = None
    direct_response_policy: Annotated[
        object, lost("its requests get a direct response; xds-shadow has no route for them")
    ] = None
    auth_policy: _Rejected = None
    rate_limit_policy: _Rejected = None
    jwt_verification_policy: _Rejected = None
    ip_allow_policy: _Rejected = None
    ip_deny_policy: _Rejected = None


class Include(Part, frozen=True):
    """Include."""

    name: str = ""
    namespace: str = ""
    conditions: list[Condition] = []


class VirtualHost(Part, frozen=True):
    """VirtualHost."""

    fqdn: str = ""
    tls: Annotated[
        object, no_hosts("the gateway listener has no TLS; a listener of your own can have it")
    ] = None
    authorization: _Rejected = None
    cors_policy: Annotated[object, stops("it answers preflight requests; xds-shadow mirrors them")] = None
    rate_limit_policy: _Rejected = None
    jwt_providers: _Rejected = None
    ip_allow_policy: _Rejected = None
    ip_deny_policy: _Rejected = None


class Spec(Part, frozen=True):
    """HTTPProxySpec."""

    virtualhost: VirtualHost | None = None
    routes: list[Route] = []
    includes: list[Include] = []
    ingress_class_name: Harmless = None
    tcpproxy: Annotated[object, no_hosts("xds-shadow does not route TCP")] = None


class HTTPProxy(Document, frozen=True):
    """An HTTPProxy."""

    metadata: ContourMetadata = ContourMetadata()
    spec: Spec = Spec()


KINDS: Final[Mapping[str, type[Document]]] = {"HTTPProxy": HTTPProxy}

_Docs = dict[NamespacedName, tuple[Source, HTTPProxy]]


class _Visit(NamedTuple):
    """An HTTPProxy as included from a root: the including documents and their conditions."""

    source: Source
    proxy: HTTPProxy
    host: str
    conditions: tuple[Condition, ...]
    by: tuple[Source, ...]


def routing(docs: Documents) -> Routing:
    """The rules of all HTTPProxies, the most specific first."""
    proxies, wrong = documents(docs, PROJECT, GROUPS, HTTPProxy, "HTTPProxy")
    by_name = {source.name: (source, proxy) for source, proxy in proxies}
    roots = [
        _Visit(source, proxy, proxy.spec.virtualhost.fqdn, (), ())
        for source, proxy in proxies
        if proxy.spec.virtualhost
    ]
    visits = list(islice((visit for root in roots for visit in _visits(root, by_name)), _MOST_VISITS))
    reached = {visit.source for visit in visits}
    found = [rule for visit in visits for rule in _rules(visit)]
    found.sort(key=_order)
    for source, proxy in proxies:
        if source not in reached:
            orphan = _Visit(source, proxy, "", (), ())
            found += _rules(orphan, "the HTTPProxy that includes it is not in the input")
    sources = [source for source, _ in proxies]
    return Routing(PROJECT, (*found, *wrong), (*sources, *(each.source for each in wrong)))


def _visits(visit: _Visit, by_name: _Docs) -> Iterator[_Visit]:
    yield visit
    for include in visit.proxy.spec.includes:
        name = NamespacedName(include.namespace or visit.source.name.namespace, include.name)
        if name in by_name and by_name[name][0] not in (visit.source, *visit.by):
            source, proxy = by_name[name]
            conditions = (*visit.conditions, *include.conditions)
            yield from _visits(
                _Visit(source, proxy, visit.host, conditions, (*visit.by, visit.source)), by_name
            )


def _rules(visit: _Visit, problem: str = "") -> Iterator[Rule]:
    """The rules of one visit. Settings of the including documents also apply to them."""
    above = tuple(
        note for source in visit.by for note in source.notes if note.place[:2] == ("spec", "virtualhost")
    )
    problems = tuple(filter(None, [problem]))
    namespace = visit.source.name.namespace
    for number, route in enumerate(visit.proxy.spec.routes):
        place = ("spec", "routes", number)
        match = _match((*visit.conditions, *route.conditions))
        elsewhere = route.request_redirect_policy or route.direct_response_policy
        services = [each for each in route.services if not each.mirror]
        # If all weights are 0, Contour treats them as not set.
        given = any(each.weight for each in services)
        backends = [_backend(each, namespace, each.weight if given else 1) for each in services]
        mirrors = [
            Mirror(_backend(each, namespace), Decimal(each.weight or 100))
            for each in route.services
            if each.mirror
        ]
        hosts = (visit.host,) if visit.host else ()
        yield Rule(
            visit.source,
            place,
            hosts,
            match,
            () if elsewhere else tuple(backends),
            tuple(mirrors),
            problems,
            above,
        )


def _backend(each: ServicePart, namespace: str, weight: int = 1) -> Backend:
    service = NamespacedName(namespace, each.name) if each.name else None
    return Backend(service, each.name, each.port, weight=weight)


def _order(rule: Rule) -> tuple[int, int, int]:
    path, others = rule.match.path, rule.match.others
    regex = any(each.startswith("the path") for each in others)
    rank = 0 if path and path.how is How.EXACT else 1 if regex else 2
    return rank, -len(path.value if path else ""), -len(rule.match.headers) - len(others)


def _match(conditions: Sequence[Condition]) -> Match:
    """The combined conditions of all includes: prefixes are concatenated."""
    others: list[str] = []
    headers: list[Header] = []
    prefix, exact = "", ""
    regex: Path | None = None
    for each in conditions:
        if each.prefix is not None:
            prefix = _put_together(prefix, each.prefix)
        exact = each.exact or exact
        if each.regex is not None:
            regex = by_regex(each.regex, others)
        if each.header:
            headers += _header(each.header, others)
        if each.query_parameter:
            others.append(f"the query parameter {each.query_parameter.name}")
    path = Path(How.EXACT, _put_together(prefix, exact)) if exact else Path(How.PREFIX, prefix or "/")
    if regex and not prefix:
        path = regex
    return Match(path, None, tuple(headers), tuple(others))


def _put_together(first: str, second: str) -> str:
    return f"{first.rstrip('/')}/{second.lstrip('/')}" if first else second


def _header(header: HeaderPart, others: list[str]) -> Iterator[Header]:
    name = header.name.lower()
    if header.exact is not None and not header.ignore_case:
        yield Header(name, How.EXACT, header.exact)
    elif header.present:
        yield Header(name, How.PRESENT)
    elif header.notpresent:
        yield Header(name, How.ABSENT)
    else:
        others.append(f"the header {header.name}, which is neither matched exactly nor only present")
