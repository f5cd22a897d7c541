"""The client status discovery service over a real channel, as `grpcurl` and the like ask it."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc
from envoy.type.matcher.v3 import node_pb2, regex_pb2, string_pb2, struct_pb2

from xds_server.base.ids import NodeId, Nonce, StreamId, Version
from xds_server.server.csds import CsdsServicer
from xds_server.xds.fleet import Fleet
from xds_server.xds.stream_events import (
    Acked,
    Event,
    Nacked,
    Node,
    Resumed,
    Sent,
    StreamOpened,
    Subscribed,
    Variant,
)
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

STREAM = StreamId(1)
ONE, NONCE = Version("1"), Nonce("a")
Status = csds_pb2.ConfigStatus


def opened(stream: int, name: str, *, build: str = "") -> StreamOpened:
    node = Node(id=NodeId(name), cluster="edge", build=build)
    return StreamOpened(stream=StreamId(stream), node=node, variant=Variant.DELTA, peer="")


def of_fleet(*events: Event) -> Fleet:
    fleet = Fleet()
    for now, event in enumerate(events):
        fleet.apply(event, now=float(now))
    return fleet


def fleet_in_every_state() -> Fleet:
    def sent(type_url: Any) -> Sent:
        return Sent(
            stream=STREAM, type_url=type_url, version=ONE, nonce=NONCE, resources=1, removed=0, size=9
        )

    return of_fleet(
        opened(1, "gateway-1", build="envoy 1.40.0"),
        Subscribed(stream=STREAM, type_url=ENDPOINT),
        sent(CLUSTER),
        Acked(stream=STREAM, type_url=CLUSTER, version=ONE, nonce=NONCE),
        sent(LISTENER),
        Nacked(stream=STREAM, type_url=LISTENER, version=ONE, nonce=NONCE, message="no such filter"),
        sent(ROUTE),
    )


class Client:
    """Asks the service of a fleet."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)

    async def fetch(self, *matchers: Any) -> Any:
        return await self._stub.FetchClientStatus(csds_pb2.ClientStatusRequest(node_matchers=matchers))

    async def nodes(self, *matchers: Any) -> list[str]:
        return [client.node.id for client in (await self.fetch(*matchers)).config]

    def stream(self, requests: Iterable[csds_pb2.ClientStatusRequest]) -> Any:
        return self._stub.StreamClientStatus(iter(requests))


@pytest.fixture
def fleet() -> Fleet:
    return fleet_in_every_state()


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[Client]:
    server = grpc.aio.server()
    CsdsServicer(fleet).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Client(channel)
    finally:
        await server.stop(None)


async def test_each_type_is_in_the_state_that_the_management_server_knows(client: Client) -> None:
    [found] = (await client.fetch()).config
    assert (found.node.id, found.node.cluster) == ("gateway-1", "edge")
    assert (found.node.user_agent_name, found.node.user_agent_version) == ("envoy", "1.40.0")
    by_type = {config.type_url: config for config in found.generic_xds_configs}
    assert {url: Status.Name(config.config_status) for url, config in by_type.items()} == {
        CLUSTER: "SYNCED",
        ENDPOINT: "NOT_SENT",
        LISTENER: "ERROR",
        ROUTE: "STALE",
    }
    assert {url: config.version_info for url, config in by_type.items()} == {
        CLUSTER: "1",
        ENDPOINT: "",
        LISTENER: "1",
        ROUTE: "1",
    }
    assert {url: config.last_updated.seconds for url, config in by_type.items()} == {
        CLUSTER: 2,
        ENDPOINT: 1,
        LISTENER: 4,
        ROUTE: 6,
    }


async def test_a_nack_is_reported_with_the_clients_message_while_it_stands(
    client: Client, fleet: Fleet
) -> None:
    [found] = (await client.fetch()).config
    errors = {c.type_url: c.error_state for c in found.generic_xds_configs if c.HasField("error_state")}
    assert list(errors) == [LISTENER]
    assert errors[LISTENER].details == "no such filter"
    assert (errors[LISTENER].version_info, errors[LISTENER].last_update_attempt.seconds) == ("1", 5)
    fleet.apply(Resumed(stream=STREAM, type_url=LISTENER, version=ONE), now=9.0)
    [found] = (await client.fetch()).config
    assert not any(config.HasField("error_state") for config in found.generic_xds_configs)


async def test_a_stream_answers_each_request_once_with_what_is_then(client: Client) -> None:
    only = node_pb2.NodeMatcher(node_id=string_pb2.StringMatcher(exact="gateway-1"))
    call = client.stream([csds_pb2.ClientStatusRequest(), csds_pb2.ClientStatusRequest(node_matchers=[only])])
    answers = [answer async for answer in call]
    assert [[each.node.id for each in answer.config] for answer in answers] == [["gateway-1"]] * 2


async def test_no_client_is_an_answer_too() -> None:
    server = grpc.aio.server()
    CsdsServicer(Fleet()).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await Client(channel).nodes() == []
    await server.stop(None)


def by_id(**pattern: Any) -> node_pb2.NodeMatcher:
    return node_pb2.NodeMatcher(node_id=string_pb2.StringMatcher(**pattern))


@pytest.mark.parametrize("fleet", [of_fleet(opened(1, "edge-a"), opened(2, "edge-b"), opened(3, "Inner-b"))])
@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ([], ["Inner-b", "edge-a", "edge-b"]),
        ([node_pb2.NodeMatcher()], ["Inner-b", "edge-a", "edge-b"]),
        ([by_id(exact="edge-a")], ["edge-a"]),
        ([by_id(exact="edge")], []),
        ([by_id(prefix="edge-")], ["edge-a", "edge-b"]),
        ([by_id(suffix="-b")], ["Inner-b", "edge-b"]),
        ([by_id(contains="nner")], ["Inner-b"]),
        ([by_id(prefix="inner")], []),
        ([by_id(prefix="inner", ignore_case=True)], ["Inner-b"]),
        # One of them is enough.
        ([by_id(exact="edge-a"), by_id(exact="Inner-b")], ["Inner-b", "edge-a"]),
    ],
)
async def test_matchers_choose_the_clients(client: Client, matchers: list[Any], expected: list[str]) -> None:
    assert await client.nodes(*matchers) == expected


@pytest.mark.parametrize(
    ("matcher", "sentence"),
    [
        (by_id(safe_regex=regex_pb2.RegexMatcher(regex="(a+)+$")), "node_id has safe_regex; use exact"),
        (by_id(), "node_id has no pattern"),
        (
            node_pb2.NodeMatcher(node_metadatas=[struct_pb2.StructMatcher()]),
            "node_metadatas is not supported",
        ),
    ],
)
async def test_a_matcher_that_is_not_supported_is_rejected(
    client: Client, matcher: Any, sentence: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=sentence) as rejected:
        await client.fetch(by_id(exact="gateway-1"), matcher)
    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    call = client.stream([csds_pb2.ClientStatusRequest(node_matchers=[matcher])])
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("fleet", [of_fleet(*(opened(n, f"{n}-" + "x" * 9000) for n in range(500)))])
async def test_an_answer_that_a_client_would_not_take_says_how_to_ask(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="for 500 clients is too large; select fewer") as rejected:
        await client.fetch()
    assert rejected.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(await client.nodes(by_id(prefix="17-"))) == 1
