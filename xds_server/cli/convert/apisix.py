"""Apache APISIX: the plugin ``proxy-mirror`` of an ApisixRoute or of its ApisixPluginConfig.

APISIX tries the most specific host first, then an exact path, then the longest prefix, then the highest
priority. A path with a trailing ``*`` is a prefix of characters.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.base.text import shown
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import (
    Document,
    Harmless,
    Note,
    Part,
    Place,
    PlainMetadata,
    lost,
    read,
    stops,
)
from xds_server.cli.convert.reading import address, documents, percent
from xds_server.cli.convert.rules import Backend, How, Match, Mirror, Path, Routing, Rule, Source, Subset

PROJECT: Final = "Apache APISIX"
GROUPS: Final = ("apisix.apache.org",)
PASSED: Final = ("ApisixConsumer", "ApisixUpstream", "Consumer", "GatewayProxy")

_PLUGIN: Final = "proxy-mirror"
_REJECTED: Final = "requests that it rejects are not mirrored; xds-shadow mirrors them"
_OBSERVING: Final = frozenset(
    {
        "clickhouse-logger",
        "datadog",
        "elasticsearch-logger",
        "error-log-logger",
        "file-logger",
        "google-cloud-logging",
        "http-logger",
        "kafka-logger",
        "log-rotate",
        "loggly",
        "loki-logger",
        "node-status",
        "opentelemetry",
        "prometheus",
        "rocketmq-logger",
        "server-info",
        "skywalking",
        "skywalking-logger",
        "sls-logger",
        "splunk-hec-logging",
        "syslog",
        "tcp-logger",
        "tencent-cloud-cls",
        "udp-logger",
        "zipkin",
    }
)
"""Plugins that do not change requests."""


class PluginPart(Part, frozen=True):
    """ApisixRoutePlugin."""

    name: str = ""
    enable: bool = True
    config: dict[str, object] = {}
    secret_ref: Annotated[object, stops("the plugin's configuration is in a Secret")] = None


class Subject(Part, frozen=True):
    """ApisixRouteHTTPMatchExprSubject."""

    scope: str = ""
    name: str = ""


class Expression(Part, frozen=True):
    """ApisixRouteHTTPMatchExpr."""

    subject: Subject = Subject()
    op: str = ""
    value: str | None = None
    set: list[str] = []


class UpstreamPart(Part, frozen=True):
    """ApisixRouteUpstreamReference."""

    name: str = ""
    weight: int = 100


class MatchPart(Part, frozen=True):
    """ApisixRouteHTTPMatch."""

    paths: list[str] = []
    hosts: list[str] = []
    methods: list[str] = []
    remote_addrs: list[str] = []
    exprs: list[Expression] = []
    filter_func: str = msgspec.field(default="", name="filter_func")


class BackendPart(Part, frozen=True):
    """ApisixRouteHTTPBackend."""

    service_name: str = ""
    service_port: int | str | None = None
    weight: int = 100
    subset: str = ""
    resolve_granularity: Harmless = None


class Route(Part, frozen=True):
    """ApisixRouteHTTP."""

    name: Harmless = None
    priority: int = 0
    match: MatchPart = MatchPart()
    backends: list[BackendPart] = []
    upstreams: list[UpstreamPart] = []
    plugins: list[PluginPart] = []
    plugin_config_name: str = msgspec.field(default="", name="plugin_config_name")
    plugin_config_namespace: str = msgspec.field(default="", name="plugin_config_namespace")
    websocket: Harmless = None
    timeout: Annotated[object, lost("xds-shadow sets no route timeout for the stable version")] = None
    authentication: Annotated[
        object, stops("requests that it rejects are not mirrored; xds-shadow mirrors them")
    ] = None


class RouteSpec(Part, frozen=True):
    """ApisixRouteSpec."""

    ingress_class_name: Harmless = None
    http: list[Route] = []
    stream: Annotated[object, lost("xds-shadow does not route TCP and UDP")] = None


class ApisixRoute(Document, frozen=True):
    """An ApisixRoute."""

    metadata: PlainMetadata = PlainMetadata()
    spec: RouteSpec = RouteSpec()


class PluginConfigSpec(Part, frozen=True):
    """ApisixPluginConfigSpec."""

    ingress_class_name: Harmless = None
    plugins: list[PluginPart] = []


class ApisixPluginConfig(Document, frozen=True):
    """An ApisixPluginConfig."""

    metadata: PlainMetadata = PlainMetadata()
    spec: PluginConfigSpec = PluginConfigSpec()


class MirrorConfig(Part, frozen=True, rename=None):
    """The configuration of `proxy-mirror`."""

    host: str = ""
    sample_ratio: float = 1
    path: Annotated[object, stops("the path of mirrored requests differs")] = None
    path_concat_mode: Annotated[object, stops("the path of mirrored requests differs")] = None
    _meta: Annotated[object, stops("its effect is not known to xds-shadow")] = None


KINDS: Final[Mapping[str, type[Document]]] = {
    "ApisixRoute": ApisixRoute,
    "ApisixPluginConfig": ApisixPluginConfig,
}
INSIDE: Final[Mapping[str, type[Part]]] = {"The configuration of `proxy-mirror`": MirrorConfig}

_Configs = Mapping[NamespacedName, tuple[Source, ApisixPluginConfig]]


class _Plugins(NamedTuple):
    """The plugins of a route: notes of its `own` document and of the plugin config `above`, and the
    mirror."""

    own: tuple[Note, ...]
    above: tuple[Note, ...]
    mirror: MirrorConfig | None
    source: Source | None
    problems: tuple[str, ...]


def routing(docs: Documents) -> Routing:
    """The rules of all ApisixRoutes, the most specific first."""
    routes, wrong = documents(docs, PROJECT, GROUPS, ApisixRoute, "ApisixRoute")
    configs, broken = documents(docs, PROJECT, GROUPS, ApisixPluginConfig, "ApisixPluginConfig")
    by_name = {source.name: (source, config) for source, config in configs}
    for source, config in configs:
        source.notes += _plugin_notes(config.spec.plugins, ("spec", "plugins"))
    found = [each for source, route in routes for each in _rules(source, route.spec, docs, by_name)]
    found.sort(key=lambda each: each[0])
    unreadable = (*wrong, *broken)
    sources = (*(source for source, _ in (*routes, *configs)), *(each.source for each in unreadable))
    return Routing(PROJECT, (*(rule for _, rule in found), *unreadable), sources, falls_through=True)


_Order = tuple[bool, int, int]


def _rules(
    source: Source, spec: RouteSpec, docs: Documents, configs: _Configs
) -> Iterator[tuple[_Order, Rule]]:
    namespace = source.name.namespace
    for number, route in enumerate(spec.http):
        place: Place = ("spec", "http", number)
        plugins = _plugins(route, place, namespace, configs)
        source.notes += plugins.own
        mirrors = (_mirror(plugins.mirror, docs, namespace),) if plugins.mirror else ()
        backends = [_backend(each, namespace) for each in route.backends]
        backends += [Backend(None, f"ApisixUpstream {each.name}") for each in route.upstreams]
        hosts = tuple(route.match.hosts) or ("*",)
        for text in route.match.paths or ["/*"]:
            match = _match(text, route.match)
            rule = Rule(
                source, place, hosts, match, tuple(backends), mirrors, plugins.problems, plugins.above
            )
            path = match.path
            exact = path is not None and path.how is How.EXACT
            yield (not exact, -len(path.value if path else ""), -route.priority), rule


def _plugins(route: Route, place: Place, namespace: str, configs: _Configs) -> _Plugins:
    own = _plugin_notes(route.plugins, (*place, "plugins"))
    mirror = _mirror_config(route.plugins)
    if not route.plugin_config_name:
        return _Plugins(own, (), mirror, None, ())
    name = NamespacedName(route.plugin_config_namespace or namespace, route.plugin_config_name)
    if name not in configs:
        return _Plugins(own, (), mirror, None, (f"ApisixPluginConfig {name} is not in the input",))
    source, config = configs[name]
    return _Plugins(own, source.notes, mirror or _mirror_config(config.spec.plugins), source, ())


def _plugin_notes(plugins: list[PluginPart], place: Place) -> tuple[Note, ...]:
    found: list[Note] = []
    for number, each in enumerate(plugins):
        where = (*place, number)
        if not each.enable or each.name in _OBSERVING:
            mark = lost("it is switched off" if not each.enable else "xds-shadow has its own logs and traces")
        elif each.name == _PLUGIN:
            notes = read(MirrorConfig, each.config).notes
            found += [Note((*where, "config", *note.place), note.fate, note.why) for note in notes]
            continue
        else:
            mark = stops("xds-shadow does not do this to requests")
        found.append(Note(where, mark.fate, f"plugin {shown(each.name)}: {mark.why}"))
    return tuple(found)


def _mirror_config(plugins: list[PluginPart]) -> MirrorConfig | None:
    for each in plugins:
        if each.name == _PLUGIN and each.enable:
            return read(MirrorConfig, each.config).value or MirrorConfig()
    return None


def _mirror(config: MirrorConfig, docs: Documents, namespace: str) -> Mirror:
    service, port, path = address(docs, config.host, namespace)
    problems = ("the path of mirrored requests differs",) if path.strip("/") else ()
    backend = Backend(service, config.host, port)
    return Mirror(backend, percent(config.sample_ratio) * 100, problems=problems)


def _backend(each: BackendPart, namespace: str) -> Backend:
    service = NamespacedName(namespace, each.service_name) if each.service_name else None
    subset = Subset(each.subset, None) if each.subset else None
    return Backend(service, each.service_name, each.service_port, subset, each.weight)


def _match(text: str, match: MatchPart) -> Match:
    others = []
    path: Path | None = Path(How.EXACT, text)
    if text.endswith("*"):
        path = Path(How.PREFIX, text[:-1] or "/")
    if "*" in text[:-1] or ":" in text:
        others.append(f"the path {text}, with parameters")
        path = None
    if match.remote_addrs:
        others.append("the client's address")
    others += [f"the {each.subject.scope} {each.subject.name} by {each.op}" for each in match.exprs]
    if match.filter_func:
        others.append("a function")
    return Match(path, frozenset(match.methods) or None, (), tuple(others))
