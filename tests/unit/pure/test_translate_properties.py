"""Translation: less work gives the same bytes and versions, and nothing refers to what is not there."""

from collections import Counter

from envoy.config.route.v3 import route_pb2
from hypothesis import given

from tests.support.snapshots import dangling
from tests.unit.pure import worlds
from tests.unit.pure.kube import pipeline_of, world_of
from xds_server.core.objects import Object
from xds_server.core.resolve import resolve
from xds_server.core.world import Change
from xds_server.translate import names
from xds_server.translate.translate import translate
from xds_server.xds.resource import ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE
from xds_server.xds.variants import HostsMode, SnapshotAdapter


def routes_of(snapshot: Snapshot) -> route_pb2.RouteConfiguration:
    """The route configuration with its virtual hosts in it."""
    closed = SnapshotAdapter(HostsMode.INLINE).of(snapshot)
    return route_pb2.RouteConfiguration.FromString(closed.of(ROUTE).resources["gateway"].body)


def _bytes(snapshot: Snapshot) -> dict[ResourceKey, tuple[bytes, tuple[ResourceKey, ...], str]]:
    return {r.key: (r.body, r.refs, r.version) for t in snapshot.types.values() for r in t.resources.values()}


@given(worlds.histories_with_waiting())
def test_the_incremental_snapshot_is_the_whole_one_after_every_step(history: list[list[Change]]) -> None:
    pipeline = pipeline_of()
    for batch in history:
        published = pipeline.step(batch, now=0.0)

        whole = translate(published.plan, gateway_port=8080)
        assert _bytes(published.snapshot) == _bytes(whole)
        assert published.snapshot.versions() == whole.versions()
        assert published.snapshot == whole
        assert dangling(published.snapshot) == []


@given(worlds.histories())
def test_what_did_not_change_is_the_very_same_resource(history: list[list[Change]]) -> None:
    pipeline, before = pipeline_of(), Snapshot()
    for batch in history:
        after = pipeline.step(batch, now=0.0).snapshot
        for of_type in after.types.values():
            for resource in of_type.resources.values():
                same = before.get(resource.key)
                assert same is None or same is resource or same != resource
        before = after


@given(worlds.worlds())
def test_routes_and_resources_belong_together(objects: list[Object]) -> None:
    snapshot = translate(resolve(world_of(*objects)), gateway_port=8080)
    routes = routes_of(snapshot)

    used = set()
    for host in routes.virtual_hosts:
        for route in host.routes:
            if route.HasField("direct_response"):  # for ports that are not routed
                continue
            used.add(route.route.cluster)
            used.update(policy.cluster for policy in route.route.request_mirror_policies)
    assert used == set(snapshot.of(CLUSTER).resources) == set(snapshot.of(ENDPOINT).resources)
    assert [host.name for host in routes.virtual_hosts] == sorted(
        {host.name for host in routes.virtual_hosts}
    )
    domains = Counter(domain for host in routes.virtual_hosts for domain in host.domains)
    assert set(domains.values()) <= {1}


@given(worlds.worlds())
def test_every_route_is_named_once_and_the_last_one_takes_everything(objects: list[Object]) -> None:
    snapshot = translate(resolve(world_of(*objects)), gateway_port=8080)
    routes = routes_of(snapshot)
    for host in routes.virtual_hosts:
        labels = [route.name for route in host.routes]
        assert len(labels) == len(set(labels))
        assert labels[-1].startswith("all") or labels == ["not-routed"]
        assert not host.routes[-1].match.headers
        assert not host.routes[-1].match.HasField("runtime_fraction")
        mirrored = [route for route in host.routes if route.route.request_mirror_policies]
        if mirrored:
            assert labels[:2] == ["already-mirrored", "upgrade"]
            assert not any(route.route.request_mirror_policies for route in host.routes[:2])


@given(worlds.worlds())
def test_the_names_of_clusters_say_whose_they_are(objects: list[Object]) -> None:
    plan = resolve(world_of(*objects))
    for target, service in plan.services.items():
        for route in service.ports:
            assert names.shadowing_canary(names.cluster(target, route.name)) is None
            for mirror in route.mirrors:
                name = names.shadow_cluster(target, route.name, mirror.canary)
                assert names.shadowing_canary(name) == mirror.canary
