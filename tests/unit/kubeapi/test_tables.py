"""What `kubectl get` shows of each kind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubeapi.objects import config_map, deployment, event, lease, namespace, pod, secret, service
from xds_server.local.kubeapi.columns import age
from xds_server.local.kubeapi.doc import Doc, with_metadata
from xds_server.local.kubeapi.resources import RESOURCES, SECRETS, SERVICES, of_kind
from xds_server.local.kubeapi.tables import table

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BEFORE = "2026-01-01T23:59:15Z"  # 45 seconds


def shown(doc: Doc) -> dict[str, Any]:
    """The cells of an object by the names of their columns."""
    resource = of_kind(doc["apiVersion"], doc["kind"])
    assert resource
    doc = with_metadata(doc, creationTimestamp=BEFORE)
    result = table(resource, [doc], now=NOW, include="None", version="7")
    names = [column["name"] for column in result["columnDefinitions"]]
    return dict(zip(names, result["rows"][0]["cells"], strict=True))


def wide(plural: str) -> tuple[list[str], list[str]]:
    """The columns that are always shown, and those of -o wide."""
    [resource] = [each for each in RESOURCES if each.plural == plural]
    defined = table(resource, [], now=NOW, include="None", version="7")["columnDefinitions"]
    return tuple([each["name"] for each in defined if each["priority"] == priority] for priority in (0, 1))  # type: ignore[return-value]


class TestTable:
    def test_a_page_of_a_list(self) -> None:
        docs = [service("a"), service("b")]
        result = table(
            SERVICES, docs, now=NOW, include="Metadata", version="7", continue_="token", remaining=3
        )
        assert (result["kind"], result["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert result["metadata"] == {"resourceVersion": "7", "continue": "token", "remainingItemCount": 3}
        assert [row["cells"][0] for row in result["rows"]] == ["a", "b"]
        assert {len(row["cells"]) for row in result["rows"]} == {len(result["columnDefinitions"])}

    def test_the_whole_list_says_nothing_of_going_on(self) -> None:
        assert table(SERVICES, [], now=NOW, include="None", version="7")["metadata"] == {
            "resourceVersion": "7"
        }

    @pytest.mark.parametrize(
        ("include", "expected"),
        [
            ("Object", service("a")),
            (
                "Metadata",
                {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": service("a")["metadata"],
                },
            ),
            ("None", None),
        ],
    )
    def test_what_a_row_has_beside_its_cells(self, include: str, expected: Doc | None) -> None:
        [row] = table(SERVICES, [service("a")], now=NOW, include=include, version="7")["rows"]
        assert row.get("object") == expected

    def test_a_secret_shows_how_much_and_never_what(self) -> None:
        doc = secret("s", type="Opaque", data={"password": "aHVudGVyMg=="})
        result = table(SECRETS, [doc], now=NOW, include="Metadata", version="7")
        assert "aHVudGVyMg" not in str(result)
        assert shown(doc) == {"Name": "s", "Type": "Opaque", "Data": 1, "Age": "45s"}


@pytest.mark.parametrize(
    ("plural", "always", "only_wide"),
    [
        (
            "deployments",
            ["Name", "Ready", "Up-to-date", "Available", "Age"],
            ["Containers", "Images", "Selector"],
        ),
        (
            "services",
            ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"],
            ["Selector"],
        ),
        (
            "pods",
            ["Name", "Ready", "Status", "Restarts", "Age"],
            ["IP", "Node", "Nominated Node", "Readiness Gates"],
        ),
        (
            "events",
            ["Last Seen", "Type", "Reason", "Object", "Message"],
            ["Subobject", "Source", "First Seen", "Count", "Name"],
        ),
        ("endpointslices", ["Name", "AddressType", "Ports", "Endpoints", "Age"], []),
        ("leases", ["Name", "Holder", "Age"], []),
        ("networkpolicies", ["Name", "Pod-Selector", "Age"], []),
        ("rolebindings", ["Name", "Role", "Age"], ["Users", "Groups", "ServiceAccounts"]),
    ],
)
def test_columns_are_those_of_the_api_server(plural: str, always: list[str], only_wide: list[str]) -> None:
    assert wide(plural) == (always, only_wide)


class TestWorkloads:
    def test_a_deployment(self) -> None:
        doc = deployment("web")
        doc["spec"]["replicas"] = 3
        doc["status"] = {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}
        assert shown(doc) == {
            "Name": "web",
            "Ready": "2/3",
            "Up-to-date": 1,
            "Available": 2,
            "Age": "45s",
            "Containers": "main",
            "Images": "example/main:1",
            "Selector": "app=web",
        }

    def test_a_selector_with_expressions(self) -> None:
        doc = deployment("web")
        doc["spec"]["selector"]["matchExpressions"] = [
            {"key": "tier", "operator": "NotIn", "values": ["a", "b"]},
            {"key": "x", "operator": "Exists"},
            {"key": "y", "operator": "DoesNotExist"},
        ]
        assert shown(doc)["Selector"] == "app=web,tier notin (a,b),x,!y"

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ({"phase": "Running"}, "Running"),
            ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
            (
                {
                    "phase": "Pending",
                    "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}],
                },
                "ErrImagePull",
            ),
            ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, "Running"),
            ({}, "<unknown>"),
        ],
    )
    def test_the_status_of_a_pod(self, status: Doc, expected: str) -> None:
        assert shown(pod("p") | {"status": status})["Status"] == expected

    def test_a_pod_that_is_being_deleted(self) -> None:
        assert shown(pod("p", deletionTimestamp=BEFORE))["Status"] == "Terminating"

    def test_a_pod(self) -> None:
        doc = pod("p")
        doc["spec"] |= {
            "nodeName": "node-1",
            "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}],
        }
        doc["status"] = {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "containerStatuses": [{"ready": True, "restartCount": 2}],
            "conditions": [{"type": "x", "status": "True"}, {"type": "y", "status": "False"}],
        }
        assert shown(doc) == {
            "Name": "p",
            "Ready": "1/1",
            "Status": "Running",
            "Restarts": "2",
            "Age": "45s",
            "IP": "10.0.0.7",
            "Node": "node-1",
            "Nominated Node": "<none>",
            "Readiness Gates": "1/2",
        }


class TestServices:
    def test_a_service(self) -> None:
        doc = service("web")
        doc["spec"] |= {
            "type": "NodePort",
            "clusterIP": "None",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        }
        assert shown(doc) == {
            "Name": "web",
            "Type": "NodePort",
            "Cluster-IP": "None",
            "External-IP": "<none>",
            "Port(s)": "80:30080/TCP,53/UDP",
            "Age": "45s",
            "Selector": "app=web",
        }

    @pytest.mark.parametrize(
        ("spec", "ingress", "expected"),
        [
            ({"type": "ClusterIP", "externalIPs": ["192.0.2.1"]}, [], "192.0.2.1"),
            ({"type": "LoadBalancer"}, [], "<pending>"),
            (
                {"type": "LoadBalancer"},
                [{"ip": "192.0.2.2"}, {"hostname": "lb.example"}],
                "192.0.2.2,lb.example",
            ),
            ({"type": "ExternalName", "externalName": "db.example"}, [], "db.example"),
        ],
    )
    def test_where_it_is_reached_from_outside(self, spec: Doc, ingress: list[Doc], expected: str) -> None:
        doc = service("web") | {"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}
        assert shown(doc)["External-IP"] == expected
        assert shown(doc)["Port(s)"] == "<none>"

    def test_a_slice_shows_three_of_its_endpoints(self) -> None:
        doc = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1"},
            "addressType": "IPv4",
            "ports": [{"port": 80}, {"name": "all"}],
            "endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in range(5)],
        }
        assert shown(doc) == {
            "Name": "web-1",
            "AddressType": "IPv4",
            "Ports": "80,*",
            "Endpoints": "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...",
            "Age": "45s",
        }
        assert shown(doc | {"endpoints": [], "ports": []})["Endpoints"] == "<unset>"


class TestOthers:
    def test_an_event(self) -> None:
        doc = event(
            "e",
            type="Warning",
            reason="ShadowRejected",
            message="no such Service\n",
            count=4,
            source={"component": "xds-shadow", "host": "a"},
            firstTimestamp="2026-01-01T23:00:00Z",
            lastTimestamp=BEFORE,
        )
        assert shown(doc) == {
            "Last Seen": "45s",
            "Type": "Warning",
            "Reason": "ShadowRejected",
            "Object": "service/web",
            "Subobject": "",
            "Source": "xds-shadow, a",
            "Message": "no such Service",
            "First Seen": "60m",
            "Count": 4,
            "Name": "e",
        }

    def test_an_event_of_the_newer_form(self) -> None:
        series = {"count": 7, "lastObservedTime": "2026-01-01T23:59:50.000000Z"}
        doc = event("e", eventTime="2026-01-01T23:00:00.000000Z", series=series, reportingComponent="c")
        cells = shown(doc)
        assert (cells["Last Seen"], cells["Count"], cells["Source"]) == ("10s", 7, "c")
        assert shown(event("e"))["Last Seen"] == "<unknown>"

    def test_what_holds_data_shows_how_many_entries(self) -> None:
        doc = config_map("c", a="1", b="2") | {"binaryData": {"c": "AA=="}}
        assert shown(doc)["Data"] == 3

    def test_the_holder_of_a_lease(self) -> None:
        assert shown(lease("l", holderIdentity="pod-1"))["Holder"] == "pod-1"
        assert shown(lease("l"))["Holder"] == ""

    def test_the_phase_of_a_namespace(self) -> None:
        assert shown(namespace("n") | {"status": {"phase": "Terminating"}})["Status"] == "Terminating"

    def test_a_binding(self) -> None:
        doc = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "b"},
            "roleRef": {"kind": "Role", "name": "reader"},
            "subjects": [
                {"kind": "User", "name": "jane"},
                {"kind": "ServiceAccount", "namespace": "staging", "name": "xds"},
            ],
        }
        assert shown(doc) == {
            "Name": "b",
            "Role": "Role/reader",
            "Age": "45s",
            "Users": "jane",
            "Groups": "",
            "ServiceAccounts": "staging/xds",
        }

    def test_a_role_shows_when_it_was_made(self) -> None:
        doc = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "r"},
        }
        assert shown(doc) == {"Name": "r", "Created At": BEFORE}

    def test_a_budget(self) -> None:
        doc = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b"},
            "spec": {"minAvailable": 0},
            "status": {"disruptionsAllowed": 1},
        }
        cells = shown(doc)
        assert (cells["Min Available"], cells["Max Unavailable"]) == ("0", "N/A")
        assert cells["Allowed Disruptions"] == 1

    @pytest.mark.parametrize(
        ("selector", "cell"), [({}, "<none>"), ({"matchLabels": {"app": "web"}}, "app=web")]
    )
    def test_a_network_policy(self, selector: Doc, cell: str) -> None:
        doc = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "p"},
            "spec": {"podSelector": selector},
        }
        assert shown(doc)["Pod-Selector"] == cell


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 1800, "5h30m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (731 * 86400, "2y1d"),
        (3000 * 86400, "8y"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: int, expected: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == expected


@pytest.mark.parametrize("stamp", [None, "", "yesterday", 7, "2026-01-01T00:00:00"])
def test_an_unreadable_time_has_no_age(stamp: object) -> None:
    assert age(stamp, NOW) == "<unknown>"


FIELDS = [
    "metadata",
    "name",
    "spec",
    "status",
    "ports",
    "selector",
    "matchLabels",
    "matchExpressions",
    "containers",
    "template",
    "type",
    "containerStatuses",
    "state",
    "waiting",
    "reason",
    "conditions",
    "readinessGates",
    "endpoints",
    "addresses",
    "subjects",
    "kind",
    "data",
    "ingress",
    "loadBalancer",
    "externalIPs",
    "involvedObject",
    "series",
    "values",
    "operator",
    "count",
]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.sampled_from(RESOURCES),
    st.dictionaries(
        st.sampled_from(
            ["metadata", "spec", "status", "ports", "endpoints", "subjects", "data", "source", "series"]
        ),
        ODD,
    ),
)
def test_no_object_is_so_odd_that_a_list_is_rejected(resource: Any, doc: Doc) -> None:
    [row] = table(
        resource,
        [
            doc,
        ],
        now=NOW,
        include="None",
        version="1",
    )["rows"]
    assert all(isinstance(cell, str | int) for cell in row["cells"])


def test_every_kind_has_columns() -> None:
    for resource in RESOURCES:
        assert table(resource, [], now=NOW, include="None", version="1")["columnDefinitions"]
