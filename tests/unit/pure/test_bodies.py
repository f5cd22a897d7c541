"""How bodies of responses differ, and which differences are the canary's."""

import gzip
import json
import random
import sys
import time
import zlib
from collections import Counter
from typing import Any

import brotli
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.core.verdict.bodies import MOST_FIELDS, Bodies, Field, Kind
from xds_server.core.verdict.body_diff import MOST_DIFFERENCES, WHOLE, Difference, differences
from xds_server.core.verdict.body_text import MOST_BYTES, MOST_VALUES, Body, Content, Skipped, content_of
from xds_server.core.verdict.fields import findings, noise_unknown
from xds_server.core.verdict.paths import MOST_GROUPS, OTHER

JSON = "application/json"
GROUP = "GET /"
DIFFERENT = frozenset({Difference(WHOLE, Kind.VALUE)})
TEXT = b'{"name": "x", "price": 1}'
GZIPPED = gzip.compress(TEXT, mtime=0)  # the same in each process that collects these tests


def parsed(value: object) -> Content:
    found = content_of(Body(json.dumps(value).encode(), JSON))
    assert isinstance(found, Content)
    return found


def paths(primary: object, other: object) -> set[str]:
    return {f"{path} {kind}" for path, kind in differences(parsed(primary), parsed(other))}


@pytest.mark.parametrize(
    ("primary", "other", "expected"),
    [
        ({"a": 1}, {"a": 1}, set()),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, set()),
        ({"name": 1}, {"title": 1}, {"$.name missing", "$.title extra"}),
        ({"a": 1}, {"a": "1"}, {"$.a type"}),
        ({"a": 1}, {"a": True}, {"$.a type"}),
        ({"a": 1}, {"a": None}, {"$.a type"}),
        ({"a": 1}, {"a": 2}, {"$.a value"}),
        ([1, 2, 3], [3, 1, 2], {"$ order"}),
        ([1, 1, 2], [1, 2, 2], {"$[] value"}),
        ([1, 2, 3], [1, 3], {"$[] missing"}),
        ([1, 3], [2, 1, 3], {"$[] extra"}),
        ([1, 2], [2, 9], {"$[] value"}),
        ([1, 2, 3], [2, 1, 4], {"$ order", "$[] value"}),
        ([[1, 2]], [[2, 1]], {"$[] order"}),
        (1, [1], {"$ type"}),
        ({"a": {"17": 1}}, {"a": {"18": 1}}, {"$.a.{id} missing", "$.a.{id} extra"}),
        ({"a b": 1}, {}, {"$.{text} missing"}),
        ({"bob@example.com": 1}, {}, {"$.{text} missing"}),
        ({f"k{n}z": 1 for n in range(65)}, {}, {"$.{key} missing"}),
        ({}, {f"k{n}z": 1 for n in range(65)}, {"$.{key} extra"}),
        (
            [{"id": 1, "price": 5}, {"id": 2, "price": 6}],
            [{"id": 3, "price": 7}, {"id": 2, "price": "6"}, {"id": 1, "price": 5}],
            {"$ order", "$[] extra", "$[].price type"},
        ),
        ([{"id": 1}, {"id": 2}], [{"id": 2}], {"$[] missing"}),
        ([{"id": 1, "x": 1}], [{"id": "1", "x": 1}], {"$[].id type"}),
        ([{"id": 1, "x": 1}, {"id": 1, "x": 2}], [{"id": 1, "x": 3}], {"$[].x value", "$[] missing"}),
        (
            [{"id": [], "name": "a", "x": 1}],
            [{"id": {}, "name": "a", "x": 2}],
            {"$[].id type", "$[].x value"},
        ),
        ([], [1], {"$[] extra"}),
    ],
)
def test_each_difference_has_a_path_and_a_kind(primary: object, other: object, expected: set[str]) -> None:
    assert paths(primary, other) == expected


def nested(depth: int, innermost: object, key: str = "a") -> object:
    for _ in range(depth):
        innermost = {key: innermost}
    return innermost


def test_paths_are_bounded_in_number_depth_and_length() -> None:
    many: dict[str, object] = {f"{first}{second}": 1 for first in "abcdefg" for second in "abcdefg"} | {
        "x": {},
        "y": {},
        "z": {},
    }
    assert len(paths({"a": many, "b": many, "c": 1}, {"a": {}, "b": {}, "c": 2})) == MOST_DIFFERENCES
    assert paths(nested(30, 1), nested(30, 2)) == {f"${'.a' * 16} value"}
    long = "x" * 32
    assert paths(nested(12, 1, long), nested(12, 2, long)) == {f"${('.' + long) * 7} value"}


