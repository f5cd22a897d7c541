"""Strategic merge patches, as kubectl makes them."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubeapi.objects import deployment
from xds_server.local.kubeapi import strategic
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.resources import DEPLOYMENTS, SERVICEACCOUNTS, SERVICES

KEYS = {"containers": "name", "env": "name", "ports": "containerPort"}
"""Of the lists in the documents here, those that are merged, and by what."""


def in_pod(**spec: object) -> Doc:
    return {"spec": {"template": {"spec": spec}}}


def merged_pod(live: Doc, patch: Doc) -> Doc:
    found: Doc = strategic.merge(in_pod(**live), in_pod(**patch), DEPLOYMENTS)["spec"]["template"]["spec"]
    return found


def web(**rest: object) -> Doc:
    return {"name": "web", **rest}


class TestMaps:
    def test_fields_are_set_and_null_takes_away(self) -> None:
        live = {"metadata": {"labels": {"a": "1", "b": "2"}}}
        patch = {"metadata": {"labels": {"b": None, "c": "3"}}, "spec": {"x": None}}
        assert strategic.merge(live, patch, DEPLOYMENTS) == {
            "metadata": {"labels": {"a": "1", "c": "3"}},
            "spec": {},
        }

    def test_a_map_is_replaced_or_emptied_on_demand(self) -> None:
        live = {"metadata": {"labels": {"a": "1"}, "annotations": {"a": "1"}}}
        patch = {"metadata": {"labels": {"$patch": "replace", "b": "2"}, "annotations": {"$patch": "delete"}}}
        assert strategic.merge(live, patch, DEPLOYMENTS)["metadata"] == {
            "labels": {"b": "2"},
            "annotations": {},
        }

    def test_only_retained_keys_stay(self) -> None:
        live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
        patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
        assert strategic.merge(live, patch, DEPLOYMENTS) == {"spec": {"strategy": {"type": "Recreate"}}}


class TestLists:
    def test_containers_are_identified_by_name(self) -> None:
        live = {"containers": [web(image="a", args=["x"]), {"name": "log", "image": "l"}]}
        patch = {"containers": [web(image="b"), {"name": "new", "image": "n"}]}
        assert merged_pod(live, patch)["containers"] == [
            web(image="b", args=["x"]),
            {"name": "log", "image": "l"},
            {"name": "new", "image": "n"},
        ]

    def test_an_item_is_deleted_by_its_key(self) -> None:
        live = {"containers": [web(), {"name": "log"}]}
        patch = {"containers": [{"$patch": "delete", "name": "web"}]}
        assert merged_pod(live, patch)["containers"] == [{"name": "log"}]

    def test_a_list_is_replaced_on_demand(self) -> None:
        patch = {"containers": [{"$patch": "replace"}, {"name": "log"}]}
        assert merged_pod({"containers": [web()]}, patch)["containers"] == [{"name": "log"}]

    def test_the_order_is_as_asked_for_and_others_stay_behind_what_they_stood_behind(self) -> None:
        live = {"containers": [{"name": name} for name in ("proxy", "a", "sidecar", "b")]}
        order = [{"name": "new"}, {"name": "b"}, {"name": "a"}]
        patch = {"$setElementOrder/containers": order, "containers": [{"name": "new"}]}
        names = [each["name"] for each in merged_pod(live, patch)["containers"]]
        assert names == ["proxy", "new", "b", "a", "sidecar"]

    def test_values_without_keys_are_one_value(self) -> None:
        assert merged_pod({"containers": [web(args=["a", "b"])]}, {"containers": [web(args=["c"])]})[
            "containers"
        ] == [web(args=["c"])]

    def test_finalizers_are_a_set(self) -> None:
        live = {"metadata": {"finalizers": ["a/1", "b/2"]}}
        patch = {
            "metadata": {
                "finalizers": ["c/3", "b/2"],
                "$deleteFromPrimitiveList/finalizers": ["a/1"],
                "$setElementOrder/finalizers": ["c/3", "b/2"],
            }
        }
        assert strategic.merge(live, patch, DEPLOYMENTS)["metadata"] == {"finalizers": ["c/3", "b/2"]}

    def test_ports_of_a_service_are_identified_by_number(self) -> None:
        live = {"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 53, "protocol": "UDP"}]}}
        patch = {"spec": {"ports": [{"port": 80, "name": "http"}]}}
        assert strategic.merge(live, patch, SERVICES)["spec"]["ports"] == [
            {"port": 80, "name": "http"},
            {"port": 53, "protocol": "UDP"},
        ]

    def test_of_two_ports_with_one_number_the_first_is_meant_and_none_is_lost(self) -> None:
        live = {"spec": {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}
        patch = {"spec": {"ports": [{"port": 53, "name": "dns"}]}}
        assert strategic.merge(live, patch, SERVICES)["spec"]["ports"] == [
            {"port": 53, "protocol": "TCP", "name": "dns"},
            {"port": 53, "protocol": "UDP"},
        ]

    def test_pull_secrets_are_merged_in_pods_alone(self) -> None:
        live, patch = {"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": [{"name": "b"}]}
        assert merged_pod(live, patch)["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
        assert strategic.merge(live, patch, SERVICEACCOUNTS) == patch

    def test_secrets_of_an_account_are_identified_by_name(self) -> None:
        live, patch = {"secrets": [{"name": "a"}]}, {"secrets": [{"name": "b"}]}
        assert strategic.merge(live, patch, SERVICEACCOUNTS) == {"secrets": [{"name": "a"}, {"name": "b"}]}

    def test_directives_about_lists_that_are_not_there_do_nothing(self) -> None:
        patch = {"$setElementOrder/finalizers": ["a/1"], "$deleteFromPrimitiveList/finalizers": ["b/2"]}
        assert strategic.merge({"metadata": {"name": "web"}}, {"metadata": patch}, DEPLOYMENTS) == {
            "metadata": {"name": "web"}
        }

    def test_conditions_are_identified_by_type(self) -> None:
        live = {"status": {"conditions": [{"type": "Available", "status": "False"}]}}
        patch = {"status": {"conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing"}]}}
        assert strategic.merge(live, patch, DEPLOYMENTS)["status"]["conditions"] == [
            {"type": "Available", "status": "True"},
            {"type": "Progressing"},
        ]

    def test_what_is_stored_may_be_odd(self) -> None:
        live = {"containers": ["web", {"image": "nameless"}]}
        assert merged_pod(live, {"containers": [web()]})["containers"] == [*live["containers"], web()]


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"metadata": {"$patch": "explode"}}, "unrecognized patch directive: explode"),
        ({"spec": {"$retainKeys": "type"}}, "$retainKeys has to be a list"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": 1}}, "has to be a list"),
        ({"spec": {"$setElementOrder/x": {}}}, "has to be a list"),
        (in_pod(containers=[{"image": "x"}]), "spec.template.spec.containers in the patch has no name"),
        (in_pod(containers=["x"]), "spec.template.spec.containers in the patch has no name"),
    ],
)
def test_what_makes_no_sense_is_a_bad_request(patch: Doc, said: str) -> None:
    with pytest.raises(StatusError) as rejected:
        strategic.merge(deployment("web"), patch, DEPLOYMENTS)
    assert rejected.value.code == 400
    assert said in rejected.value.message


# --- kubectl's patches ---------------------------------------------------------------------------------

NAMES = st.sampled_from("abcde")
TEXTS = st.text("xyz", max_size=2)


def listed(key: str, names: st.SearchStrategy[Any], fields: dict[str, st.SearchStrategy[Any]]) -> Any:
    item = st.fixed_dictionaries({key: names}, optional=fields)
    return st.lists(item, max_size=4, unique_by=lambda each: each[key])


CONTAINERS = listed(
    "name",
    NAMES,
    {
        "image": TEXTS,
        "args": st.lists(TEXTS, max_size=2),
        "env": listed("name", NAMES, {"value": TEXTS}),
        "ports": listed("containerPort", st.integers(1, 4), {"name": TEXTS}),
    },
)
MANIFESTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {
                "labels": st.dictionaries(NAMES, TEXTS, max_size=3),
                "finalizers": st.lists(NAMES, max_size=3, unique=True),
            }
        ),
        "spec": st.fixed_dictionaries(
            {"template": st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": CONTAINERS})})}
        ),
    }
)


def changes(before: Doc, after: Doc, *, original: Doc | None = None) -> Doc:
    """What kubectl sends to lead from the live object `before` to `after`. With `original`, as last applied,
    only what was there then is taken away: that is the three-way patch of `kubectl apply`."""
    base = before if original is None else original
    patch: Doc = {name: None for name in base if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict):
            patch[name] = changes(old or {}, value, original=_part(original, name, {}))
        elif name in KEYS or name == "finalizers":
            patch |= _list_changes(name, old or [], value, original=_part(original, name, []))
        elif old != value:
            patch[name] = value
    return patch


def _part(original: Doc | None, name: str, default: Any) -> Any:
    return None if original is None else original.get(name, default)


def _list_changes(field: str, before: list[Any], after: list[Any], *, original: list[Any] | None) -> Doc:
    base = before if original is None else original
    order = {f"$setElementOrder/{field}": after if field == "finalizers" else _keys(field, after)}
    if field == "finalizers":
        gone = {f"$deleteFromPrimitiveList/{field}": [each for each in base if each not in after]}
        return order | gone | {field: [each for each in after if each not in before]}
    key = KEYS[field]
    old, then = ({each[key]: each for each in items} for items in (before, base))
    items = [
        changes(old.get(each[key], {}), each, original=None if original is None else then.get(each[key], {}))
        | {key: each[key]}
        for each in after
    ]
    items += [{"$patch": "delete", key: name} for name in then if name not in {each[key] for each in after}]
    return order | {field: items}


def _keys(field: str, items: list[Doc]) -> list[Doc]:
    return [{KEYS[field]: each[KEYS[field]]} for each in items]


@given(MANIFESTS, MANIFESTS)
def test_a_two_way_patch_reaches_the_modified_document(before: Doc, after: Doc) -> None:
    was = copy.deepcopy(before)
    assert strategic.merge(before, changes(before, after), DEPLOYMENTS) == after
    assert before == was


@given(MANIFESTS, MANIFESTS)
def test_a_three_way_patch_leaves_alone_what_others_added(original: Doc, modified: Doc) -> None:
    sidecar, proxied = {"name": "sidecar", "image": "s"}, {"name": "PROXY", "value": "p"}
    live = copy.deepcopy(original)
    live["metadata"]["labels"]["theirs"] = "1"
    live["metadata"]["finalizers"].append("theirs")
    containers = live["spec"]["template"]["spec"]["containers"]
    kept = {each["name"] for each in modified["spec"]["template"]["spec"]["containers"]}
    for each in containers:
        each.setdefault("env", []).append(proxied)
    containers.append(sidecar)

    reached = strategic.merge(live, changes(live, modified, original=original), DEPLOYMENTS)

    assert reached["metadata"]["labels"].pop("theirs") == "1"
    reached["metadata"]["finalizers"].remove("theirs")
    found = reached["spec"]["template"]["spec"]["containers"]
    found.remove(sidecar)
    ours = {each["name"]: each for each in original["spec"]["template"]["spec"]["containers"]}
    wanted = {each["name"]: each for each in modified["spec"]["template"]["spec"]["containers"]}
    for each in found:
        if each["name"] in ours and each["name"] in kept:
            if "env" in ours[each["name"]] and "env" not in wanted[each["name"]]:
                continue  # the whole list was ours to take away
            each["env"].remove(proxied)
            if "env" not in wanted[each["name"]]:
                assert each.pop("env") == []
    assert reached == modified
