"""Single decisions of resolving, for which a golden pair would hide the point."""

import pytest
from msgspec.structs import replace

from tests.unit.pure import kube
from tests.unit.pure.kube import at, canary, namespace, pipeline_of, pod, service, slice_of
from xds_server.base.ids import NamespacedName
from xds_server.core.conditions import Condition, Reason, Subject, errors
from xds_server.core.keys import EXPOSE
from xds_server.core.objects import (
    Container,
    ContainerPort,
    Object,
    Pod,
    PodSpec,
    ServicePort,
    ServiceSpec,
    SlicePort,
)
from xds_server.core.plan import Endpoint, Plan, Protocol, ServicePlan, ShadowStatus, State
from xds_server.core.ports import http_ports, ports_of
from xds_server.core.resolve import resolve
from xds_server.core.scene import Rules
from xds_server.core.world import Upsert

NO_SERVICE = (
    "Service staging/my-app does not exist. The label xds-shadow.io/shadow-of must name a Service of the same"
    " namespace. Until then the canary's Pods are excluded from every Service of the namespace that has other"
    " endpoints."
)
MYAPP = NamespacedName("staging", "myapp")


def plan_of(*objects: Object) -> Plan:
    return resolve(kube.world_of(kube.namespace("staging"), *objects))


def myapp(*objects: Object) -> ServicePlan:
    return plan_of(*objects).services[MYAPP]


def live(*objects: Object) -> list[str]:
    (route,) = myapp(*objects).ports
    return [str(endpoint) for endpoint in route.endpoints]


def shadow(*objects: Object) -> ShadowStatus:
    (found,) = plan_of(*objects).shadows()
    return found


# Protocols


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        (ServicePort(port=80), Protocol.HTTP1),
        (ServicePort(port=80, protocol="TCP"), Protocol.HTTP1),
        (ServicePort(port=80, protocol="UDP"), None),
        (ServicePort(port=80, protocol="UDP", name="http"), None),
        (ServicePort(port=80, name="http"), Protocol.HTTP1),
        (ServicePort(port=80, name="http-web"), Protocol.HTTP1),
        (ServicePort(port=80, name="https"), None),
        (ServicePort(port=80, name="web"), Protocol.HTTP1),
        (ServicePort(port=80, name="80-9001"), Protocol.HTTP1),
        (ServicePort(port=80, name="redis"), None),
        (ServicePort(port=80, name="tcp-redis"), None),
        (ServicePort(port=80, name="postgresql-x"), None),
        (ServicePort(port=80, name="redisweb"), Protocol.HTTP1),
        (ServicePort(port=80, name="web-tls"), None),
        (ServicePort(port=80, name="api-mtls-2"), None),
        (ServicePort(port=80, name="web-ssl"), None),
        (ServicePort(port=80, name="websecure"), None),
        (ServicePort(port=80, name="wss"), None),
        (ServicePort(port=80, name="grpcs"), None),
        (ServicePort(port=80, name="webtls"), Protocol.HTTP1),
        (ServicePort(port=80, name="http-tls"), Protocol.HTTP1),
        (ServicePort(port=443), Protocol.HTTP1),
        (ServicePort(port=80, name="grpc-web"), Protocol.HTTP1),
        (ServicePort(port=80, name="grpc-web-x"), Protocol.HTTP1),
        (ServicePort(port=80, name="grpc-website"), Protocol.HTTP2),
        (ServicePort(port=80, name="web", app_protocol="example.com/x"), None),
        (ServicePort(port=80, name="http2"), Protocol.HTTP2),
        (ServicePort(port=80, name="h2c-x"), Protocol.HTTP2),
        (ServicePort(port=80, name="grpc-x"), Protocol.HTTP2),
        (ServicePort(port=80, app_protocol="HTTP"), Protocol.HTTP1),
        (ServicePort(port=80, app_protocol="http/1.1"), Protocol.HTTP1),
        (ServicePort(port=80, app_protocol="kubernetes.io/ws"), Protocol.HTTP1),
        (ServicePort(port=80, app_protocol="kubernetes.io/h2c"), Protocol.HTTP2),
        (ServicePort(port=80, app_protocol="grpc", name="http"), Protocol.HTTP2),
        (ServicePort(port=80, app_protocol="https", name="http"), None),
        (ServicePort(port=80, app_protocol="kubernetes.io/wss"), None),
    ],
)
def test_what_a_port_speaks(port: ServicePort, protocol: Protocol | None) -> None:
    assert [http.protocol for http in http_ports(service("a", ports=(port,)))] == (
        [protocol] if protocol else []
    )