def test_bodies_that_are_not_json_are_compared_as_a_whole() -> None:
    page, other = Body(b"<p>a</p>", "text/html"), Body(b"<p>b</p>", "text/html")
    assert compared(page, page) == frozenset()
    assert compared(page, other) == DIFFERENT
    broken = Body(b'{"a": ', JSON)
    assert compared(broken, broken) == frozenset()
    assert compared(broken, Body(b'{"a": 1}', JSON)) == DIFFERENT
    assert compared(Body(b"{}", JSON), Body(b"{ }", "text/plain")) == DIFFERENT
    assert compared(Body(b"\xff", JSON), Body(b"1" * 399, JSON)) == DIFFERENT
    assert content_of(Body(b"1" * 400, JSON)) == Content(b"1" * 400)
    assert compared(Body(b""), Body(b"")) == frozenset()
    deep = Body(b"[" * 100_000, JSON)
    assert content_of(deep) is Skipped.TOO_MANY_VALUES
    assert compared(Body(b"[" * 5000, JSON), Body(b"[" * 5001, JSON)) == DIFFERENT


def compared(primary: Body, other: Body) -> object:
    one, two = content_of(primary), content_of(other)
    assert isinstance(one, Content)
    assert isinstance(two, Content)
    return differences(one, two)


def test_json_that_is_nested_nearly_too_deeply_differs_as_a_whole() -> None:
    found = compared(*(Body(b"[" * 900 + b"%d" % n + b"]" * 900, JSON) for n in (1, 2)))
    assert found == {Difference("$" + "[]" * 16, Kind.VALUE)}
    deepest = next(n for n in range(sys.getrecursionlimit(), 0, -1) if _nested_list(n, 1).json)
    assert differences(_nested_list(deepest, 1), _nested_list(deepest, 2)) == DIFFERENT


def _nested_list(depth: int, innermost: int) -> Content:
    found = content_of(Body(b"[" * depth + b"%d" % innermost + b"]" * depth, JSON))
    assert isinstance(found, Content)
    return found


@pytest.mark.parametrize(
    "content_type",
    [JSON, "application/problem+json", "Application/JSON; charset=utf-8", "text/json ;x", "a/vnd.x.v1+json"],
)
def test_json_is_known_by_its_type(content_type: str) -> None:
    assert compared(Body(b"[1, 2]", content_type), Body(b"[1,2]", content_type)) == frozenset()


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", GZIPPED),
        ("X-Gzip", GZIPPED),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT, wbits=-15)),
        ("br", brotli.compress(TEXT)),
    ],
)
def test_encoded_bodies_are_compared_by_their_content(encoding: str, encoded: bytes) -> None:
    plain = Body(b'{"name": "x", "price": "1"}', JSON)
    assert compared(Body(encoded, JSON, encoding), plain) == {Difference("$.price", Kind.TYPE)}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize(
    "broken",
    [b"", b"\x00\xff{", GZIPPED[:-9], zlib.compress(TEXT)[:-9], brotli.compress(TEXT)[:-3]],
)
def test_corrupt_bodies_are_bytes(encoding: str, broken: bytes) -> None:
    assert content_of(Body(broken, "text/plain", encoding)) == Content(broken)


def test_bodies_that_cannot_be_compared_are_skipped_for_a_reason() -> None:
    largest, too_large = b"x" * MOST_BYTES, b"x" * (MOST_BYTES + 1)
    assert content_of(Body(largest)) == Content(largest)
    assert content_of(Body(too_large)) is Skipped.TOO_LARGE
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)):
        assert content_of(Body(compress(largest), "", encoding)) == Content(largest)
        assert content_of(Body(compress(too_large), "", encoding)) is Skipped.TOO_LARGE
    bomb = zlib.compress(bytes(100 * MOST_BYTES))
    assert content_of(Body(bomb, "", "deflate")) is Skipped.TOO_LARGE
    assert content_of(Body(b"x", "", "zstd")) is Skipped.ENCODING
    assert content_of(Body(b"[" + b"1," * MOST_VALUES + b"1]", JSON)) is Skipped.TOO_MANY_VALUES


_scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abcd"), inner), max_leaves=20
)


@given(_values, st.randoms(use_true_random=False))
def test_a_body_does_not_differ_from_itself_in_other_words(value: Any, chance: random.Random) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            keys = [*part]
            chance.shuffle(keys)
            return {key: shuffled(part[key]) for key in keys}
        return [shuffled(each) for each in part] if isinstance(part, list) else part

    assert paths(value, shuffled(value)) == set()


