"""Names that clients make the process keep are counted, once for each set, and those who exceed it end."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import StreamId
from xds_server.xds.budget import Exceeded, Held, NameBudget, NameLimits
from xds_server.xds.name_sets import NO_NAMES, Names

MIB = 2**20
LIMITS = NameLimits(per_stream=2 * MIB, per_peer=4 * MIB, total=8 * MIB)
ONE, TWO, THREE, FOUR, FIVE = map(StreamId, range(1, 6))


def names(letter: str, mib: float) -> Names:
    """A set of its own of about this size."""
    return NO_NAMES.plus(tuple(f"{letter}-{each}".ljust(850, "x") for each in range(round(mib * MIB / 1000))))


def sets(*found: Names) -> Held:
    return Held(found)


def test_a_stream_that_holds_too_much_ends_and_counts_no_more() -> None:
    budget = NameBudget(LIMITS)
    large = names("a", 1.5)
    assert budget.hold(ONE, "peer", sets(large)) == []
    [exceeded] = budget.hold(ONE, "peer", sets(large, names("b", 1.0)))
    assert exceeded == Exceeded(ONE, "the names of one stream take more than 2 MiB")
    assert budget.hold(TWO, "peer", sets(names("c", 1.9))) == []
    assert budget.hold(THREE, "peer", sets(names("d", 1.9))) == []


def test_other_names_of_a_stream_count_too() -> None:
    budget = NameBudget(LIMITS)
    assert budget.hold(ONE, "peer", Held(more=2 * MIB)) == []
    assert len(budget.hold(ONE, "peer", Held(more=2 * MIB + 1))) == 1


def test_a_peer_that_holds_too_much_loses_the_stream_that_asked_last() -> None:
    budget = NameBudget(LIMITS)
    assert budget.hold(ONE, "peer", sets(names("a", 1.9))) == []
    assert budget.hold(TWO, "peer", sets(names("b", 1.9))) == []
    assert budget.hold(THREE, "other", sets(names("c", 1.9))) == []
    assert budget.hold(FOUR, "peer", sets(names("d", 1.0))) == [
        Exceeded(FOUR, "the names of this address's streams take more than 4 MiB")
    ]
    budget.leave(ONE)
    assert budget.hold(FIVE, "peer", sets(names("d", 1.0))) == []


def test_a_fleet_that_asks_for_the_same_costs_what_one_does() -> None:
    budget = NameBudget(LIMITS)
    same = names("a", 1.9)
    for number in range(2_000):
        assert budget.hold(StreamId(number), f"peer-{number % 3}", sets(same)) == []


def test_for_all_together_the_largest_of_the_peer_that_holds_most_ends() -> None:
    budget = NameBudget(LIMITS)
    greedy, modest = "greedy", "modest"
    assert budget.hold(ONE, greedy, sets(names("a", 1.6))) == []
    assert budget.hold(TWO, greedy, sets(names("b", 1.9))) == []
    assert budget.hold(THREE, "third", sets(names("c", 1.9))) == []
    assert budget.hold(FOUR, "fourth", sets(names("d", 1.9))) == []
    [exceeded] = budget.hold(FIVE, modest, sets(names("e", 1.0)))
    assert exceeded.stream == TWO
    assert exceeded.reason == "the names of all streams take more than 8 MiB, most of them this address's"


def test_what_is_still_being_written_counts_and_ends_no_stream() -> None:
    budget = NameBudget(NameLimits(per_stream=MIB, per_peer=MIB, total=MIB))
    budget.note(ONE, "peer", Held(more=5 * MIB))
    assert [each.stream for each in budget.hold(TWO, "peer", sets(names("a", 0.1)))] == [TWO]
    assert budget.hold(THREE, "peer", Held()) != []
    budget.leave(ONE)
    assert budget.hold(TWO, "peer", sets(names("a", 0.1))) == []


SETS = [names(letter, 0.3 * (index + 1)) for index, letter in enumerate("abcd")]
_held = st.builds(Held, st.lists(st.sampled_from(SETS), max_size=3).map(tuple), st.integers(0, MIB))
_steps = st.lists(st.tuples(st.integers(0, 5), st.none() | _held), max_size=40)


@given(_steps)
def test_the_sums_are_those_of_what_is_held(steps: list[tuple[int, Held | None]]) -> None:
    budget, expected = NameBudget(LIMITS), dict[StreamId, Held]()
    for number, held in steps:
        stream = StreamId(number)
        if held is None:
            budget.leave(stream)
            expected.pop(stream, None)
        else:
            expected[stream] = held
            for each in budget.hold(stream, f"peer-{number % 2}", held):
                del expected[each.stream]
        assert budget._all.size == together(expected.values())
        for peer in (0, 1):
            found = budget._peers.get(f"peer-{peer}")
            of_peer = [held for stream, held in expected.items() if stream % 2 == peer]
            assert (found.size if found else 0) == together(of_peer) <= LIMITS.per_peer
    for stream in list(expected):
        budget.leave(stream)
    assert (budget._streams, budget._peers, bool(budget._all)) == ({}, {}, False)


def together(held: Iterable[Held]) -> int:
    """In bytes, each set once."""
    found = list(held)
    return sum(each.more for each in found) + sum(
        one.name_bytes for one in {one for each in found for one in each.sets}
    )
