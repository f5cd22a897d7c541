"""The world is the last word on every key, however and in whatever order the words came."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure import worlds
from xds_server.core.keys import SHADOW_OF
from xds_server.core.objects import Ref
from xds_server.core.world import NOWHERE, Change, Delete, Report, Upsert, World, key_of


def _refs(world: World) -> set[Ref]:
    return {ref for view in world.namespaces.values() for ref in view.refs()}


def _differing(before: World, after: World) -> set[Ref]:
    return {ref for ref in _refs(before) | _refs(after) if before.get(ref) != after.get(ref)}


@given(worlds.histories())
def test_any_batching_gives_the_same_world(history: list[list[Change]]) -> None:
    in_batches = World()
    for batch in history:
        in_batches, _ = in_batches.apply(batch)
    one_by_one = World()
    for change in [change for batch in history for change in batch]:
        one_by_one, _ = one_by_one.apply([change])
    at_once, _ = World().apply([change for batch in history for change in batch])

    assert in_batches == at_once
    assert one_by_one == at_once


@given(st.lists(worlds.changes(), max_size=30, unique_by=key_of), st.randoms(use_true_random=False))
def test_any_order_of_changes_of_different_keys_gives_the_same_world(
    changes: list[Change], random: Random
) -> None:
    shuffled = list(changes)
    random.shuffle(shuffled)
    assert World().apply(shuffled) == World().apply(changes)


@given(worlds.histories())
def test_the_changed_references_are_exactly_those_that_differ(history: list[list[Change]]) -> None:
    world = World()
    for batch in history:
        before = world
        world, changed = before.apply(batch)
        assert changed == _differing(before, world)


@given(worlds.histories())
def test_the_world_holds_the_last_word_on_each_key_and_nothing_else(history: list[list[Change]]) -> None:
    world = World()
    latest: dict[object, Change] = {}
    for batch in history:
        world, _ = world.apply(batch)
        latest.update({key_of(change): change for change in batch})

    kept = {key: change.obj for key, change in latest.items() if isinstance(change, Upsert)}
    assert {ref: world.get(ref) for ref in _refs(world)} == kept
    assert all(world.get(c.ref) is None for c in latest.values() if isinstance(c, Delete))
    reports = {c.origin: c.problems for c in latest.values() if isinstance(c, Report) and c.problems}
    assert world.reports == reports


@given(worlds.histories())
def test_the_indices_of_a_namespace_follow_from_its_objects(history: list[list[Change]]) -> None:
    world = World()
    for batch in history:
        world, _ = world.apply(batch)

    for view in world.namespaces.values():
        assert not view.empty
        marked = {
            (deployment.labels[SHADOW_OF], name)
            for name, deployment in view.workloads.items()
            if SHADOW_OF in deployment.labels and not deployment.controller
        }
        assert {(target, name) for target, names in view.canaries.items() for name in names} == marked
        assert all(list(names) == sorted(names) for names in view.canaries.values())
        assert all(group for group in view.slices.values())
        owners = {name: piece.service for group in view.slices.values() for name, piece in group.items()}
        assert view.slice_owner == owners
        assert all(piece.service == s for s, group in view.slices.items() for piece in group.values())


@given(worlds.histories())
def test_deleting_everything_leaves_the_empty_world(history: list[list[Change]]) -> None:
    world, _ = World().apply([change for batch in history for change in batch])
    gone, changed = world.apply(
        [*map(Delete, sorted(_refs(world))), *(Report(origin, ()) for origin in world.reports)]
    )
    assert gone == World()
    assert changed == _refs(world)
    assert gone.view("a") is NOWHERE
