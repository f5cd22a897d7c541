"""The verdict's engine: evidence, groups of requests, joining, judging."""

import random
from collections import Counter
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.core.verdict import evidence, paths
from xds_server.core.verdict.evidence import Counts, excess_bound, no_worse, pairs_needed
from xds_server.core.verdict.joining import Answer, Ended, Entry, Joiner, Lost, Outcome, Pair, Side, Unpaired
from xds_server.core.verdict.judgement import ALPHA, Terms, Verdict, judge
from xds_server.core.verdict.tally import BOUNDS_S, Latencies, Speed, Tally, slower, together

GOOD, BAD = Answer(failed=False, code=200), Answer(failed=True, code=500)
CANARY = (Side.CANARY, "web-canary")
STRONG = log(1000)
_EARLIEST = 14
"""Failures of the canary alone without which there is no strong evidence."""


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_discordant_pair_raises_an_e_value_no_more_than_a_fair_coin_allows(b: int, c: int) -> None:
    pairs = b + c + 10
    now = exp(evidence.worse(Counts(pairs, b, c)))
    after = [
        exp(evidence.worse(Counts(pairs + 1, b + 1, c))),
        exp(evidence.worse(Counts(pairs + 1, b, c + 1))),
    ]
    assert sum(after) / 2 <= now * (1 + 1e-9)


@given(st.integers(0, 200), st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.001, 0.01, 0.2]))
def test_a_pair_raises_the_other_e_value_no_more_than_the_tolerance_allows(
    same: int, b: int, c: int, tolerance: float
) -> None:
    def value(pairs: int, b: int, c: int) -> float:
        return exp(no_worse(Counts(pairs, b, c), tolerance))

    pairs = same + b + c
    # The canary fails alone in `tolerance` of all pairs and the primary never: the edge of the hypothesis.
    after = tolerance * value(pairs + 1, b + 1, c) + (1 - tolerance) * value(pairs + 1, b, c)
    assert after <= value(pairs, b, c) * (1 + 1e-9)


def found(canary: float, stable: float, pairs: int, seed: int) -> int:
    """After how many pairs the evidence is strong; 0: never."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    b = c = 0
    for pair in range(1, pairs + 1):
        one, other = rng.random() < canary, rng.random() < stable
        b, c = b + (one and not other), c + (other and not one)
        if one != other and evidence.worse(Counts(pair, b, c)) >= STRONG:
            return pair
    return 0


def test_one_percent_instead_of_a_tenth_is_found_within_ten_thousand_pairs() -> None:
    assert all(found(0.01, 0.001, 10_000, seed) > 0 for seed in range(20))


def test_the_same_program_on_both_sides_is_never_found_worse() -> None:
    assert [found(0.01, 0.01, 20_000, seed) for seed in range(20)] == [0] * 20


def ever_found(share: float, pairs: int, rng: random.Random) -> bool:
    """Whether the evidence is strong after any of so many pairs of one program on both sides. Only discordant
    pairs change it, and each is the canary's failure with a probability of one half."""
    discordant = 2 * share * (1 - share)
    mean, deviation = pairs * discordant, (pairs * discordant * (1 - discordant)) ** 0.5
    b = c = 0
    for _ in range(round(rng.gauss(mean, deviation))):
        if rng.getrandbits(1):
            b += 1
            # Nothing is strong before.
            if b - c >= _EARLIEST and evidence.worse(Counts(b + c, b, c)) >= STRONG:
                return True
        else:
            c += 1
    return False


def test_the_earliest_strong_evidence() -> None:
    assert evidence.worse(Counts(_EARLIEST - 1, _EARLIEST - 1, 0)) < STRONG
    assert evidence.worse(Counts(_EARLIEST, _EARLIEST, 0)) >= STRONG


@pytest.mark.thorough
def test_a_thousand_runs_of_the_same_program_have_no_false_alarm() -> None:
    rng = random.Random(16)  # noqa: S311 - a simulation
    alarms = sum(ever_found(0.01, 300_000, rng) for _ in range(1_000))
    assert alarms == 0


