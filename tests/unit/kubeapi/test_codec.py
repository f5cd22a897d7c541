"""Documents as bytes: YAML as another way to write JSON, and limits on both."""

import pytest

from xds_server.local.kubeapi.codec import UnreadableError, read_json, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "b", null]}', {"a": [1, "b", None]}),
        ("a: 2024-01-01\nb: 12:30\n", {"a": "2024-01-01", "b": 750}),
        ("a: yes\nb: 'yes'\nc: 1.5\n", {"a": True, "b": "yes", "c": 1.5}),
        ("2: x\n", {"2": "x"}),
        ("a: !!timestamp soon\n", {"a": "soon"}),
        ("a: !!binary aGk=\n", {"a": "aGk="}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("", None),
    ],
)
def test_yaml_is_json_written_otherwise(text: str, value: object) -> None:
    assert read_yaml(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: [" + "*x, " * 50_001 + "]\n", "its aliases expand to more than 100000 nodes"),
        ("[" * 100_000, "nests more than 100 levels deep"),
        ("a: 1\na: 2\n", "the key 'a' is repeated"),
        ("a: !thing 1\n", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("{", "did not find expected node content"),
        ("a: 1\n b: 2\n", "line 2, column 3"),
        ("? [a]\n: b\n", "unhashable key"),
        ("a: !!bool perhaps\n", "…"),
        ("a: !!int one\n", "invalid literal"),
        ("true: a\n", "keys are supported"),
    ],
)
def test_yaml_that_is_not_read(text: str, problem: str) -> None:
    with pytest.raises(UnreadableError, match=problem):
        read_yaml(text.encode())


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b'"\xff"', b"[NaN]", b"[1e999]", b""])
def test_json_that_is_not_read(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_json(data)


def test_what_is_written_is_read_again() -> None:
    shared = {"yes": "no", "1": "01", "text": "a\nb\0\u00e9", "empty": {}, "list": []}
    doc = {"kind": "Thing", "a": shared, "b": shared, "c": [1, -1, 1.5, True, "2024-01-01"]}
    text = write_yaml(doc)
    assert read_yaml(text) == doc
    assert text.startswith(b"kind: Thing\n")
    assert b"&" not in text
