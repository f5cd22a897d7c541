"""What is filled in and rejected kind by kind."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubeapi.objects import config_map, deployment, event, lease, pod, secret, service
from tests.unit.kubeapi.test_admission import NOW, UID, resource_of, stored
from xds_server.local.kubeapi import admission
from xds_server.local.kubeapi.admission import Place
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError

RBAC = "rbac.authorization.k8s.io"


def service_with(**spec: object) -> Doc:
    return service("web") | {"spec": spec}


def deployment_with(**spec: object) -> Doc:
    doc = deployment("web")
    return doc | {"spec": doc["spec"] | spec}


def pod_with(**container: object) -> Doc:
    doc = pod("p")
    (main,) = doc["spec"]["containers"]
    return doc | {"spec": {"containers": [main | container]}}


def slice_with(**parts: object) -> Doc:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
        **parts,
    }


def budget(**spec: object) -> Doc:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "default"},
        "spec": spec,
    }


def network_policy(**spec: object) -> Doc:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}, **spec},
    }


def role(**rule: object) -> Doc:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": "default"},
        "rules": [rule],
    }


def binding(**parts: object) -> Doc:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r", "namespace": "default"},
        "roleRef": {"kind": "Role", "name": "r"},
        **parts,
    }


def without(doc: Doc, part: str) -> Doc:
    return {name: value for name, value in doc.items() if name != part}


class TestDefaults:
    def test_of_a_service(self) -> None:
        assert stored(service("web"))["spec"] == {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "selector": {"app": "web"},
            "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        }

    def test_what_a_service_says_stays(self) -> None:
        ports = [{"port": 80, "targetPort": "http", "protocol": "UDP"}]
        spec = stored(service_with(type="NodePort", ports=ports))["spec"]
        assert (spec["type"], spec["ports"]) == ("NodePort", ports)

    def test_of_a_deployment(self) -> None:
        spec = stored(deployment("web"))["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        }
        pod_spec = spec["template"]["spec"]
        assert (pod_spec["restartPolicy"], pod_spec["dnsPolicy"]) == ("Always", "ClusterFirst")

    def test_zero_replicas_are_meant(self) -> None:
        assert stored(deployment_with(replicas=0))["spec"]["replicas"] == 0

    def test_another_strategy_is_not_rolled(self) -> None:
        strategy = stored(deployment_with(strategy={"type": "Recreate"}))["spec"]["strategy"]
        assert strategy == {"type": "Recreate"}

    @pytest.mark.parametrize(
        ("image", "policy"),
        [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("r:5000/a", "Always"),
            ("a:1", "IfNotPresent"),
            ("r:5000/a:1", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
        ],
    )
    def test_of_a_container(self, image: str, policy: str) -> None:
        doc = stored(pod_with(image=image, ports=[{"containerPort": 80}]))
        (container,) = doc["spec"]["containers"]
        assert container["imagePullPolicy"] == policy
        assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
        assert container["resources"] == {}

    def test_of_a_replica_set(self) -> None:
        doc = deployment("web") | {"kind": "ReplicaSet"}
        assert stored(doc)["spec"]["replicas"] == 1

    def test_a_secrets_text_becomes_data(self) -> None:
        doc = stored(secret("s", stringData={"a": "text", "b": "new"}, data={"b": "b2xk", "c": "Yw=="}))
        assert doc["data"] == {"a": "dGV4dA==", "b": "bmV3", "c": "Yw=="}
        assert doc["type"] == "Opaque"
        assert "stringData" not in doc
        assert "data" not in stored(secret("s", type="example.com/empty"))

    def test_of_an_endpoint_slice(self) -> None:
        assert stored(slice_with())["ports"] == [{"name": "", "protocol": "TCP", "port": 80}]

    def test_of_a_network_policy(self) -> None:
        rule = {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}
        spec = stored(network_policy(ingress=[{}], egress=[rule]))["spec"]
        assert spec == {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}],
            "egress": [{"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}],
        }
        assert stored(network_policy())["spec"]["policyTypes"] == ["Ingress"]
        assert stored(network_policy(policyTypes=["Egress"]))["spec"]["policyTypes"] == ["Egress"]

    def test_of_a_binding(self) -> None:
        subjects: list[Doc] = [
            {"kind": "User", "name": "u"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
        ]
        doc = stored(binding(subjects=subjects))
        assert doc["roleRef"] == {"apiGroup": RBAC, "kind": "Role", "name": "r"}
        assert doc["subjects"] == [{"apiGroup": RBAC, "kind": "User", "name": "u"}, subjects[1]]


MUST_BE_PORT = "must be between 1 and 65535, inclusive"
NO_SUCH_SELECTOR = {"matchExpressions": [{"key": "app", "operator": "Is"}]}

REJECTED: list[tuple[Doc, str]] = [
    (service_with(), "spec.ports: Required value"),
    (service_with(ports=[{"port": 0}]), f"spec.ports[0].port: Invalid value: 0: {MUST_BE_PORT}"),
    (service_with(ports=[{}]), f"spec.ports[0].port: Invalid value: 0: {MUST_BE_PORT}"),
    (
        service_with(ports=[{"port": 80, "targetPort": 70000}]),
        f"spec.ports[0].targetPort: Invalid value: 70000: {MUST_BE_PORT}",
    ),
    (
        service_with(ports=[{"port": 80, "targetPort": "Http"}]),
        'spec.ports[0].targetPort: Invalid value: "Http": must be at most 15',
    ),
    (
        service_with(ports=[{"port": 80, "protocol": "QUIC"}]),
        'spec.ports[0].protocol: Unsupported value: "QUIC": supported values: "SCTP", "TCP", "UDP"',
    ),
    (service_with(ports=[{"port": 80}, {"port": 81, "name": "b"}]), "spec.ports[0].name: Required value"),
    (
        service_with(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
        'spec.ports[1].name: Duplicate value: "a"',
    ),
    (
        service_with(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
        'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}',
    ),
    (
        service_with(ports=[{"port": 80, "name": "A"}]),
        'spec.ports[0].name: Invalid value: "A": a lowercase RFC 1123 label',
    ),
    (
        service_with(type="Nope", ports=[{"port": 80}]),
        'spec.type: Unsupported value: "Nope": supported values: "ClusterIP", "ExternalName"',
    ),
    (
        service_with(sessionAffinity="Sticky", ports=[{"port": 80}]),
        'spec.sessionAffinity: Unsupported value: "Sticky"',
    ),
    (service_with(type="ExternalName"), "spec.externalName: Required value"),
    (
        service_with(ports=[{"port": 80}], selector={"a": "b c"}),
        'spec.selector: Invalid value: "b c": a valid label',
    ),
    (without(deployment("web"), "spec"), "spec.selector: Required value"),
    (
        deployment_with(selector={}),
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
    ),
    (
        deployment_with(selector={"matchLabels": {"app": "api"}}),
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match',
    ),
    (
        deployment_with(selector=NO_SUCH_SELECTOR),
        'spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
    ),
    (
        deployment_with(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
        "spec.selector.matchExpressions[0].values: Required value",
    ),
    (
        deployment_with(replicas=-1),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (deployment_with(strategy={"type": "Slow"}), 'spec.strategy.type: Unsupported value: "Slow"'),
    (
        deployment_with(template={"metadata": {"labels": {"app": "web"}}}),
        "spec.template.spec.containers: Required value",
    ),
    (
        deployment_with(template={"metadata": {"labels": {"app": "web", "b": "-"}}}),
        'spec.template.metadata.labels: Invalid value: "-": a valid label',
    ),
    (pod_with(image=""), "spec.containers[0].image: Required value"),
    (pod_with(name=""), "spec.containers[0].name: Required value"),
    (pod_with(name="A"), 'spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label'),
    (
        pod_with(ports=[{"containerPort": 0}]),
        f"spec.containers[0].ports[0].containerPort: Invalid value: 0: {MUST_BE_PORT}",
    ),
    (without(pod("p"), "spec"), "spec.containers: Required value"),
    (slice_with(addressType=""), "addressType: Required value"),
    (slice_with(addressType="IPX"), 'addressType: Unsupported value: "IPX"'),
    (slice_with(endpoints=[{}]), "endpoints[0].addresses: Required value: must contain at least 1 address"),
    (slice_with(ports=[{"protocol": "X"}]), 'ports[0].protocol: Unsupported value: "X"'),
    (slice_with(ports=[{"name": "a"}, {"name": "a"}]), 'ports[1].name: Duplicate value: "a"'),
    (secret("s", data={"a b": ""}), 'data[a b]: Invalid value: "a b": a valid config key'),
    (config_map("c", **{"..": ""}), 'data[..]: Invalid value: "..": a valid config key'),
    (
        event("e", involvedObject={"namespace": "other"}),
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    ),
    (
        lease("l", leaseDurationSeconds=0),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ),
    (
        lease("l", leaseTransitions=-1),
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        budget(minAvailable=1, maxUnavailable=1),
        'spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable',
    ),
    (network_policy(policyTypes=["Both"]), 'spec.policyTypes[0]: Unsupported value: "Both"'),
    (
        network_policy(podSelector=NO_SUCH_SELECTOR),
        'spec.podSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
    ),
    (
        network_policy(egress=[{"ports": [{"port": 0}]}]),
        f"spec.egress[0].ports[0].port: Invalid value: 0: {MUST_BE_PORT}",
    ),
    (
        network_policy(ingress=[{"ports": [{"protocol": "ICMP"}]}]),
        'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP"',
    ),
    (
        network_policy(ingress=[{"from": [{}]}]),
        "spec.ingress[0].from[0]: Required value: must specify a peer",
    ),
    (
        network_policy(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]),
        "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
    ),
    (
        network_policy(egress=[{"to": [{"namespaceSelector": NO_SUCH_SELECTOR}]}]),
        "spec.egress[0].to[0].namespaceSelector.matchExpressions[0].operator: Invalid value",
    ),
    (role(resources=["pods"]), "rules[0].verbs: Required value: verbs must contain at least one value"),
    (binding(roleRef={"kind": "Role"}), "roleRef.name: Required value"),
    (binding(roleRef={"kind": "Rule", "name": "r"}), 'roleRef.kind: Unsupported value: "Rule"'),
    (binding(subjects=[{"kind": "Robot", "name": "r"}]), 'subjects[0].kind: Unsupported value: "Robot"'),
    (
        binding(subjects=[{"kind": "ServiceAccount", "name": "s"}]),
        "subjects[0].namespace: Required value",
    ),
]


@pytest.mark.parametrize(("doc", "cause"), REJECTED, ids=[cause[:50] for _, cause in REJECTED])
def test_rejected(doc: Doc, cause: str) -> None:
    with pytest.raises(StatusError) as caught:
        stored(doc)
    assert caught.value.code == 422
    assert cause in caught.value.message
    resource = resource_of(doc)
    assert caught.value.message.startswith(
        f'{resource.qualified_kind} "{doc["metadata"]["name"]}" is invalid'
    )


@pytest.mark.parametrize(
    "doc",
    [
        service_with(clusterIP="None"),
        service_with(type="ExternalName", externalName="example.com"),
        service_with(ports=[{"port": 53, "name": "u", "protocol": "UDP"}, {"port": 53, "name": "t"}]),
        deployment_with(selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}),
        deployment_with(
            selector={"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["a"]}]},
        ),
        deployment_with(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
        deployment_with(selector={"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}),
        event("e", involvedObject={"kind": "Namespace", "name": "a"}),
        lease("l", holderIdentity="", leaseDurationSeconds=1),
    ],
)
def test_accepted(doc: Doc) -> None:
    assert stored(doc)["metadata"]["uid"] == UID


FIXED: list[tuple[Doc, dict[str, Any], str]] = [
    (slice_with(), {"addressType": "IPv6"}, "addressType"),
    (secret("s", type="a"), {"type": "b"}, "type"),
    (binding(), {"roleRef": {"kind": "Role", "name": "other"}}, "roleRef"),
]


@pytest.mark.parametrize(("doc", "change", "field"), FIXED, ids=[field for *_, field in FIXED])
def test_what_stays_as_it_was_created(doc: Doc, change: Doc, field: str) -> None:
    live = stored(doc)
    with pytest.raises(StatusError, match="field is immutable") as caught:
        admission.replaced(resource_of(doc), live, live | change)
    assert [cause["field"] for cause in caught.value.details["causes"]] == [field]


def test_of_a_pod_only_the_image_changes() -> None:
    live = stored(pod("p"))
    (container,) = live["spec"]["containers"]
    newer = live | {"spec": live["spec"] | {"containers": [container | {"image": "example/main:2"}]}}
    admission.replaced(resource_of(live), live, newer)
    moved = live | {"spec": live["spec"] | {"nodeName": "n2"}}
    with pytest.raises(StatusError, match="Forbidden: pod updates may not change fields other than"):
        admission.replaced(resource_of(live), live, moved)


def test_immutable_data() -> None:
    live = stored(config_map("c", a="1") | {"immutable": True})
    resource = resource_of(live)
    admission.replaced(resource, live, live | {"metadata": live["metadata"] | {"labels": {"a": "b"}}})
    for change in ({"data": {"a": "2"}}, {"immutable": False}):
        with pytest.raises(StatusError, match="field is immutable when `immutable` is set"):
            admission.replaced(resource, live, live | change)


def test_times_are_of_the_server() -> None:
    assert stored(service("web"))["metadata"]["creationTimestamp"] == NOW


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 1 << 40) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(list("ab")), inner),
    max_leaves=4,
)


def paths(value: object) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document."""
    inside: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, each in inside:
        yield (key,)
        yield from ((key, *path) for path in paths(each))


def put(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """`value` with something else at a place."""
    if not path:
        return new
    if isinstance(value, dict):
        return value | {path[0]: put(value[path[0]], path[1:], new)}
    return [put(each, path[1:], new) if index == path[0] else each for index, each in enumerate(value)]


@given(st.data())
def test_any_document_is_accepted_or_rejected(data: st.DataObject) -> None:
    """No document gets past the checks to where it breaks something."""
    samples = [doc for doc, _ in REJECTED] + [doc for doc, *_ in FIXED]
    doc = data.draw(st.sampled_from(samples))
    path = data.draw(st.sampled_from([path for path in paths(doc) if path[0] not in ("apiVersion", "kind")]))
    resource = resource_of(doc)
    with suppress(StatusError):
        place = Place(resource=resource, namespace=doc["metadata"]["namespace"])
        broken = admission.addressed(place, put(doc, path, data.draw(anything)))
        live = stored(broken)
        assert admission.replaced(resource, live, live) == live
