"""Emissary: a Mapping with ``shadow: true``, beside the one with the same host, prefix and conditions.

Emissary configures Envoy to try the highest precedence first, then the longest prefix, then the most
conditions. A prefix compares characters. It is rewritten to ``/`` unless the Mapping sets ``rewrite``.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final

from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import Document, Harmless, Part, PlainMetadata, lost, no_hosts, stops
from xds_server.cli.convert.reading import address, by_regex, documents
from xds_server.cli.convert.rules import Backend, Header, How, Match, Mirror, Path, Routing, Rule, Source

PROJECT: Final = "Emissary"
GROUPS: Final = ("getambassador.io",)
PASSED: Final = (
    "ConsulResolver",
    "DevPortal",
    "KubernetesEndpointResolver",
    "KubernetesServiceResolver",
    "Listener",
    "LogService",
    "TracingService",
)

_CHANGED: Final = "xds-shadow does not change requests to the stable version"
_Balanced = Annotated[object, lost("xds-shadow balances, limits and retries all requests alike")]
_Timed = Annotated[object, lost("xds-shadow sets no route timeout for the stable version")]
_Changed = Annotated[object, stops(_CHANGED)]
_Answers = Annotated[object, no_hosts("xds-shadow does not change responses")]
_Refused = Annotated[object, stops("requests that it rejects are not mirrored; xds-shadow mirrors them")]
_Redirected = Annotated[object, lost("its requests are redirected; xds-shadow has no route for them")]


class Spec(Part, frozen=True, rename=None):
    """MappingSpec."""

    hostname: str = ""
    host: str = ""
    host_regex: bool = False
    prefix: str = ""
    prefix_exact: bool = False
    prefix_regex: bool = False
    case_sensitive: bool = True
    method: str = ""
    method_regex: bool = False
    headers: dict[str, bool | str] = {}
    regex_headers: dict[str, str] = {}
    query_parameters: dict[str, bool | str] = {}
    regex_query_parameters: dict[str, str] = {}
    precedence: int = 0
    rewrite: str | None = None
    service: str = ""
    shadow: bool = False
    weight: int | None = None
    host_redirect: bool = False
    path_redirect: _Redirected = None
    prefix_redirect: _Redirected = None
    regex_redirect: _Redirected = None
    redirect_response_code: _Redirected = None
    regex_rewrite: _Changed = None
    add_request_headers: _Changed = None
    remove_request_headers: _Changed = None
    add_linkerd_headers: _Changed = None
    host_rewrite: _Changed = None
    auto_host_rewrite: _Changed = None
    add_response_headers: _Answers = None
    remove_response_headers: _Answers = None
    error_response_overrides: _Answers = None
    bypass_error_response_overrides: _Answers = None
    auth_context_extensions: _Refused = None
    bypass_auth: Annotated[object, lost("xds-shadow does not authenticate requests")] = None
    cors: Annotated[object, stops("it answers preflight requests; xds-shadow mirrors them")] = None
    labels: _Refused = None
    modules: _Changed = None
    envoy_override: Annotated[object, stops("its effect is not known to xds-shadow")] = None
    tls: Annotated[object, no_hosts("xds-shadow connects to endpoints in plain text")] = None
    grpc: Annotated[object, lost("the Service's port declares its protocol")] = None
    timeout_ms: _Timed = None
    connect_timeout_ms: _Timed = None
    cluster_idle_timeout_ms: _Timed = None
    cluster_max_connection_lifetime_ms: _Timed = None
    idle_timeout_ms: _Timed = None
    retry_policy: _Balanced = None
    circuit_breakers: _Balanced = None
    load_balancer: _Balanced = None
    health_checks: _Balanced = None
    keepalive: _Balanced = None
    dns_type: _Balanced = None
    respect_dns_ttl: _Balanced = None
    resolver: _Balanced = None
    enable_ipv4: _Balanced = None
    enable_ipv6: _Balanced = None
    allow_upgrade: Harmless = None
    use_websocket: Harmless = None
    ambassador_id: Harmless = None
    cluster_tag: Harmless = None
    stats_name: Harmless = None
    docs: Harmless = None


class Mapping(Document, frozen=True):
    """A Mapping."""

    metadata: PlainMetadata = PlainMetadata()
    spec: Spec = Spec()


KINDS: Final[dict[str, type[Document]]] = {"Mapping": Mapping}

_Group = tuple[Any, ...]


def routing(docs: Documents) -> Routing:
    """A rule for each group of Mappings, the most specific first."""
    mappings, wrong = documents(docs, PROJECT, GROUPS, Mapping, "Mapping")
    groups: dict[_Group, list[tuple[Source, Spec]]] = {}
    for source, mapping in mappings:
        groups.setdefault(_group(mapping.spec), []).append((source, mapping.spec))
    rules = [_rule(groups[key], docs) for key in sorted(groups, key=_order)]
    sources = [source for source, _ in mappings]
    return Routing(PROJECT, (*rules, *wrong), (*sources, *(each.source for each in wrong)))


def _rule(group: Sequence[tuple[Source, Spec]], docs: Documents) -> Rule:
    """One rule for the serving Mappings, with a mirror for each shadow."""
    serving = [(source, spec) for source, spec in group if not spec.shadow]
    shadows = [(source, spec) for source, spec in group if spec.shadow]
    backends = tuple(_backend(source, spec, docs, len(serving)) for source, spec in serving)
    mirrors = tuple(_mirror(source, spec, docs) for source, spec in shadows)
    match, problems = _match(group[0][1]), _rewrites(serving)
    if not serving:
        problems = ("the Mapping of the same host, prefix and conditions without shadow is not in the input",)
    if any(spec.host_redirect for _, spec in serving):
        backends = ()
    source, spec = (shadows or serving)[0]
    above = tuple(note for other, _ in group if other is not source for note in other.notes)
    return Rule(source, (), (_host(spec),), match, backends, mirrors, problems, above)


def _group(spec: Spec) -> _Group:
    return (
        spec.precedence,
        _host(spec),
        spec.host_regex,
        spec.prefix,
        spec.prefix_regex,
        spec.prefix_exact,
        spec.case_sensitive,
        spec.method,
        spec.method_regex,
        tuple(sorted((name, str(value)) for name, value in spec.headers.items())),
        tuple(sorted(spec.regex_headers.items())),
        tuple(sorted((name, str(value)) for name, value in spec.query_parameters.items())),
        tuple(sorted(spec.regex_query_parameters.items())),
    )


def _order(group: _Group) -> tuple[int, int, int, _Group]:
    conditions = sum(len(each) for each in group[9:])
    return -group[0], -len(group[3]), -conditions - bool(group[7]), group


def _host(spec: Spec) -> str:
    return "*" if spec.host_regex else spec.hostname or spec.host or "*"


def _backend(source: Source, spec: Spec, docs: Documents, count: int) -> Backend:
    service, port, path = address(docs, spec.service, source.name.namespace)
    weight = spec.weight if spec.weight is not None and count > 1 else 1
    return Backend(service if not path else None, spec.service, port, weight=weight)


def _mirror(source: Source, spec: Spec, docs: Documents) -> Mirror:
    share = Decimal(100 if spec.weight is None else spec.weight)
    return Mirror(_backend(source, spec, docs, 1), share, source=source)


def _rewrites(serving: Sequence[tuple[Source, Spec]]) -> tuple[str, ...]:
    """The default rewrite of requests to the stable version, if it changes them."""
    for source, spec in serving:
        new = "/" if spec.rewrite is None else spec.rewrite
        if new not in ("", spec.prefix) and not spec.prefix_regex:
            how = "spec.rewrite" if spec.rewrite is not None else "the default of spec.rewrite"
            return (f"{source}: {how} rewrites {spec.prefix} to {new} for the stable version",)
    return ()


def _match(spec: Spec) -> Match:
    others: list[str] = []
    path: Path | None = Path(How.EXACT if spec.prefix_exact else How.PREFIX, spec.prefix or "/")
    if spec.prefix_regex:
        path = by_regex(spec.prefix, others)
    if not spec.case_sensitive:
        others.append("a path that ignores case")
    if spec.method_regex:
        others.append(f"the method by the regular expression {spec.method}")
    if spec.host_regex:
        others.append(f"the host by the regular expression {spec.hostname or spec.host}")
    others += [f"the header {name} by a regular expression" for name in spec.regex_headers]
    others += [
        f"the query parameter {name}" for name in (*spec.query_parameters, *spec.regex_query_parameters)
    ]
    methods = frozenset({spec.method}) if spec.method and not spec.method_regex else None
    return Match(path if spec.case_sensitive else None, methods, tuple(_headers(spec)), tuple(others))


def _headers(spec: Spec) -> Iterator[Header]:
    for name, value in spec.headers.items():
        if isinstance(value, bool):
            yield Header(name.lower(), How.PRESENT if value else How.ABSENT)
        else:
            yield Header(name.lower(), How.EXACT, value)
