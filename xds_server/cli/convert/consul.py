"""Consul: ``request_mirror_policies`` in an escape hatch, which contains Envoy configuration.

The routing of Consul (ServiceRouter, ServiceSplitter) does not support mirroring. In an escape hatch the
route configuration of a listener's HTTP connection manager is read; everything else is reported.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import (
    Document,
    Fate,
    Harmless,
    Note,
    Part,
    Place,
    PlainMetadata,
    lost,
    no_hosts,
    read,
    stops,
)
from xds_server.cli.convert.reading import by_regex, documents, not_understood
from xds_server.cli.convert.rules import Backend, Header, How, Match, Mirror, Path, Routing, Rule, Source

PROJECT: Final = "Consul"
GROUPS: Final = ("consul.hashicorp.com",)
PASSED: Final = ("ExportedServices", "SamenessGroup", "TerminatingGateway")

_ENVOY: Final = "Envoy configuration that is not read"
_Not = Annotated[object, stops(_ENVOY)]
_Consul: Final = "a setting of Consul's proxies"
_Lost = Annotated[object, lost(_Consul)]


class Envoy(Part, frozen=True, rename=None):
    """A message of Envoy, in JSON."""


class Regex(Envoy, frozen=True):
    """RegexMatcher."""

    regex: str = ""
    google_re2: Harmless = None


class StringMatch(Envoy, frozen=True):
    """StringMatcher."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    contains: str | None = None
    safe_regex: Regex | None = None
    ignore_case: bool = False


class HeaderPart(Envoy, frozen=True):
    """HeaderMatcher."""

    name: str = ""
    string_match: StringMatch | None = None
    exact_match: str | None = None
    present_match: bool | None = None
    invert_match: bool = False


class MatchPart(Envoy, frozen=True):
    """RouteMatch."""

    prefix: str | None = None
    path: str | None = None
    path_separated_prefix: str | None = None
    safe_regex: Regex | None = None
    case_sensitive: bool = True
    headers: list[HeaderPart] = []
    query_parameters: _Not = None
    runtime_fraction: _Not = None


class Share(Envoy, frozen=True):
    """FractionalPercent."""

    numerator: int = 0
    denominator: str = "HUNDRED"


class RuntimeShare(Envoy, frozen=True):
    """RuntimeFractionalPercent."""

    default_value: Share = Share()
    runtime_key: Annotated[object, lost("xds-shadow has no runtime key for the percentage")] = None


class MirrorPolicy(Envoy, frozen=True):
    """RequestMirrorPolicy."""

    cluster: str = ""
    runtime_fraction: RuntimeShare = RuntimeShare(default_value=Share(numerator=100))
    trace_sampled: Harmless = None
    disable_shadow_host_suffix_append: Harmless = None


class Action(Envoy, frozen=True):
    """RouteAction."""

    cluster: str = ""
    request_mirror_policies: list[MirrorPolicy] = []
    timeout: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    idle_timeout: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    retry_policy: Annotated[object, lost("xds-shadow retries all requests alike")] = None
    prefix_rewrite: Annotated[object, stops("xds-shadow does not rewrite requests to the stable version")] = (
        None
    )


class Route(Envoy, frozen=True):
    """Route."""

    name: Harmless = None
    match: MatchPart = MatchPart()
    route: Action | None = None
    redirect: Annotated[object, lost("its requests are redirected; xds-shadow has no route for them")] = None
    direct_response: Annotated[
        object, lost("its requests get a direct response; xds-shadow has no route for them")
    ] = None


class VirtualHost(Envoy, frozen=True):
    """VirtualHost."""

    name: Harmless = None
    domains: list[str] = []
    routes: list[Route] = []


class RouteConfig(Envoy, frozen=True):
    """RouteConfiguration."""

    name: Harmless = None
    virtual_hosts: list[VirtualHost] = []


class HttpFilter(Envoy, frozen=True):
    """HttpFilter. Only the router does not change requests."""

    name: str = ""
    typed_config: Harmless = None


class ManagerConfig(Envoy, frozen=True):
    """HttpConnectionManager."""

    type: Harmless = msgspec.field(default=None, name="@type")
    stat_prefix: Harmless = None
    codec_type: Harmless = None
    route_config: RouteConfig | None = None
    http_filters: list[HttpFilter] = []
    access_log: Annotated[object, lost("xds-shadow has its own access logs")] = None
    tracing: Annotated[object, lost("xds-shadow has its own traces")] = None


class NetworkFilter(Envoy, frozen=True):
    """Filter."""

    name: Harmless = None
    typed_config: ManagerConfig = ManagerConfig()


