"""Server-side apply and managed fields: who owns what, and what becomes of it."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubeapi.objects import config_map, deployment, service
from xds_server.local.kubeapi.apply import apply, note
from xds_server.local.kubeapi.doc import Doc, mapping, with_metadata
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.resources import CONFIGMAPS, DEPLOYMENTS, SERVICES, Resource

THEN, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def applied(
    live: Doc | None,
    doc: Doc,
    manager: str = "ours",
    *,
    force: bool = False,
    resource: Resource = DEPLOYMENTS,
    now: str = THEN,
    subresource: str = "",
) -> Doc:
    return apply(live, doc, manager=manager, force=force, resource=resource, now=now, subresource=subresource)


def updated(before: Doc | None, after: Doc, manager: str = "theirs", *, now: str = THEN, **where: str) -> Doc:
    return note(before, after, manager=manager, resource=DEPLOYMENTS, now=now, **where)


def owners(doc: Doc) -> list[tuple[str, str]]:
    return [(each["manager"], each["operation"]) for each in doc["metadata"].get("managedFields", ())]


def owned(doc: Doc, manager: str) -> Doc:
    """The FieldsV1 of a manager."""
    [entry] = [each for each in doc["metadata"]["managedFields"] if each["manager"] == manager]
    fields: Doc = entry["fieldsV1"]
    return fields


def scaled(replicas: int, **labels: str) -> Doc:
    """A manifest without Pods, which is enough where nothing is validated."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"} | ({"labels": labels} if labels else {}),
        "spec": {"replicas": replicas},
    }


def running(*containers: Doc, **rest: object) -> Doc:
    return {
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [*containers]}}, **rest},
    }


def containers(doc: Doc) -> list[Doc]:
    found: list[Doc] = mapping(doc, "spec", "template", "spec").get("containers", [])
    return found


class TestApply:
    def test_what_is_not_there_is_made(self) -> None:
        doc = applied(None, scaled(2, app="web"))
        assert doc["spec"] == {"replicas": 2}
        [entry] = doc["metadata"]["managedFields"]
        assert entry == {
            "manager": "ours",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": THEN,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:replicas": {}}},
        }

    def test_again_changes_nothing_not_even_the_time(self) -> None:
        once = applied(None, deployment("web"))
        assert applied(once, deployment("web"), now=LATER) == once

    def test_a_change_is_noted_with_its_time(self) -> None:
        doc = applied(applied(None, scaled(2)), scaled(3), now=LATER)
        assert doc["spec"] == {"replicas": 3}
        assert doc["metadata"]["managedFields"][0]["time"] == LATER

    def test_what_is_no_longer_applied_goes(self) -> None:
        doc = applied(applied(None, scaled(2, app="web", tier="front")), scaled(2, app="web"))
        assert doc["metadata"]["labels"] == {"app": "web"}
        assert "labels" not in applied(doc, scaled(2))["metadata"]

    def test_what_others_set_stays(self) -> None:
        live = applied(None, scaled(2, app="web"))
        live = updated(live, live | {"spec": {"replicas": 2, "paused": True}})
        doc = applied(live, scaled(3, app="web"))
        assert doc["spec"] == {"replicas": 3, "paused": True}
        assert owners(doc) == [("theirs", "Update"), ("ours", "Apply")]

    def test_what_another_applies_too_stays_when_one_lets_go(self) -> None:
        live = applied(applied(None, scaled(2, app="web")), scaled(2, app="web"), "second")
        doc = applied(live, scaled(2))
        assert doc["metadata"]["labels"] == {"app": "web"}
        assert applied(doc, scaled(2), "second")["metadata"].get("labels") is None

    def test_what_the_server_filled_in_has_no_owner(self) -> None:
        live = with_metadata(applied(None, scaled(2)), uid="1", resourceVersion="5", generation=1)
        doc = applied(live | {"status": {"replicas": 2}}, scaled(4))
        assert owned(doc, "ours") == {"f:spec": {"f:replicas": {}}}
        assert (doc["metadata"]["uid"], doc["status"]) == ("1", {"replicas": 2})

    def test_the_status_is_applied_apart(self) -> None:
        whole = scaled(2, app="web") | {"status": {"replicas": 1}}
        doc = applied(None, whole)
        assert "status" not in doc
        doc = applied(doc, whole, subresource="status")
        assert doc["status"] == {"replicas": 1}
        [_, entry] = doc["metadata"]["managedFields"]
        assert entry["subresource"] == "status"
        assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}

    def test_a_kind_without_status_may_have_a_field_of_that_name(self) -> None:
        doc = {"metadata": {"name": "web"}, "status": "x"}
        assert applied(None, doc, resource=CONFIGMAPS)["status"] == "x"

    def test_managed_fields_of_the_document_are_left_aside(self) -> None:
        forged = with_metadata(scaled(2), managedFields=[{"manager": "x", "operation": "Apply"}])
        assert owners(applied(None, forged)) == [("ours", "Apply")]


