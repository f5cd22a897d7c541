"""Virtual hosts: the routes of one Service port, with the mirrors on those requests that are to be copied.

Routes are tried in order. Where a port has mirrors, requests that must never be copied come first, then the
branches that tell apart who is sent which requests (`shadows.selection`). Where it has none, there is one
route. A branch is one route, or where it samples several canaries one for each outcome of it
(`shadows.sampling`).
"""

from collections.abc import Iterable, Iterator, Sequence

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2

from xds_server.shadows.plan import Mirror, RoutePlan
from xds_server.shadows.sampling import Share, needs_routes, outcomes
from xds_server.shadows.selection import Match, branches
from xds_server.shadows.terms import MILLION, HeaderCondition
from xds_server.snapshot.resource import Resource
from xds_server.translate import names
from xds_server.translate.copies import MirrorPolicy, mirror_policy
from xds_server.translate.wire import resource, seconds, uint32

# Only attempts that cannot have reached a backend, so that nothing is done twice. A copy is never retried.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
_RETRY_POLICY = route_components_pb2.RetryPolicy(retry_on=_RETRY_ON, num_retries=uint32(2))
_NO_TIMEOUT = seconds(0)  # what a plain reverse proxy in front of unknown applications has


def gateway_routes() -> Resource:
    """The one route configuration; its virtual hosts are resources of their own."""
    return resource(names.ROUTES_KEY, route_pb2.RouteConfiguration(name=names.ROUTES_KEY.name), open=True)


def virtual_host(plan: RoutePlan) -> Resource:
    """The VirtualHost of one port."""
    key = names.virtual_host_key(plan.service, plan.port)
    message = route_components_pb2.VirtualHost(name=key.name, domains=plan.domains, routes=_routes(plan))
    clusters = [names.cluster(plan.service, plan.port)]
    clusters += [names.shadow_cluster(plan.service, plan.port, mirror.deployment) for mirror in plan.mirrors]
    refs = tuple(names.cluster_key(cluster) for cluster in clusters)
    return resource(key, message, refs, scope=plan.service.namespace)


def _routes(plan: RoutePlan) -> list[route_components_pb2.Route]:
    name = names.cluster(plan.service, plan.port)
    if not plan.mirrors:
        return [_route("all", name, _match(Match()))]
    routes = [
        _route("already-a-copy", name, _match(Match(), _header(names.SHADOW_HEADER))),
        # Envoy mirrors the opening request of a WebSocket; the canary would wait for frames for ever.
        _route("websocket", name, _match(Match(), _websocket())),
    ]
    for branch in branches(tuple(mirror.selection for mirror in plan.mirrors)):
        routes += _branch(branch.match, plan, [plan.mirrors[index] for index in branch.wanted])
    return routes


def _branch(match: Match, plan: RoutePlan, mirrors: Sequence[Mirror]) -> Iterator[route_components_pb2.Route]:
    """The routes of the requests that `match` admits, which all of `mirrors` want."""
    name, label = names.cluster(plan.service, plan.port), _label(match)
    shares = [Share(mirror.per_million, mirror.correlated) for mirror in mirrors]
    if not needs_routes(shares):
        policies = [_policy(plan, mirror, mirror.per_million) for mirror in mirrors]
        yield _route(label, name, _match(match), policies)
        return
    for outcome in outcomes(shares):
        chosen = [mirrors[index] for index in outcome.chosen]
        yield _route(
            f"{label}>{'+'.join(mirror.deployment for mirror in chosen) or 'none'}",
            name,
            _match(match, below=outcome.below),
            [_policy(plan, mirror, MILLION) for mirror in chosen],
        )


def _label(match: Match) -> str:
    """What a person calls these requests."""
    headers = sorted(
        each.name if each.value is None else f"{each.name}={each.value}" for each in match.headers
    )
    return " ".join([match.method or "", match.path or "", *headers]).strip() or "all"


def _route(
    label: str, cluster: str, match: route_components_pb2.RouteMatch, mirrors: Sequence[MirrorPolicy] = ()
) -> route_components_pb2.Route:
    action = {
        "cluster": cluster,
        "timeout": _NO_TIMEOUT,
        "retry_policy": _RETRY_POLICY,
        "request_mirror_policies": mirrors,
    }
    return route_components_pb2.Route(name=label, match=match, route=action)


def _match(
    match: Match, *more: route_components_pb2.HeaderMatcher, below: int = MILLION
) -> route_components_pb2.RouteMatch:
    headers = [_method(match.method)] if match.method else []
    headers += [_condition(each) for each in sorted(_strictest(match.headers), key=str)]
    found = route_components_pb2.RouteMatch(headers=[*headers, *more])
    if match.path is None or match.path.endswith("/"):
        found.prefix = match.path or "/"
    else:
        found.path_separated_prefix = match.path
    if below < MILLION:
        found.runtime_fraction.CopyFrom(_fraction(below))
    return found


def _strictest(conditions: Iterable[HeaderCondition]) -> set[HeaderCondition]:
    """Without the presence of headers whose value is asked for."""
    found = set(conditions)
    return found - {HeaderCondition(each.name) for each in found if each.value is not None}


def _policy(plan: RoutePlan, mirror: Mirror, per_million: int) -> MirrorPolicy:
    cluster = names.shadow_cluster(plan.service, plan.port, mirror.deployment)
    return mirror_policy(cluster, mirror, _fraction(per_million) if per_million < MILLION else None)


def _fraction(per_million: int) -> base_pb2.RuntimeFractionalPercent:
    million = percent_pb2.FractionalPercent.MILLION
    share = percent_pb2.FractionalPercent(numerator=per_million, denominator=million)
    return base_pb2.RuntimeFractionalPercent(default_value=share)


def _header(name: str) -> route_components_pb2.HeaderMatcher:
    return route_components_pb2.HeaderMatcher(name=name, present_match=True)


def _condition(condition: HeaderCondition) -> route_components_pb2.HeaderMatcher:
    if condition.value is None:
        return _header(condition.name)
    match = string_pb2.StringMatcher(exact=condition.value)
    return route_components_pb2.HeaderMatcher(name=condition.name, string_match=match)


def _websocket() -> route_components_pb2.HeaderMatcher:
    value = string_pb2.StringMatcher(exact="websocket", ignore_case=True)
    return route_components_pb2.HeaderMatcher(name="upgrade", string_match=value)


def _method(method: str) -> route_components_pb2.HeaderMatcher:
    # One exact match a method: a regular expression of many is more than Envoy's RE2 limit admits, and then
    # it refuses the routes of everybody.
    match = string_pb2.StringMatcher(exact=method)
    return route_components_pb2.HeaderMatcher(name=":method", string_match=match)