@given(_values, _values)
def test_two_bodies_differ_in_both_directions_alike(primary: Any, other: Any) -> None:
    mirrored = {Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING}
    there = {(path, mirrored.get(kind, kind)) for path, kind in differences(parsed(primary), parsed(other))}
    assert there == differences(parsed(other), parsed(primary))
    assert bool(there) == (
        msgspec.json.encode(primary) != msgspec.json.encode(other) and _unlike(primary, other)
    )


def _unlike(primary: Any, other: Any) -> bool:
    """Whether JSON of these values means something different."""
    if isinstance(primary, bool) or isinstance(other, bool):
        return primary is not other
    if isinstance(primary, dict) and isinstance(other, dict):
        return primary.keys() != other.keys() or any(_unlike(primary[key], other[key]) for key in primary)
    if isinstance(primary, list) and isinstance(other, list):
        return len(primary) != len(other) or any(map(_unlike, primary, other))
    return bool(primary != other)


def test_no_value_becomes_part_of_a_path() -> None:
    primary = {"user": {"4711": "secret-one"}, "list": ["secret-two", {"name": "secret-three"}]}
    other = {"user": {"4712": "secret-four"}, "list": [{"name": 5}, "x"]}
    assert "secret" not in "".join(paths(primary, other))


NAME, TIME = ("$.name", Kind.MISSING), ("$.time", Kind.VALUE)


def test_a_field_is_the_canarys_if_it_differs_more_often_than_in_the_baseline() -> None:
    bodies = Bodies()
    for _ in range(40):
        bodies.add(GROUP, [NAME, TIME], [TIME])
    named, timed = findings(bodies)
    assert named == (Field(GROUP, *NAME), 40, 40, 0, 40, True)
    assert timed == (Field(GROUP, *TIME), 40, 40, 40, 40, False)
    assert not noise_unknown(bodies)


def test_a_few_bodies_do_not_tell() -> None:
    bodies = Bodies()
    for _ in range(10):
        bodies.add(GROUP, [NAME], [])
    assert [each.differs for each in findings(bodies)] == [False]


def test_without_a_baseline_fields_are_counts() -> None:
    bodies = Bodies()
    assert not noise_unknown(bodies)
    for _ in range(40):
        bodies.add(GROUP, [NAME])
    bodies.add("POST /", [])
    assert findings(bodies) == [(Field(GROUP, *NAME), 40, 40, 0, 0, None)]
    assert noise_unknown(bodies)


@given(st.integers(0, 2**32))
def test_noise_is_never_the_canarys(seed: int) -> None:
    chance, bodies = random.Random(seed), Bodies()  # noqa: S311 - a simulation
    for _ in range(500):
        canary, baseline = ([TIME] if chance.random() < 0.5 else [] for _ in range(2))
        bodies.add(GROUP, canary, baseline)
        assert not any(each.differs for each in findings(bodies))


def test_fields_and_groups_are_bounded() -> None:
    bodies = Bodies()
    for number in range(300):
        bodies.add(f"GET /{number}", [(f"$.{letter}", Kind.VALUE) for letter in "ab"], [NAME])
    known = bodies.differing.keys() | bodies.noise.keys()
    assert len(known) <= MOST_FIELDS + len(Kind)
    assert Field(OTHER, OTHER, Kind.VALUE) in known
    assert len(bodies.compared) == MOST_GROUPS + 1
    assert bodies.compared.total() == bodies.baseline.total() == 300


def test_replicas_add_up() -> None:
    one, two, both = Bodies(), Bodies(), Bodies()
    for number in range(20):
        for counted in (one if number % 2 else two, both):
            counted.add(f"GET /{number % 3}", [NAME, TIME], [TIME] if number % 4 else None)
            counted.skipped[Skipped.TOO_LARGE] += 1
    one.update(two)
    assert one == both
    full = Bodies()
    full.update(Bodies(differing=Counter({Field("GET /", f"$.{n}", Kind.VALUE): 1 for n in range(300)})))
    assert len(full.differing) == MOST_FIELDS + 1


def test_a_backend_cannot_choose_identities_that_cost_time() -> None:
    """The hash of each of these integers is 0."""
    elements = [{"id": number * sys.hash_info.modulus} for number in range(20_000)]
    first, second = (
        content_of(Body(json.dumps(each).encode(), "application/json")) for each in (elements, elements[1:])
    )
    assert isinstance(first, Content)
    assert isinstance(second, Content)
    began = time.process_time()
    assert differences(first, second) == {("$[]", Kind.MISSING)}
    assert time.process_time() - began < 5
