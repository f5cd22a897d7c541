"""Envoy's scenario DuplicateInitialClusters, in two halves, as the server under test cannot tell it whole.

A response with one name twice is rejected whole; a scripted server shows that. A snapshot has one place for
each name, so from this server no such response can come.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from tests.envoy.scenarios.stage import Stage, connected
from tests.support.resources import MAGLEV, cluster
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.xds.servicer import SERVICE
from xds_server.xds.stream_events import Nacked, Sent, Variant
from xds_server.xds.types import CLUSTER

pytestmark = pytest.mark.envoy


@dataclass
class Script:
    """Answers the first request for clusters with `response`, and remembers every rejection."""

    response: Any
    rejections: list[str] = field(default_factory=list)

    async def serve(self, requests: Any, context: Any) -> None:
        """One stream of either variant."""
        answered = False
        async for request in requests:
            if request.HasField("error_detail"):
                self.rejections.append(request.error_detail.message)
            if request.type_url == CLUSTER and not answered:
                answered = True
                await context.write(self.response)


@asynccontextmanager
async def scripted(variant: Variant, script: Script) -> AsyncIterator[Address]:
    """A server that plays a script."""
    method = "StreamAggregatedResources" if variant is Variant.SOTW else "DeltaAggregatedResources"
    request: Any = discovery_pb2.DiscoveryRequest
    if variant is Variant.DELTA:
        request = discovery_pb2.DeltaDiscoveryRequest
    handler: Any = grpc.stream_stream_rpc_method_handler(
        script.serve,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Address("127.0.0.1", port)
    finally:
        await server.stop(None)


def _twice(variant: Variant) -> Any:
    """A response with two clusters of one name."""
    twice = [cluster("twice"), cluster("twice", policy=MAGLEV)]
    if variant is Variant.SOTW:
        whole = discovery_pb2.DiscoveryResponse(type_url=CLUSTER, nonce="1", version_info="1")
        for each in twice:
            whole.resources.add(type_url=CLUSTER, value=each.body)
        return whole
    delta = discovery_pb2.DeltaDiscoveryResponse(type_url=CLUSTER, nonce="1")
    for each in twice:
        body = any_pb2.Any(type_url=CLUSTER, value=each.body)
        delta.resources.add(name=each.name, version=each.version, resource=body)
    return delta


async def test_duplicate_initial_clusters_are_rejected(
    version: str, variant: Variant, tmp_path: Path
) -> None:
    script = Script(_twice(variant))
    async with (
        scripted(variant, script) as address,
        connected(version, variant, address, tmp_path) as envoy,
    ):
        await eventually(lambda: script.rejections, what="a NACK")
        assert "duplicate" in script.rejections[0]
        assert await envoy.stat("cluster_manager.cds.update_rejected") == 1


async def test_duplicate_initial_clusters_have_no_place_in_a_snapshot(stage: Stage) -> None:
    snapshot = stage.commit(cluster("twice"), cluster("twice", policy=MAGLEV), stage.endpoints("twice"))
    assert list(snapshot.of(CLUSTER).resources) == ["twice"]
    await stage.until_acked(snapshot, CLUSTER)
    await stage.until_stat("cluster.twice.membership_healthy", 1)
    assert [sent.resources for sent in stage.of(Sent, CLUSTER)] == [1]
    assert stage.of(Nacked, CLUSTER) == []
