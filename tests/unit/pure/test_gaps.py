"""Pairs that do not arrive: noticed, and kept apart from what comes after."""

from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.gaps import NO_GAP, Gap, GapWatch, missing
from xds_server.core.verdict.joining import Answer, Lost, Outcome, Pair, Side, Unpaired
from xds_server.core.verdict.judgement import Judgement, Terms, Verdict, judge
from xds_server.core.verdict.tally import Tally

GOOD = Answer(failed=False, code=200)
PAIR = Pair((Side.CANARY, "canary"), "GET /", GOOD, GOOD)
RATE, STEP_S = 20, 10.0


class Traffic:
    """A canary whose requests are pairs, or are lost. Load reports count them a moment later."""

    def __init__(self) -> None:
        self.tally, self.watch = Tally(), GapWatch()
        self.expected, self.late, self.now = 0.0, 0, 1000.0

    def goes_on(self, seconds: float, *, lost: bool = False, rate: int = RATE, pair: Outcome = PAIR) -> Gap:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.expected += self.late
            self.late = round(rate * STEP_S)
            for _ in range(0 if lost else self.late):
                self.tally.add(pair)
            gap = self.watch.look(self.tally, self.expected, self.now)
        return gap

    def judged(self, **terms: float) -> Judgement:
        return judge(self.tally, self.expected, Terms(tolerance=0.01, **terms), self.watch.gap)  # type: ignore[arg-type]


def test_without_a_loss_there_is_no_gap() -> None:
    traffic = Traffic()
    for seconds, rate in ((300, RATE), (60, 0), (30, 10 * RATE), (300, 0), (100, 1)):
        assert traffic.goes_on(seconds, rate=rate) == NO_GAP


def test_chance_is_no_loss() -> None:
    assert not missing(80, 100)
    assert missing(55, 100)
    assert not missing(0, 10)
    assert missing(8_500, 10_000)


def test_after_an_outage_a_verdict_is_blind_and_then_needs_pairs_of_its_own() -> None:
    traffic = Traffic()
    traffic.goes_on(3600)
    assert traffic.judged().verdict is Verdict.NO_WORSE
    assert traffic.judged().arrived is not None

    gap = traffic.goes_on(60, lost=True)
    assert gap.since is not None
    assert 4600 - 60 <= gap.since <= 4660
    blind = traffic.judged()
    assert blind.verdict is Verdict.BLIND
    assert blind.message.startswith("Sampled pairs have been missing since 1970-01-01 01:1")

    counts = traffic.tally.counts
    gap = traffic.goes_on(90)
    assert gap.since is None
    assert gap.ended is not None
    assert gap.before.pairs > counts.pairs
    early = traffic.judged()
    assert (early.verdict, early.counts) == (Verdict.TOO_EARLY, traffic.tally.counts)
    assert early.message.endswith(" UTC, when pairs arrived again.")
    traffic.goes_on(60)
    again = traffic.judged()
    assert again.verdict is Verdict.NO_WORSE
    assert " UTC, when pairs arrived again the canary fails at most" in again.message


def test_a_gap_does_not_end_while_there_are_no_requests() -> None:
    traffic = Traffic()
    traffic.goes_on(600)
    assert traffic.goes_on(90, lost=True).since is not None
    assert traffic.goes_on(600, rate=0).since is not None
    assert traffic.goes_on(90).since is None


def test_pairs_that_never_arrive_are_noticed_by_their_share() -> None:
    traffic = Traffic()
    assert traffic.goes_on(40, lost=True).since is not None


def test_requests_that_make_no_pair_have_arrived() -> None:
    traffic = Traffic()
    assert traffic.goes_on(300, pair=Unpaired(Lost.AMBIGUOUS, PAIR.whose)) == NO_GAP


def test_looks_in_quick_succession_are_one() -> None:
    traffic = Traffic()
    traffic.goes_on(10)
    before = len(traffic.watch._points)
    traffic.watch.look(traffic.tally, traffic.expected, traffic.now + 1)
    assert len(traffic.watch._points) == before


def test_the_pairs_before_a_gap_count_against_a_canary() -> None:
    traffic = Traffic()
    bad = PAIR._replace(shadow=GOOD._replace(failed=True, code=500))
    traffic.goes_on(10, pair=bad)
    traffic.goes_on(600)
    traffic.goes_on(90, lost=True)
    assert traffic.judged().verdict is Verdict.WORSE


def test_right_after_a_gap_nothing_was_expected_yet() -> None:
    tally = Tally()
    tally.add(PAIR)
    gap = Gap(None, 60.0, tally.counts, tally.arrived, 5.0)
    found = judge(tally, 5.0, Terms(), gap)
    assert (found.verdict, found.arrived) == (Verdict.TOO_EARLY, None)
    assert found.message == (
        "0 of at least 1000 pairs were compared since 1970-01-01 00:01:00 UTC, when pairs arrived again."
    )


def test_gaps_of_replicas_add_up() -> None:
    one = Gap(5.0, None, Counts(10, 1, 2), 11, 12.0)
    other = Gap(None, 3.0, Counts(1, 1, 0), 1, 1.0)
    assert one.plus(other) == Gap(5.0, 3.0, Counts(11, 2, 2), 12, 13.0)
    assert one.plus(Gap(2.0, 9.0)) == Gap(2.0, 9.0, Counts(10, 1, 2), 11, 12.0)
    assert NO_GAP.plus(NO_GAP) == NO_GAP
