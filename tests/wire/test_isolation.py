"""Rules 37 to 42 at the wire."""

import pytest

from tests.unit.xds.peer import Said, cluster, endpoints, route
from tests.unit.xds.test_nacks import with_domain
from tests.wire.client import Client, Served
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, ROUTE, VIRTUAL_HOST


@pytest.fixture
async def delta(served: Served) -> Client:
    return await served.client(Variant.DELTA)


async def test_rule_37_what_is_not_to_blame_is_sent_again(served: Served, either: Client) -> None:
    await either.subscribe(ENDPOINT, "a", "b")
    served.now(endpoints("a"), endpoints("b"))
    assert await either.flow() == [Said("EDS", ["a", "b"], [])]
    await either.nack(ENDPOINT, message="a: malformed")
    assert await either.flow() == [Said("EDS", ["b"], []), Said("EDS", ["a"], [])]
    await either.nack(ENDPOINT, message="malformed")
    assert await either.flow() == []


async def test_rule_38_a_rejected_change_is_tried_again_when_others_change(
    served: Served, either: Client
) -> None:
    await either.subscribe(ENDPOINT, "a")
    served.now(endpoints("a"))
    await either.flow()
    await either.nack(ENDPOINT)
    await either.subscribe(ENDPOINT, "b")
    assert not any(said.resources for said in await either.flow())
    served.now(endpoints("a"), endpoints("b"))
    assert await either.flow() == [Said("EDS", ["b"], []), Said("EDS", ["a"], [])]


async def test_rule_39_a_domain_goes_over_in_one_response(served: Served, delta: Client) -> None:
    await delta.subscribe(VIRTUAL_HOST)
    served.now(with_domain("r/old", "x"))
    await delta.settle()
    served.now(with_domain("r/new", "x"))
    assert await delta.flow() == [Said("VHDS", ["r/new"], ["r/old"])]


async def test_rule_40_nothing_is_removed_while_its_replacement_is_rejected(
    served: Served, delta: Client
) -> None:
    await delta.subscribe(VIRTUAL_HOST)
    served.now(with_domain("r/old", "x"))
    await delta.settle()
    served.now(with_domain("r/new", "x"))
    await delta.flow()
    await delta.nack(VIRTUAL_HOST)
    assert await delta.flow() == []
    served.now(with_domain("r/new", "x", rev=2))
    assert await delta.flow() == [Said("VHDS", ["r/new"], ["r/old"])]


async def test_rule_41_requests_move_to_a_new_cluster_when_it_is_warm(served: Served, either: Client) -> None:
    await either.subscribe(CLUSTER)
    await either.subscribe(ENDPOINT, "old", "new")
    await either.subscribe(ROUTE, "r")
    old = (cluster("old"), endpoints("old"))
    served.now(*old, route("r", "old"))
    await either.settle()
    served.now(*old, cluster("new"), endpoints("new"), route("r", "new"))
    assert [said.type for said in await either.flow()] == ["CDS", "EDS"]
    await either.ack(CLUSTER)
    await either.ack(ENDPOINT)
    assert await either.flow() == [Said("RDS", ["r"], [])]


async def test_rule_41_they_wait_for_a_while(
    served: Served, either: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xds_server.xds.rollout.WARMING_S", 0.05)
    await either.subscribe(CLUSTER)
    await either.subscribe(ENDPOINT, "old", "new")
    await either.subscribe(ROUTE, "r")
    old = (cluster("old"), endpoints("old"))
    served.now(*old, route("r", "old"))
    await either.settle()
    served.now(*old, cluster("new"), endpoints("new"), route("r", "new"))
    said: list[Said] = []
    while "RDS" not in {each.type for each in said}:  # nothing wakes the stream but the time
        said += await either.flow()
    assert [each.type for each in said] == ["CDS", "EDS", "RDS"]


async def test_rule_42_a_large_response_comes_in_parts(
    served: Served, either: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xds_server.xds.responses.MAX_RESPONSE_BYTES", 9000)
    names = ("a", "b", "c", "d")
    await either.subscribe(ENDPOINT, *names)
    served.now(*(Resource(ResourceKey(ENDPOINT, name), name.encode() + b" " * 3000) for name in names))
    assert [said.resources for said in await either.flow()] == [["a", "b"], ["c", "d"]]
