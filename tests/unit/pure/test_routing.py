"""Routes are finished in the plan, and never larger than it says."""

import pytest
from envoy.config.route.v3 import route_components_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pure import worlds
from tests.unit.pure.kube import world_of
from tests.unit.pure.test_selection import named, selections
from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.core.annotations import EVERYTHING, Selection, Treatment
from xds_server.core.objects import Object
from xds_server.core.plan import Endpoint, Mirror, PortPlan, Protocol
from xds_server.core.resolve import resolve
from xds_server.core.routing import UNMIRRORED, DoesNotFitError, fitting, routes_of, size_of
from xds_server.translate.routes import virtual_hosts


def mirror(name: str, selection: Selection = EVERYTHING, share: int = 1_000_000, **treated: object) -> Mirror:
    return Mirror(
        canary=name,
        marker=f"staging/{name}",
        endpoints=(Endpoint("10.0.0.1", 80),),
        selection=selection,
        per_million=share,
        compare=bool(treated.pop("compare", False)),
        baseline=bool(treated.pop("baseline", False)),
        treatment=Treatment(**treated),  # type: ignore[arg-type]
    )


treatments = st.fixed_dictionaries(
    {
        "set_headers": st.lists(
            st.tuples(
                st.sampled_from(("x-a", "x-b")), st.sampled_from(("v" * 1024, "%PROTOCOL%%REQ(:path)%"))
            ),
            max_size=3,
        ).map(tuple),
        "host": st.sampled_from(("preserve", "shadow-suffix", "h" * 253)),
        "timeout_ms": st.sampled_from((10, 600_000)),
        "max_rps": st.sampled_from((None, 1, 1_000_000)),
        "compare": st.booleans(),
        "baseline": st.booleans(),
    }
)
mirrors = st.lists(
    st.builds(
        lambda number, selection, share, treated: mirror(f"c{number}", selection, share, **treated),
        st.integers(0, 3),
        selections,
        st.sampled_from((1, 500_000, 1_000_000)),
        treatments,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.canary,
)


@given(mirrors)
def test_a_route_is_no_larger_than_its_size(several: list[Mirror]) -> None:
    routes = routes_of(several, 64 * MIB)
    service = NamespacedName("staging", "myapp")
    plan = PortPlan(service, "http", 80, Protocol.HTTP1, ("a",), (), tuple(several), routes)
    message = route_components_pb2.VirtualHost.FromString(virtual_hosts(plan)[0].body)
    # The first two are those that are never mirrored.
    assert len(message.routes) == len(routes) + 2
    for route, sent in zip(routes, message.routes[2:], strict=True):
        assert sent.ByteSize() <= size_of(route, several)


def test_routes_larger_than_there_may_be_do_not_fit() -> None:
    one = [mirror("one")]
    assert routes_of([], 0) == UNMIRRORED
    assert len(routes_of(one, 10_000)) == 1
    with pytest.raises(DoesNotFitError):
        routes_of(one, 100)


def test_the_ways_of_sampling_are_counted_before_they_are_built() -> None:
    selection = named([f"M{number}" for number in range(40)])
    four = [mirror(name, selection, share=500_000) for name in "abcd"]
    assert len(routes_of(four[:3], MIB)) == 40 * 8 + 1
    with pytest.raises(DoesNotFitError):
        routes_of(four, 16 * MIB)


def test_the_oldest_that_fit_together_on_every_port_stay() -> None:
    wide = named([f"M{number}" for number in range(40)])
    wider = named([f"N{number}" for number in range(40)])
    wanted = {
        "http": [mirror("a"), mirror("b", wide), mirror("c", wider), mirror("d")],
        "grpc": [mirror("a"), mirror("d")],
    }
    fits, routes = fitting(wanted, ["a", "b", "c", "d"], MIB)
    assert fits == 2
    assert {each for route in routes["http"] for each in route.mirrored} == {"a", "b"}
    assert {each for route in routes["grpc"] for each in route.mirrored} == {"a"}
    assert fitting(wanted, ["c", "a", "d", "b"], MIB)[0] == 3
    assert fitting(wanted, ["a", "b", "c", "d"], 0) == (0, {"http": UNMIRRORED, "grpc": UNMIRRORED})


@given(worlds.worlds())
def test_every_mirror_of_a_port_is_on_a_route_and_every_route_is_to_a_mirror(objects: list[Object]) -> None:
    for part in resolve(world_of(*objects)).services.values():
        for port in part.ports:
            mirrored = {each for route in port.routes for each in route.mirrored}
            assert mirrored <= {each.canary for each in port.mirrors}
            assert port.routes[-1].below == 1_000_000
