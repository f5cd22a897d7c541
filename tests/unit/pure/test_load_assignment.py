"""An assignment that is joined by hand is what protobuf would have written."""

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from xds_server.core.plan import Endpoint
from xds_server.translate.endpoints import load_assignment
from xds_server.translate.upstream_log import sampled

addresses = st.ip_addresses().map(str)
endpoints = st.lists(st.builds(Endpoint, addresses, st.integers(1, 65535)), max_size=5)


@given(name=st.text(min_size=1, max_size=300), endpoints=endpoints, tail=st.sampled_from([None, "", "00"]))
@example(name="shop/web", endpoints=[Endpoint("a" * 300, 128)], tail=None)
@example(name="shop/web", endpoints=[Endpoint("a" * 300, 128)], tail="0")
def test_an_assignment_is_protobufs_own(name: str, endpoints: list[Endpoint], tail: str | None) -> None:
    sockets = [{"address": each.address, "port_value": each.port} for each in endpoints]
    metadata = b"" if tail is None else sampled(tail)
    more = {"metadata": base_pb2.Metadata.FromString(metadata)} if metadata else {}
    hosts = [{"endpoint": {"address": {"socket_address": socket}}, **more} for socket in sockets]
    expected = endpoint_pb2.ClusterLoadAssignment(
        cluster_name=name, endpoints=[{"lb_endpoints": hosts}] if hosts else []
    )
    resource = load_assignment(name, endpoints, scope="shop", metadata=metadata)

    assert resource.body == expected.SerializeToString(deterministic=True)
    assert (resource.name, resource.scope) == (name, "shop")