@pytest.mark.parametrize(
    ("port", "known"),
    [
        (ServicePort(port=443), "Port 443 is routed as HTTP/1.1, but 443 is known for HTTPS."),
        (
            ServicePort(port=6379, name="x"),
            "Port 6379 (x) is routed as HTTP/1.1, but 6379 is known for Redis.",
        ),
        (ServicePort(port=80), ""),
        (ServicePort(port=443, name="http"), ""),
        (ServicePort(port=443, app_protocol="http"), ""),
        (ServicePort(port=50051, app_protocol="grpc"), ""),
        (ServicePort(port=6379, name="redis"), ""),
        (ServicePort(port=6379, app_protocol="redis"), ""),
    ],
)
def test_a_port_is_not_taken_for_http_in_silence(port: ServicePort, known: str) -> None:
    said = ports_of(service("a", ports=(port,))).assumed
    assert said.startswith(known)
    assert bool(said) is bool(known)
    decided = service("a", ports=(port,), annotations={"http-ports": ""})
    assert ports_of(decided).assumed == ""


def test_of_several_ports_one_that_says_nothing_is_not_http() -> None:
    ports = (ServicePort(port=80, name="web"), ServicePort(port=81, name="api"))
    assert http_ports(service("a", ports=ports)) == ()


def test_ports_of_other_protocols_do_not_count() -> None:
    ports = (ServicePort(port=80, name="web"), ServicePort(port=80, name="quic", protocol="UDP"))
    assert [http.port.name for http in http_ports(service("a", ports=ports))] == ["web"]


def test_the_annotation_adds_ports_behind_those_that_say_so_themselves() -> None:
    ports = (
        ServicePort(port=81, name="admin"),
        ServicePort(port=80, name="http"),
        ServicePort(port=82, name="rpc", app_protocol="grpc"),
        ServicePort(port=83, name="tls", app_protocol="https"),
    )
    annotated = service("a", ports=ports, annotations={"http-ports": " tls, 81,,http"})
    assert [(http.name, http.protocol) for http in ports_of(annotated).routed] == [
        ("http", Protocol.HTTP1),
        ("rpc", Protocol.HTTP2),
        ("tls", Protocol.HTTP1),
        ("admin", Protocol.HTTP1),
    ]
    assert ports_of(annotated)[1:] == ((), "", "")


@pytest.mark.parametrize("entry", ["webb", "081", "8" * 5000, "quic"])
def test_the_annotation_names_tcp_ports_of_the_service(entry: str) -> None:
    ports = (ServicePort(port=81, name="web"), ServicePort(port=443, name="quic", protocol="UDP"))
    [mistake] = ports_of(service("a", ports=ports, annotations={"http-ports": entry})).mistakes
    assert mistake.reason is Reason.INVALID_ANNOTATION
    assert ("which is UDP" if entry == "quic" else "its ports are 81 (web), 443 (quic).") in mistake.message
    [none] = ports_of(service("a", ports=(), annotations={"http-ports": entry})).mistakes
    assert none.message.endswith("its ports are none.")


def test_a_number_of_two_protocols_is_the_tcp_port() -> None:
    ports = (ServicePort(port=53, name="dns", protocol="UDP"), ServicePort(port=53, name="dns-tcp"))
    annotated = service("a", ports=ports, annotations={"http-ports": "53"})
    assert [http.name for http in ports_of(annotated).routed] == ["dns-tcp"]


def test_a_notice_lists_a_few_ports() -> None:
    ports = tuple(ServicePort(port=number, name=f"p-{number}") for number in range(1, 9))
    assert "5 (p-5) and 3 more are not routed" in ports_of(service("a", ports=ports)).unrouted


# Keeping apart

STABLE = at("10.0.0.1", pod="myapp-a")
CANARY_POD = pod("canary-a", "canary", "10.0.1.1")


def test_a_pod_is_known_by_its_name_where_the_slice_gives_it() -> None:
    # On the host's network Pods share their node's address; the canary's crashes, as the port is taken.
    crashing = pod("canary-a", "canary", "10.0.0.1", ready=False)
    assert live(
        service("myapp"),
        slice_of("myapp", STABLE, at("10.0.0.2", pod="b")),
        canary("canary", "myapp"),
        crashing,
    ) == ["10.0.0.1:80", "10.0.0.2:80"]


def test_a_pod_is_known_by_its_address_where_the_slice_gives_no_name() -> None:
    unready = pod("canary-a", "canary", "10.0.1.1", ready=False)
    found = slice_of("myapp", STABLE, at("10.0.1.1"))
    assert live(service("myapp"), found, canary("canary", "myapp"), unready) == ["10.0.0.1:80"]


def test_any_of_a_pods_addresses_will_do() -> None:
    dual = pod("canary-a", "canary", "10.0.1.1", "fd00::1")
    found = slice_of("myapp", at("fd00::9"), at("fd00::1"), family="IPv6")
    assert live(service("myapp"), found, canary("canary", "myapp"), dual) == ["[fd00::9]:80"]


