"""What a real Envoy says of broken resources is understood: whose they are, and why."""

from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401 - registers the filter's type
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401 - the same
    http_connection_manager_pb2,
)
from google.protobuf.json_format import ParseDict

from tests.wire.rig import resource, running
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName, TypeUrl
from xds_server.local.demo.envoy import Envoy
from xds_server.translate import names
from xds_server.translate.blame import Blamed, blame
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.xds.nack_summary import summary
from xds_server.xds.resource import Resource
from xds_server.xds.stream_events import Nacked, Variant
from xds_server.xds.types import CLUSTER, LISTENER, ROUTE

pytestmark = pytest.mark.envoy

MYAPP, SHOP = NamespacedName("staging", "myapp"), NamespacedName("prod", "shop")
CANARY = names.shadow_cluster(MYAPP, "80", "canary")
TYPES = "type.googleapis.com/envoy.extensions.filters"
KINDS: dict[TypeUrl, Any] = {
    CLUSTER: cluster_pb2.Cluster,
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
}


def made(type_url: TypeUrl, name: str, **fields: Any) -> Resource:
    message = ParseDict({"name": name, **fields}, KINDS[type_url]())
    return resource(type_url, name, message.SerializeToString(deterministic=True))


def cluster(name: str, **fields: Any) -> Resource:
    return made(CLUSTER, name, type="STATIC", connect_timeout="1s", **fields)


def virtual_host(service: NamespacedName, *domains: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": names.cluster(service, "80")}}
    return {"name": names.cluster(service, "80"), "domains": domains, "routes": [route]}


def listener() -> Resource:
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "rds": {"route_config_name": "gateway", "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}],
    }
    filters = [{"name": "http", "typed_config": manager}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return made(LISTENER, "gateway", address=address, filter_chains=[{"filters": filters}])


def routes(*domains: str) -> Resource:
    """The second virtual host has these; both clusters are known."""
    hosts = [virtual_host(SHOP, "shop.prod"), virtual_host(MYAPP, *domains)]
    return made(ROUTE, "gateway", virtual_hosts=hosts, validate_clusters=True)


@pytest.mark.parametrize("variant", list(Variant), ids=str)
async def test_a_real_envoys_words_name_what_is_wrong_and_say_why(variant: Variant, tmp_path: Path) -> None:
    sizes = {"minimum_ring_size": 2000, "maximum_ring_size": 1000}
    bad = cluster(CANARY, lb_policy="RING_HASH", ring_hash_lb_config=sizes)
    shop, myapp = cluster(names.cluster(SHOP, "80")), cluster(names.cluster(MYAPP, "80"))
    async with running(write_deadline_s=30.0) as rig:
        rig.commit(shop, myapp, bad, listener(), routes())
        options = BootstrapOptions(
            node_id="envoy", mode=variant, xds_address=Address("127.0.0.1", rig.port), admin_port=0
        )
        envoy = Envoy(options, tmp_path)
        try:
            await envoy.start()
            clusters = await rig.seen(Nacked, lambda event: event.type_url == CLUSTER)
            unconstrained = await rig.seen(Nacked, lambda event: event.type_url == ROUTE)
            rig.commit(shop, myapp, listener(), routes("shop.prod"))
            doubled = await rig.seen(Nacked, lambda event: "Duplicate" in event.message)
        finally:
            await envoy.stop()
    found = {
        "cluster": summary(clusters.message, 500),
        "no domains": summary(unconstrained.message, 500),
        "same domain": summary(doubled.message, 500),
    }
    assert {name: blame(message) for name, message in found.items()} == {
        "cluster": {Blamed(MYAPP, "canary")},
        "no domains": {Blamed(MYAPP)},
        "same domain": set(),
    }
    assert "ring" in found["cluster"]
    assert "VirtualHostValidationError.Domains" in found["no domains"]
    assert "domain shop.prod" in found["same domain"]
