"""Limits of one Service: the oldest stay, what exceeds a limit is left out and named."""

import pytest

from tests.unit.pure import kube
from tests.unit.pure.kube import at, canary, namespace, pipeline_of, pod, service, slice_of, world_of
from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core import canaries
from xds_server.core.conditions import Reason, errors
from xds_server.core.ledger import Allowed, cut
from xds_server.core.limits import Limits
from xds_server.core.objects import Object, ServicePort, SlicePort
from xds_server.core.plan import Plan, ServicePlan, State
from xds_server.core.resolve import resolve
from xds_server.core.scene import Scene
from xds_server.core.world import Awaiting, Upsert, World

MYAPP = NamespacedName("staging", "myapp")


def bounded(*objects: Object, **limits: str) -> ServicePlan:
    """What becomes of Service myapp in a Namespace with these limits."""
    names = {name.replace("_", "-"): text for name, text in limits.items()}
    return resolve(world_of(namespace("staging", annotations=names), *objects)).services[MYAPP]


def problems(plan: ServicePlan) -> list[tuple[str, str]]:
    return [(str(problem.reason), problem.message) for problem in errors(plan.conditions)]


def shadows(plan: ServicePlan) -> dict[str, tuple[State, str]]:
    return {shadow.canary: (shadow.state, shadow.reason) for shadow in plan.shadows}


def aged(name: str, day: int, **annotations: str) -> list[Object]:
    created = f"2026-01-0{day}T00:00:00Z"
    return [canary(name, "myapp", created=created, **annotations), pod(f"{name}-1", name, f"10.0.1.{day}")]


