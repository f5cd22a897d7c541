"""Sets of names behave as sets, and are shared."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.xds import name_sets as names_module
from xds_server.xds.name_sets import NO_NAMES, Names, size_of

_some = st.sets(st.sampled_from("abcdef")).map(lambda found: tuple(sorted(found)))


def members(names: Names) -> set[str]:
    return set(names.members)


@given(st.lists(st.tuples(st.booleans(), _some), max_size=8))
def test_they_are_sets(steps: list[tuple[bool, tuple[str, ...]]]) -> None:
    names, expected = NO_NAMES, set[str]()
    for more, some in steps:
        if more:
            names, expected = names.plus(some), expected | set(some)
        else:
            there = tuple(name for name in some if name in names)
            names, expected = names.minus(there), expected - set(some)
        assert members(names) == expected
        assert len(names) == len(expected)
        assert names.name_bytes == size_of(expected)
        assert all((name in names) == (name in expected) for name in "abcdef")
        assert names.touched_by(some) == bool(expected & set(some))


def test_a_text_beyond_ascii_may_take_four_bytes_a_character() -> None:
    assert size_of(["\U0001f600" * 100]) - size_of(["x" * 100]) == 300


@given(_some, _some)
def test_the_difference(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    more, less = NO_NAMES.plus(one).difference(NO_NAMES.plus(other))
    assert (set(more), set(less)) == (set(other) - set(one), set(one) - set(other))


@given(_some, _some, _some)
def test_equal_sets_are_one_whichever_way_they_came_about(
    one: tuple[str, ...], more: tuple[str, ...], less: tuple[str, ...]
) -> None:
    straight = NO_NAMES.plus(tuple(sorted({*one, *more} - {*less}, reverse=True)))
    around = NO_NAMES.plus(one).plus(more)
    around = around.minus(tuple(name for name in less if name in around))
    assert around is straight


def test_equal_digests_alone_do_not_make_sets_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "_digest", lambda _digest, _changed: 7)
    one = NO_NAMES.plus(("p", "q"))
    assert members(NO_NAMES.plus(("r", "s"))) == {"r", "s"}
    assert members(one.plus(("r",)).minus(("p",))) == {"q", "r"}
    assert members(one) == {"p", "q"}


def test_a_step_that_many_take_is_looked_up() -> None:
    one = NO_NAMES.plus(("a", "b"))
    more, less = one.plus(("c",)), one.minus(("a",))
    assert one.plus(("c",)) is more
    assert one.minus(("a",)) is less
    assert one.plus(("a",)) is one
    assert one.difference(less) is one.difference(less)
    many = tuple(map(str, range(100)))
    assert one.plus(many).minus(many) is one


def test_unused_names_are_forgotten() -> None:
    gc.collect()
    before = len(names_module._KNOWN)
    held = NO_NAMES.plus(("nobody", "has", "this"))
    assert len(names_module._KNOWN) == before + 1
    del held
    gc.collect()
    assert len(names_module._KNOWN) == before


@given(_some, _some)
def test_a_set_that_replaces_another_is_the_same_as_one_from_nothing(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    first = NO_NAMES.plus(before)
    found = first.replaced(after)
    assert found is NO_NAMES.plus(after)
    assert set(found.members) == set(after)
    more, less = first.difference(found)
    assert (set(more), set(less)) == (set(after) - set(before), set(before) - set(after))


def test_a_set_is_replaced_by_another_and_nothing_for_the_cost_of_looking() -> None:
    many = tuple(f"service-{number}" for number in range(1_000))
    first = NO_NAMES.plus(many)
    assert first.replaced(many[::-1]) is first
    second = first.replaced((*many[1:], "new"))
    assert first.difference(second) == (("new",), ("service-0",))
    assert second.replaced(()) is NO_NAMES
