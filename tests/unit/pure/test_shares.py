"""The share of requests that is compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.core.verdict.shares import MOST_A_SECOND, most_pairs, share_of, tail_for

TAILS = ["", "0", "00", "000", "0000"]


@pytest.mark.parametrize(
    ("rate", "before", "tail"),
    [
        (0, "", ""),
        (1_000, "", ""),
        (1_001, "", "0"),
        (16_001, "", "00"),
        (1e9, "", "0000"),
        (501, "0", "0"),
        (500, "0", ""),
        (0, "0000", ""),
        (9_000, "0", "0"),
        (17_000, "0", "00"),
        (9_000, "00", "00"),
        (8_000, "00", "0"),
    ],
)
def test_a_share_follows_the_rate(rate: float, before: str, tail: str) -> None:
    assert tail_for(rate, MOST_A_SECOND, before) == tail


@given(st.floats(0, 1e8), st.floats(0.1, 1_000), st.sampled_from(TAILS))
def test_a_steady_rate_changes_a_share_once(rate: float, most: float, before: str) -> None:
    tail = tail_for(rate, most, before)
    assert tail_for(rate, most, tail) == tail
    assert rate * share_of(tail) <= most or tail == TAILS[-1]


def test_requests_that_wait_are_bounded() -> None:
    assert most_pairs(12.0, 1) == MOST_A_SECOND
    assert most_pairs(600.0, 1) * 600 == 12_000
    assert most_pairs(12.0, 100) * 12 * 100 == pytest.approx(40_000)
    assert most_pairs(12.0, 0) == MOST_A_SECOND