def test_the_bound_of_the_excess_is_where_the_evidence_is_just_strong() -> None:
    counts = Counts(10_000, 3, 2)
    bound = excess_bound(counts, 0.001)
    assert no_worse(counts, bound) >= STRONG > no_worse(counts, bound * 0.999)
    assert excess_bound(Counts(3), 0.001) == 1.0


@pytest.mark.parametrize(
    ("method", "path", "group"),
    [
        ("GET", "/", "GET /"),
        ("GET", "/orders/17/items?user=bob", "GET /orders/{id}/items"),
        ("GET", "/users/8f14e45f-ceea-467f-ab3e-0123456789ab", "GET /users/{id}"),
        ("PUT", "/blobs/deadbeef01", "PUT /blobs/{id}"),
        ("GET", "/t/a1b2c3d4", "GET /t/{id}"),
        ("GET", "/v1/feedback/facade", "GET /v1/feedback/facade"),
        ("GET", "/a/b/c/d/e", "GET /a/b/c"),
        ("GET", f"/{'x' * 33}", "GET /{text}"),
        ("GET", "/%3Cscript%3E", "GET /{text}"),
        ("BREW", "/tea", "OTHER /tea"),
        ("GET", "*", "GET /"),
    ],
)
def test_identifiers_queries_and_long_texts_are_folded(method: str, path: str, group: str) -> None:
    assert paths.group(method, path) == group


@given(st.text(), st.text())
def test_a_group_is_short_whatever_a_client_sends(method: str, path: str) -> None:
    assert len(paths.group(method, path)) <= 110


def test_groups_are_bounded() -> None:
    known = {str(number) for number in range(paths.MOST_GROUPS)}
    assert paths.admitted("new", known) == paths.OTHER
    assert paths.admitted("7", known) == "7"


def primary(request: str, answer: Answer = GOOD, ended: Ended = Ended.ANSWERED) -> Entry:
    return Entry(request, Side.PRIMARY, answer, group="GET /", mirrored=(CANARY,), ended=ended)


def shadow(request: str, answer: Answer = GOOD) -> Entry:
    return Entry(request, Side.CANARY, answer, canary="web-canary")


def play(entries: list[Entry], *, joiner: Joiner | None = None) -> list[Outcome]:
    """What comes of entries of one stream, one a millisecond, and of the end of their windows."""
    joiner = joiner or Joiner()
    outcomes: list[Outcome] = []
    for index, entry in enumerate(entries):
        outcomes += joiner.add(entry, stream=1, scope="a/web", window_s=10.0, now=index / 1000)
    assert not any(isinstance(each, Pair) for each in outcomes)
    assert list(joiner.expire(9.9)) == []
    outcomes += joiner.expire(100.0)
    assert len(joiner) == 0
    return outcomes


def test_two_sides_make_a_pair_in_either_order() -> None:
    for entries in ([primary("x"), shadow("x", BAD)], [shadow("x", BAD), primary("x")]):
        assert play(entries) == [Pair(CANARY, "GET /", GOOD, BAD)]


def test_the_last_attempt_counts() -> None:
    failed = primary("x", BAD, Ended.NO_RESPONSE)
    assert play([failed, shadow("x"), failed, primary("x")]) == [Pair(CANARY, "GET /", GOOD, GOOD)]
    assert play([shadow("x"), failed, failed]) == [Pair(CANARY, "GET /", BAD, GOOD)]


@pytest.mark.parametrize("first", [GOOD, BAD])
def test_an_attempt_with_a_response_is_the_last_one(first: Answer) -> None:
    assert play([primary("x", first), shadow("x"), primary("x")]) == [Unpaired(Lost.AMBIGUOUS, CANARY)]


@pytest.mark.parametrize(
    "entries",
    [
        [primary("x"), shadow("x"), primary("x")],
        [primary("x"), primary("x", BAD, Ended.NO_RESPONSE)],
        [primary("x", BAD, Ended.ABANDONED), shadow("x", BAD), primary("x")],
    ],
)
def test_an_id_that_a_client_repeats_is_judged_for_nobody(entries: list[Entry]) -> None:
    assert play(entries) == [Unpaired(Lost.AMBIGUOUS, CANARY)]


