"""One line of a kind a minute, and how many were left out."""

from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.log_limit import EVERY_S, LogLimit, omitted


def test_a_key_has_its_line_and_then_one_a_minute_with_what_was_left_out() -> None:
    limit = LogLimit()
    assert limit.admit("a", now=0.0) == 0
    assert [limit.admit("a", now=second) for second in (0.0, 1.0, 59.9)] == [None, None, None]
    assert limit.admit("b", now=1.0) == 0
    assert limit.admit("a", now=60.0) == 3
    assert limit.admit("a", now=61.0) is None
    assert limit.admit("a", now=1000.0) == 1
    assert limit.admit("a", now=2000.0) == 0


def test_more_than_one_line_of_a_key() -> None:
    limit = LogLimit(lines=2)
    assert [limit.admit("a", now=0.0) for _ in range(4)] == [0, 0, None, None]
    assert [limit.admit("a", now=60.0) for _ in range(3)] == [2, 0, None]


def test_keys_beyond_those_that_are_remembered_share_one() -> None:
    limit = LogLimit(keys=2)
    assert [limit.admit(key, now=0.0) for key in "ab"] == [0, 0]
    assert [limit.admit(key, now=1.0) for key in "cdec"] == [0, None, None, None]
    assert limit.admit("a", now=1.0) is None
    # Once windows are over, there is room for others.
    assert limit.admit("f", now=EVERY_S) == 0
    assert limit.admit("f", now=EVERY_S) is None


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    limit = LogLimit()
    assert limit.admit("a", now=1e9) == 0
    assert limit.admit("a", now=1e9) is None
    assert limit.admit("a", now=5.0) == 1


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.0, 5.0)), max_size=200))
def test_lines_and_memory_are_bounded(steps: list[tuple[int, float]]) -> None:
    limit, now, admitted = LogLimit(keys=8), 0.0, []
    for key, wait in steps:
        now += wait
        if limit.admit(key, now=now) is not None:
            admitted.append((key, now))
        assert len(limit._windows) <= 9
    for minute in range(int(now // EVERY_S) + 1):
        began = minute * EVERY_S
        assert sum(began <= at < began + EVERY_S for _, at in admitted) <= 9 * 2


def test_what_a_line_says_of_others() -> None:
    assert omitted(0) == {}
    assert omitted(3) == {"omitted": 3}