class TestLists:
    def test_items_are_owned_one_by_one(self) -> None:
        live = applied(None, running({"name": "web", "image": "a"}))
        doc = applied(live, running({"name": "sidecar", "image": "s"}), "injector")
        assert containers(doc) == [{"name": "sidecar", "image": "s"}, {"name": "web", "image": "a"}]
        part = owned(doc, "injector")["f:spec"]["f:template"]["f:spec"]["f:containers"]
        assert part == {'k:{"name":"sidecar"}': {".": {}, "f:name": {}, "f:image": {}}}

    def test_an_item_that_is_no_longer_applied_goes(self) -> None:
        live = applied(None, running({"name": "web", "image": "a"}, {"name": "old", "image": "o"}))
        doc = applied(live, running({"name": "web", "image": "a"}))
        assert containers(doc) == [{"name": "web", "image": "a"}]

    def test_an_item_in_which_another_owns_something_stays(self) -> None:
        live = applied(None, running({"name": "web", "image": "a", "tty": True}))
        live = updated(live, live | {"spec": running({"name": "web", "image": "b", "tty": True})["spec"]})
        doc = applied(live, {"metadata": {"name": "web"}})
        assert containers(doc) == [{"name": "web", "image": "b"}]

    def test_ports_are_identified_by_number_and_protocol(self) -> None:
        web = service("web")
        both = {**web, "spec": {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}}
        live = applied(None, both, resource=SERVICES)
        live["spec"]["ports"][0]["protocol"] = "TCP"  # as it is filled in
        udp = {**web, "spec": {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}]}}
        doc = applied(live, udp, resource=SERVICES)
        assert doc["spec"]["ports"] == [{"port": 53, "protocol": "UDP", "name": "dns"}]

    def test_finalizers_are_owned_one_by_one(self) -> None:
        live = applied(None, {"metadata": {"name": "web", "finalizers": ["a/1"]}})
        live = applied(live, {"metadata": {"name": "web", "finalizers": ["b/2"]}}, "second")
        assert live["metadata"]["finalizers"] == ["a/1", "b/2"]
        doc = applied(live, {"metadata": {"name": "web"}})
        assert doc["metadata"]["finalizers"] == ["b/2"]

    def test_other_lists_and_selectors_are_one_value(self) -> None:
        live = applied(
            None, running({"name": "web", "args": ["a", "b"]}, selector={"matchLabels": {"a": "1"}})
        )
        doc = applied(live, running({"name": "web", "args": ["c"]}, selector={"matchLabels": {"b": "2"}}))
        assert containers(doc)[0]["args"] == ["c"]
        assert doc["spec"]["selector"] == {"matchLabels": {"b": "2"}}

    def test_what_is_stored_may_be_odd(self) -> None:
        odd: list[Any] = [
            "text",
            {"image": "nameless"},
            {"name": {"a": 1}},
            {"name": "twice"},
            {"name": "twice"},
        ]
        live = updated(None, running(*odd))
        assert containers(applied(live, running({"name": "web"}))) == [{"name": "web"}, *odd]

    def test_what_is_gone_already_need_not_go(self) -> None:
        """As with a field that the server turned into another, like a Secret's `stringData`."""
        said = running({"name": "web", "tty": True}, paused=True)
        said["metadata"]["labels"] = {"a": "1"}
        live = applied(None, said)
        changed = {
            **live,
            "spec": {"template": "text"},
            "metadata": {**live["metadata"], "labels": {"b": "2"}},
        }
        doc = applied(changed, {"metadata": {"name": "web"}})
        assert (doc["spec"], doc["metadata"]["labels"]) == ({"template": "text"}, {"b": "2"})

    def test_a_value_of_a_set_may_not_be_there_twice(self) -> None:
        with pytest.raises(StatusError) as rejected:
            applied(None, {"metadata": {"name": "web", "finalizers": ["a/1", "a/1"]}})
        assert '.metadata.finalizers[="a/1"]' in rejected.value.message

    def test_an_item_may_not_be_there_twice(self) -> None:
        with pytest.raises(StatusError) as rejected:
            applied(None, running({"name": "web", "image": "a"}, {"name": "web", "image": "b"}))
        assert rejected.value.code == 400
        assert '.spec.template.spec.containers[name="web"]' in rejected.value.message