def test_a_pod_that_gets_mirrored_requests_is_never_live_whatever_the_slice_says() -> None:
    # The address of a stable Pod that is gone went to the canary's; the slice is late.
    objects = (
        service("myapp"),
        slice_of("myapp", STABLE, at("10.0.1.1", pod="gone")),
        canary("canary", "myapp"),
    )
    assert live(*objects, CANARY_POD) == ["10.0.0.1:80"]
    assert shadow(*objects, CANARY_POD).state is State.ACTIVE


def test_the_pods_of_a_canary_are_kept_out_though_its_endpoints_come_from_a_service() -> None:
    objects = (
        service("myapp"),
        service("green"),
        slice_of("myapp", STABLE, at("10.0.1.1", pod="canary-a")),
        canary("canary", "myapp", endpoints_from="service/green"),
        CANARY_POD,
    )
    # That Service's slice comes a moment later than the Pod's name in the other's.
    assert live(*objects) == ["10.0.0.1:80"]
    assert shadow(*objects).message == "Service green has no ready endpoint yet."


def test_the_endpoints_of_a_canarys_service_are_kept_out_unready_ones_too() -> None:
    objects = (
        service("myapp"),
        service("green"),
        slice_of("myapp", STABLE, at("10.0.1.1", pod="g1"), at("10.0.1.2", pod="g2"), at("10.0.1.3")),
        slice_of("green", at("10.0.1.1", pod="g1"), at("10.0.1.2", pod="g2", ready=False), at("10.0.1.3")),
        canary("canary", "myapp", endpoints_from="service/green"),
    )
    assert live(*objects) == ["10.0.0.1:80"]
    assert [str(e) for e in shadow(*objects).endpoints] == ["10.0.1.1:80", "10.0.1.3:80"]


@pytest.mark.parametrize("setting", [{"paused": "true"}, {"percent": "0"}, {"percent": "lots"}])
def test_a_canary_that_gets_nothing_is_kept_out_all_the_same(setting: dict[str, str]) -> None:
    found = slice_of("myapp", STABLE, at("10.0.1.1", pod="canary-a"))
    assert live(service("myapp"), found, canary("canary", "myapp", **setting), CANARY_POD) == ["10.0.0.1:80"]


def test_a_canary_that_had_to_stay_goes_for_an_endpoint_that_is_ready() -> None:
    def live(*endpoints: Object) -> list[str]:
        plan = pipeline.step(map(Upsert, endpoints), now=0.0).plan
        return [
            str(endpoint)
            for port in plan.services[NamespacedName("staging", "myapp")].ports
            for endpoint in port.endpoints
        ]

    pipeline = pipeline_of()
    own = at("10.0.1.1", pod="canary-a")
    found = live(
        namespace("staging"), service("myapp"), slice_of("myapp", own), canary("canary", "myapp"), CANARY_POD
    )
    assert found == ["10.0.1.1:80"]
    # The stable version starts from zero.
    assert live(slice_of("myapp", own, at("10.0.0.1", ready=False))) == ["10.0.1.1:80"]
    assert live(slice_of("myapp", own, at("10.0.0.1"))) == ["10.0.0.1:80"]
    # It crashes, and the canary stays out.
    assert live(slice_of("myapp", own, at("10.0.0.1", ready=False))) == []
    assert resolve(pipeline.step((), now=0.0).world) == pipeline.step((), now=0.0).plan


def test_a_port_that_would_be_emptied_keeps_all_of_them_as_they_were() -> None:
    ports = ServicePort(port=80, name="http"), ServicePort(port=90, name="grpc")
    http = slice_of(
        "myapp", STABLE, at("10.0.1.1", pod="canary-a"), name="s1", ports=[SlicePort(name="http", port=80)]
    )
    grpc = slice_of(
        "myapp", at("10.0.1.1", pod="canary-a"), name="s2", ports=[SlicePort(name="grpc", port=90)]
    )
    objects = service("myapp", ports=ports), http, grpc, canary("canary", "myapp"), CANARY_POD
    assert [[str(e) for e in route.endpoints] for route in myapp(*objects).ports] == [
        ["10.0.0.1:80", "10.0.1.1:80"],
        ["10.0.1.1:90"],
    ]
    assert shadow(*objects).reason is Reason.WOULD_EMPTY_SERVICE
    assert "port 90" in shadow(*objects).message


def test_a_service_that_has_no_backends_anyway_is_not_emptied() -> None:
    assert shadow(service("myapp"), canary("canary", "myapp"), CANARY_POD).state is State.ACTIVE


