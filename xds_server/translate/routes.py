"""Virtual hosts: the routes of one Service port, with the mirrors on those requests that are to be copied.

Routes are tried in order. Where a port has mirrors, requests that must never be copied come first, then one
route for each group of methods that differs in its mirrors, then the rest. Where it has none, one route.
"""

from collections.abc import Sequence

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from envoy.type.v3 import percent_pb2

from xds_server.shadows.plan import Mirror, RoutePlan
from xds_server.translate import names
from xds_server.translate.wire import seconds, serialized, uint32

# Only attempts that cannot have reached a backend, so that nothing is done twice. A copy is never retried.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
_RETRIES = 2


def virtual_host(plan: RoutePlan) -> bytes:
    """The serialized VirtualHost of one port."""
    message = route_components_pb2.VirtualHost(
        name=names.cluster(plan.service, plan.port), domains=plan.domains, routes=_routes(plan)
    )
    return serialized(message)


def _routes(plan: RoutePlan) -> list[route_components_pb2.Route]:
    name = names.cluster(plan.service, plan.port)
    if not plan.mirrors:
        return [_route("all", name)]
    routes = [
        _route("already-a-copy", name, matcher=_header(names.SHADOW_HEADER)),
        # Envoy mirrors the opening request of a WebSocket; the canary would wait for frames for ever.
        _route("websocket", name, matcher=_websocket()),
    ]
    groups = _by_mirrors(plan.mirrors)
    for mirrors, methods in groups.items():
        if methods:
            label = "+".join(methods)
            routes.append(_route(label, name, matcher=_method(methods), mirrors=_policies(plan, mirrors)))
    every = tuple(mirror for mirror in plan.mirrors if mirror.methods is None)
    routes.append(_route("all", name, mirrors=_policies(plan, every)))
    return routes


def _by_mirrors(mirrors: Sequence[Mirror]) -> dict[tuple[Mirror, ...], list[str]]:
    """The methods that somebody names, grouped by the mirrors they get, in a stable order."""
    groups: dict[tuple[Mirror, ...], list[str]] = {}
    for method in sorted({method for mirror in mirrors for method in mirror.methods or ()}):
        wanted = tuple(m for m in mirrors if m.methods is None or method in m.methods)
        groups.setdefault(wanted, []).append(method)
    return groups


def _route(
    label: str,
    cluster: str,
    *,
    matcher: route_components_pb2.HeaderMatcher | None = None,
    mirrors: Sequence[route_components_pb2.RouteAction.RequestMirrorPolicy] = (),
) -> route_components_pb2.Route:
    return route_components_pb2.Route(
        name=label,
        match=route_components_pb2.RouteMatch(prefix="/", headers=[matcher] if matcher else []),
        route=route_components_pb2.RouteAction(
            cluster=cluster,
            timeout=seconds(0),  # none: what a plain reverse proxy in front of unknown applications has
            retry_policy=route_components_pb2.RetryPolicy(retry_on=_RETRY_ON, num_retries=uint32(_RETRIES)),
            request_mirror_policies=mirrors,
        ),
    )


def _policies(
    plan: RoutePlan, mirrors: Sequence[Mirror]
) -> list[route_components_pb2.RouteAction.RequestMirrorPolicy]:
    return [
        route_components_pb2.RouteAction.RequestMirrorPolicy(
            cluster=names.shadow_cluster(plan.service, plan.port, mirror.deployment),
            runtime_fraction=base_pb2.RuntimeFractionalPercent(
                # MILLION: with it the decision is independent of every other mirror's
                # (ENVOY-MIRRORING, "Sampling is correlated").
                default_value=percent_pb2.FractionalPercent(
                    numerator=mirror.per_million, denominator=percent_pb2.FractionalPercent.MILLION
                )
            ),
            disable_shadow_host_suffix_append=True,
            request_headers_mutations=[_mark(mirror.marker)],
        )
        for mirror in mirrors
    ]


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


def _method(methods: Sequence[str]) -> route_components_pb2.HeaderMatcher:
    if len(methods) == 1:
        match = string_pb2.StringMatcher(exact=methods[0])
    else:
        # Method names are checked to be capitals, digits and dashes, so nothing needs escaping.
        match = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex="|".join(methods)))
    return route_components_pb2.HeaderMatcher(name=":method", string_match=match)