class TestConflicts:
    def test_a_value_that_another_set_otherwise(self) -> None:
        live = applied(None, scaled(2), "theirs")
        with pytest.raises(StatusError) as rejected:
            applied(live, scaled(3))
        assert (rejected.value.code, rejected.value.reason) == (409, "Conflict")
        assert (
            rejected.value.message == 'Apply failed with 1 conflict: conflict with "theirs": .spec.replicas'
        )
        assert rejected.value.details["causes"] == [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "theirs"',
                "field": ".spec.replicas",
            }
        ]

    def test_the_same_value_is_shared(self) -> None:
        doc = applied(applied(None, scaled(2), "theirs"), scaled(2))
        assert owned(doc, "ours") == owned(doc, "theirs")

    def test_several_are_listed_by_manager(self) -> None:
        live = updated(None, running({"name": "web", "image": "a"}, replicas=2), "kubectl-edit")
        live = updated(live, live | {"spec": live["spec"] | {"replicas": 3}}, "kubectl", subresource="scale")
        with pytest.raises(StatusError) as rejected:
            applied(live, running({"name": "web", "image": "b"}, replicas=1))
        assert rejected.value.message == (
            "Apply failed with 2 conflicts: "
            'conflicts with "kubectl-edit" using apps/v1:\n'
            '- .spec.template.spec.containers[name="web"].image\n'
            'conflicts with "kubectl" with subresource "scale" using apps/v1:\n'
            "- .spec.replicas"
        )

    def test_force_takes_over(self) -> None:
        live = applied(None, scaled(2, app="web"), "theirs")
        doc = applied(live, scaled(3), force=True)
        assert doc["spec"] == {"replicas": 3}
        assert owned(doc, "theirs") == {"f:metadata": {"f:labels": {"f:app": {}}}}
        assert applied(doc, {"metadata": {"name": "web"}}, "theirs")["spec"] == {"replicas": 3}

    def test_what_was_ours_and_another_changed_is_a_conflict(self) -> None:
        live = applied(None, scaled(2))
        live = updated(live, live | {"spec": {"replicas": 5}})
        with pytest.raises(StatusError) as rejected:
            applied(live, scaled(2))
        assert '"theirs" using apps/v1' in rejected.value.message