@pytest.mark.parametrize(("first", "younger"), [("a", "b"), ("b", "a")])
def test_of_two_canaries_that_would_empty_a_service_the_younger_is_rejected(first: str, younger: str) -> None:
    created = {first: "2026-01-01T00:00:00Z", younger: "2026-02-01T00:00:00Z"}
    found = plan_of(
        service("myapp"),
        slice_of("myapp", at("10.0.1.1", pod="a-1"), at("10.0.1.2", pod="b-1")),
        *(canary(name, "myapp", created=when) for name, when in created.items()),
        pod("a-1", "a", "10.0.1.1"),
        pod("b-1", "b", "10.0.1.2"),
    )
    assert {s.canary: s.state for s in found.shadows()} == {first: State.ACTIVE, younger: State.REJECTED}
    (route,) = found.services[MYAPP].ports
    assert [m.canary for m in route.mirrors] == [first]
    assert [str(e) for e in route.endpoints] == ["10.0.1.1:80" if younger == "a" else "10.0.1.2:80"]


def test_of_more_canaries_than_can_be_sampled_the_youngest_are_rejected() -> None:
    sampled = [
        canary(f"sampled-{n}", "myapp", app="canary", percent="50", created=f"2026-01-{31 - n}T00:00:00Z")
        for n in range(6)
    ]
    others = canary("whole", "myapp", app="canary"), canary("resting", "myapp", percent="1", paused="true")
    plan = plan_of(service("myapp"), *sampled, *others, CANARY_POD)

    states = {s.canary: (s.state, s.reason) for s in plan.shadows()}
    younger = {name for name, (_, reason) in states.items() if reason is Reason.TOO_MANY_SAMPLED}
    assert younger == {"sampled-0", "sampled-1"}
    assert {states[name][0] for name in younger} == {State.REJECTED}
    assert (states["whole"][0], states["resting"][0]) == (State.ACTIVE, State.PAUSED)
    (route,) = plan.services[MYAPP].ports
    assert [m.canary for m in route.mirrors] == [
        "sampled-2",
        "sampled-3",
        "sampled-4",
        "sampled-5",
        "whole",
    ]
    assert plan.shadows()[1].message == (
        "Service staging/myapp has 4 older shadows below 100 percent, the most that can be sampled"
        " independently of each other; sample: correlated has no such limit."
    )


# Endpoints


def test_the_families_of_the_service_come_first_and_the_others_are_better_than_nothing() -> None:
    four, six = (
        slice_of("myapp", at("10.0.0.1"), name="four"),
        slice_of("myapp", at("fd00::1"), name="six", family="IPv6"),
    )
    assert live(service("myapp"), four, six) == ["10.0.0.1:80"]
    assert live(service("myapp", ip_families=("IPv6", "IPv4")), four, six) == ["[fd00::1]:80"]
    assert live(service("myapp", ip_families=("IPv6",)), four) == ["10.0.0.1:80"]
    assert live(service("myapp"), slice_of("myapp", at("example.com"), family="FQDN")) == []


def test_a_slice_is_read_at_the_port_of_the_same_name_that_has_a_number() -> None:
    ports = [SlicePort(name="http", port=8080), SlicePort(name="other", port=9090), SlicePort(name="http")]
    found = slice_of("myapp", STABLE, ports=ports)
    assert live(service("myapp", ports=(ServicePort(port=80, name="http"),)), found) == ["10.0.0.1:8080"]


def test_an_endpoint_in_two_slices_is_one() -> None:
    twice = slice_of("myapp", STABLE, name="s1"), slice_of("myapp", STABLE, at("10.0.0.0"), name="s2")
    assert live(service("myapp"), *twice) == ["10.0.0.0:80", "10.0.0.1:80"]


def test_only_a_pod_is_known_by_its_target() -> None:
    document = (
        "{kind: EndpointSlice, metadata: {name: s, namespace: staging, labels:"
        " {kubernetes.io/service-name: myapp}}, addressType: IPv4, ports: [{port: 80}], endpoints:"
        " [{addresses: [10.0.0.1], targetRef: {kind: Node, name: canary-a}}, {addresses: []}]}"
    )
    (nodes,) = kube.from_yaml(document)
    assert live(service("myapp"), nodes, canary("canary", "myapp"), CANARY_POD) == ["10.0.0.1:80"]


def test_a_single_port_is_the_counterpart_of_any() -> None:
    objects = (
        service("myapp"),
        service("green", ports=(ServicePort(port=8080, name="http"),)),
        slice_of("green", at("10.0.1.1"), ports=[SlicePort(name="http", port=8081)]),
        canary("canary", "myapp", endpoints_from="service/green"),
    )
    assert shadow(*objects).endpoints == (Endpoint("10.0.1.1", 8081),)