@pytest.mark.parametrize(
    "entries",
    [
        [primary("x"), shadow("x", BAD), shadow("x")],
        [shadow("x", BAD), shadow("x")],
        [shadow("x", BAD), primary("x"), primary("x"), shadow("x")],
    ],
)
def test_each_mirrored_request_of_a_repeated_id_is_counted(entries: list[Entry]) -> None:
    assert play(entries) == [Unpaired(Lost.AMBIGUOUS, CANARY)] * 2


def test_a_caller_that_does_not_wait_says_nothing_of_the_primary() -> None:
    gone = primary("x", BAD, Ended.ABANDONED)
    assert play([gone, shadow("x")]) == [Unpaired(Lost.ABANDONED, CANARY)]


def test_what_has_no_other_half_is_counted_and_not_judged() -> None:
    assert play([primary("x")]) == [Unpaired(Lost.NOT_SENT, CANARY)]
    assert play([shadow("x")]) == [Unpaired(Lost.NO_PRIMARY, CANARY)]
    assert play([primary(""), primary("x" * 65), shadow("")]) == [Unpaired(Lost.NO_ID, CANARY)] * 3


def test_a_baseline_makes_no_pair_of_its_own() -> None:
    whose = (Side.BASELINE, "web-canary")
    first = primary("x")._replace(mirrored=(CANARY, whose))
    baseline = Entry("x", Side.BASELINE, BAD, canary="web-canary")
    assert play([first, baseline, shadow("x")]) == [Pair(CANARY, "GET /", GOOD, GOOD, BAD)]
    assert play([first, shadow("x")]) == [Pair(CANARY, "GET /", GOOD, GOOD)]
    again = baseline._replace(answer=GOOD)
    assert play([first, baseline, again, shadow("x")]) == [Pair(CANARY, "GET /", GOOD, GOOD, BAD)]
    assert play([first, baseline]) == [Unpaired(Lost.NOT_SENT, CANARY)]
    assert play([baseline]) == []
    assert play([baseline._replace(request="")]) == []


def test_streams_and_services_do_not_share_ids() -> None:
    joiner = Joiner()
    outcomes: list[Outcome] = []
    for stream, scope, entry in ((1, "a", primary("x")), (2, "a", shadow("x")), (1, "b", shadow("x"))):
        outcomes += joiner.add(entry, stream=stream, scope=scope, window_s=10.0, now=0.0)
    assert outcomes == []
    assert Counter(joiner.close(1)) == {
        Unpaired(Lost.NOT_SENT, CANARY): 1,
        Unpaired(Lost.NO_PRIMARY, CANARY): 1,
    }


def test_a_long_window_holds_no_other_back() -> None:
    joiner = Joiner()
    for scope, window_s in (("slow", 600.0), ("quick", 10.0)):
        assert list(joiner.add(primary("x"), stream=1, scope=scope, window_s=window_s, now=0.0)) == []
    assert list(joiner.expire(11.0)) == [Unpaired(Lost.NOT_SENT, CANARY)]
    assert len(joiner) == 1


@pytest.mark.parametrize("streams", [1, 50])
def test_one_tenant_costs_no_other_tenant_its_pairs(streams: int) -> None:
    """Whether its callers choose ids that are logged, or an Envoy of its own lies on many streams."""
    joiner = Joiner(most_waiting=100)

    def add(entry: Entry, stream: int, tenant: str) -> None:
        list(joiner.add(entry, stream=stream, scope=tenant, tenant=tenant, window_s=10.0, now=0.0))

    for number in range(1_000):
        add(primary(str(number)), number % streams, "flooded")
        if number < 40:
            add(primary(str(number)), 0, "other")
            add(shadow(str(number)), 0, "other")
    assert len(joiner) <= 100
    assert Counter(map(type, joiner.expire(10.0)))[Pair] == 40


def test_the_stream_with_most_waiting_requests_makes_room() -> None:
    joiner = Joiner(most_waiting=10)
    outcomes: list[Outcome] = []

    def add(entry: Entry, stream: int) -> None:
        outcomes.extend(joiner.add(entry, stream=stream, scope="a", window_s=10.0, now=0.0))

    add(primary("mine"), 1)
    for number in range(1000):
        add(primary(str(number)), 2)
    assert len(joiner) == 10
    assert Counter(outcomes) == {Unpaired(Lost.EVICTED, CANARY): 991}
    add(shadow("mine"), 1)
    assert list(joiner.close(1)) == [Pair(CANARY, "GET /", GOOD, GOOD)]


