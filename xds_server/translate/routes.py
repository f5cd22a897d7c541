"""Virtual hosts: writes the finished routes of a Service port as Envoy's messages.

If a port has mirrors, the routes for requests that must not be mirrored come first. A port without mirrors
has one route.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2

from xds_server.base.dns import UNREACHABLE
from xds_server.core.plan import Match, Mirror, PortPlan, Route
from xds_server.core.routing import UNMIRRORED
from xds_server.core.terms import MILLION, HeaderCondition
from xds_server.translate import names
from xds_server.translate.access_log import set_mirrored_to
from xds_server.translate.comparing import MOST_SAMPLED, baseline_of, in_sample, mark
from xds_server.translate.mirroring import MirrorPolicy, mirror_policy
from xds_server.translate.pacing import admitted_to, set_limits
from xds_server.translate.upstream_log import set_sampled
from xds_server.translate.wire import packed, resource, seconds, serialized, uint32
from xds_server.xds.framing import text
from xds_server.xds.resource import Resource

# Retry only attempts that cannot have reached an application, so that no request is processed twice. Mirrored
# requests are never retried.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
# A host that refuses connections has no active requests, so least-request balancing prefers it. With two of
# three hosts dead, five choices still end at a dead host in half of the cases.
_CHOICES = 20
_RETRY_POLICY = route_components_pb2.RetryPolicy(
    retry_on=_RETRY_ON,
    num_retries=uint32(3),
    retry_host_predicate=[
        route_components_pb2.RetryPolicy.RetryHostPredicate(
            name="previous_hosts",
            typed_config=packed(previous_hosts_pb2.PreviousHostsPredicate()),
        )
    ],
    host_selection_retry_max_attempts=_CHOICES,
)
_NAME: Final = route_components_pb2.VirtualHost.NAME_FIELD_NUMBER
_BLANK: Final = b"~"  # not in any generated name
_LENGTHS: Final = 1024
_NO_TIMEOUT = seconds(0)  # a reverse proxy must not limit applications that it does not know


def gateway_routes(gateway: str = names.GATEWAY) -> Resource:
    """The route configuration of a gateway. Its virtual hosts are separate resources."""
    key = names.routes_key(gateway)
    return resource(key, route_pb2.RouteConfiguration(name=key.name), vhds=True)


def no_host(gateway: str) -> Resource:
    """A virtual host that matches no request. Envoy's listener waits 15 s for a first virtual host of its
    route configuration; this one may exist beside others (measured)."""
    key = names.no_host_key(gateway)
    body = serialized(route_components_pb2.VirtualHost(name=key.name, domains=[UNREACHABLE]))
    return Resource(key, body)


def virtual_hosts(plan: PortPlan, tail: str = "") -> list[Resource]:
    """The VirtualHosts of a port. They differ only in their names, one for each route configuration. `tail`
    is as in `set_sampled`."""
    clusters = [names.cluster(plan.service, plan.name)]
    clusters += [_shadow(plan, mirror.canary) for mirror in plan.mirrors]
    clusters += [_baseline(plan, mirror.canary) for mirror in plan.mirrors if mirror.baselines]
    refs = tuple(names.cluster_key(each) for each in clusters)
    domains = names.domains(plan.domains)
    body = _body(plan, domains, clusters[0], tail)
    keys = [names.virtual_host_key(plan.service, plan.name, gateway) for gateway in plan.gateways]
    scope = plan.service.namespace
    return [
        Resource(key, text(_NAME, key.name) + body, refs, scope=scope, claims=plan.domains) for key in keys
    ]


def _body(plan: PortPlan, domains: Iterable[str], cluster: str, tail: str) -> bytes:
    """A VirtualHost without its name, which is the first field."""
    if plan.mirrors:
        message = route_components_pb2.VirtualHost(
            domains=domains, routes=_routes(plan, cluster, tail), retry_policy=_RETRY_POLICY
        )
        return serialized(message)
    return serialized(route_components_pb2.VirtualHost(domains=domains)) + _unmirrored(cluster)


def closed_ports(plan: PortPlan) -> list[Resource]:
    """The VirtualHosts for the ports in `plan.closed`, one for each route configuration."""
    if not plan.closed:
        return []
    domains, scope = names.domains(plan.closed), plan.service.namespace
    reason = f"Service {plan.service} does not declare this port as HTTP, so it is not routed.\n"
    answer = route_components_pb2.DirectResponseAction(
        status=HTTPStatus.NOT_FOUND, body=base_pb2.DataSource(inline_string=reason)
    )
    route = route_components_pb2.Route(name="not-routed", match=_match(Match()), direct_response=answer)
    body = serialized(route_components_pb2.VirtualHost(domains=domains, routes=[route]))
    keys = [names.closed_ports_key(plan.service, gateway) for gateway in plan.gateways]
    return [Resource(key, text(_NAME, key.name) + body, scope=scope, claims=plan.closed) for key in keys]


def _unmirrored(cluster: str) -> bytes:
    """The only route without mirrors, and the common fields of all routes, as fields of a virtual host."""
    # Nearly all virtual hosts have only this route, and differ only in the cluster.
    name = cluster.encode()
    return _unmirrored_of(len(name)).replace(_BLANK * len(name), name)


@lru_cache(_LENGTHS)
def _unmirrored_of(length: int) -> bytes:
    """The same for a cluster name of this length, with blanks in its place."""
    route = _route(UNMIRRORED[0].label, (_BLANK * length).decode(), _match(Match()))
    return serialized(route_components_pb2.VirtualHost(routes=[route], retry_policy=_RETRY_POLICY))


def _routes(plan: PortPlan, name: str, tail: str) -> list[route_components_pb2.Route]:
    found = [
        _route("already-mirrored", name, _match(Match(), _header(names.SHADOW_HEADER))),
        # Envoy mirrors the opening request of a WebSocket, and the canary would wait for frames forever. If a
        # listener ignores an upgrade, the header has already been removed.
        _route("upgrade", name, _match(Match(), _header("upgrade"))),
    ]
    mirrors = {mirror.canary: mirror for mirror in plan.mirrors}
    for route in plan.routes:
        mirrored = [mirrors[each] for each in route.mirrored]
        match = _match(route.match, below=route.below)
        match.dynamic_metadata.extend(admitted_to(_shadow(plan, each) for each in route.admitted))
        policies = [_policy(plan, each, compared=each.canary in route.baselines) for each in mirrored]
        if route.sampled:
            match.headers.extend(in_sample(safe=route.match.method is None))
        if route.baselines:
            match.dynamic_metadata.extend(admitted_to([names.baselines(plan.service, plan.name)]))
        for each in route.baselines:
            policies += _baseline_policies(plan, mirrors[each])
        made = _route(route.label, name, match, policies)
        if mirrored:
            set_mirrored_to(made.metadata, [each.marker for each in mirrored])
            set_sampled(made.metadata, tail)
        if limits := _limits(plan, route, mirrors):
            set_limits(made, limits)
        found.append(made)
    return found


def _limits(plan: PortPlan, route: Route, mirrors: Mapping[str, Mirror]) -> dict[str, int]:
    rates = {_shadow(plan, each): mirrors[each].treatment.max_rps for each in route.limited}
    if route.sampled and not route.baselines:
        rates[names.baselines(plan.service, plan.name)] = MOST_SAMPLED
    return {bucket: rate for bucket, rate in rates.items() if rate is not None}


def _shadow(plan: PortPlan, canary: str) -> str:
    return names.shadow_cluster(plan.service, plan.name, canary)


def _policy(plan: PortPlan, mirror: Mirror, *, compared: bool) -> MirrorPolicy:
    policy = mirror_policy(_shadow(plan, mirror.canary), mirror)
    if mirror.compare:
        policy.request_headers_mutations.append(mark(policy.cluster if compared else None))
    return policy


def _baseline_policies(plan: PortPlan, mirror: Mirror) -> list[MirrorPolicy]:
    policy = mirror_policy(_baseline(plan, mirror.canary), baseline_of(mirror, plan.endpoints))
    if mirror.compare:
        policy.request_headers_mutations.append(mark(policy.cluster))
    return [policy] * mirror.baselines


def _baseline(plan: PortPlan, canary: str) -> str:
    return names.baseline_cluster(plan.service, plan.name, canary)


def _route(
    label: str, cluster: str, match: route_components_pb2.RouteMatch, mirrors: Sequence[MirrorPolicy] = ()
) -> route_components_pb2.Route:
    action = {
        "cluster": cluster,
        "timeout": _NO_TIMEOUT,
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
    """Drop the presence matcher of headers that also have a value matcher."""
    found = set(conditions)
    return found - {HeaderCondition(each.name) for each in found if each.value is not None}


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


def _method(method: str) -> route_components_pb2.HeaderMatcher:
    # One exact match for each method: one regular expression for many methods can exceed Envoy's RE2 limit,
    # and Envoy then rejects the routes of all Services.
    match = string_pb2.StringMatcher(exact=method)
    return route_components_pb2.HeaderMatcher(name=":method", string_match=match)