def test_a_canary_whose_pods_have_no_address_says_so() -> None:
    found = shadow(service("myapp"), canary("canary", "myapp"), pod("canary-a", "canary"))
    assert (found.state, found.message) == (
        State.PENDING,
        (
            "Its Pods have no address yet that can be an endpoint, or none of their containers has the"
            " Service's targetPort as a TCP port."
        ),
    )
    found = shadow(service("myapp"), canary("canary", "myapp"))
    assert (found.state, found.message) == (State.PENDING, "None of its Pods is ready yet.")


def test_a_named_target_port_is_one_of_the_same_protocol() -> None:
    named = pod("canary-a", "canary", "10.0.1.1")
    ports = (
        ContainerPort(container_port=4433, name="web", protocol="UDP"),
        ContainerPort(container_port=8080, name="web", protocol="TCP"),
    )
    both = Pod(
        named.metadata,
        spec=PodSpec(containers=tuple(Container(ports=(p,)) for p in ports)),
        status=named.status,
    )
    to_web = service("myapp", ports=(ServicePort(port=80, target_port="web"),))
    found = shadow(to_web, canary("canary", "myapp"), both)
    assert [str(each) for each in found.endpoints] == ["10.0.1.1:8080"]
    udp = Pod(named.metadata, spec=PodSpec(containers=(Container(ports=ports[:1]),)), status=named.status)
    found = shadow(to_web, canary("canary", "myapp"), udp)
    assert (found.state, found.endpoints) == (State.PENDING, ())
    assert "none of their containers has the Service's targetPort as a TCP port" in found.message


# What cannot be mirrored

HTTP, RPC = ServicePort(port=80, name="http"), ServicePort(port=81, name="grpc")
QUIC = ServicePort(port=80, name="quic", protocol="UDP")


def test_a_port_without_endpoints_of_the_canary_is_reported() -> None:
    ports = (ServicePort(port=80, name="http"), ServicePort(port=81, name="http-admin", target_port="admin"))
    found = shadow(service("myapp", ports=ports), canary("canary", "myapp"), CANARY_POD)
    assert found.state is State.ACTIVE
    assert found.message.endswith(
        "Service staging/myapp. Requests of port 81 are not: the canary has no ready endpoint there."
    )


@pytest.mark.parametrize("port", [RPC, ServicePort(port=80, app_protocol="grpc-web")])
def test_redact_is_rejected_if_all_ports_are_grpc(port: ServicePort) -> None:
    found = shadow(service("myapp", ports=(port,)), canary("canary", "myapp", redact="json:/a"), CANARY_POD)
    assert (found.state, found.reason) == (State.REJECTED, Reason.CANNOT_REDACT)
    assert "Service staging/myapp speaks gRPC, whose messages it cannot read" in found.message
    without = shadow(service("myapp", ports=(port,)), canary("canary", "myapp"), CANARY_POD)
    assert without.state is State.ACTIVE


def test_redact_leaves_out_the_grpc_port_of_two() -> None:
    objects = (service("myapp", ports=(HTTP, RPC)), canary("canary", "myapp", redact="json:/a"), CANARY_POD)
    assert shadow(*objects).message.endswith(
        "Requests of port 81 are not: it speaks gRPC, which redact cannot read."
    )
    assert [bool(port.mirrors) for port in myapp(*objects).ports] == [True, False]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ([service("green", ports=None, kind="ExternalName")], "is an ExternalName and has none"),
        (
            [service("green"), slice_of("green", at("db.example.com"), family="FQDN")],
            "are of addressType FQDN, and only IP addresses get mirrored requests",
        ),
        (
            [
                service(
                    "green",
                    ports=(RPC, ServicePort(port=80, name="quic", protocol="UDP"), ServicePort(port=2)),
                )
            ],
            "has the name or number of a routed port of Service staging/myapp (80).",
        ),
    ],
)
def test_endpoints_are_not_waited_for_where_there_cannot_be_any(source: list[Object], why: str) -> None:
    found = shadow(service("myapp"), *source, canary("canary", "myapp", endpoints_from="service/green"))
    assert (found.state, found.reason) == (State.REJECTED, Reason.NO_ENDPOINTS)
    assert why in found.message


def test_slices_of_addresses_beside_slices_of_names_count() -> None:
    names = slice_of("green", at("db.example.com"), family="FQDN", name="names")
    objects = (service("green"), names, slice_of("green", at("10.0.2.1")))
    found = shadow(service("myapp"), *objects, canary("canary", "myapp", endpoints_from="service/green"))
    assert [str(each) for each in found.endpoints] == ["10.0.2.1:80"]


# Mirror loops