def test_one_stream_may_fill_all_the_room() -> None:
    joiner = Joiner(most_waiting=1)
    for number in range(3):
        list(joiner.add(primary(str(number)), stream=1, scope="a", window_s=1.0, now=0.0))
    assert list(joiner.close(1)) == [Unpaired(Lost.NOT_SENT, CANARY)]
    assert list(joiner.close(1)) == []


@given(st.integers(100, 20_000), st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.001, 0.01, 0.2]))
def test_no_worse_is_known_after_the_pairs_that_it_needs(
    pairs: int, b: int, c: int, tolerance: float
) -> None:
    found = pairs_needed(Counts(pairs, b, c), tolerance, ALPHA)
    for times in (1, 10, 100, 1000):
        known = no_worse(Counts(pairs * times, b * times, c * times), tolerance) >= STRONG
        assert not known or (found is not None and found <= pairs * times * 1.1)


def test_failures_that_exceed_the_tolerance_never_become_no_worse() -> None:
    assert pairs_needed(Counts(1_000, 5), 0.001, ALPHA) is None
    assert pairs_needed(Counts(), 0.001, ALPHA) is None


def test_a_group_is_named_only_if_most_failures_are_in_it() -> None:
    total = Tally()
    for number in range(60):
        total.add(Pair(CANARY, f"GET /{number}", GOOD, BAD))
    assert judge(total, 60, Terms()).message == (
        "In 60 pairs the canary failed alone in 60, the primary alone in 0."
    )


def tally(pairs: int, canary_failed: int = 0, stable_failed: int = 0, group: str = "GET /") -> Tally:
    total = Tally()
    for number in range(pairs):
        one = BAD if number < stable_failed else GOOD
        other = BAD if stable_failed <= number < stable_failed + canary_failed else GOOD
        total.add(Pair(CANARY, group, one, other))
    return total


def lost(total: Tally, why: Lost) -> Tally:
    total.lost[why] += 10_000
    return total


@pytest.mark.parametrize(
    ("counted", "expected", "verdict", "words"),
    [
        (tally(2000, 40, 2), 2000, Verdict.WORSE, "failed alone in 40, the primary alone in 2"),
        (tally(2000, 40, 2), 90_000, Verdict.WORSE, "Most of it in GET /: 40 of 2000 pairs"),
        (tally(20_000, 1, 1), 20_000, Verdict.NO_WORSE, "at most 0."),
        (tally(20_000), 30_000, Verdict.BLIND, "20000 of 30000 sampled pairs arrived"),
        (tally(0), 0, Verdict.BLIND, "No Envoy reports"),
        (tally(20_000), 10_000, Verdict.BLIND, "20000 pairs arrived, and 10000 were sampled"),
        (lost(tally(20_000), Lost.AMBIGUOUS), 30_000, Verdict.NO_WORSE, "at most 0."),
        (lost(tally(20_000), Lost.ABANDONED), 30_000, Verdict.NO_WORSE, "at most 0."),
        (lost(tally(20_000), Lost.NO_PRIMARY), 30_000, Verdict.BLIND, "20000 of 30000 sampled pairs arrived"),
        (tally(900), 900, Verdict.TOO_EARLY, "900 of at least 1000 pairs"),
        (tally(2000, 3, 3), 2000, Verdict.TOO_EARLY, "2000 pairs do not tell yet"),
        (tally(2000), 2000, Verdict.TOO_EARLY, "If it goes on like this, NoWorse needs about 9,600 pairs."),
    ],
)
def test_the_verdict_says_what_was_counted(
    counted: Tally, expected: float, verdict: Verdict, words: str
) -> None:
    judgement = judge(counted, expected, Terms())
    assert judgement.verdict is verdict
    assert words in judgement.message


