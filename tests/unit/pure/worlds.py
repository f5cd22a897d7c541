"""Random small worlds. Few names, labels and addresses, so that everything collides with everything."""

from typing import TypeVar

import msgspec
from hypothesis import strategies as st

from tests.unit.pure import kube
from xds_server.core.conditions import Condition, Subject
from xds_server.core.keys import EXPOSE, HOSTS, SHADOW_OF
from xds_server.core.objects import (
    KINDS,
    WORKLOADS,
    Deployment,
    EndpointSlice,
    Kind,
    LabelRequirement,
    LabelSelector,
    Meta,
    Namespace,
    Object,
    Pod,
    Ref,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    SlicePort,
    Workload,
    WorkloadSpec,
    ref_of,
)
from xds_server.core.world import Awaiting, Change, Delete, Report, Upsert

SERVICES = ("web", "api", "shadow")
DEPLOYMENTS = ("one", "two", "three")
PODS = ("p1", "p2", "p3", "p4")
APPS = ("x", "y")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1")

T = TypeVar("T")

_namespaces = st.sampled_from(("a", "a", "b"))
_created = st.sampled_from((None, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"))
_expose = st.sampled_from((None, "true", "true", "true", "false", "maybe"))


def _labels(key: str, value: str | None, **others: str) -> dict[str, str] | None:
    return ({} if value is None else {key: value}) | others or None


_namespace_annotations = st.fixed_dictionaries(
    {},
    optional={
        kube.PREFIX + "percent": st.sampled_from(("50", "5")),
        kube.PREFIX + "percent-max": st.sampled_from(("100", "30", "nothing")),
        kube.PREFIX + "methods-allowed": st.just("GET"),
        kube.PREFIX + "until": st.sampled_from(("2026-01-03T00:00:00Z",)),
        kube.PREFIX + "credential-from-secret": st.just("token/key"),
    },
)


@st.composite
def namespaces(draw: st.DrawFn) -> Namespace:
    labels = _labels(EXPOSE, draw(_expose))
    annotations = draw(_namespace_annotations) or None
    return Namespace(metadata=Meta(name=draw(_namespaces), labels=labels, annotations=annotations))


@st.composite
def secrets(draw: st.DrawFn) -> Secret:
    return kube.secret(
        draw(st.sampled_from(("token", "token", "other"))),
        key="key",
        value=draw(st.sampled_from(("Bearer a", "Bearer b\n", ""))),
        allow=draw(st.sampled_from(("true", "true", "false", None))),
        namespace=draw(_namespaces),
    )


_ports = st.sampled_from(
    (
        None,
        (ServicePort(port=80),),
        (ServicePort(port=80),),
        (ServicePort(port=80, target_port=8080),),
        (ServicePort(port=80, target_port="web"),),
        (ServicePort(port=80, name="http"), ServicePort(port=90, name="grpc", target_port="grpc")),
        (ServicePort(port=80, name="db"), ServicePort(port=90, name="db2", app_protocol="kubernetes.io/h2c")),
        (ServicePort(port=53, name="http", protocol="UDP"),),
        (ServicePort(port=80, name="web"),),
        (ServicePort(port=80, name="web"), ServicePort(port=90, name="api")),
        (ServicePort(port=6379, name="redis"),),
    )
)
_hosts = st.lists(
    st.sampled_from(("app.example", "web.a", "api.b.svc", "UPPER.example", "no host", "*.example", "")),
    max_size=3,
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    hosts = draw(_hosts)
    return Service(
        metadata=Meta(
            name=draw(st.sampled_from(SERVICES)),
            namespace=draw(_namespaces),
            labels=_labels(EXPOSE, draw(_expose)),
            annotations={HOSTS: ",".join(hosts)} if hosts else None,
            creation_timestamp=draw(_created),
        ),
        spec=ServiceSpec(
            type=draw(st.sampled_from((None, None, None, "ExternalName"))),
            ports=draw(_ports),
            ip_families=draw(st.sampled_from((None, ("IPv4",), ("IPv6", "IPv4")))),
        ),
    )


TIMES = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-02T00:00:00Z")
"""The first two are the same moment."""

_annotations = st.fixed_dictionaries(
    {},
    optional={
        kube.PREFIX + "percent": st.sampled_from(("100", "25", "0.5", "0.5", "0", "lots")),
        kube.PREFIX + "methods": st.sampled_from(("GET", "GET,HEAD", "POST,GET", "POST", "get")),
        kube.PREFIX + "paused": st.sampled_from(("false", "false", "true")),
        kube.PREFIX + "sample": st.sampled_from(("correlated", "independent")),
        kube.PREFIX + "paths": st.sampled_from(("/a", "/a/", "/a,/b", "/")),
        kube.PREFIX + "exclude-paths": st.sampled_from(("/a/b", "/c,/b", "/a")),
        kube.PREFIX + "headers": st.sampled_from(("x-a", "x-a=1", "x-b,x-a=2")),
        kube.PREFIX + "until": st.sampled_from(TIMES),
        kube.PREFIX + "set-headers": st.just("x-env=shadow"),
        kube.PREFIX + "compare": st.just("bodies"),
        kube.PREFIX + "baseline": st.sampled_from(("true", "false")),
        kube.PREFIX + "redact": st.just("json:/a"),
        kube.PREFIX + "credential-from-secret": st.sampled_from(("token/key", "other/key", "token/gone")),
        kube.PREFIX + "endpoints-from": st.sampled_from(
            ("service/web", " service/api ", "service/gone", "api")
        ),
    },
)
_selectors = st.sampled_from(
    (
        LabelSelector(match_labels={"app": "x"}),
        LabelSelector(match_labels={"app": "y"}),
        LabelSelector(match_expressions=(LabelRequirement(key="app", operator="Exists"),)),
        LabelSelector(match_expressions=(LabelRequirement(key="app", operator="NotIn", values=("x",)),)),
        LabelSelector(),
    )
)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """A Deployment in most cases; a ReplicaSet may be another's."""
    target = draw(st.sampled_from((None, "web", "web", "api", "shadow", "nothing", "")))
    made = Deployment(
        metadata=Meta(
            name=draw(st.sampled_from(DEPLOYMENTS)),
            namespace=draw(_namespaces),
            labels=_labels(SHADOW_OF, target),
            annotations=draw(_annotations) or None,
            creation_timestamp=draw(_created),
        ),
        spec=WorkloadSpec(selector=draw(_selectors)),
    )
    kind = draw(st.sampled_from((Kind.DEPLOYMENT, Kind.DEPLOYMENT, *WORKLOADS)))
    document = msgspec.to_builtins(made)
    if draw(st.booleans()):
        document["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "controller": True}]
    found = msgspec.convert(document, KINDS[kind])
    assert isinstance(found, Workload)
    return found


_booleans = st.sampled_from((None, True, False))
_addresses = st.sampled_from(ADDRESSES)


@st.composite
def slices(draw: st.DrawFn) -> EndpointSlice:
    endpoint = st.builds(
        kube.at,
        _addresses,
        pod=st.sampled_from((None, *PODS)),
        ready=_booleans,
        serving=_booleans,
        terminating=_booleans,
    )
    port = st.builds(
        SlicePort, name=st.sampled_from((None, "http", "grpc")), port=st.sampled_from((80, 8080, None))
    )
    return kube.slice_of(
        draw(st.sampled_from((*SERVICES, *SERVICES, None))),
        *draw(st.lists(endpoint, max_size=4)),
        name=draw(st.sampled_from(("s1", "s2", "s3"))),
        namespace=draw(_namespaces),
        ports=draw(st.lists(port, min_size=1, max_size=2)),
        family=draw(st.sampled_from(("IPv4", "IPv4", "IPv6", "FQDN"))),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    return kube.pod(
        draw(st.sampled_from(PODS)),
        draw(st.sampled_from(APPS)),
        *draw(st.lists(_addresses, max_size=2)),
        namespace=draw(_namespaces),
        ready=draw(st.sampled_from((True, True, False))),
        leaving=draw(st.sampled_from((False, False, True))),
        ports=draw(st.sampled_from((None, {"web": 8080}, {"grpc": 80, "web": 80}))),
    )


SCENE: tuple[Object, ...] = (
    kube.namespace("a"),
    kube.service("web", namespace="a"),
    kube.service("api", namespace="a"),
    kube.slice_of(
        "web", kube.at("10.0.0.1", pod="p1"), kube.at("10.0.0.2", pod="p2"), name="s1", namespace="a"
    ),
    kube.slice_of("api", kube.at("10.0.0.3"), name="s2", namespace="a"),
    kube.canary("one", "web", app="x", namespace="a"),
    kube.canary("two", "web", namespace="a", endpoints_from="service/api", methods="GET"),
    kube.pod("p2", "x", "10.0.0.2", namespace="a"),
    kube.secret("token", key="key", value="Bearer a", namespace="a"),
)
"""Something that works, for the rest to disturb: two canaries, one of them in its Service's own slice."""

_scenes = st.sampled_from((SCENE, SCENE, SCENE, ()))


def objects() -> st.SearchStrategy[Object]:
    """Any one object. The kinds that decide most come most often."""
    return st.one_of(
        namespaces(),
        services(),
        services(),
        workloads(),
        workloads(),
        slices(),
        slices(),
        pods(),
        pods(),
        secrets(),
    )


@st.composite
def _refs(draw: st.DrawFn) -> Ref:
    return ref_of(draw(objects()))


def changes() -> st.SearchStrategy[Change]:
    """Any one change: mostly an object that comes or changes."""
    problems = st.builds(
        Condition,
        st.just(Subject("Service", "a", "web")),
        st.sampled_from(("Bad", "Worse")),
        st.just("It is bad."),
    )
    reports = st.builds(
        Report, st.sampled_from(("one.yaml", "two.yaml")), st.lists(problems, max_size=2).map(tuple)
    )
    upserts = objects().map(Upsert)
    return st.one_of(upserts, upserts, upserts, _refs().map(Delete), reports)


def _awaiting() -> st.SearchStrategy[Change]:
    return st.builds(Awaiting, _namespaces, st.sampled_from(("", "app=x", "app=y", "app")), st.booleans())


def histories(change: st.SearchStrategy[Change] | None = None) -> st.SearchStrategy[list[list[Change]]]:
    """Batches of changes, one after another: a first large one, then small ones."""
    change = changes() if change is None else change
    return st.builds(
        lambda scene, first, rest: [[*map(Upsert, scene), *first], *rest],
        _scenes,
        _few_or_many(change),
        st.lists(st.lists(change, min_size=1, max_size=4), max_size=6),
    )


def histories_with_waiting() -> st.SearchStrategy[list[list[Change]]]:
    """Histories in which some of what decides about live traffic is still to be listed, now and then."""
    return histories(st.one_of(changes(), changes(), changes(), _awaiting()))


def worlds() -> st.SearchStrategy[list[Object]]:
    """A crowd of objects, later ones in place of earlier ones of the same name."""
    return st.builds(lambda scene, others: [*scene, *others], _scenes, _few_or_many(objects()))


def _few_or_many(what: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    """Hypothesis likes short lists, and little happens in an almost empty world."""
    return st.one_of(
        st.lists(what, max_size=3), st.lists(what, max_size=10), st.lists(what, min_size=12, max_size=25)
    )