GREEN = (service("green"), slice_of("green", at("10.0.2.1")))
BLUE = (service("blue"), slice_of("blue", at("10.0.3.1")))


def rejected(plan: Plan) -> dict[str, str]:
    return {found.canary: found.message for found in plan.shadows() if found.state is State.REJECTED}


def test_services_that_mirror_to_each_other_are_rejected() -> None:
    found = plan_of(
        *GREEN,
        *BLUE,
        canary("one", "green", endpoints_from="service/blue"),
        canary("two", "blue", endpoints_from="service/green"),
    )
    assert rejected(found) == {
        name: f"Its endpoints come from Service staging/{source}, which is mirrored to Service"
        f" staging/{target} in turn."
        for name, source, target in (("one", "blue", "green"), ("two", "green", "blue"))
    }
    assert {each.reason for each in found.shadows()} == {Reason.MIRROR_LOOP}


def test_a_loop_of_three_services_is_rejected_and_a_chain_that_leads_into_it_is_not() -> None:
    red = (service("red"), slice_of("red", at("10.0.4.1")))
    found = plan_of(
        *GREEN,
        *BLUE,
        *red,
        service("myapp"),
        slice_of("myapp", at("10.0.0.1")),
        canary("outside", "myapp", endpoints_from="service/green"),
        canary("one", "green", endpoints_from="service/blue"),
        canary("two", "blue", endpoints_from="service/red"),
        canary("three", "red", endpoints_from="service/green"),
    )
    assert set(rejected(found)) == {"one", "two", "three"}


def test_a_chain_of_services_is_no_loop() -> None:
    found = plan_of(
        *GREEN,
        *BLUE,
        service("myapp"),
        slice_of("myapp", at("10.0.0.1")),
        canary("one", "myapp", endpoints_from="service/green"),
        canary("two", "green", endpoints_from="service/blue"),
    )
    assert rejected(found) == {}


# Messages


@pytest.mark.parametrize(
    ("objects", "reason", "message"),
    [
        (
            [canary("canary", "my-app")],
            Reason.SERVICE_NOT_FOUND,
            NO_SERVICE,
        ),
        (
            [service("myapp", expose="false"), canary("canary", "myapp")],
            Reason.SERVICE_NOT_EXPOSED,
            f"Service staging/myapp is not routed; label it, or its Namespace, with {EXPOSE}=true.",
        ),
        (
            [service("myapp", ports=None), canary("canary", "myapp")],
            Reason.NO_HTTP_PORT,
            "Service staging/myapp has nothing to mirror. It has no ports; add one to spec.ports.",
        ),
        (
            [service("myapp"), canary("canary", "myapp", endpoints_from="service/myapp")],
            Reason.MIRROR_LOOP,
            "Its endpoints would come from Service staging/myapp, the one that it shadows.",
        ),
        (
            [service("myapp"), canary("canary", "myapp", endpoints_from="service/green")],
            Reason.SERVICE_NOT_FOUND,
            "Service staging/green of annotation xds-shadow.io/endpoints-from does not exist.",
        ),
        (
            [service("myapp"), canary("canary", "myapp", paused="maybe")],
            Reason.INVALID_POLICY,
            "Annotation xds-shadow.io/paused: 'maybe' is neither true nor false.",
        ),
        # What is wrong with the Service comes first: without it the rest cannot be judged.
        (
            [canary("canary", "my-app", percent="lots")],
            Reason.SERVICE_NOT_FOUND,
            NO_SERVICE,
        ),
        # Rejected is rejected, paused or not.
        (
            [
                service("myapp"),
                slice_of("myapp", at("10.0.1.1", pod="canary-a")),
                canary("canary", "myapp", paused="true"),
                CANARY_POD,
            ],
            Reason.WOULD_EMPTY_SERVICE,
            (
                "Every endpoint of Service staging/myapp port 80 belongs to this Deployment or to another"
                " canary; live traffic does not change. Give the stable version Pods of its own."
            ),
        ),
    ],
)
def test_a_rejection_names_the_object_and_says_what_to_do(
    objects: list[Object], reason: Reason, message: str
) -> None:
    found = shadow(*objects)
    assert (found.state, found.reason, found.message) == (State.REJECTED, reason, message)
    assert all(not route.mirrors for s in plan_of(*objects).services.values() for route in s.ports)


def test_a_policy_that_was_not_read_is_not_shown() -> None:
    found = shadow(service("myapp"), canary("canary", "myapp", percent="lots", methods="GET"))
    assert (found.percent, found.methods) == ("", ())
    found = shadow(service("myapp"), canary("canary", "myapp", percent="0.50", methods="GET,DELETE"))
    assert (found.percent, found.methods) == ("0.5", ("DELETE", "GET"))


