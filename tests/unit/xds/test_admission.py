"""Rule 22: streams are admitted at a bounded rate, and every client gets in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.xds.admission import Admission, StreamLimits, host_of
from xds_server.xds.stream_events import Cause

LIMITS = StreamLimits(rate=10.0, burst=3, per_peer=2)


def test_rule_22_past_the_burst_streams_come_in_at_the_rate() -> None:
    admission = Admission(LIMITS)
    admitted = [not admission.admit(f"peer {n}", now=n / 100) for n in range(100)]
    assert admitted[:3] == [True] * 3
    # In the second that this takes ten more come in, however often the others ask.
    assert sum(admitted) in (12, 13)


def test_rule_22_everybody_gets_in_at_last() -> None:
    admission = Admission(LIMITS)
    waiting = {f"peer {n}" for n in range(50)}
    for tick in range(100):
        waiting -= {peer for peer in sorted(waiting) if not admission.admit(peer, now=tick / 10)}
    assert not waiting


def test_one_address_may_not_open_all_streams() -> None:
    admission = Admission(LIMITS)
    assert [bool(admission.admit("greedy", now=n * 10.0)) for n in range(3)] == [False, False, True]
    rejection = admission.admit("greedy", now=40.0)
    assert rejection is not None
    assert rejection.cause is Cause.PEER
    assert "2 streams are open from this address" in rejection.reason
    assert not admission.admit("modest", now=50.0)
    admission.leave("greedy")
    assert not admission.admit("greedy", now=60.0)


def test_nothing_is_kept_of_those_who_left() -> None:
    admission = Admission(LIMITS)
    admission.admit("a", now=0.0)
    admission.leave("a")
    assert not admission._open


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_a_clock_that_goes_back_gives_nothing_away(times: list[float]) -> None:
    admission = Admission(StreamLimits(rate=1.0, burst=5, per_peer=1000))
    admitted = sum(not admission.admit("peer", now=now) for now in times)
    forward = sum(max(0.0, after - before) for before, after in itertools.pairwise(times))
    assert admitted <= 5 + forward + 1


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.1:5000", "ipv4:10.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "ipv6:%5B::1%5D"),
        ("unix:", "unix:"),
        ("unix:/run/a:b", "unix:/run/a:b"),
    ],
)
def test_the_host_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host
