"""The bodies of one request find each other, within bounds."""

from collections import Counter

from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.bodies import Bodies, Kind
from xds_server.core.verdict.body_diff import Difference
from xds_server.core.verdict.body_joining import (
    RATE,
    WINDOW_S,
    BodyJoiner,
    Joined,
    Response,
    Unjoined,
)
from xds_server.core.verdict.body_pairs import Compared, compared, count
from xds_server.core.verdict.body_text import MOST_BYTES, Body, Skipped
from xds_server.core.verdict.joining import Side

CANARY = NamespacedName("a", "web-canary")
OTHER = NamespacedName("b", "web-canary")
GROUP = "GET /"


def response(
    side: Side, request: str = "x", data: bytes = b"{}", *, canary: NamespacedName = CANARY, status: int = 200
) -> Response:
    return Response(canary, side, request, GROUP, status, len(data), Body(data, "application/json"))


NEW, OLD = response(Side.CANARY), response(Side.BASELINE)


def play(*responses: Response, stable: int = 2, source: str = "envoy") -> list[Joined | Unjoined]:
    """What comes of responses, and of the end of their window."""
    joiner = BodyJoiner()
    found = [
        outcome for each in responses for outcome in joiner.add(each, source=source, stable=stable, now=0.0)
    ]
    found += joiner.expire(WINDOW_S)
    assert joiner.size == 0
    return found


def test_a_request_is_complete_with_the_canarys_body_and_the_stable_versions() -> None:
    joined = Joined(NEW, (OLD, OLD))
    assert play(NEW, OLD, OLD) == play(OLD, OLD, NEW) == play(OLD, NEW, OLD) == [joined]
    assert play(NEW, OLD, stable=1) == [Joined(NEW, (OLD,))]


def test_what_is_missing_at_the_end_of_the_window_is_not_waited_for() -> None:
    assert play(NEW, OLD) == [Joined(NEW, (OLD,))]
    assert play(NEW) == play(OLD, OLD) == [Unjoined(CANARY, Skipped.INCOMPLETE)]


def test_an_id_that_comes_too_often_is_compared_for_nobody() -> None:
    nobody = [Unjoined(CANARY, Skipped.INCOMPLETE)]
    assert play(NEW, NEW, OLD, OLD) == play(OLD, OLD, OLD, NEW) == nobody
    assert play(response(Side.CANARY, "")) == play(response(Side.CANARY, "x" * 65)) == nobody


def test_sources_and_canaries_do_not_share_ids() -> None:
    joiner = BodyJoiner()
    other = response(Side.BASELINE, canary=OTHER)
    for source, each in (("1", NEW), ("2", OLD), ("1", other)):
        assert [*joiner.add(each, source=source, stable=1, now=0.0)] == []
    assert Counter(joiner.expire(WINDOW_S)) == {
        Unjoined(CANARY, Skipped.INCOMPLETE): 2,
        Unjoined(OTHER, Skipped.INCOMPLETE): 1,
    }


def test_requests_of_a_canary_are_taken_at_a_rate() -> None:
    joiner = BodyJoiner()

    def taken(now: float) -> int:
        outcomes = [
            outcome
            for number in range(100)
            for outcome in joiner.add(response(Side.CANARY, f"{now} {number}"), source="1", stable=1, now=now)
        ]
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, Unjoined)} == {Skipped.BUSY}
        return 100 - len(outcomes)

    assert taken(0.0) == RATE
    assert taken(0.5) == RATE / 2
    assert [*joiner.add(response(Side.CANARY, canary=OTHER), source="1", stable=1, now=0.5)] == []


def test_the_canary_with_most_bytes_makes_room() -> None:
    joiner = BodyJoiner(most_bytes=10_000)
    small = response(Side.CANARY, canary=OTHER)
    assert [*joiner.add(small, source="1", stable=1, now=0.0)] == []
    found = [
        outcome
        for number in range(5)
        for outcome in joiner.add(
            response(Side.CANARY, str(number), bytes(3000)), source="1", stable=1, now=0.0
        )
    ]
    assert found == [Unjoined(CANARY, Skipped.BUSY)] * 3
    assert joiner.size <= 10_000
    assert [*joiner.add(small._replace(side=Side.BASELINE), source="1", stable=1, now=0.0)] != []


def test_a_canary_without_responses_is_forgotten() -> None:
    joiner = BodyJoiner()
    assert [*joiner.add(NEW, source="1", stable=1, now=0.0)] == []
    assert len([*joiner.expire(WINDOW_S)]) == 1
    assert [*joiner.expire(2 * WINDOW_S + 1)] == []
    assert joiner._canaries == {}


def test_the_canarys_body_is_compared_with_the_first_of_the_stable_version() -> None:
    first, second = response(Side.BASELINE, data=b'{"t": 1}'), response(Side.BASELINE, data=b'{"t": 2}')
    new = response(Side.CANARY, data=b'{"t": 3, "x": 1}')
    value, extra = Difference("$.t", Kind.VALUE), Difference("$.x", Kind.EXTRA)
    assert compared(Joined(new, (first, second))) == Compared(
        GROUP, frozenset({value, extra}), frozenset({value})
    )
    assert compared(Joined(new, (first,))) == Compared(GROUP, frozenset({value, extra}), None)


def test_what_cannot_be_compared_has_a_reason() -> None:
    large = NEW._replace(size=MOST_BYTES + 1, body=Body(b""))
    encoded = NEW._replace(body=Body(b"x", encoding="zstd"))
    failed = response(Side.CANARY, status=500)
    assert compared(Joined(large, (OLD,))) is Skipped.TOO_LARGE
    assert compared(Joined(NEW, (OLD._replace(size=MOST_BYTES + 1),))) is Skipped.TOO_LARGE
    assert compared(Joined(encoded, (OLD,))) is Skipped.ENCODING
    assert compared(Joined(failed, (OLD,))) is Skipped.STATUS
    # What the second of the stable version says about the first is not known then.
    for second in (large, encoded, failed):
        found = compared(Joined(NEW, (OLD, second._replace(side=Side.BASELINE))))
        assert found == Compared(GROUP, frozenset(), None)


def test_outcomes_are_counted() -> None:
    bodies = Bodies()
    count(bodies, Skipped.STATUS)
    count(bodies, Compared(GROUP, frozenset(), frozenset()))
    assert bodies == Bodies(
        compared=Counter({GROUP: 1}), baseline=Counter({GROUP: 1}), skipped=Counter({Skipped.STATUS: 1})
    )
