"""Rule 25: virtual hosts by themselves for delta clients, inside their route configuration for the others."""

import pytest
from envoy.config.route.v3 import route_components_pb2, route_pb2
from hypothesis import given
from hypothesis import strategies as st

from xds_server.base.ids import NodeId
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Node, Variant
from xds_server.xds.types import CLUSTER, ROUTE, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter, hosts_mode_of, versions

ROUTES = ("gateway", "other")


def routes(name: str, *, vhds: bool = True, validate: bool = False) -> Resource:
    message = route_pb2.RouteConfiguration(name=name)
    message.validate_clusters.value = validate
    return Resource(ResourceKey(ROUTE, name), message.SerializeToString(), vhds=vhds)


def host(name: str, domain: str) -> Resource:
    message = route_components_pb2.VirtualHost(name=name, domains=[domain])
    return Resource(ResourceKey(VIRTUAL_HOST, name), message.SerializeToString())


def configurations(snapshot: Snapshot) -> dict[str, route_pb2.RouteConfiguration]:
    found = snapshot.of(ROUTE).resources
    return {name: route_pb2.RouteConfiguration.FromString(found[name].body) for name in found}


worlds = st.fixed_dictionaries(
    {
        "routes": st.dictionaries(st.sampled_from(ROUTES), st.booleans()),
        "hosts": st.dictionaries(
            st.sampled_from([f"{r}/{n}" for r in ROUTES for n in "abc"]), st.sampled_from("xy")
        ),
    }
)


@given(st.lists(worlds, max_size=5))
def test_each_form_is_at_every_step_what_it_would_be_from_scratch(
    history: list[dict[str, dict[str, object]]],
) -> None:
    adapters = {hosts: SnapshotAdapter(hosts) for hosts in HostsMode}
    base = Snapshot()
    for world in history:
        # A host without its route configuration is not a thing.
        world["hosts"] = {n: d for n, d in world["hosts"].items() if n.partition("/")[0] in world["routes"]}
        wanted = [
            *(routes(name, validate=bool(flag)) for name, flag in world["routes"].items()),
            *(host(name, str(domain)) for name, domain in world["hosts"].items()),
        ]
        gone = {r.key for t in base.types.values() for r in t.resources.values()} - {r.key for r in wanted}
        base = base.updated(wanted, gone)
        for hosts, adapter in adapters.items():
            assert adapter.of(base) == SnapshotAdapter(hosts).of(base)
            assert adapter.of(base).versions() == SnapshotAdapter(hosts).of(base).versions()
        whole = configurations(adapters[HostsMode.INLINE].of(base))
        assert whole == {
            name: route_pb2.RouteConfiguration(
                name=name,
                validate_clusters={"value": bool(flag)},
                virtual_hosts=[
                    route_components_pb2.VirtualHost(name=n, domains=[str(world["hosts"][n])])
                    for n in sorted(world["hosts"])
                    if n.startswith(f"{name}/")
                ],
            )
            for name, flag in world["routes"].items()
        }


def test_rule_25_a_delta_client_fetches_virtual_hosts_on_its_own() -> None:
    base = Snapshot().updated([routes("gateway"), host("gateway/a", "a.example")])
    shown = SnapshotAdapter(HostsMode.VHDS).of(base)
    [found] = configurations(shown).values()
    assert found.vhds.config_source.HasField("ads")
    assert not found.virtual_hosts
    assert shown.of(VIRTUAL_HOST) is base.of(VIRTUAL_HOST)


def test_rule_25_a_changed_host_is_all_that_changes_for_a_delta_client() -> None:
    adapter = SnapshotAdapter(HostsMode.VHDS)
    base = Snapshot().updated([routes("gateway"), host("gateway/a", "a"), host("gateway/b", "b")])
    before = adapter.of(base)
    after = adapter.of(base.updated([host("gateway/b", "c")]))
    assert after.of(ROUTE) is before.of(ROUTE)
    changes = after.of(VIRTUAL_HOST).changes_since(before.of(VIRTUAL_HOST))
    assert changes.names == {"gateway/b"}


def test_a_state_of_the_world_client_gets_no_hosts_and_another_version_of_the_whole() -> None:
    adapter = SnapshotAdapter(HostsMode.INLINE)
    base = Snapshot().updated([routes("gateway"), host("gateway/a", "a")])
    before, after = adapter.of(base), adapter.of(base.updated([host("gateway/a", "b")]))
    assert not before.of(VIRTUAL_HOST).resources
    assert before.of(ROUTE).version != after.of(ROUTE).version
    assert adapter.of(base.updated([Resource(ResourceKey(CLUSTER, "c"), b"")])).of(ROUTE) == before.of(ROUTE)


def test_a_first_host_is_always_there() -> None:
    """Envoy's listener waits for one."""
    adapter = SnapshotAdapter(HostsMode.VHDS)
    empty = adapter.of(Snapshot().updated([routes("gateway")]))
    [none] = empty.of(VIRTUAL_HOST).resources.values()
    message = route_components_pb2.VirtualHost.FromString(none.body)
    assert (message.name, message.domains) == ("gateway/none", ["_none.invalid"])
    full = adapter.of(Snapshot().updated([routes("gateway"), host("gateway/a", "a")]))
    changes = full.of(VIRTUAL_HOST).changes_since(empty.of(VIRTUAL_HOST))
    assert [each.name for each in changes.gone] == ["gateway/none"]


@pytest.mark.parametrize("hosts", list(HostsMode))
def test_routes_that_are_complete_are_served_as_they_are(hosts: HostsMode) -> None:
    base = Snapshot().updated([routes("gateway", vhds=False), host("gateway/a", "a")])
    assert SnapshotAdapter(hosts).of(base) is base
    mixed = SnapshotAdapter(hosts).of(base.updated([routes("other")]))
    assert mixed.of(ROUTE).resources["gateway"] is base.of(ROUTE).resources["gateway"]


def test_the_versions_shown_are_those_that_clients_are_sent() -> None:
    base = Snapshot().updated([routes("gateway"), host("gateway/a", "a")])
    assert versions(base) == {
        ROUTE: SnapshotAdapter(HostsMode.INLINE).of(base).of(ROUTE).version,
        VIRTUAL_HOST: SnapshotAdapter(HostsMode.VHDS).of(base).of(VIRTUAL_HOST).version,
    }


@pytest.mark.parametrize(
    ("variant", "release", "expected"),
    [
        (Variant.DELTA, (1, 37), HostsMode.VHDS),
        (Variant.DELTA, (1, 40), HostsMode.VHDS),
        (Variant.DELTA, (2, 0), HostsMode.VHDS),
        (Variant.DELTA, (1, 36), HostsMode.INLINE),
        (Variant.DELTA, (0, 0), HostsMode.INLINE),  # who does not say
        (Variant.SOTW, (1, 40), HostsMode.INLINE),
    ],
)
def test_rule_25_only_clients_that_support_vhds_fetch_them(
    variant: Variant, release: tuple[int, int], expected: HostsMode
) -> None:
    assert hosts_mode_of(Node(id=NodeId("envoy"), release=release), variant) is expected