class Chain(Envoy, frozen=True):
    """FilterChain."""

    filters: list[NetworkFilter] = []
    transport_socket: Annotated[object, no_hosts("the gateway listener has no TLS")] = None
    filter_chain_match: Annotated[object, stops("its conditions on connections are not read")] = None


class Listener(Envoy, frozen=True):
    """Listener of an escape hatch."""

    type: Harmless = msgspec.field(default=None, name="@type")
    name: Harmless = None
    address: Harmless = None
    traffic_direction: Harmless = None
    stat_prefix: Harmless = None
    filter_chains: list[Chain] = []


class Hatches(Part, frozen=True):
    """Settings of an upstream."""

    name: Harmless = None
    envoy_listener_json: str = msgspec.field(default="", name="envoyListenerJSON")
    envoy_cluster_json: _Not = msgspec.field(default=None, name="envoyClusterJSON")
    protocol: _Lost = None
    connect_timeout_ms: _Lost = None
    limits: _Lost = None
    passive_health_check: _Lost = None
    mesh_gateway: _Lost = None
    balance_outbound_connections: _Lost = None


class Upstreams(Part, frozen=True):
    """Upstreams."""

    defaults: Hatches = Hatches()
    overrides: list[Hatches] = []


class ServiceSpec(Part, frozen=True):
    """ServiceDefaultsSpec."""

    protocol: _Lost = None
    mode: _Lost = None
    mesh_gateway: _Lost = None
    max_inbound_connections: _Lost = None
    local_connect_timeout_ms: _Lost = None
    local_request_timeout_ms: _Lost = None
    balance_inbound_connections: _Lost = None
    external_sni: _Lost = msgspec.field(default=None, name="externalSNI")
    upstream_config: Upstreams = Upstreams()
    envoy_extensions: _Not = None
    rate_limits: Annotated[
        object, stops("requests that it rejects are not mirrored; xds-shadow mirrors them")
    ] = None


class Config(Part, frozen=True, rename=None):
    """Settings of the proxies."""

    envoy_public_listener_json: str = ""
    envoy_listener_json: str = ""
    envoy_cluster_json: _Not = None
    envoy_local_cluster_json: _Not = None
    envoy_bootstrap_json_tpl: _Not = None
    envoy_extra_static_clusters_json: _Not = None
    envoy_extra_static_listeners_json: _Not = None
    envoy_prometheus_bind_addr: Harmless = None
    envoy_stats_bind_addr: Harmless = None
    envoy_stats_flush_interval: Harmless = None
    protocol: _Lost = None
    local_connect_timeout_ms: _Lost = None
    local_request_timeout_ms: _Lost = None
    local_idle_timeout_ms: _Lost = None


class ProxySpec(Part, frozen=True):
    """ProxyDefaultsSpec."""

    config: Config = Config()
    mode: _Lost = None
    mesh_gateway: _Lost = None
    expose: _Lost = None
    access_logs: _Lost = None
    envoy_extensions: _Not = None
    failover_policy: _Lost = None
    prioritize_by_locality: _Lost = None


class ServiceDefaults(Document, frozen=True):
    """A ServiceDefaults."""

    metadata: PlainMetadata = PlainMetadata()
    spec: ServiceSpec = ServiceSpec()


class ProxyDefaults(Document, frozen=True):
    """A ProxyDefaults."""

    metadata: PlainMetadata = PlainMetadata()
    spec: ProxySpec = ProxySpec()


KINDS: Final[Mapping[str, type[Document]]] = {
    "ServiceDefaults": ServiceDefaults,
    "ProxyDefaults": ProxyDefaults,
}
INSIDE: Final[Mapping[str, type[Part]]] = {"A listener in an escape hatch": Listener}

_MILLIONTHS: Final = {"HUNDRED": 1, "TEN_THOUSAND": 100, "MILLION": 10_000}


def routing(docs: Documents) -> Routing:
    """The rules of all escape hatches, each in the order of Envoy."""
    services, wrong = documents(docs, PROJECT, GROUPS, ServiceDefaults, "ServiceDefaults")
    proxies, broken = documents(docs, PROJECT, GROUPS, ProxyDefaults, "ProxyDefaults")
    hatches = [(source, hatch) for source, doc in services for hatch in _of_service(doc.spec)]
    hatches += [(source, hatch) for source, doc in proxies for hatch in _of_proxies(doc.spec.config)]
    rules = [rule for source, (place, text) in hatches for rule in _rules(source, place, text, docs)]
    unreadable = (*wrong, *broken)
    sources = (*(source for source, _ in (*services, *proxies)), *(each.source for each in unreadable))
    return Routing(PROJECT, (*rules, *unreadable), sources, ordered=False)