@pytest.mark.parametrize(
    ("methods", "what"),
    [({}, "requests"), ({"methods": "GET"}, "GET requests"), ({"methods": "POST,GET"}, "GET, POST requests")],
)
def test_an_active_shadow_says_what_is_copied(methods: dict[str, str], what: str) -> None:
    found = shadow(service("myapp"), canary("canary", "myapp", percent="25", **methods), CANARY_POD)
    assert found.message == f"Configured to mirror 25 percent of the {what} to Service staging/myapp."


@pytest.mark.parametrize("text", ["yes", "1", "", "treu"])
def test_a_label_that_cannot_be_read_leaves_a_service_as_it_was(text: str) -> None:
    pipeline, bare = kube.pipeline_of(), kube.namespace("staging", expose=None)
    for label, routed in ((text, False), ("true", True), (text, True), ("False", False), ("TRUE", True)):
        published = pipeline.step([Upsert(bare), Upsert(service("myapp", expose=label))], now=0.0)
        assert bool(published.plan.services.get(MYAPP, ServicePlan()).ports) is routed, label
        assert [p.reason for p in errors(published.plan.conditions())] == ["InvalidLabel"] * (label == text)
    # What the Namespace says is readable.
    pipeline.step([Upsert(service("myapp", expose=text))], now=0.0)
    published = pipeline.step([Upsert(kube.namespace("staging", expose="false"))], now=0.0)
    assert published.plan.services[MYAPP].ports == ()


def test_an_invalid_label_of_the_namespace_is_reported_for_each_service() -> None:
    plan = resolve(
        kube.world_of(kube.namespace("staging", expose="yes"), service("a"), service("b", expose="true"))
    )
    assert plan.conditions() == [
        Condition(
            Subject("Service", "staging", "a"),
            Reason.INVALID_LABEL,
            f"Its Namespace's label {EXPOSE} is 'yes', neither true nor false; it counts as absent.",
        )
    ]
    assert [target.name for target, service in plan.services.items() if service.ports] == ["b"]


def test_a_service_without_ports_is_the_same_beside_a_bad_label_when_it_is_planned_again() -> None:
    pipeline = kube.pipeline_of()
    objects: list[Object] = [kube.namespace("staging"), service("myapp"), canary("c", "myapp")]
    pipeline.step([Upsert(each) for each in objects], now=0.0)
    portless = replace(service("myapp"), spec=ServiceSpec())
    published = pipeline.step([Upsert(kube.namespace("staging", expose="yes")), Upsert(portless)], now=0.0)
    assert published.plan.services[MYAPP].ports == ()
    assert resolve(published.world, before=published.plan) == published.plan


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("app.example.com", True),
        ("app", True),
        ("1.2.3.4", True),
        ("a" * 63 + ".example", True),
        ("a" * 64 + ".example", False),
        (".".join(["a" * 49] * 5), True),
        (".".join(["a" * 50] * 5), False),
        ("*.example.com", False),
        ("app.example.com:80", False),
        ("http://app", False),
        ("-a.example", False),
        ("a..b", False),
        ("app.example.com.", False),
        ("a b", False),
        ("[fd00::1]", False),
    ],
)
def test_a_host_is_a_name_without_wildcard_scheme_or_port(host: str, *, good: bool) -> None:
    plan = myapp(service("myapp", annotations={"hosts": host}))
    (route,) = plan.ports
    assert (host in route.domains) is good
    assert [p.reason for p in plan.conditions] == ([] if good else [Reason.INVALID_HOST])
    assert all(repr(host[:60])[1:-1] in p.message for p in plan.conditions)


def test_shadows_and_problems_are_sorted_over_all_services() -> None:
    plan = plan_of(
        canary("b", "one"),
        canary("a", "two"),
        service("y", expose="maybe"),
        service("x", expose="maybe"),
    )
    assert [s.canary for s in plan.shadows()] == ["a", "b"]
    assert [str(p.subject) for p in errors(plan.conditions())] == ["Service staging/x", "Service staging/y"]


def test_an_endpoint_reads_as_in_a_url() -> None:
    assert str(Endpoint("10.0.0.1", 80)) == "10.0.0.1:80"
    assert str(Endpoint("fd00::1", 80)) == "[fd00::1]:80"


# What is said of odd objects


def test_an_empty_label_says_so() -> None:
    found = shadow(canary("c", ""))
    assert (found.state, found.reason) == (State.REJECTED, Reason.INVALID_LABEL)
    assert "empty" in found.message


@pytest.mark.parametrize(("expose", "reported"), [(None, False), ("true", True)])
def test_an_external_name_is_a_problem_only_where_it_was_asked_for(
    expose: str | None, reported: bool
) -> None:
    external = service("elsewhere", expose=expose, ports=(), kind="ExternalName")
    assert bool(errors(plan_of(external).conditions())) is reported