class TestNotes:
    def test_a_creator_owns_everything(self) -> None:
        doc = updated(None, scaled(2, app="web"), "kubectl-create")
        assert owners(doc) == [("kubectl-create", "Update")]
        assert owned(doc, "kubectl-create") == {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:replicas": {}},
        }

    def test_who_changes_a_field_owns_it(self) -> None:
        live = updated(None, scaled(2, app="web"), "first")
        doc = updated(live, live | {"spec": {"replicas": 3}}, "second", now=LATER)
        assert owned(doc, "first") == {"f:metadata": {"f:labels": {"f:app": {}}}}
        assert owned(doc, "second") == {"f:spec": {"f:replicas": {}}}
        assert [each["time"] for each in doc["metadata"]["managedFields"]] == [THEN, LATER]

    def test_who_changes_nothing_owns_nothing(self) -> None:
        live = updated(None, scaled(2), "first")
        assert updated(live, live, "second", now=LATER) == live

    def test_a_removed_field_has_no_owner(self) -> None:
        live = updated(None, scaled(2, app="web"), "first")
        doc = updated(
            live, live | {"metadata": {"name": "web", "managedFields": live["metadata"]["managedFields"]}}
        )
        assert owned(doc, "first") == {"f:spec": {"f:replicas": {}}}

    def test_subresources_are_noted_apart(self) -> None:
        live = updated(None, scaled(2), "kubectl")
        doc = updated(live, live | {"status": {"replicas": 2}}, "kubectl", subresource="status")
        assert [each.get("subresource") for each in doc["metadata"]["managedFields"]] == [None, "status"]

    def test_a_client_that_writes_the_notes_itself_has_its_way(self) -> None:
        """As kubectl does when an object of client-side apply is first applied by the server."""
        live = updated(None, scaled(2, app="web"), "kubectl-client-side-apply")
        [entry] = live["metadata"]["managedFields"]
        migrated = with_metadata(live, managedFields=[entry | {"manager": "kubectl", "operation": "Apply"}])
        doc = updated(live, migrated, "kubectl")
        assert owners(doc) == [("kubectl", "Apply")]
        assert "labels" not in applied(doc, scaled(2), "kubectl")["metadata"]

    @pytest.mark.parametrize(
        "notes", [None, [], [{}], "x", [{"manager": "a", "fieldsV1": {"k:{": {"x": 1}}}]]
    )
    def test_notes_that_make_no_sense_are_dropped(self, notes: object) -> None:
        live = updated(None, scaled(2), "first")
        changed = {**live, "metadata": {"name": "web", "managedFields": notes}}
        assert owners(updated(live, changed)) == []


# --- laws ----------------------------------------------------------------------------------------------

DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2"]), max_size=4)
MANAGERS = st.sampled_from(["ours", "theirs", "third"])
STEPS = st.lists(st.tuples(MANAGERS, DATA), max_size=8)

Owned = dict[str, tuple[str, frozenset[str]]]
"""Values by key, and whose they are."""


def disputed(owned: Owned, manager: str, data: Mapping[str, str]) -> set[str]:
    """The keys of `data` that another owns and has otherwise."""
    return {key for key in owned.keys() & data if owned[key][0] != data[key] and owned[key][1] - {manager}}


def reported(owned: Owned, manager: str, data: Mapping[str, str]) -> Owned:
    """The rules of applying, for a flat map and by force."""
    after = {key: (value, names - {manager}) for key, (value, names) in owned.items()}
    after = {key: (value, names) for key, (value, names) in after.items() if names}
    for key, value in data.items():
        shared = after[key][1] if key in after and after[key][0] == value else frozenset()
        after[key] = (value, shared | {manager})
    return after


def found(live: Doc | None) -> Owned:
    """The same of an object."""
    doc = live or {"metadata": {}}
    entries = doc["metadata"].get("managedFields", ())
    fields = {entry["manager"]: mapping(entry, "fieldsV1", "f:data") for entry in entries}
    return {
        key: (value, frozenset(name for name, each in fields.items() if f"f:{key}" in each))
        for key, value in mapping(doc, "data").items()
    }


@given(STEPS, MANAGERS, DATA)
def test_applying_follows_the_rules(
    steps: list[tuple[str, Mapping[str, str]]], manager: str, data: Mapping[str, str]
) -> None:
    live: Doc | None = None
    model: Owned = {}
    for each, said in steps:
        live = applied(live, config_map("web", **said), each, force=True, resource=CONFIGMAPS)
        model = reported(model, each, said)
        assert found(live) == model
    was = copy.deepcopy(live)
    conflicts = disputed(model, manager, data)
    if conflicts:
        with pytest.raises(StatusError) as rejected:
            applied(live, config_map("web", **data), manager, resource=CONFIGMAPS)
        assert {cause["field"] for cause in rejected.value.details["causes"]} == {
            f".data.{key}" for key in conflicts
        }
    else:
        after = applied(live, config_map("web", **data), manager, resource=CONFIGMAPS)
        assert found(after) == reported(model, manager, data)
    assert live == was