def _of_service(spec: ServiceSpec) -> Iterator[tuple[Place, str]]:
    place: Place = ("spec", "upstreamConfig")
    if spec.upstream_config.defaults.envoy_listener_json:
        yield (*place, "defaults", "envoyListenerJSON"), spec.upstream_config.defaults.envoy_listener_json
    for number, each in enumerate(spec.upstream_config.overrides):
        if each.envoy_listener_json:
            yield (*place, "overrides", number, "envoyListenerJSON"), each.envoy_listener_json


def _of_proxies(config: Config) -> Iterator[tuple[Place, str]]:
    for name in ("envoy_public_listener_json", "envoy_listener_json"):
        if text := getattr(config, name):
            yield ("spec", "config", name), text


def _rules(source: Source, place: Place, text: str, docs: Documents) -> Iterator[Rule]:
    try:
        listener = msgspec.json.decode(text)
    except msgspec.DecodeError:
        listener = None
    if not isinstance(listener, Mapping):
        source.notes += (Note(place, Fate.STOPS, "not a JSON object"),)
        yield not_understood(source)
        return
    reading = read(Listener, listener)
    source.notes += tuple(Note((*place, *note.place), note.fate, note.why) for note in reading.notes)
    if reading.value is None:
        yield not_understood(source)
        return
    for chain_number, chain in enumerate(reading.value.filter_chains):
        for number, each in enumerate(chain.filters):
            where = (*place, "filter_chains", chain_number, "filters", number, "typed_config")
            yield from _managed(source, where, each.typed_config, docs)


def _managed(source: Source, place: Place, manager: ManagerConfig, docs: Documents) -> Iterator[Rule]:
    for number, each in enumerate(manager.http_filters):
        if each.name not in ("envoy.filters.http.router", "envoy.router"):
            note = Note((*place, "http_filters", number), Fate.STOPS, _ENVOY)
            source.notes += (note,)
    config = manager.route_config or RouteConfig()
    for host_number, host in enumerate(config.virtual_hosts):
        for number, route in enumerate(host.routes):
            where = (*place, "route_config", "virtual_hosts", host_number, "routes", number)
            action = route.route
            backends = (_backend(action.cluster, docs, source),) if action else ()
            mirrors = tuple(
                _mirror(each, docs, source) for each in (action or Action()).request_mirror_policies
            )
            yield Rule(source, where, tuple(host.domains), _match(route.match), backends, mirrors)


def _backend(cluster: str, docs: Documents, source: Source) -> Backend:
    """The backend of a cluster. Consul names it after its service, ``web.default.dc1.internal.….consul``; it
    is the Service of that name if the input has it."""
    name = NamespacedName(source.name.namespace, cluster.partition(".")[0])
    return Backend(name if name in docs.services else None, f"cluster {cluster}")


def _mirror(policy: MirrorPolicy, docs: Documents, source: Source) -> Mirror:
    share = policy.runtime_fraction.default_value
    backend = _backend(policy.cluster, docs, source)
    if share.denominator not in _MILLIONTHS:
        return Mirror(backend, problems=(f"the denominator {share.denominator}",))
    return Mirror(backend, Decimal(share.numerator) / _MILLIONTHS[share.denominator])


def _match(match: MatchPart) -> Match:
    others: list[str] = []
    headers: list[Header] = []
    methods = None
    for each in match.headers:
        exact = each.exact_match
        if each.string_match and each.string_match == StringMatch(exact=each.string_match.exact):
            exact = each.string_match.exact
        if exact is not None and not each.invert_match:
            if each.name == ":method":
                methods = frozenset({exact})
            else:
                headers.append(Header(each.name.lower(), How.EXACT, exact))
        elif each.present_match is not None and not each.string_match:
            there = each.present_match is not each.invert_match
            headers.append(Header(each.name.lower(), How.PRESENT if there else How.ABSENT))
        else:
            others.append(f"the header {each.name} not exactly")
    return Match(_path(match, others), methods, tuple(headers), tuple(others))


def _path(match: MatchPart, others: list[str]) -> Path | None:
    if match.safe_regex is not None:
        return by_regex(match.safe_regex.regex, others)
    if not match.case_sensitive:
        others.append("a path that ignores case")
        return None
    if match.path is not None:
        return Path(How.EXACT, match.path)
    if match.path_separated_prefix is not None:
        return Path(How.SEGMENT, match.path_separated_prefix)
    return Path(How.PREFIX, match.prefix or "/")
