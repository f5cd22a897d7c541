"""How Envoy selects a route and samples its mirrors: the first match wins, and all fractions of a request use
one random number. docs/internals/architecture.md, "One random number", has the measurement."""

import re
from collections.abc import Mapping

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import EVERYTHING, Selection, Treatment
from xds_server.core.plan import Endpoint, Mirror, PortPlan, Protocol
from xds_server.core.routing import routes_of
from xds_server.core.terms import MILLION
from xds_server.translate.pacing import FILTER
from xds_server.translate.routes import virtual_hosts

ADDRESS = (Endpoint("10.0.0.1", 80),)


def mirror(
    name: str,
    per_million: int = MILLION,
    selection: Selection = EVERYTHING,
    *,
    correlated: bool = False,
    max_rps: int | None = None,
    compare: bool = False,
    baseline: bool = False,
) -> Mirror:
    return Mirror(
        canary=name,
        marker=f"ns/{name}",
        endpoints=ADDRESS,
        selection=selection,
        per_million=per_million,
        correlated=correlated,
        treatment=Treatment(max_rps=max_rps),
        compare=compare,
        baseline=baseline,
    )


def host_of(*mirrors: Mirror) -> route_components_pb2.VirtualHost:
    """The virtual host of a Service with these mirrors."""
    plan = PortPlan(
        NamespacedName("ns", "svc"),
        "",
        80,
        Protocol.HTTP1,
        ("svc.ns",),
        ADDRESS,
        mirrors,
        routes_of(mirrors, 2**20),
    )
    return route_components_pb2.VirtualHost.FromString(virtual_hosts(plan)[0].body)


def share(of: route_components_pb2.RouteMatch | route_components_pb2.RouteAction.RequestMirrorPolicy) -> int:
    """The fraction of a route or of a mirror; neither needs one."""
    if not of.HasField("runtime_fraction"):
        return MILLION
    found = of.runtime_fraction.default_value
    assert found.denominator == found.MILLION
    return int(found.numerator)


def mirrored_to(
    host: route_components_pb2.VirtualHost,
    method: str,
    number: int = 0,
    headers: Mapping[str, str] | None = None,
    path: str = "/",
    *,
    admitted: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """The canaries to which a request with this random number of a million is mirrored, if the limits of the
    canaries `admitted` admit it."""
    clusters = _mirrored_to(host, number, path, {":method": method, **(headers or {})}, admitted)
    return frozenset(each.rpartition("/")[2] for each in clusters if "/shadow/" in each)


def baselines_of(
    host: route_components_pb2.VirtualHost,
    method: str,
    number: int,
    request: str,
    *,
    admitted: frozenset[str],
) -> list[str]:
    """The canaries to whose baselines such a request with this id is mirrored, each as often as it is. The
    limit of the sample is called ``baselines``."""
    clusters = _mirrored_to(host, number, "/", {":method": method, "x-request-id": request}, admitted)
    return [each.rpartition("/")[2] for each in clusters if "/baseline/" in each]


def _mirrored_to(
    host: route_components_pb2.VirtualHost,
    number: int,
    path: str,
    headers: Mapping[str, str],
    admitted: frozenset[str],
) -> list[str]:
    """The clusters to which such a request is mirrored."""

    def selected(clusters: set[str]) -> route_components_pb2.Route:
        return next(
            route
            for route in host.routes
            if _admits(route.match, headers, path, number)
            and clusters >= {each.path[0].key for each in route.match.dynamic_metadata}
        )

    route = selected(set())
    limits = (
        route.metadata.filter_metadata[FILTER]["limits"] if FILTER in route.typed_per_filter_config else ()
    )
    if clusters := {each for each in limits if each.rpartition("/")[2] in admitted}:
        route = selected(clusters)
    return [policy.cluster for policy in route.route.request_mirror_policies if number < share(policy)]


def _admits(
    match: route_components_pb2.RouteMatch, headers: Mapping[str, str], path: str, number: int
) -> bool:
    for matcher in match.headers:
        value = headers.get(matcher.name)
        if value is None or not (matcher.present_match or _matches(matcher.string_match, value)):
            return False
    return _under(match, path.partition("?")[0]) and number < share(match)


def _matches(matcher: string_pb2.StringMatcher, value: str) -> bool:
    if matcher.HasField("safe_regex"):
        return re.fullmatch(matcher.safe_regex.regex, value) is not None
    return bool(value == matcher.exact)


def _under(match: route_components_pb2.RouteMatch, path: str) -> bool:
    if match.HasField("path_separated_prefix"):
        return path == match.path_separated_prefix or path.startswith(match.path_separated_prefix + "/")
    return path.startswith(match.prefix)