def test_an_unknown_annotation_of_a_service_is_reported_and_costs_nothing() -> None:
    (problem,) = plan_of(service("myapp", annotations={"host": "a.example.com"})).conditions()
    assert problem.reason == Reason.INVALID_ANNOTATION
    assert "xds-shadow.io/host " in problem.message
    assert myapp(service("myapp", annotations={"host": "a.example.com"})).ports


def test_names_of_the_cluster_cannot_be_claimed() -> None:
    taken = "other.staging.svc,other.prod.svc.cluster.local,myapp.staging.svc,fine.example.com"
    plan = myapp(service("myapp", annotations={"hosts": taken}))
    assert [problem.reason for problem in plan.conditions] == [Reason.INVALID_HOST, Reason.INVALID_HOST]
    (route,) = plan.ports
    assert not any(domain.startswith("other.") for domain in route.domains)
    assert "fine.example.com" in route.domains


def test_a_service_has_its_name_in_every_domain_of_the_cluster() -> None:
    taken = "other.prod.svc.example.internal,other.prod.svc.cluster.local"
    world = kube.world_of(kube.namespace("staging"), service("myapp", annotations={"hosts": taken}))
    plan = resolve(world, Rules(cluster_domains=("example.internal", "a.b"))).services[MYAPP]
    (route,) = plan.ports
    assert {domain.removesuffix(":*") for domain in route.domains} == {
        "myapp.staging",
        "myapp.staging.svc",
        "myapp.staging.svc.a.b",
        "myapp.staging.svc.example.internal",
        "other.prod.svc.cluster.local",
    }
    (problem,) = plan.conditions
    assert problem.reason == Reason.INVALID_HOST
    assert "other.prod.svc.example.internal" in problem.message


def test_a_port_that_is_not_routed_is_closed_under_the_services_own_names() -> None:
    ports = (*(ServicePort(port=n, name=f"p{n}") for n in (5432, 80)), ServicePort(port=81, name="http"))
    (route,) = myapp(service("myapp", ports=ports, annotations={"hosts": "shop.example.com"})).ports
    names = ("myapp.staging", "myapp.staging.svc", "myapp.staging.svc.cluster.local")
    assert route.closed == tuple(sorted(f"{name}:{number}" for name in names for number in (5432, 80)))


def test_the_first_of_many_ports_that_are_not_routed_are_closed() -> None:
    ports = (ServicePort(port=80, name="http"), *(ServicePort(port=n, name=f"p{n}") for n in range(100, 200)))
    (route,) = myapp(service("myapp", ports=ports)).ports
    assert {int(domain.partition(":")[2]) for domain in route.closed} == set(range(100, 132))


def test_ports_without_names_close_none() -> None:
    udp = ServicePort(port=53, protocol="UDP")
    (route,) = myapp(service("myapp", ports=(ServicePort(port=80), udp))).ports
    assert route.closed == ()


def test_the_name_of_another_cannot_be_had_whatever_the_cluster_is_called() -> None:
    claimant = service("older", created="2020-01-01T00:00:00Z", annotations={"hosts": "myapp.staging"})
    world = kube.world_of(kube.namespace("staging"), service("myapp"), claimant)
    plan = resolve(world, Rules(cluster_domains=("example.internal",)))
    (problem,) = plan.services[NamespacedName("staging", "older")].conditions
    assert problem.message.startswith("Host myapp.staging is the cluster's name of Service staging/myapp;")


def test_a_rejected_policy_still_says_which_endpoints_are_excluded() -> None:
    both = [at("10.0.0.1"), at("10.0.0.2")]
    objects = (
        service("myapp"),
        slice_of("myapp", *both),
        service("preview"),
        slice_of("preview", at("10.0.0.2")),
    )
    good = canary("c", "myapp", endpoints_from="service/preview")
    bad = canary("c", "myapp", endpoints_from="service/preview", percent="lots")
    assert live(*objects) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert live(*objects, good) == live(*objects, bad) == ["10.0.0.1:80"]


def test_a_rejection_does_not_hide_that_the_pods_get_live_traffic() -> None:
    found = shadow(
        service("myapp"),
        slice_of("myapp", at("10.0.0.2")),
        canary("c", "myapp", percent="lots"),
        pod("c-1", "c", "10.0.0.2"),
    )
    assert found.reason == Reason.INVALID_POLICY
    assert "live traffic does not change" in found.message


def test_families_that_are_no_addresses_are_passed_over() -> None:
    objects = (
        service("myapp", ip_families=("FQDN",)),
        slice_of("myapp", at("db.example.com"), family="FQDN"),
    )
    assert live(*objects) == []
