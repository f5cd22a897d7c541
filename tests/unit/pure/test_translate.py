"""Single decisions of the translation, for which a golden pair would hide the point."""

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from xds_server.base.errors import DanglingReferenceError
from xds_server.base.ids import NamespacedName
from xds_server.shadows.plan import Endpoint, Mirror, Plan, Protocol, RoutePlan, ServicePlan
from xds_server.shadows.terms import UNTREATED, Selection
from xds_server.translate import names
from xds_server.translate import translate as translate_module
from xds_server.translate.clusters import primary_cluster, shadow_cluster
from xds_server.translate.incremental import Translator
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.routes import virtual_host
from xds_server.translate.translate import translate
from xds_server.translate.wire import seconds

MYAPP = NamespacedName("staging", "myapp")
LIVE = (Endpoint("10.0.0.1", 80),)


def mirror(name: str, *methods: str, share: int = 1_000_000) -> Mirror:
    return Mirror(
        deployment=name,
        marker=f"staging/{name}",
        endpoints=(Endpoint("10.0.1.1", 80),),
        selection=Selection(methods=frozenset(methods) or None),
        per_million=share,
    )


def route(*mirrors: Mirror, port: int = 80, endpoints: tuple[Endpoint, ...] = LIVE) -> RoutePlan:
    return RoutePlan(MYAPP, port, Protocol.HTTP1, (f"h{port}",), endpoints, mirrors)


def routes_of(*mirrors: Mirror) -> list[tuple[str, str, list[str]]]:
    """Name, what of the request decides, and the canaries, route by route."""
    message = route_components_pb2.VirtualHost.FromString(virtual_host(route(*mirrors)).body)
    return [
        (
            found.name,
            "".join(
                f"{h.name}={h.string_match.exact or h.string_match.safe_regex.regex or '*'}"
                for h in found.match.headers
            ),
            [p.cluster.rpartition("/")[2] for p in found.route.request_mirror_policies],
        )
        for found in message.routes
    ]


NEVER: list[tuple[str, str, list[str]]] = [
    ("already-a-copy", "x-xds-shadow=*", []),
    ("websocket", "upgrade=websocket", []),
]


@pytest.mark.parametrize(
    ("mirrors", "expected"),
    [
        ([], [("all", "", [])]),
        ([mirror("a")], [*NEVER, ("all", "", ["a"])]),
        ([mirror("a", "GET")], [*NEVER, ("GET", ":method=GET", ["a"]), ("all", "", [])]),
        (
            [mirror("a", "HEAD", "GET")],
            [*NEVER, ("GET", ":method=GET", ["a"]), ("HEAD", ":method=HEAD", ["a"]), ("all", "", [])],
        ),
        (
            [mirror("a", "GET", "HEAD"), mirror("b", "GET", "PUT"), mirror("c")],
            [
                *NEVER,
                ("GET", ":method=GET", ["a", "b", "c"]),
                ("HEAD", ":method=HEAD", ["a", "c"]),
                ("PUT", ":method=PUT", ["b", "c"]),
                ("all", "", ["c"]),
            ],
        ),
        (
            [mirror("a", "GET", "HEAD"), mirror("b", "HEAD", "GET")],
            [
                *NEVER,
                ("GET", ":method=GET", ["a", "b"]),
                ("HEAD", ":method=HEAD", ["a", "b"]),
                ("all", "", []),
            ],
        ),
    ],
)
def test_each_method_that_somebody_names_has_a_route(
    mirrors: list[Mirror], expected: list[tuple[str, str, list[str]]]
) -> None:
    assert routes_of(*mirrors) == expected


def test_a_share_is_out_of_a_million() -> None:
    message = route_components_pb2.VirtualHost.FromString(virtual_host(route(mirror("a", share=5_000))).body)
    (policy,) = message.routes[-1].route.request_mirror_policies
    fraction = policy.runtime_fraction.default_value
    assert (fraction.numerator, fraction.denominator) == (5_000, fraction.MILLION)
    assert policy.disable_shadow_host_suffix_append


@pytest.mark.parametrize(("protocol", "field"), [(p, f"http{p[-1]}_protocol_options") for p in Protocol])
def test_a_cluster_speaks_its_services_protocol(protocol: Protocol, field: str) -> None:
    field = field.replace("http1", "http")
    for made, bound in ((primary_cluster("c", protocol), 0), (shadow_cluster("c", protocol, UNTREATED), 10)):
        cluster = cluster_pb2.Cluster.FromString(made.body)
        (packed,) = cluster.typed_extension_protocol_options.values()
        options = http_protocol_options_pb2.HttpProtocolOptions()
        assert packed.Unpack(options)
        assert options.explicit_http_config.WhichOneof("protocol_config") == field
        # Without a bound a canary that does not read would hold uploads back for ever.
        assert options.common_http_protocol_options.max_stream_duration.seconds == bound
        (limits,) = cluster.circuit_breakers.thresholds
        assert limits.max_requests.value == (100 if bound else 2**32 - 1)


def test_the_shadow_options_do_not_leak_into_the_primarys() -> None:
    before = primary_cluster("c", Protocol.HTTP1)
    shadow_cluster("c", Protocol.HTTP1, UNTREATED)
    assert primary_cluster("c", Protocol.HTTP1) == before


@pytest.mark.parametrize(
    ("name", "deployment"),
    [
        ("staging/myapp/80/shadow/canary", "canary"),
        ("staging/shadow/80/shadow/shadow", "shadow"),
        ("staging/myapp/80", None),
        ("staging/shadow/80", None),
        ("shadow/shadow/80", None),
        ("gateway", None),
    ],
)
def test_the_canary_of_a_cluster(name: str, deployment: str | None) -> None:
    assert names.shadowing_deployment(name) == deployment


def test_a_share_that_is_not_whole_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate_module, "load_assignment", lambda *_, **__: gateway_listener(1))
    with pytest.raises(DanglingReferenceError, match="staging/myapp/80 refers to staging/myapp/80"):
        translate(Plan({MYAPP: ServicePlan((route(),))}), gateway_port=8080)


@pytest.mark.parametrize(("value", "parts"), [(0, (0, 0)), (2.0, (2, 0)), (0.25, (0, 250_000_000))])
def test_seconds(value: float, parts: tuple[int, int]) -> None:
    duration = seconds(value)
    assert (duration.seconds, duration.nanos) == parts


def test_an_update_takes_out_what_a_service_no_longer_has() -> None:
    translator = Translator(gateway_port=8080)
    both = Plan({MYAPP: ServicePlan((route(mirror("a")), route(port=90)))})
    one = Plan({MYAPP: ServicePlan((route(port=90, endpoints=()),))})
    for plan in (both, one, Plan(), both):
        assert translator.update(plan, [MYAPP]) == translate(plan, gateway_port=8080)


def test_a_change_of_endpoints_alone_leaves_clusters_and_routes_as_they_are() -> None:
    translator = Translator(gateway_port=8080)
    before = translator.update(Plan({MYAPP: ServicePlan((route(),))}), [MYAPP])
    other = Plan({MYAPP: ServicePlan((route(endpoints=(Endpoint("10.0.0.2", 80),)),))})
    after = translator.update(other, [MYAPP])

    changed = {url for url in after.types if after.of(url).version != before.of(url).version}
    assert changed == {names.endpoints_key("x").type_url}
    assert after == translate(other, gateway_port=8080)
