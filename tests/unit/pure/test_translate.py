"""Single decisions of the translation, for which a golden pair would hide the point."""

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.errors import DanglingReferenceError
from xds_server.base.ids import NamespacedName
from xds_server.core import routing
from xds_server.core.annotations import Selection
from xds_server.core.plan import Endpoint, Mirror, Plan, PortPlan, Protocol, ServicePlan
from xds_server.translate import names
from xds_server.translate import translate as translate_module
from xds_server.translate.clusters import primary_cluster, shadow_cluster
from xds_server.translate.gateway import TRANSPARENT, GatewayListener
from xds_server.translate.listeners import gateway_listener
from xds_server.translate.routes import virtual_hosts
from xds_server.translate.translate import translate
from xds_server.translate.wire import seconds

MYAPP = NamespacedName("staging", "myapp")
LIVE = (Endpoint("10.0.0.1", 80),)


def mirror(name: str, *methods: str, share: int = 1_000_000) -> Mirror:
    return Mirror(
        canary=name,
        marker=f"staging/{name}",
        endpoints=(Endpoint("10.0.1.1", 80),),
        selection=Selection(methods=frozenset(methods) or None),
        per_million=share,
    )


def port(*mirrors: Mirror, name: str = "http", endpoints: tuple[Endpoint, ...] = LIVE) -> PortPlan:
    routes = routing.routes_of(mirrors, 2**20)
    return PortPlan(MYAPP, name, 80, Protocol.HTTP1, (f"{name}.test",), endpoints, mirrors, routes)


def routes_of(*mirrors: Mirror) -> list[tuple[str, str, list[str]]]:
    """Name, what of the request decides, and the canaries, route by route."""
    message = route_components_pb2.VirtualHost.FromString(virtual_hosts(port(*mirrors))[0].body)
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
    ("already-mirrored", "x-xds-shadow=*", []),
    ("upgrade", "upgrade=*", []),
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
    message = route_components_pb2.VirtualHost.FromString(
        virtual_hosts(port(mirror("a", share=5_000)))[0].body
    )
    mirrored, rest = message.routes[-2:]
    (policy,) = mirrored.route.request_mirror_policies
    fraction = mirrored.match.runtime_fraction.default_value
    assert (fraction.numerator, fraction.denominator) == (5_000, fraction.MILLION)
    assert policy.disable_shadow_host_suffix_append
    assert not policy.HasField("runtime_fraction")
    assert not rest.match.HasField("runtime_fraction")
    assert not rest.route.request_mirror_policies


@pytest.mark.parametrize(("protocol", "field"), [(p, f"http{p[-1]}_protocol_options") for p in Protocol])
def test_a_cluster_speaks_its_services_protocol(protocol: Protocol, field: str) -> None:
    field = field.replace("http1", "http")
    shadow = shadow_cluster("c", protocol, mirror("a"))
    for made, bound in ((primary_cluster("c", protocol), 0), (shadow, 10)):
        cluster = cluster_pb2.Cluster.FromString(made.body)
        (packed,) = cluster.typed_extension_protocol_options.values()
        options = http_protocol_options_pb2.HttpProtocolOptions()
        assert packed.Unpack(options)
        assert options.explicit_http_config.WhichOneof("protocol_config") == field
        # Without a bound a canary that does not read would hold uploads back for ever.
        assert options.common_http_protocol_options.max_stream_duration.seconds == bound
        (limits,) = cluster.circuit_breakers.thresholds
        assert limits.max_requests.value == (100 if bound else 2**32 - 1)


@pytest.mark.parametrize(("protocol", "options"), [(Protocol.HTTP1, []), (Protocol.HTTP2, [(6, 18, 20_000)])])
def test_only_http2_bounds_how_long_nothing_is_acknowledged(
    protocol: Protocol, options: list[tuple[int, int, int]]
) -> None:
    cluster = cluster_pb2.Cluster.FromString(primary_cluster("c", protocol).body)
    found = cluster.upstream_bind_config.socket_options
    assert [(each.level, each.name, each.int_value) for each in found] == options


def test_an_endpoint_is_ejected_for_its_connections_alone() -> None:
    found = cluster_pb2.Cluster.FromString(primary_cluster("c", Protocol.HTTP1).body)
    detection = found.outlier_detection
    assert detection.split_external_local_origin_errors
    assert detection.consecutive_local_origin_failure.value == 5
    for never in ("consecutive_5xx", "success_rate", "local_origin_success_rate"):
        assert detection.HasField(f"enforcing_{never}")
        assert getattr(detection, f"enforcing_{never}").value == 0
    assert found.common_lb_config.healthy_panic_threshold.value == 1


def test_the_shadow_options_do_not_leak_into_the_primarys() -> None:
    before = primary_cluster("c", Protocol.HTTP1)
    shadow_cluster("c", Protocol.HTTP1, mirror("a"))
    assert primary_cluster("c", Protocol.HTTP1) == before


@pytest.mark.parametrize(
    ("name", "deployment"),
    [
        ("staging/myapp/http/shadow/canary", "canary"),
        ("staging/myapp/shadow/canary", "canary"),
        ("staging/shadow/http/shadow/shadow", "shadow"),
        ("staging/myapp/shadow/shadow/canary", "canary"),
        ("staging/myapp/http", None),
        ("staging/myapp", None),
        ("staging/myapp/shadow", None),
        ("staging/shadow/http", None),
        ("shadow/shadow/shadow", None),
        ("gateway", None),
    ],
)
def test_the_canary_of_a_cluster(name: str, deployment: str | None) -> None:
    assert names.shadowing_canary(name) == deployment


def test_a_share_that_is_not_whole_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = gateway_listener(GatewayListener(), TRANSPARENT, port=1)
    monkeypatch.setattr(translate_module, "load_assignment", lambda *_, **__: stray)
    with pytest.raises(DanglingReferenceError, match="staging/myapp/http refers to staging/myapp/http"):
        translate(Plan({MYAPP: ServicePlan((port(),))}), gateway_port=8080)


@pytest.mark.parametrize(("value", "parts"), [(0, (0, 0)), (2.0, (2, 0)), (0.25, (0, 250_000_000))])
def test_seconds(value: float, parts: tuple[int, int]) -> None:
    duration = seconds(value)
    assert (duration.seconds, duration.nanos) == parts


@given(
    cluster=st.text(st.sampled_from("abz09-/."), min_size=3, max_size=300), hosts=st.sets(st.text(min_size=1))
)
def test_a_virtual_host_without_mirrors_is_protobufs_own(cluster: str, hosts: set[str]) -> None:
    plan = PortPlan(NamespacedName("shop", cluster), "", 80, Protocol.HTTP1, tuple(sorted(hosts)), LIVE)
    body = virtual_hosts(plan)[0].body
    message = route_components_pb2.VirtualHost.FromString(body)

    assert body == message.SerializeToString(deterministic=True)
    assert [route.route.cluster for route in message.routes] == [f"shop/{cluster}"]
    assert tuple(message.domains) == names.domains(hosts)
