"""What the requests of one address may take of the event loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.errors import RequestLimitError
from xds_server.xds import pace as paces
from xds_server.xds.pace import Pace, PaceLimits

MIB = 2**20
SMALL, LARGE = 10, 1_000
LIMITS = PaceLimits(
    large=LARGE,
    small_share=0.25,
    small_burst=2.0,
    large_share=0.5,
    large_burst=1.0,
    long=0.1,
    waiting=2 * MIB,
)


def test_within_a_burst_no_request_waits() -> None:
    pace = Pace(LIMITS)
    assert pace.wait("peer", SMALL, 0.0) == 0
    for _ in range(20):
        assert pace.wait("peer", SMALL, 0.0) == 0
        pace.spend("peer", SMALL, 0.1, 0.0)
    pace.spend("peer", SMALL, 0.1, 0.0)
    assert pace.wait("peer", SMALL, 0.0) == pytest.approx(0.4)
    assert pace.wait("another", SMALL, 0.0) == 0


def test_over_its_share_a_peer_waits_until_it_has_earned_what_it_took() -> None:
    pace = Pace(LIMITS)
    pace.spend("peer", SMALL, 3.0, 0.0)
    assert pace.wait("peer", SMALL, 0.0) == pytest.approx(4.0)
    assert pace.wait("peer", SMALL, 3.0) == pytest.approx(1.0)
    assert pace.wait("peer", SMALL, 4.0) == pytest.approx(0)
    # A burst is not earned twice.
    pace.spend("peer", SMALL, 3.0, 1_000.0)
    assert pace.wait("peer", SMALL, 1_000.0) == pytest.approx(4.0)


def test_small_requests_do_not_wait_for_large_ones() -> None:
    """Of an address with many Envoys, one that sends large requests does not keep the others' unread."""
    pace = Pace(LIMITS)
    pace.spend("peer", LARGE, 1.0, 0.0)
    assert pace.wait("peer", LARGE, 0.0) > 0
    assert pace.wait("peer", LARGE - 1, 0.0) == 0
    pace.spend("peer", SMALL, 3.0, 0.0)
    assert pace.wait("peer", SMALL, 0.0) == pytest.approx(4.0)


def test_one_that_takes_long_counts_for_more_than_many_that_do_not() -> None:
    many, one = Pace(LIMITS), Pace(LIMITS)
    for _ in range(100):
        many.spend("peer", LARGE, 0.01, 0.0)
    one.spend("peer", LARGE, 1.0, 0.0)
    assert many.wait("peer", LARGE, 0.0) == pytest.approx(0.2)  # a second counts as 1.1
    assert one.wait("peer", LARGE, 0.0) == pytest.approx(20.0)  # as 11


def test_an_envoy_of_10000_services_never_waits() -> None:
    """Measured: its largest requests take 12 ms, each acknowledgement 0.1; twenty that come back at once
    from one address are through before a second one is."""
    pace = Pace(PaceLimits())
    for _ in range(20):
        for _ in range(2):
            assert pace.wait("peer", 500_000, 0.0) == 0
            pace.spend("peer", 500_000, 0.012, 0.0)
        for _ in range(100):
            assert pace.wait("peer", 200, 0.0) == 0
            pace.spend("peer", 200, 0.0001, 0.0)


@given(st.lists(st.tuples(st.floats(0.001, 0.5), st.booleans()), min_size=1, max_size=50))
def test_no_peer_takes_more_than_its_share(requests: list[tuple[float, bool]]) -> None:
    pace, now, taken = Pace(LIMITS), 0.0, {SMALL: 0.0, LARGE: 0.0}
    for seconds, large in requests:
        size = LARGE if large else SMALL
        while wait := pace.wait("peer", size, now):
            now += wait
        for each, share, burst in ((SMALL, 0.25, 2.0), (LARGE, 0.5, 1.0)):
            assert taken[each] <= burst + now * share + 0.5 + 1e-6  # and the last one
        taken[size] += seconds
        pace.spend("peer", size, seconds, now)


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    pace = Pace(LIMITS)
    pace.spend("peer", SMALL, 3.0, 100.0)
    pace.spend("peer", SMALL, 0.0, 50.0)
    assert pace.wait("peer", SMALL, 50.0) == pytest.approx(4.0)


def test_what_waits_is_bounded() -> None:
    pace = Pace(LIMITS)
    pace.hold("peer", MIB)
    pace.hold("peer", MIB)
    with pytest.raises(RequestLimitError, match="the waiting requests of this address take more than 2 MiB"):
        pace.hold("peer", 1)
    pace.hold("another", 1)
    pace.release("peer", MIB)
    pace.hold("peer", 1)
    for peer, size in (("peer", MIB), ("peer", 1), ("another", 1)):
        pace.release(peer, size)
    assert pace._waiting == {}


def test_nothing_is_kept_of_those_who_took_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "_MANY", 10)
    pace = Pace(LIMITS)
    pace.spend("greedy", SMALL, 500.0, 0.0)
    pace.spend("greedy", LARGE, 500.0, 0.0)
    for number in range(100):
        pace.spend(f"peer-{number}", SMALL, 0.1, float(number))
    assert len(pace._small) + len(pace._large) <= 12
    assert pace.wait("greedy", SMALL, 100.0) > 0
    assert pace.wait("greedy", LARGE, 100.0) > 0