ENDPOINTS = slice_of("myapp", at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3"))


def test_the_first_ports_are_routed() -> None:
    ports = tuple(ServicePort(port=80 + number, name=f"http-{number}") for number in range(3))
    plan = bounded(service("myapp", ports=ports), ports_max="2")
    assert [port.number for port in plan.ports] == [80, 81]
    assert problems(plan) == [
        (
            "TooManyPorts",
            "It has 3 HTTP ports, and ports-max is 2; those after port 81 are not routed.",
        )
    ]


def test_the_first_hosts_are_served() -> None:
    plan = bounded(service("myapp", annotations={"hosts": "a.test,b.test,c.test,d.test"}), hosts_max="2")
    domains = {domain for port in plan.ports for domain in port.domains if domain.endswith(".test")}
    assert domains == {"a.test", "b.test"}
    assert problems(plan) == [
        (
            "TooManyHosts",
            (
                "Annotation xds-shadow.io/hosts has more hosts than hosts-max, 2; 'c.test' and those after it"
                " are left out."
            ),
        )
    ]


def test_bad_hosts_count_too() -> None:
    hosts = ",".join(f"-{number}" for number in range(100))
    plan = bounded(service("myapp", annotations={"hosts": hosts}))
    assert [reason for reason, _ in problems(plan)] == ["InvalidHost"] * 64 + ["TooManyHosts"]


def test_a_host_that_the_namespace_may_not_have_is_not_claimed() -> None:
    hosts = {"hosts": "app.test,app.example"}
    plan = bounded(service("myapp", annotations=hosts), hosts_allowed="test")
    assert [reason for reason, _ in problems(plan)] == ["NotAllowed"]
    assert "Host app.example is not allowed; allowed are test" in problems(plan)[0][1]
    assert "app.test" in plan.ports[0].domains
    assert "app.example" not in plan.ports[0].domains


def test_a_limit_that_cannot_be_read_is_a_problem_and_the_default_holds() -> None:
    plan = bounded(service("myapp"), ENDPOINTS, endpoints_max="few")
    assert problems(plan) == []
    assert len(plan.ports[0].endpoints) == 3


def test_what_is_wrong_with_a_namespaces_settings_is_a_problem_of_the_namespace() -> None:
    def wrong(**settings: str) -> list[tuple[str, str]]:
        names = {name.replace("_", "-"): text for name, text in settings.items()}
        plan = resolve(world_of(namespace("staging", annotations=names)))
        return [(str(problem.subject), problem.message) for problem in errors(plan.conditions())]

    ((subject, message),) = wrong(endpoints_max="few")
    assert subject == "Namespace staging"
    assert "endpoints-max of Namespace staging: 'few' is not a number" in message
    ((subject, message),) = wrong(hosts_alowed="example.com")
    assert subject == "Namespace staging"
    assert "hosts-alowed of Namespace staging is not known here" in message
    ((_, message),) = wrong(namespace_memory_max="256Mi")
    assert "'256Mi' is more than the 128Mi that are available" in message
    assert wrong(percent_max="10") == []


def test_the_first_endpoints_of_a_port_are_served() -> None:
    plan = bounded(service("myapp"), ENDPOINTS, endpoints_max="2")
    assert [str(endpoint) for endpoint in plan.ports[0].endpoints] == ["10.0.0.1:80", "10.0.0.2:80"]
    assert problems(plan) == [
        (
            "TooManyEndpoints",
            "Port 80 has 3 endpoints, and endpoints-max is 2; the others get no requests.",
        )
    ]


def test_the_oldest_shadows_stay_and_the_others_are_kept_out_of_live_traffic_all_the_same() -> None:
    live = slice_of("myapp", at("10.0.0.1"), at("10.0.1.3", pod="third-1"))
    objects = [*aged("first", 1), *aged("second", 2), *aged("third", 3)]
    plan = bounded(service("myapp"), live, *objects, shadows_max="2")
    assert shadows(plan) == {
        "first": (State.ACTIVE, Reason.CONFIGURED),
        "second": (State.ACTIVE, Reason.CONFIGURED),
        "third": (State.REJECTED, Reason.TOO_MANY_SHADOWS),
    }
    assert plan.shadows[2].message == (
        "Service staging/myapp has the maximum of 2 older shadows (shadows-max), or its namespace has 256"
        " older ones; remove the label from one of them."
    )
    assert [str(endpoint) for endpoint in plan.ports[0].endpoints] == ["10.0.0.1:80"]


def test_mirrored_bodies_of_the_oldest_shadows_have_the_memory() -> None:
    objects = [
        *aged("first", 1, max_concurrent="10", max_body="1Mi"),
        *aged("second", 2, max_concurrent="100", max_body="1Mi"),
        *aged("third", 3, max_concurrent="5", max_body="1Mi"),
    ]
    plan = bounded(service("myapp"), ENDPOINTS, *objects, mirror_memory_max="16Mi")
    assert {name: state for name, (state, _) in shadows(plan).items()} == {
        "first": State.ACTIVE,
        "second": State.REJECTED,
        "third": State.ACTIVE,
    }
    assert plan.shadows[1].reason is Reason.TOO_MUCH_MEMORY
    assert plan.shadows[1].message == (
        "Mirrored bodies of Service staging/myapp may take 16Mi of an Envoy (mirror-memory-max):"
        " max-concurrent times max-body of this shadow is 100Mi, and others have 10Mi; lower one of the two."
    )


def test_shadows_that_do_not_say_how_many_requests_may_be_in_flight_share_what_is_left() -> None:
    objects = [*aged("first", 1, max_concurrent="8"), *aged("second", 2), *aged("third", 3, max_body="2Mi")]
    plan = bounded(service("myapp"), ENDPOINTS, *objects, mirror_memory_max="20Mi")
    at_once = {mirror.canary: mirror.treatment.max_concurrent for mirror in plan.ports[0].mirrors}
    assert at_once == {"first": 8, "second": 4, "third": 4}
    plan = bounded(service("myapp"), ENDPOINTS, *objects, mirror_memory_max="10Mi")
    assert {name: state for name, (state, _) in shadows(plan).items()} == {
        "first": State.ACTIVE,
        "second": State.ACTIVE,
        "third": State.REJECTED,
    }


def test_without_limits_sixteen_shadows_as_they_are_by_default_fit() -> None:
    objects = [each for day in range(1, 10) for each in aged(f"s{day}", day)]
    objects += [
        canary(f"t{number}", "myapp", app="s1", created=f"2026-02-0{number}T00:00:00Z")
        for number in range(1, 8)
    ]
    plan = bounded(service("myapp"), ENDPOINTS, *objects)
    assert {mirror.treatment.max_concurrent for mirror in plan.ports[0].mirrors} == {8}
    assert len(plan.ports[0].mirrors) == 16


def test_nothing_is_mirrored_and_no_host_claimed_before_the_namespace_was_seen() -> None:
    world, _ = World().apply(
        [
            *map(
                Upsert,
                [
                    service("myapp", expose="true", annotations={"hosts": "app.test"}),
                    ENDPOINTS,
                    *aged("first", 1),
                    *aged("second", 2, percent="many"),
                ],
            ),
            Awaiting("staging", "", waiting=True),
        ]
    )
    plan = resolve(world).services[MYAPP]
    assert shadows(plan) == {
        "first": (State.PENDING, Reason.NAMESPACE_UNKNOWN),
        "second": (State.REJECTED, Reason.INVALID_POLICY),
    }
    assert [port.mirrors for port in plan.ports] == [()]
    assert "app.test" not in plan.ports[0].domains
    assert problems(plan) == [
        ("NotAllowed", "Host app.test waits until Namespace staging, which may have bounds for it, was seen.")
    ]


def test_a_service_for_which_there_is_no_room_is_not_routed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scene, "limits", Limits(namespace_memory=MIB // 10))
    objects = [
        namespace("staging"),
        service("older", created="2024"),
        service("myapp", created="2025"),
        *aged("first", 1),
        *aged("second", 2, percent="many"),
    ]
    published = pipeline_of().step(map(Upsert, objects), now=0.0)
    plan = published.plan.services[MYAPP]
    assert plan.ports == ()
    assert shadows(plan) == {
        "first": (State.REJECTED, Reason.NAMESPACE_FULL),
        "second": (State.REJECTED, Reason.INVALID_POLICY),
    }
    assert problems(plan) == [
        (
            "NamespaceFull",
            (
                "It is not routed: Namespace staging may take 0Mi of an Envoy's memory"
                " (namespace-memory-max), and with its older Services and shadows this would be more."
            ),
        )
    ]
    assert published.plan == resolve(published.world)
    assert cut(plan, Allowed.EVERYTHING, 0) is plan


def test_a_marked_deployment_is_in_no_service_of_its_namespace_whatever_its_label_says() -> None:
    own = at("10.0.1.1", pod="first-1")
    objects = (
        namespace("staging"),
        service("myapp"),
        service("other"),
        slice_of("myapp", at("10.0.0.1"), own),
        slice_of("other", at("10.0.0.2"), own, name="other-1"),
        canary("first", "myap"),
        pod("first-1", "first", "10.0.1.1"),
    )
    plan = resolve(world_of(*objects))
    served = {target.name: [str(e) for p in part.ports for e in p.endpoints] for target, part in _all(plan)}
    assert served == {"myapp": ["10.0.0.1:80"], "other": ["10.0.0.2:80"], "myap": []}


def test_a_service_of_the_canarys_own_keeps_it() -> None:
    objects = (
        namespace("staging"),
        service("preview", ports=(ServicePort(port=80, name="http"),)),
        slice_of("preview", at("10.0.1.1", pod="first-1"), ports=[SlicePort(name="http", port=80)]),
        canary("first", "myapp"),
        kube.pod("first-1", "first", "10.0.1.1"),
    )
    plan = resolve(world_of(*objects))
    part = plan.services[NamespacedName("staging", "preview")]
    assert [str(e) for port in part.ports for e in port.endpoints] == ["10.0.1.1:80"]
    assert part.kept == {"first"}
    assert part.conditions == ()


def _all(plan: Plan) -> list[tuple[NamespacedName, ServicePlan]]:
    return sorted(plan.services.items())


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("percent", "belongs to the canary's Deployment, or to its Namespace as a default."),
        ("expose", "is a label: set it with kubectl label."),
        (
            "percnt",
            (
                "is not known here; known are xds-shadow.io/gateways, xds-shadow.io/hosts and"
                " xds-shadow.io/http-ports."
            ),
        ),
    ],
)
def test_an_annotation_on_the_wrong_object_says_where_it_belongs(key: str, hint: str) -> None:
    plan = bounded(service("myapp", annotations={key: "1"}))
    assert problems(plan) == [("InvalidAnnotation", f"Annotation xds-shadow.io/{key} {hint}")]


def test_the_pods_of_a_large_canary_are_all_kept_out_of_live_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "MAX_PODS", 2)
    pods = [pod(f"first-{number}", "first", f"10.0.1.{number}") for number in range(1, 5)]
    live = slice_of("myapp", at("10.0.0.1"), *(at(f"10.0.1.{n}", pod=f"first-{n}") for n in range(1, 5)))
    plan = bounded(service("myapp"), live, canary("first", "myapp"), *pods)
    assert [str(endpoint) for endpoint in plan.ports[0].endpoints] == ["10.0.0.1:80"]
    assert [str(endpoint) for endpoint in plan.ports[0].mirrors[0].endpoints] == [
        "10.0.1.1:80",
        "10.0.1.2:80",
    ]


def test_an_error_of_ours_with_a_namespaces_settings_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Scene) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Scene, "problems", fail)
    published = pipeline_of().step([Upsert(namespace("staging")), Upsert(service("myapp"))], now=0.0)
    assert list(map(str, published.errors)) == ["Namespace staging"]
    assert MYAPP in published.plan.services
