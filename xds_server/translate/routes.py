"""Virtual hosts: the routes of one Service port, with the mirrors on those requests that are to be copied.

Routes are tried in order. Where a port has mirrors, requests that must never be copied come first, then one
group of routes for each method that somebody names, then the rest. Where it has none, one route. A group is
one route, or where it samples several canaries one for each combination of them (`sampling`).
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2

from xds_server.shadows.plan import MILLION, Mirror, RoutePlan
from xds_server.snapshot.resource import Resource
from xds_server.translate import names
from xds_server.translate.sampling import outcomes
from xds_server.translate.wire import resource, seconds, uint32

_MirrorPolicy: TypeAlias = route_components_pb2.RouteAction.RequestMirrorPolicy

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
        return [_route("all", name)]
    routes = [
        _route("already-a-copy", name, matcher=_header(names.SHADOW_HEADER)),
        # Envoy mirrors the opening request of a WebSocket; the canary would wait for frames for ever.
        _route("websocket", name, matcher=_websocket()),
    ]
    for method in sorted({method for mirror in plan.mirrors for method in mirror.methods or ()}):
        wanted = [mirror for mirror in plan.mirrors if mirror.methods is None or method in mirror.methods]
        routes += _group(method, plan, wanted, matcher=_method(method))
    routes += _group("all", plan, [mirror for mirror in plan.mirrors if mirror.methods is None])
    return routes


def _group(
    label: str,
    plan: RoutePlan,
    mirrors: Sequence[Mirror],
    *,
    matcher: route_components_pb2.HeaderMatcher | None = None,
) -> Iterator[route_components_pb2.Route]:
    """The routes of the requests that `matcher` admits, which all of `mirrors` want."""
    name = names.cluster(plan.service, plan.port)
    sampled = [mirror for mirror in mirrors if mirror.per_million < MILLION]
    if len(sampled) <= 1:
        policies = [_policy(plan, mirror, mirror.per_million) for mirror in mirrors]
        yield _route(label, name, matcher=matcher, mirrors=policies)
        return
    always = [mirror for mirror in mirrors if mirror.per_million == MILLION]
    for outcome in outcomes([mirror.per_million for mirror in sampled]):
        chosen = sorted(
            [*always, *(sampled[i] for i in outcome.chosen)], key=lambda mirror: mirror.deployment
        )
        yield _route(
            f"{label}>{'+'.join(mirror.deployment for mirror in chosen) or 'none'}",
            name,
            matcher=matcher,
            below=outcome.below,
            mirrors=[_policy(plan, mirror, MILLION) for mirror in chosen],
        )


def _route(
    label: str,
    cluster: str,
    *,
    matcher: route_components_pb2.HeaderMatcher | None = None,
    below: int = MILLION,
    mirrors: Sequence[_MirrorPolicy] = (),
) -> route_components_pb2.Route:
    match = route_components_pb2.RouteMatch(prefix="/", headers=[matcher] if matcher else [])
    if below < MILLION:
        match.runtime_fraction.CopyFrom(_fraction(below))
    action = {
        "cluster": cluster,
        "timeout": _NO_TIMEOUT,
        "retry_policy": _RETRY_POLICY,
        "request_mirror_policies": mirrors,
    }
    return route_components_pb2.Route(name=label, match=match, route=action)


def _policy(plan: RoutePlan, mirror: Mirror, per_million: int) -> _MirrorPolicy:
    return _MirrorPolicy(
        cluster=names.shadow_cluster(plan.service, plan.port, mirror.deployment),
        runtime_fraction=_fraction(per_million) if per_million < MILLION else None,
        disable_shadow_host_suffix_append=True,
        request_headers_mutations=[_mark(mirror.marker)],
    )


def _fraction(per_million: int) -> base_pb2.RuntimeFractionalPercent:
    million = percent_pb2.FractionalPercent.MILLION
    share = percent_pb2.FractionalPercent(numerator=per_million, denominator=million)
    return base_pb2.RuntimeFractionalPercent(default_value=share)


def _mark(marker: str) -> mutation_rules_pb2.HeaderMutation:
    header = base_pb2.HeaderValue(key=names.SHADOW_HEADER, value=marker)
    option = base_pb2.HeaderValueOption(
        header=header, append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )
    return mutation_rules_pb2.HeaderMutation(append=option)


def _header(name: str) -> route_components_pb2.HeaderMatcher:
    return route_components_pb2.HeaderMatcher(name=name, present_match=True)


def _websocket() -> route_components_pb2.HeaderMatcher:
    value = string_pb2.StringMatcher(exact="websocket", ignore_case=True)
    return route_components_pb2.HeaderMatcher(name="upgrade", string_match=value)


def _method(method: str) -> route_components_pb2.HeaderMatcher:
    # One exact match a method: a regular expression of many is more than Envoy's RE2 limit admits, and then
    # it refuses the routes of everybody.
    match = string_pb2.StringMatcher(exact=method)
    return route_components_pb2.HeaderMatcher(name=":method", string_match=match)
