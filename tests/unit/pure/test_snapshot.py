"""Resources and snapshots: versions depend on content alone, and updates share what did not change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.xds import snapshot as snapshot_module
from xds_server.xds.batch import Batch
from xds_server.xds.name_sets import NO_NAMES
from xds_server.xds.resource import MAX_RESPONSE_BYTES, Resource, ResourceKey
from xds_server.xds.snapshot import EMPTY, Snapshot, TypeSnapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, SHORT_NAMES, VIRTUAL_HOST

keys = st.builds(ResourceKey, st.sampled_from((CLUSTER, ENDPOINT)), st.sampled_from("abcd"))
resources = st.builds(Resource, keys, st.sampled_from((b"", b"1", b"2")))
updates = st.lists(st.tuples(st.lists(resources, max_size=4), st.lists(keys, max_size=3)), max_size=6)


def cluster(name: str, body: bytes = b"", *refs: ResourceKey) -> Resource:
    return Resource(ResourceKey(CLUSTER, name), body, refs)


@given(updates)
def test_updates_give_what_a_rebuild_gives(history: list[tuple[list[Resource], list[ResourceKey]]]) -> None:
    snapshot, expected = Snapshot(), dict[ResourceKey, Resource]()
    for upserts, removals in history:
        before, versions = snapshot, snapshot.versions()
        snapshot = snapshot.updated(upserts, removals)
        for key in removals:
            expected.pop(key, None)
        expected |= {resource.key: resource for resource in upserts}

        assert snapshot == Snapshot().updated(expected.values())
        assert snapshot.versions() == Snapshot().updated(reversed(expected.values())).versions()
        assert before.versions() == versions
    assert {r.key: r for t in snapshot.types.values() for r in t.resources.values()} == expected
    assert set(snapshot.types) == {key.type_url for key in expected}


@given(st.lists(resources, max_size=6), st.lists(resources, max_size=6))
def test_versions_are_equal_exactly_where_the_content_is(one: list[Resource], other: list[Resource]) -> None:
    left, right = Snapshot().updated(one), Snapshot().updated(other)
    assert (left == right) == (left.versions() == right.versions())


@given(st.lists(resources.filter(lambda r: r.key.type_url == CLUSTER), max_size=6), st.data())
def test_the_version_with_others_is_the_version_together(found: list[Resource], data: st.DataObject) -> None:
    together = TypeSnapshot().updated(found)
    split = {name for name in together.resources if data.draw(st.booleans())}
    here = TypeSnapshot().updated(r for n, r in together.resources.items() if n not in split)
    others = [r for n, r in together.resources.items() if n in split]
    assert here.version_with(others) == together.version


@pytest.mark.parametrize(
    "other",
    [
        cluster("b", b"body"),
        cluster("a", b"other"),
        Resource(ResourceKey(ENDPOINT, "a"), b"body"),
        # The parts are kept apart where they meet.
        cluster("ab", b"ody"),
    ],
)
def test_a_resource_is_its_type_name_and_body(other: Resource) -> None:
    resource = cluster("a", b"body")
    assert resource == cluster("a", b"body", ResourceKey(ENDPOINT, "a"))
    assert hash(resource) == hash(cluster("a", b"body"))
    assert resource.version == cluster("a", b"body").version
    assert resource != other
    assert resource.version != other.version


def test_a_resource_is_nothing_else() -> None:
    resource = cluster("a", b"body")
    assert resource != "a"
    assert resource.name == "a"
    assert repr(resource) == f"Resource('a', {resource.version}, 4 bytes)"


def test_a_version_is_the_same_in_every_process() -> None:
    # Computed once and written down: a change here makes every connected Envoy see new versions.
    assert cluster("a", b"body").version == "1db6043ac8dbcbfb"
    assert Snapshot().updated([cluster("a", b"body")]).of(CLUSTER).version == "1db6043ac8dbcbfb"
    assert EMPTY.version == "0000000000000000"


def test_a_type_without_resources_has_no_entry() -> None:
    there = Snapshot().updated([cluster("a")])
    assert there.updated([], [ResourceKey(CLUSTER, "a")]) == Snapshot()
    assert there.updated([], [ResourceKey(CLUSTER, "b"), ResourceKey(ROUTE, "a")]) == there
    assert there.of(ROUTE) is EMPTY
    assert there.get(ResourceKey(CLUSTER, "a")) == cluster("a")
    assert there.get(ResourceKey(ROUTE, "a")) is None


def test_what_is_removed_and_put_in_place_at_once_is_there() -> None:
    before = Snapshot().updated([cluster("a", b"1")])
    after = before.updated([cluster("a", b"2")], [ResourceKey(CLUSTER, "a")])
    assert after == Snapshot().updated([cluster("a", b"2")])
    assert after.versions() == Snapshot().updated([cluster("a", b"2")]).versions()


def test_an_update_leaves_other_types_and_the_old_snapshot_alone() -> None:
    before = Snapshot().updated([cluster("a"), Resource(ResourceKey(ROUTE, "r"), b"")])
    after = before.updated([cluster("b")])
    assert after.of(ROUTE) is before.of(ROUTE)
    assert set(before.of(CLUSTER).resources) == {"a"}


def test_every_type_has_its_short_name() -> None:
    assert SHORT_NAMES == {
        CLUSTER: "CDS",
        ENDPOINT: "EDS",
        SECRET: "SDS",
        LISTENER: "LDS",
        ROUTE: "RDS",
        VIRTUAL_HOST: "VHDS",
    }


@given(st.lists(st.lists(resources, max_size=6), max_size=8), st.data())
def test_what_changed_since_any_moment_is_what_differs(
    history: list[list[Resource]], data: st.DataObject
) -> None:
    moments = [TypeSnapshot()]
    for world in history:
        wanted = {each.name: each for each in world if each.key.type_url == CLUSTER}
        gone = [name for name in moments[-1].resources if name not in wanted]
        moments.append(moments[-1].updated(wanted.values(), gone))
        if data.draw(st.booleans()):
            assert [each.name for each in moments[-1].everything.resources] == sorted(wanted)
    old, new = data.draw(st.sampled_from(moments)), data.draw(st.sampled_from(moments))
    changes = new.changes_since(old)
    assert list(changes.upserts.resources) == [
        found for name, found in sorted(new.resources.items()) if old.resources.get(name) != found
    ]
    assert list(changes.gone) == [
        old.resources[name] for name in sorted(old.resources) if name not in new.resources
    ]
    assert changes.names == {each.name for each in (*changes.upserts.resources, *changes.gone)}
    assert new.changes_since(old) is changes


def test_what_came_and_went_is_no_change() -> None:
    old = TypeSnapshot().updated([cluster("a", b"")])
    new = old.updated([cluster("b", b"")]).updated([], ["b"])
    assert new.changes_since(old).names == frozenset()


@pytest.mark.parametrize("limit", ["_MOST_STEPS", "_MOST_NAMES"])
def test_who_is_far_behind_is_compared_whole(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, limit, 2)
    old = now = TypeSnapshot().updated([cluster("a", b"")])
    for number in range(5):
        now = now.updated([cluster(f"b{number}", b"")])
    assert len(now._steps) <= 2
    assert now.changes_since(old).names == {f"b{number}" for number in range(5)}


def test_an_update_without_a_change_is_the_same_object() -> None:
    one = TypeSnapshot().updated([cluster("a", b"1")])
    assert one.updated([cluster("a", b"1")], ["none"]) is one
    other = one.updated([cluster("a", b"2")]).updated([cluster("a", b"1")])
    assert (other == one, hash(other) == hash(one), other is one) == (True, True, False)


def test_what_is_worked_out_is_kept_for_the_next_who_asks_and_then_drop_caches() -> None:
    one = TypeSnapshot().updated([cluster("a", b"1")])
    names = NO_NAMES.plus(("a", "b"))
    first = one.everything, one.select(names), one.batch(("key",), Batch)
    assert first == (one.everything, one.select(names), one.batch(("key",), Batch))
    assert first[1].absent == ("b",)
    one.drop_caches()
    assert one.everything is not first[0]
    assert one.select(names) is not first[1]


def test_only_the_last_few_are_kept() -> None:
    one = TypeSnapshot()
    first = one.batch((0,), Batch)
    for number in range(1, 40):
        one.batch((number,), Batch)
        one.changes_since(TypeSnapshot().updated([cluster(str(number), b"")]))
        one.derived((number,), TypeSnapshot)
    assert one.batch((0,), Batch) is not first
    assert len(one._batches) == len(one._since) == len(one._derived) == 16


def test_many_new_names_at_once_are_sorted_when_they_are_asked_for() -> None:
    few = TypeSnapshot().updated([cluster("a", b"")])
    assert few.everything.names == {"a"}
    many = few.updated([cluster(f"{number:03d}", b"") for number in range(100)])
    assert [each.name for each in many.everything.resources] == [
        *(f"{number:03d}" for number in range(100)),
        "a",
    ]


def test_rule_42_what_becomes_too_large_is_taken_out() -> None:
    key = ResourceKey(CLUSTER, "a")
    before = Snapshot().updated([Resource(key, b"small")])
    after = before.updated([Resource(key, b"x" * MAX_RESPONSE_BYTES)])
    assert after.get(key) is None
    assert [*after.too_large()] == [key]
    assert after.updated([Resource(key, b"small")]).versions() == before.versions()


def test_rule_42_a_batch_in_parts_has_together_what_must_be() -> None:
    batch = Batch(
        (Resource(ResourceKey(CLUSTER, "a"), b"1"), Resource(ResourceKey(CLUSTER, "b"), b"2")), ("c",)
    )
    together = [frozenset({"b"}), frozenset({"a", "c"})]
    parts = batch.parts(300, lambda: together)
    assert [(sorted(part.names), part.removed) for part in parts] == [(["b"], ()), (["a"], ("c",))]
    assert batch.parts(300, list) is parts
    assert batch.parts(3000, list) == (batch,)
