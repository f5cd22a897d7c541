"""JSON patch and JSON merge patch, by their RFCs."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.patch import MOST_COPIED, MOST_OPERATIONS, json_patch, merge_patch

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab~/", max_size=3)
NAMES = st.text("ab~/", max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
DOCS = st.dictionaries(NAMES, VALUES, max_size=4)


def add(path: str, value: object) -> Doc:
    return {"op": "add", "path": path, "value": value}


def without_nulls(value: Any) -> Any:
    """What a merge patch can express: a null in it means that there is nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return value


def difference(before: Doc, after: Doc) -> Doc:
    """The merge patch that leads from one document to another."""
    patch: Doc = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            patch[key] = difference(old, value)
        elif key not in before or old != value:
            patch[key] = value
    return patch


class TestMergePatch:
    @pytest.mark.parametrize(
        ("doc", "patch", "expected"),
        [
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            ({"a": "foo"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
            ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ],
    )
    def test_the_cases_of_the_rfc(self, doc: Doc, patch: Doc, expected: Doc) -> None:
        assert merge_patch(doc, patch) == expected

    @given(DOCS, DOCS)
    def test_twice_is_once(self, doc: Doc, patch: Doc) -> None:
        once = merge_patch(doc, patch)
        assert merge_patch(once, patch) == once

    @given(DOCS.map(without_nulls), DOCS.map(without_nulls))
    def test_a_difference_leads_where_it_says(self, before: Doc, after: Doc) -> None:
        assert merge_patch(before, difference(before, after)) == after

    @given(DOCS, DOCS)
    def test_the_document_given_stays_as_it_is(self, doc: Doc, patch: Doc) -> None:
        was = copy.deepcopy(doc)
        merge_patch(doc, patch)
        assert doc == was


class TestJsonPatch:
    @pytest.mark.parametrize(
        ("doc", "operation", "expected"),
        [
            ({"a": 1}, add("/b", [2]), {"a": 1, "b": [2]}),
            ({"a": 1}, add("/a", 2), {"a": 2}),
            ({"a": [1, 3]}, add("/a/1", 2), {"a": [1, 2, 3]}),
            ({"a": [1]}, add("/a/-", 2), {"a": [1, 2]}),
            ({"a": [1]}, add("/a/1", 2), {"a": [1, 2]}),
            ({"a": 1}, add("", {"b": 2}), {"b": 2}),
            ({"a": {}}, add("/a/x~1y~0z", 1), {"a": {"x/y~z": 1}}),
            ({"a": {}}, add("/a/", 1), {"a": {"": 1}}),
            ({"a": {"b": 1}}, {"op": "remove", "path": "/a/b"}, {"a": {}}),
            ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
            ({"a": [{"b": 1}]}, {"op": "replace", "path": "/a/0/b", "value": 2}, {"a": [{"b": 2}]}),
            ({"a": 1}, {"op": "replace", "path": "", "value": {}}, {}),
            ({"a": [1], "b": {}}, {"op": "move", "from": "/a/0", "path": "/b/c"}, {"a": [], "b": {"c": 1}}),
            ({"a": [1, 2]}, {"op": "move", "from": "/a/0", "path": "/a/1"}, {"a": [2, 1]}),
            ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": [1], "b": [1]}),
            ({"a": {"b": [1]}}, {"op": "test", "path": "/a", "value": {"b": [1]}}, {"a": {"b": [1]}}),
        ],
    )
    def test_operations(self, doc: Doc, operation: Doc, expected: Doc) -> None:
        was = copy.deepcopy(doc)
        assert json_patch(doc, [operation]) == expected
        assert doc == was

    @pytest.mark.parametrize(
        ("operation", "said"),
        [
            ({"op": "remove", "path": "/none"}, "there is nothing at /none"),
            ({"op": "replace", "path": "/none", "value": 1}, "there is nothing at /none"),
            ({"op": "test", "path": "/none", "value": None}, "there is nothing at /none"),
            ({"op": "test", "path": "/list", "value": [1]}, "testing value /list failed"),
            ({"op": "test", "path": "/flag", "value": 1}, "testing value /flag failed"),
            (add("/none/a", 1), "there is nothing at /none"),
            (add("/flag/a", 1), "there is nothing at /flag/a"),
            (add("/flag/a/b", 1), "there is nothing at /flag/a"),
            (add("/list/2", 1), "there is nothing at /list/2"),
            (add("/list/01", 1), "there is nothing at /list/01"),
            (add(f"/list/{'9' * 5000}", 1), f"there is nothing at /list/{'9' * 5000}"),
            ({"op": "remove", "path": "/list/-"}, "there is nothing at /list/-"),
            ({"op": "move", "from": "/none", "path": "/a"}, "there is nothing at /none"),
            ({"op": "remove", "path": ""}, "the whole object cannot be removed"),
            (add("", [1]), "the patch leaves no object"),
        ],
    )
    def test_what_cannot_be_done_is_unprocessable(self, operation: Doc, said: str) -> None:
        with pytest.raises(StatusError) as rejected:
            json_patch({"list": [0], "flag": True}, [operation])
        assert (rejected.value.code, rejected.value.reason) == (422, "Invalid")
        assert rejected.value.details["causes"][0]["message"] == said

    @pytest.mark.parametrize(
        "operation",
        [
            "add",
            {"op": "add"},
            {"op": "add", "path": "/a"},
            {"op": "add", "path": "a", "value": 1},
            {"op": "invent", "path": "/a"},
            {"op": "copy", "path": "/a"},
            {"op": "move", "path": "/a", "from": 1},
        ],
    )
    def test_what_is_no_operation_is_a_bad_request(self, operation: Any) -> None:
        with pytest.raises(StatusError) as rejected:
            json_patch({"a": 1}, [operation])
        assert rejected.value.code == 400

    def test_all_operations_or_none(self) -> None:
        doc: Doc = {"a": 1}
        with pytest.raises(StatusError):
            json_patch(doc, [add("/b", 1), {"op": "test", "path": "/a", "value": 2}])
        assert doc == {"a": 1}

    def test_the_number_of_operations_is_limited(self) -> None:
        operations = [add("/a", 1)] * (MOST_OPERATIONS + 1)
        with pytest.raises(StatusError) as rejected:
            json_patch({}, operations)
        assert rejected.value.code == 400

    def test_an_object_that_is_copied_into_itself_does_not_grow_without_end(self) -> None:
        doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(200)]
        with pytest.raises(StatusError) as rejected:
            json_patch({"a": "x" * 100}, doubling)
        assert rejected.value.code == 413
        assert str(MOST_COPIED) in rejected.value.message

    @given(DOCS, DOCS)
    def test_tests_of_what_is_there_hold(self, doc: Doc, other: Doc) -> None:
        holds = [{"op": "test", "path": f"/{escaped(key)}", "value": value} for key, value in doc.items()]
        assert json_patch(doc, holds) == doc
        assert json_patch(other, [add("", doc), *holds]) == doc

    @given(DOCS, NAMES, VALUES)
    def test_what_is_added_can_be_removed(self, doc: Doc, name: str, value: object) -> None:
        path = f"/{escaped(name)}"
        without = {key: each for key, each in doc.items() if key != name}
        assert json_patch(doc, [add(path, value), {"op": "remove", "path": path}]) == without


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