def test_a_group_that_fails_is_found_among_many_pairs_that_do_not_tell() -> None:
    total = together([tally(4000, 60, 60), tally(400, 30, 0, "POST /orders")])
    judgement = judge(total, 4400, Terms())
    assert (judgement.verdict, judgement.worst) == (Verdict.WORSE, "POST /orders")


def test_a_hundred_groups_and_the_rest_have_evidence() -> None:
    total = together(tally(2, group=f"GET /{number}") for number in range(paths.MOST_GROUPS + 5))
    assert len(total.groups) == paths.MOST_GROUPS + 1
    assert judge(total, 210, Terms(min_pairs=1000)).verdict is Verdict.TOO_EARLY


def test_outcomes_are_counted_one_after_another() -> None:
    total = Tally()
    total.add_all([Pair(CANARY, "GET /", GOOD, BAD), Unpaired(Lost.NOT_SENT, CANARY)])
    assert (total.counts, dict(total.lost)) == (Counts(1, 1, 0), {Lost.NOT_SENT: 1})


def test_replicas_add_up() -> None:
    one, other = tally(10, 1, 2), tally(20, 3, 4, "POST /")
    one.add(Unpaired(Lost.NOT_SENT, CANARY))
    other.add(Unpaired(Lost.NOT_SENT, CANARY))
    total = together([one, other])
    assert total.counts == Counts(30, 4, 6)
    assert total.lost == {Lost.NOT_SENT: 2}
    assert total.groups["GET /"].codes == {("200", "200"): 7, ("200", "500"): 1, ("500", "200"): 2}
    assert judge(total, 30, Terms()) == judge(together([other, one]), 30, Terms())


def timed(canary_ms: float, baseline_ms: float | None, *, failed: bool = False) -> Pair:
    baseline = None if baseline_ms is None else Answer(failed=False, latency_s=baseline_ms / 1000)
    return Pair(CANARY, "GET /", GOOD, Answer(failed=failed, latency_s=canary_ms / 1000), baseline)


@pytest.mark.parametrize(
    ("pair", "speed"),
    [
        (timed(12, 10), Speed(1, 0)),
        (timed(11, 10), Speed(0, 0)),
        (timed(10, 12), Speed(0, 1)),
        (timed(104, 100), Speed(0, 0)),
        (timed(107, 100), Speed(1, 0)),
        (timed(100, None), Speed(0, 0)),
        (timed(100, 10, failed=True), Speed(0, 0)),
    ],
)
def test_latency_is_judged_against_the_baseline_alone(pair: Pair, speed: Speed) -> None:
    total = Tally()
    total.add(pair)
    assert total.speed == speed
    assert together([total, total]).speed == speed.plus(speed)


def test_a_canary_is_slower_if_it_nearly_always_is() -> None:
    assert slower(Speed(30, 0), ALPHA)
    assert not slower(Speed(5, 0), ALPHA)
    assert not slower(Speed(500, 480), ALPHA)


def test_codes_of_a_group_are_bounded() -> None:
    total = Tally()
    for number in range(200):
        total.add(Pair(CANARY, "GET /", GOOD, Answer(failed=False, code=number)))
    codes = total.groups["GET /"].codes
    assert len(codes) == 41
    assert codes[paths.OTHER, paths.OTHER] == 160


def test_codes_are_named_as_people_name_them() -> None:
    total = Tally()
    total.add(Pair(CANARY, "GET /", Answer(failed=True, code=200, grpc=14), Answer(failed=True)))
    assert total.groups["GET /"].codes == {("grpc 14", "none"): 1}


@given(st.lists(st.floats(0.001, 100), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_right_within_a_bucket(latencies: list[float], share: float) -> None:
    histogram = Latencies()
    for each in latencies:
        histogram.add(each)
    exact = sorted(latencies)[max(0, -int(-share * len(latencies) // 1) - 1)]
    found_ = histogram.quantile(share)
    assert found_ is not None
    assert exact <= found_ * (1 + 1e-9)
    assert found_ <= max(exact * 1.2, BOUNDS_S[0])


def test_a_histogram_without_latencies_has_no_quantile() -> None:
    assert Latencies().quantile(0.5) is None
    slow = Latencies()
    slow.add(1e6)
    assert slow.quantile(0.5) == BOUNDS_S[-1]
