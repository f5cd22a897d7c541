"""Files' bytes become objects and problems; nothing that a file can hold hurts its reader."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube.manifests import Doc, canary, doc, service
from xds_server.base.yaml_load import MAX_ALIASED, MAX_BYTES, MAX_DEPTH
from xds_server.core.objects import Kind, Ref
from xds_server.manifests.documents import parse

WEB = Ref(Kind.SERVICE, "staging", "web")
API = Ref(Kind.SERVICE, "staging", "api")


def text(*documents: object) -> bytes:
    return yaml.safe_dump_all(documents).encode()


def test_several_documents_lists_and_foreign_kinds() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [service("api"), canary("web-canary")]}
    read = parse(
        "a.yaml", b"---\n" + text(service("web"), doc("v1", "ConfigMap", "x"), listed) + b"---\n# end\n"
    )
    assert {ref.name for ref in read.objects} == {"web", "api", "web-canary"}
    assert read.complete
    assert read.problems == ()


def test_json_is_read_as_json() -> None:
    tabs = json.dumps({"kind": "List", "items": [service("web")]}, indent="\t").encode()
    assert WEB in parse("a.json", tabs).objects


@pytest.mark.parametrize("path", ["a.yaml", "a.json"])
def test_nothing_is_a_file_without_objects(path: str) -> None:
    for data in (b"", b"\n  \n"):
        assert parse(path, data).complete


def test_timestamps_stay_what_they_were_written_as() -> None:
    annotated = text(service("web", annotations={"xds-shadow.io/until": "AT"}))
    obj = parse("a.yaml", annotated.replace(b"AT", b"2030-01-01T00:00:00Z")).objects[WEB]
    assert obj.annotations == {"xds-shadow.io/until": "2030-01-01T00:00:00Z"}


def test_a_syntax_error_anywhere_leaves_the_file_unread() -> None:
    read = parse("a.yaml", text(service("web")) + b"---\na: [\n")
    assert read.objects == {}
    assert not read.complete
    (problem,) = read.problems
    assert (problem.reason, problem.origin, str(problem.subject)) == ("InvalidFile", "a.yaml", "")
    assert "line " in problem.message


def test_an_invalid_object_costs_no_other() -> None:
    read = parse("a.yaml", text(service("web"), service("api", port=0)))
    assert set(read.objects) == {WEB}
    assert read.rejected == {API}
    assert read.complete
    assert [str(problem.subject) for problem in read.problems] == ["Service staging/api"]


def test_a_document_without_a_name_may_be_any_object() -> None:
    read = parse("a.yaml", text(service("web"), {"kind": "Service"}))
    assert set(read.objects) == {WEB}
    assert not read.complete
    assert read.problems[0].message.startswith("Document 2: ")


def test_an_object_declared_twice_in_a_file() -> None:
    read = parse("a.yaml", text(service("web", port=1), service("web", port=2)))
    assert [problem.reason for problem in read.problems] == ["DuplicateObject"]
    assert read.objects[WEB] == parse("a.yaml", text(service("web", port=1))).objects[WEB]


def test_honest_aliases_work() -> None:
    data = text(service("web", labels={"a": "b"})).replace(b"labels:", b"labels: &l")
    data += b"---\napiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: staging}\n"
    data += b"x: &x {a: b}\nspec: {selector: *x}\n"
    assert set(parse("a.yaml", data).objects) == {WEB, API}


def bomb(by: str) -> bytes:
    """Ten times ten times … nodes, nested by `by`."""
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, 10):
        entries = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {by % entries}")
    return "\n".join(lines).encode()


HOSTILE = {
    "flow nesting": b"[" * 200_000,
    "balanced nesting": b"[" * 5_000 + b"]" * 5_000,
    "block nesting": b"- " * 200_000,
    "just too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "alias bomb": bomb("[%s]"),
    "merge bomb": bomb("{<<: [%s]}"),
    "bomb in instalments": b"\n---\n".join([b"[&a [%s], %s]" % (b"1," * 999, b"*a," * 50)] * 4),
    "recursive alias": b"a: &a [*a]",
    "unknown alias": b"a: *a",
    "python object": b"!!python/object/apply:os.system [true]",
    "unhashable key": b"{[1]: 2}",
    "tag and value disagree": b"a: !!int x",
    "tag and value disagree, silently": b"a: !!bool x",
    "tag without value": b"a: !!int ''",
    "endless number": b"a: " + b"9" * 5_000,
    "too much": b"#" * (MAX_BYTES + 1),
    "no text": b"\x80\x81\x82",
    "control characters": b"a: \x01",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_an_invalid_file_and_nothing_worse(data: bytes) -> None:
    read = parse("a.yaml", data)
    assert [problem.reason for problem in read.problems] == ["InvalidFile"]
    assert not read.complete
    assert len(read.problems[0].message) < 500


def test_aliases_are_bounded_by_what_they_stand_for() -> None:
    node = b"x: &a [%s]\n" % (b"1," * 999)
    below = node + b"y: [%s]" % (b"*a," * (MAX_ALIASED // 1000))
    above = node + b"y: [%s]" % (b"*a," * (MAX_ALIASED // 1000 + 1))
    assert [problem.reason for problem in parse("a.yaml", below).problems] == ["InvalidObject"]
    assert [problem.reason for problem in parse("a.yaml", above).problems] == ["InvalidFile"]


def test_hostile_json_is_an_invalid_file_and_nothing_worse() -> None:
    for data in (b"[" * 200_000, b"{", b"\xff", b'"\xed\xa0\x80"', b'{"kind": "List", "items": [' * 500):
        (problem,) = parse("a.json", data).problems
        assert problem.reason == "InvalidFile"
        assert "JSON" in problem.message


@given(st.binary() | st.text().map(str.encode), st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_can_be_read(data: bytes, path: str) -> None:
    read = parse(path, data)
    assert read.complete or read.problems


PARTS = st.sampled_from(["metadata", "spec", "status", "endpoints", "ports"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["Service", "Deployment", "EndpointSlice", "Pod", "Namespace"]),
    st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "endpoints", "ports"]), VALUES, max_size=3
    ),
)
def test_any_object_can_be_read(kind: str, fields: Doc) -> None:
    versions = {"Deployment": "apps/v1", "EndpointSlice": "discovery.k8s.io/v1"}
    document = {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": {"name": "x"}, **fields}
    read = parse("a.json", json.dumps(document).encode())
    assert len(read.objects) + len(read.problems) == 1


def test_a_key_that_stands_twice_is_a_mistake_of_the_file() -> None:
    twice = (
        b"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n"
        b"  annotations: {xds-shadow.io/percent: '1'}\n  annotations: {}\n"
    )
    read = parse("a.yaml", twice)
    assert not read.complete
    (problem,) = read.problems
    assert problem.reason == "InvalidFile"
    assert "'annotations' is repeated" in problem.message


def test_a_merge_key_is_no_repetition() -> None:
    merged = (
        b"apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: staging\n"
        b"  labels: {<<: &a {x: '1'}, <<: {y: '2'}}\n"
    )
    assert parse("a.yaml", merged).problems == ()
