"""ingress-nginx: the annotation ``mirror-target`` of an Ingress.

nginx tries exact paths first, then the longest. `Prefix` compares path segments, `ImplementationSpecific`
compares characters. If one Ingress uses regular expressions, all paths of its hosts are regular expressions.
A canary Ingress receives a part of the requests to a path.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents
from xds_server.cli.convert.fields import (
    Annotations,
    Document,
    Fate,
    Harmless,
    Mark,
    Metadata,
    Part,
    lost,
    no_hosts,
    stops,
)
from xds_server.cli.convert.reading import address, documents
from xds_server.cli.convert.rules import Backend, How, Match, Mirror, Path, Routing, Rule, Source

PROJECT: Final = "ingress-nginx"
GROUPS: Final = ("networking.k8s.io", "extensions")
PASSED: Final = ("IngressClass", "IPAddress", "NetworkPolicy", "ServiceCIDR")

_PREFIX: Final = "nginx.ingress.kubernetes.io/"
_URI: Final = "$request_uri"
_CHANGED: Final = "xds-shadow does not change requests to the stable version"
_REJECTED: Final = "requests that it rejects are not mirrored; xds-shadow mirrors them"
_TIMED: Final = "xds-shadow has its own timeouts and limits"
_BALANCED: Final = "xds-shadow balances and retries all requests alike"
_TLS: Final = "the gateway listener has no TLS; a listener of your own can have it"

_MARKS: Final = {
    stops(_REJECTED): (
        "auth-url auth-signin auth-method auth-type auth-secret auth-secret-type auth-realm auth-snippet"
        " auth-tls-secret auth-tls-verify-client auth-tls-verify-depth auth-tls-match-cn"
        " auth-response-headers auth-proxy-set-headers auth-cache-key auth-cache-duration"
        " auth-always-set-cookie enable-global-auth"
        " whitelist-source-range allowlist-source-range denylist-source-range limit-rps limit-rpm"
        " limit-connections limit-rate limit-rate-after limit-whitelist limit-allowlist"
        " limit-burst-multiplier enable-modsecurity enable-owasp-core-rules modsecurity-snippet satisfy"
    ),
    stops(_CHANGED): "upstream-vhost x-forwarded-prefix proxy-set-headers connection-proxy-header app-root",
    stops("xds-shadow does not rewrite requests to the stable version"): "rewrite-target",
    stops("it answers preflight requests; xds-shadow mirrors them"): (
        "enable-cors cors-allow-origin cors-allow-methods cors-allow-headers cors-allow-credentials"
        " cors-expose-headers cors-max-age"
    ),
    stops("its effect is not known to xds-shadow"): "configuration-snippet server-snippet stream-snippet",
    stops("its requests are redirected"): (
        "permanent-redirect permanent-redirect-code temporal-redirect temporal-redirect-code"
        " from-to-www-redirect"
    ),
    no_hosts("the additional hosts are not read"): "server-alias",
    no_hosts(_TLS): "ssl-redirect force-ssl-redirect ssl-passthrough ssl-ciphers ssl-prefer-server-ciphers",
    no_hosts("xds-shadow connects to endpoints in plain text"): (
        "backend-protocol proxy-ssl-secret proxy-ssl-verify proxy-ssl-name proxy-ssl-server-name"
        " proxy-ssl-protocols proxy-ssl-ciphers proxy-ssl-verify-depth"
    ),
    no_hosts("xds-shadow does not change responses"): (
        "custom-headers proxy-cookie-domain proxy-cookie-path proxy-redirect-from proxy-redirect-to"
        " custom-http-errors default-backend disable-proxy-intercept-errors"
    ),
    lost(_TIMED): (
        "proxy-connect-timeout proxy-send-timeout proxy-read-timeout proxy-body-size client-body-buffer-size"
        " proxy-buffering proxy-buffer-size proxy-buffers-number proxy-busy-buffers-size"
        " proxy-max-temp-file-size proxy-request-buffering proxy-http-version"
    ),
    lost(_BALANCED): (
        "proxy-next-upstream proxy-next-upstream-timeout proxy-next-upstream-tries load-balance"
        " upstream-hash-by upstream-hash-by-subset upstream-hash-by-subset-size affinity affinity-mode"
        " affinity-canary-behavior session-cookie-name session-cookie-path session-cookie-max-age"
        " session-cookie-expires session-cookie-samesite session-cookie-secure session-cookie-domain"
        " session-cookie-change-on-failure session-cookie-conditional-samesite-none"
    ),
    lost("xds-shadow has its own logs and traces"): (
        "enable-access-log enable-rewrite-log enable-opentelemetry opentelemetry-trust-incoming-span"
        " opentelemetry-operation-name"
    ),
    Mark(Fate.HARMLESS, ""): "service-upstream http2-push-preload",
}
"""The marks of annotations that do not configure a mirror."""


class MirrorAnnotations(Annotations, frozen=True):
    """The annotations that configure mirrors and paths."""

    own_prefixes = (_PREFIX,)

    mirror_target: str = msgspec.field(default="", name=f"{_PREFIX}mirror-target")
    mirror_host: str = msgspec.field(default="", name=f"{_PREFIX}mirror-host")
    mirror_request_body: str = msgspec.field(default="", name=f"{_PREFIX}mirror-request-body")
    use_regex: str = msgspec.field(default="", name=f"{_PREFIX}use-regex")
    canary: str = msgspec.field(default="", name=f"{_PREFIX}canary")
    ingress_class: Harmless = msgspec.field(default=None, name="kubernetes.io/ingress.class")
    canary_weight: object = msgspec.field(default=None, name=f"{_PREFIX}canary-weight")
    canary_weight_total: object = msgspec.field(default=None, name=f"{_PREFIX}canary-weight-total")
    canary_by_header: object = msgspec.field(default=None, name=f"{_PREFIX}canary-by-header")
    canary_by_header_value: object = msgspec.field(default=None, name=f"{_PREFIX}canary-by-header-value")
    canary_by_header_pattern: object = msgspec.field(default=None, name=f"{_PREFIX}canary-by-header-pattern")
    canary_by_cookie: object = msgspec.field(default=None, name=f"{_PREFIX}canary-by-cookie")


_NginxAnnotations = msgspec.defstruct(
    "_NginxAnnotations",
    [
        (
            name.replace("-", "_"),
            Annotated[object, mark],
            msgspec.field(default=None, name=f"{_PREFIX}{name}"),
        )
        for mark, names in _MARKS.items()
        for name in names.split()
    ],
    bases=(MirrorAnnotations,),
    frozen=True,
)

if TYPE_CHECKING:
    NginxAnnotations = MirrorAnnotations
else:
    NginxAnnotations = _NginxAnnotations


class NginxMetadata(Metadata, frozen=True):
    """``metadata``."""

    annotations: NginxAnnotations = NginxAnnotations()


class PortPart(Part, frozen=True):
    """ServiceBackendPort."""

    number: int | None = None
    name: str | None = None


class ServicePart(Part, frozen=True):
    """IngressServiceBackend."""

    name: str = ""
    port: PortPart = PortPart()


class BackendPart(Part, frozen=True):
    """IngressBackend."""

    service: ServicePart | None = None
    resource: Annotated[object, lost("a backend that is no Service")] = None


class PathPart(Part, frozen=True):
    """HTTPIngressPath."""

    path: str = ""
    path_type: str = "ImplementationSpecific"
    backend: BackendPart = BackendPart()


class Http(Part, frozen=True):
    """HTTPIngressRuleValue."""

    paths: list[PathPart] = []


class RulePart(Part, frozen=True):
    """IngressRule."""

    host: str = ""
    http: Http = Http()


class Spec(Part, frozen=True):
    """IngressSpec."""

    ingress_class_name: Harmless = None
    default_backend: BackendPart | None = None
    rules: list[RulePart] = []
    tls: Annotated[object, no_hosts(_TLS)] = None


class Ingress(Document, frozen=True):
    """An Ingress."""

    metadata: NginxMetadata = NginxMetadata()
    spec: Spec = Spec()


KINDS: Final[Mapping[str, type[Document]]] = {"Ingress": Ingress}


def routing(docs: Documents) -> Routing:
    """The rules of all Ingresses, the most specific first. Rules of canaries come before others."""
    ingresses, wrong = documents(docs, PROJECT, GROUPS, Ingress, "Ingress")
    rules = [rule for source, ingress in ingresses for rule in _rules(source, ingress, docs)]
    regex = {
        host
        for source, ingress in ingresses
        if ingress.metadata.annotations.use_regex == "true" or _rewrites(source)
        for host in _hosts(ingress)
    }
    rules = [_by_regex(rule) if regex.intersection(rule.hosts) else rule for rule in rules]
    rules.sort(key=_order)
    sources = [source for source, _ in ingresses]
    return Routing(PROJECT, (*rules, *wrong), (*sources, *(each.source for each in wrong)))


def _rules(source: Source, ingress: Ingress, docs: Documents) -> Iterator[Rule]:
    annotations, namespace = ingress.metadata.annotations, source.name.namespace
    mirrors = (_mirror(annotations, docs, namespace),) if annotations.mirror_target else ()
    others = ("the canary's share",) if annotations.canary == "true" else ()
    if ingress.spec.default_backend:
        backend = _backend(ingress.spec.default_backend, namespace)
        match = Match(Path(How.PREFIX, "/"), others=others)
        yield Rule(source, ("spec", "defaultBackend"), ("*",), match, backend, mirrors)
    for number, rule in enumerate(ingress.spec.rules):
        for index, path in enumerate(rule.http.paths):
            place = ("spec", "rules", number, "http", "paths", index)
            yield Rule(
                source,
                place,
                (rule.host or "*",),
                Match(_path(path), others=others),
                _backend(path.backend, namespace),
                mirrors,
            )


def _hosts(ingress: Ingress) -> Iterator[str]:
    yield from (rule.host or "*" for rule in ingress.spec.rules)


def _rewrites(source: Source) -> bool:
    return any(note.place[-1] == f"{_PREFIX}rewrite-target" for note in source.notes)


def _by_regex(rule: Rule) -> Rule:
    path = rule.match.path.value if rule.match.path else ""
    others = (*rule.match.others, f"the path by the regular expression {path}")
    match = Match(None, others=others)
    return Rule(rule.source, rule.place, rule.hosts, match, rule.backends, rule.mirrors)


def _order(rule: Rule) -> tuple[bool, int, bool]:
    path = rule.match.path
    exact = path is not None and path.how is How.EXACT
    return not exact, -len(path.value if path else ""), not rule.match.others


def _path(path: PathPart) -> Path:
    hows = {"Exact": How.EXACT, "Prefix": How.SEGMENT}
    return Path(hows.get(path.path_type, How.PREFIX), path.path or "/")


def _backend(backend: BackendPart, namespace: str) -> tuple[Backend, ...]:
    if backend.service is None:
        return (Backend(None, "its backend"),)
    port = backend.service.port
    service = NamespacedName(namespace, backend.service.name) if backend.service.name else None
    return (Backend(service, backend.service.name, port.number or port.name),)


def _mirror(annotations: MirrorAnnotations, docs: Documents, namespace: str) -> Mirror:
    """The Host of mirrored requests is that of the target unless ``mirror-host`` is set."""
    target, uri, rest = annotations.mirror_target.partition(_URI)
    service, port, path = address(docs, target, namespace)
    problems = []
    if path.strip("/") or rest or not uri:
        problems.append(f"the path of mirrored requests differs: mirror-target {annotations.mirror_target}")
    if annotations.mirror_request_body == "off":
        problems.append("mirrored requests have no body: mirror-request-body is off")
    host = annotations.mirror_host or target.rpartition("://")[2].partition("/")[0].partition(":")[0]
    backend = Backend(service, target, port)
    said = (("host", host.lower()),) if service else ()
    return Mirror(backend, annotations=said, problems=tuple(problems))
