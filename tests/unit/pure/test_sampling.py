"""Which requests are copied where, by a model of how Envoy takes a route and samples its mirrors."""

import itertools
from collections.abc import Iterator

import pytest
from envoy.config.route.v3 import route_components_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from xds_server.base.ids import NamespacedName
from xds_server.shadows.plan import MILLION, Endpoint, Mirror, Protocol, RoutePlan
from xds_server.translate.routes import virtual_host
from xds_server.translate.sampling import outcomes

ADDRESS = (Endpoint("10.0.0.1", 80),)
METHODS = ("GET", "PUT", "HEAD", "OTHER")
shares = st.one_of(st.sampled_from((1, 5_000, 250_000, 500_000, 999_999)), st.integers(1, MILLION))


@st.composite
def mirrors(draw: st.DrawFn) -> list[Mirror]:
    chosen = st.one_of(st.none(), st.frozensets(st.sampled_from(METHODS[:3]), min_size=1))
    names = draw(st.lists(st.sampled_from("abcd"), unique=True))
    return [Mirror(name, f"ns/{name}", draw(shares), draw(chosen), ADDRESS) for name in sorted(names)]


def _host(found: list[Mirror]) -> route_components_pb2.VirtualHost:
    plan = RoutePlan(NamespacedName("ns", "svc"), 80, Protocol.HTTP1, ("svc.ns",), ADDRESS, tuple(found))
    return route_components_pb2.VirtualHost.FromString(virtual_host(plan).body)


def _share(of: route_components_pb2.RouteMatch | route_components_pb2.RouteAction.RequestMirrorPolicy) -> int:
    """The fraction of a route or of a mirror; neither needs one."""
    if not of.HasField("runtime_fraction"):
        return MILLION
    share = of.runtime_fraction.default_value
    assert share.denominator == share.MILLION
    return int(share.numerator)


def _admits(route: route_components_pb2.Route, method: str, headers: dict[str, str], number: int) -> bool:
    for matcher in route.match.headers:
        value = {":method": method, **headers}.get(matcher.name)
        text = matcher.string_match
        allowed = [text.exact] if text.exact else text.safe_regex.regex.split("|")
        if value is None or not (matcher.present_match or value in allowed):
            return False
    return number < _share(route.match)


def _copies(
    host: route_components_pb2.VirtualHost, method: str, number: int, headers: dict[str, str]
) -> frozenset[str]:
    """Who gets a copy: the same random number decides the route and every mirror of it
    (ENVOY-MIRRORING, "Sampling is correlated")."""
    route = next(route for route in host.routes if _admits(route, method, headers, number))
    return frozenset(
        policy.cluster.rpartition("/")[2]
        for policy in route.route.request_mirror_policies
        if number < _share(policy)
    )


def _distribution(host: route_components_pb2.VirtualHost, method: str) -> dict[frozenset[str], int]:
    """How many of a million random numbers give which copies; nothing changes between two edges."""
    found: dict[frozenset[str], int] = {}
    for low, high in itertools.pairwise(sorted({0, MILLION, *_edges(host)})):
        copies = _copies(host, method, low, {})
        found[copies] = found.get(copies, 0) + high - low
    return found


def _edges(host: route_components_pb2.VirtualHost) -> Iterator[int]:
    for route in host.routes:
        yield _share(route.match)
        yield from map(_share, route.route.request_mirror_policies)


@given(mirrors())
@example([Mirror(name, f"ns/{name}", 500_000, None, ADDRESS) for name in "ab"])
@example([Mirror(name, f"ns/{name}", 1, None, ADDRESS) for name in "abcd"])
def test_every_canary_gets_its_share_of_its_methods_independently_of_the_others(found: list[Mirror]) -> None:
    host = _host(found)
    slack = 2 ** len(found)
    for method in METHODS:
        wanted = [mirror for mirror in found if mirror.methods is None or method in mirror.methods]
        distribution = _distribution(host, method)
        for combination in itertools.product((True, False), repeat=len(wanted)):
            share = float(MILLION)
            for taken, mirror in zip(combination, wanted, strict=True):
                share *= (mirror.per_million if taken else MILLION - mirror.per_million) / MILLION
            names = frozenset(m.deployment for taken, m in zip(combination, wanted, strict=True) if taken)
            assert distribution.pop(names, 0) == pytest.approx(share, abs=slack)
        assert distribution == {}
    # A canary alone is sampled exactly.
    if len(found) == 1 and found[0].methods is None:
        assert _distribution(host, "GET").get(frozenset(found[0].deployment)) == found[0].per_million


@given(mirrors(), st.sampled_from(METHODS), st.integers(0, MILLION - 1))
def test_a_copy_is_never_copied_and_neither_is_a_websocket(
    found: list[Mirror], method: str, number: int
) -> None:
    host = _host(found)
    assert _copies(host, method, number, {"x-xds-shadow": "ns/a"}) == frozenset()
    assert _copies(host, method, number, {"upgrade": "websocket"}) == frozenset()


@given(st.lists(st.integers(1, MILLION - 1), min_size=1, max_size=4))
def test_outcomes_cut_the_whole_million_in_order(sampled: list[int]) -> None:
    cut = list(outcomes(sampled))
    bounds = [outcome.below for outcome in cut]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == MILLION
    chosen = [outcome.chosen for outcome in cut]
    assert len(set(chosen)) == len(chosen) <= 2 ** len(sampled)
    # The first canary's share ends at the last outcome that it is in.
    assert max((o.below for o in cut if 0 in o.chosen), default=0) == sampled[0]


def test_two_halves_make_four_quarters() -> None:
    assert [(o.below, o.chosen) for o in outcomes([500_000, 500_000])] == [
        (250_000, (0, 1)),
        (500_000, (0,)),
        (750_000, (1,)),
        (1_000_000, ()),
    ]


def test_an_outcome_too_rare_to_sample_is_left_out() -> None:
    assert [(o.below, o.chosen) for o in outcomes([1, 1])] == [(1, (0,)), (2, (1,)), (1_000_000, ())]
