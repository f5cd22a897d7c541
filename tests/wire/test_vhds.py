"""Rule 25 at the wire: a delta client has virtual hosts one by one, the other has them in their routes."""

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2

from tests.wire.rig import Rig, node
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import ROUTE, VIRTUAL_HOST


def routes() -> Resource:
    message = route_pb2.RouteConfiguration(name="gateway")
    return Resource(ResourceKey(ROUTE, "gateway"), message.SerializeToString(), vhds=True)


def host(name: str, domain: str) -> Resource:
    message = route_components_pb2.VirtualHost(name=name, domains=[domain])
    return Resource(ResourceKey(VIRTUAL_HOST, name), message.SerializeToString())


async def test_rule_25_one_changed_host_is_all_that_a_delta_client_is_sent(rig: Rig) -> None:
    rig.commit(routes(), *(host(f"gateway/{n}", f"{n}.example") for n in range(100)))
    stream = rig.connect(Variant.DELTA)
    await stream.ask(ROUTE, "gateway", node=node())
    [found] = (await stream.take()).resources
    configuration = route_pb2.RouteConfiguration.FromString(found.resource.value)
    assert configuration.vhds.config_source.HasField("ads")
    await stream.ask(VIRTUAL_HOST)
    answer = await stream.take()
    assert len(answer.resources) == 100
    await stream.ask(VIRTUAL_HOST, answers=answer)
    rig.commit(
        routes(),
        *(host(f"gateway/{n}", f"{n}.example") for n in range(99)),
        host("gateway/99", "new.example"),
    )
    answer = await stream.take()
    assert [each.name for each in answer.resources] == ["gateway/99"]
    message = route_components_pb2.VirtualHost.FromString(answer.resources[0].resource.value)
    assert (message.name, message.domains) == ("gateway/99", ["new.example"])
    await stream.ask(VIRTUAL_HOST, answers=answer)
    rig.commit(routes(), *(host(f"gateway/{n}", f"{n}.example") for n in range(99)))
    answer = await stream.take()
    assert (list(answer.resources), list(answer.removed_resources)) == ([], ["gateway/99"])


async def test_rule_25_the_other_gets_the_whole(rig: Rig) -> None:
    rig.commit(routes(), host("gateway/a", "a.example"))
    stream = rig.connect(Variant.SOTW)
    await stream.ask(ROUTE, "gateway", node=node())
    domains = []
    for _ in range(2):
        [found] = (await stream.take()).resources
        configuration = route_pb2.RouteConfiguration.FromString(found.value)
        assert not configuration.HasField("vhds")
        domains.append([each.domains[0] for each in configuration.virtual_hosts])
        rig.commit(routes(), host("gateway/a", "a.example"), host("gateway/b", "b.example"))
    assert domains == [["a.example"], ["a.example", "b.example"]]


@pytest.mark.parametrize("build", ["envoy 1.36", "another 1.40", "", "envoy"])
async def test_rule_25_an_older_envoy_gets_the_whole_in_delta_too(rig: Rig, build: str) -> None:
    """It rejects routes that send it for their hosts over the same stream."""
    rig.commit(routes(), host("gateway/a", "a.example"))
    stream = rig.connect(Variant.DELTA)
    await stream.ask(ROUTE, "gateway", node=of_build(build))
    [found] = (await stream.take()).resources
    configuration = route_pb2.RouteConfiguration.FromString(found.resource.value)
    assert not configuration.HasField("vhds")
    assert [each.name for each in configuration.virtual_hosts] == ["gateway/a"]
    rig.commit(routes(), host("gateway/a", "b.example"))
    [found] = (await stream.take()).resources
    configuration = route_pb2.RouteConfiguration.FromString(found.resource.value)
    assert [list(each.domains) for each in configuration.virtual_hosts] == [["b.example"]]


def of_build(build: str) -> base_pb2.Node:
    """A node with that name and version."""
    message = node()
    name, _, release = build.partition(" ")
    message.user_agent_name = name
    message.ClearField("user_agent_build_version")
    if release:
        version = message.user_agent_build_version.version
        version.major_number, version.minor_number = map(int, release.split("."))
    return message
