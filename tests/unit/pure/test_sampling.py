"""Which requests are mirrored where, by a model of how Envoy takes a route and samples its mirrors."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from envoy.config.route.v3 import route_components_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.pure.envoy_model import baselines_of, host_of, mirror, mirrored_to, share
from xds_server.core.annotations import Selection, Treatment
from xds_server.core.plan import Mirror
from xds_server.core.sampling import Share, outcomes, ways
from xds_server.core.terms import MILLION

METHODS = ("GET", "PUT", "HEAD", "OTHER")
shares = st.one_of(st.sampled_from((1, 5_000, 250_000, 500_000, 999_999)), st.integers(1, MILLION))


@st.composite
def mirrors(draw: st.DrawFn) -> list[Mirror]:
    chosen = st.one_of(st.none(), st.frozensets(st.sampled_from(METHODS[:3]), min_size=1))
    names = draw(st.lists(st.sampled_from("abcd"), unique=True))
    return [mirror(name, draw(shares), Selection(methods=draw(chosen))) for name in sorted(names)]


def _distribution(host: route_components_pb2.VirtualHost, method: str) -> dict[frozenset[str], int]:
    """How many of a million random numbers give which canaries; nothing changes between two edges."""
    found: dict[frozenset[str], int] = {}
    for low, high in itertools.pairwise(sorted({0, MILLION, *_edges(host)})):
        combination = mirrored_to(host, method, low)
        found[combination] = found.get(combination, 0) + high - low
    return found


def _edges(host: route_components_pb2.VirtualHost) -> Iterator[int]:
    for route in host.routes:
        yield share(route.match)
        yield from map(share, route.route.request_mirror_policies)


@given(mirrors())
@example([mirror(name, 500_000) for name in "ab"])
@example([mirror(name, 1) for name in "abcd"])
def test_every_canary_gets_its_share_of_its_methods_independently_of_the_others(found: list[Mirror]) -> None:
    host = host_of(*found)
    slack = 2 ** len(found)
    for method in METHODS:
        wanted = [each for each in found if method in (each.selection.methods or METHODS)]
        distribution = _distribution(host, method)
        for combination in itertools.product((True, False), repeat=len(wanted)):
            expected = float(MILLION)
            for taken, each in zip(combination, wanted, strict=True):
                expected *= (each.per_million if taken else MILLION - each.per_million) / MILLION
            names = frozenset(m.canary for taken, m in zip(combination, wanted, strict=True) if taken)
            assert distribution.pop(names, 0) == pytest.approx(expected, abs=slack)
        assert distribution == {}
    # A canary alone is sampled exactly.
    if len(found) == 1 and found[0].selection.methods is None:
        assert _distribution(host, "GET").get(frozenset(found[0].canary)) == found[0].per_million


@given(mirrors(), st.sampled_from(METHODS), st.integers(0, MILLION - 1))
def test_a_mirrored_request_is_never_mirrored_and_neither_is_an_upgrade(
    found: list[Mirror], method: str, number: int
) -> None:
    host = host_of(*found)
    assert mirrored_to(host, method, number, {"x-xds-shadow": "ns/a"}) == frozenset()
    for token in ("websocket", "spdy/3.1"):
        assert mirrored_to(host, method, number, {"upgrade": token}) == frozenset()


@given(mirrors(), st.frozensets(st.sampled_from("abcd")), st.frozensets(st.sampled_from("abcd")))
def test_a_limit_takes_its_canary_from_those_that_are_sampled(
    found: list[Mirror], limited: frozenset[str], admitted: frozenset[str]
) -> None:
    some = [
        mirror(each.canary, each.per_million, each.selection, max_rps=5 if each.canary in limited else None)
        for each in found
    ]
    unlimited, host = host_of(*found), host_of(*some)
    for method, number in itertools.product(METHODS, sorted({0, *_edges(unlimited)} - {MILLION})):
        chosen = mirrored_to(unlimited, method, number)
        assert mirrored_to(host, method, number) == chosen - limited
        assert mirrored_to(host, method, number, admitted=admitted) == chosen - (limited - admitted)


def test_a_limit_doubles_the_routes_of_its_canary() -> None:
    always = Share(MILLION, limited=True)
    assert ways([always]) == 2
    assert ways([Share(500_000, limited=True)]) == 3
    assert ways([always] * 9) == 512
    assert ways([Share(300_000, correlated=True, limited=True), Share(MILLION, correlated=True)]) == 3


@given(
    mirrors(),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=4, max_size=4),
    st.tuples(
        st.sampled_from(METHODS),
        st.integers(0, MILLION - 1),
        st.sampled_from(("0c", "3c", "4c", "fc", "")),
        st.frozensets(st.sampled_from(("a", "b", "c", "d", "baselines"))),
    ),
)
def test_baselines_get_the_sample_of_what_their_canary_gets(
    found: list[Mirror],
    kinds: list[tuple[bool, bool, bool]],
    sent: tuple[str, int, str, frozenset[str]],
) -> None:
    method, number, request, admitted = sent
    plain = [
        replace(each, treatment=Treatment(max_rps=1 if limited else None))
        for each, (limited, _, _) in zip(found, kinds, strict=False)
    ]
    compared = [
        replace(each, compare=compare, baseline=baseline)
        for each, (_, compare, baseline) in zip(plain, kinds, strict=False)
    ]
    host, headers = host_of(*compared), {"x-request-id": request}
    canaries = mirrored_to(host_of(*plain), method, number, headers, admitted=admitted)
    assert mirrored_to(host, method, number, headers, admitted=admitted) == canaries
    sampled = method in ("GET", "HEAD") and request[:1] in ("0", "3") and "baselines" in admitted
    assert baselines_of(host, method, number, request, admitted=admitted) == [
        each.canary
        for each in compared
        if sampled and each.canary in canaries
        for _ in range(each.compare + each.baseline)
    ]


@given(st.lists(st.integers(1, MILLION - 1), min_size=1, max_size=4))
def test_outcomes_cut_the_whole_million_in_order(sampled: list[int]) -> None:
    cut = list(outcomes([Share(each) for each in sampled]))
    bounds = [outcome.below for outcome in cut]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == MILLION
    chosen = [outcome.chosen for outcome in cut]
    assert len(set(chosen)) == len(chosen) <= 2 ** len(sampled)
    # The first canary's share ends at the last outcome that it is in.
    assert max((o.below for o in cut if 0 in o.chosen), default=0) == sampled[0]


def test_two_halves_make_four_quarters() -> None:
    assert [(o.below, o.chosen) for o in outcomes([Share(500_000), Share(500_000)])] == [
        (250_000, (0, 1)),
        (500_000, (0,)),
        (750_000, (1,)),
        (1_000_000, ()),
    ]


def test_an_outcome_too_rare_to_sample_is_left_out() -> None:
    assert [(o.below, o.chosen) for o in outcomes([Share(1), Share(1)])] == [
        (1, (0,)),
        (2, (1,)),
        (1_000_000, ()),
    ]


@given(st.lists(st.tuples(shares, st.booleans()), max_size=4))
def test_correlated_canaries_see_the_same_requests_and_the_others_are_independent(
    wanted: list[tuple[int, bool]],
) -> None:
    found = [
        mirror(name, per_million, correlated=correlated)
        for name, (per_million, correlated) in zip("abcd", wanted, strict=False)
    ]
    distribution = _distribution(host_of(*found), "GET")
    together = {each.canary: each.per_million for each in found if each.correlated}
    for combination in distribution:
        # Whoever is sent less of the correlated ones never sees what one that is sent more does not.
        seen = {together[name] for name in combination if name in together}
        assert all(each in seen for each in together.values() if seen and each >= min(seen))
    for each in found:
        got = sum(count for names, count in distribution.items() if each.canary in names)
        assert got == pytest.approx(each.per_million, abs=2 ** len(found))
    shares = [Share(*each) for each in wanted]
    assert 1 <= len(list(outcomes(shares))) <= ways(shares)


def test_as_many_canaries_as_there_may_be_are_one_way_if_all_get_everything() -> None:
    assert ways([Share(MILLION)] * 16) == 1
    assert [(o.below, o.chosen) for o in outcomes([Share(MILLION)] * 16)] == [(MILLION, tuple(range(16)))]
    assert [(o.below, o.chosen) for o in outcomes([])] == [(MILLION, ())]


def test_of_two_canaries_without_a_sample_and_one_with_two_routes_come() -> None:
    shares = [Share(MILLION), Share(250_000), Share(MILLION)]
    assert ways(shares) == 2
    assert [(o.below, o.chosen) for o in outcomes(shares)] == [(250_000, (0, 1, 2)), (MILLION, (0, 2))]


@given(mirrors())
def test_a_route_says_to_whom_it_mirrors(found: list[Mirror]) -> None:
    for route in host_of(*found).routes:
        reported = route.metadata.filter_metadata["xds-shadow"].fields["mirrored_to"].list_value
        policies = route.route.request_mirror_policies
        assert [each.string_value for each in reported.values] == [
            f"ns/{each.cluster.rpartition('/')[2]}" for each in policies
        ]
        # There is no other choice than that of the route.
        assert not any(each.HasField("runtime_fraction") for each in policies)


def test_a_correlated_quarter_is_part_of_the_half() -> None:
    shares = [Share(250_000, correlated=True), Share(500_000, correlated=True), Share(500_000)]
    assert [(o.below, o.chosen) for o in outcomes(shares)] == [
        (125_000, (0, 1, 2)),
        (250_000, (0, 1)),
        (375_000, (1, 2)),
        (500_000, (1,)),
        (750_000, (2,)),
        (1_000_000, ()),
    ]
