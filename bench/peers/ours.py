"""Our ADS server by itself, as a process: ``python -m bench.peers.ours RESOURCES``.

It is put together as `serve` does, without sources, and speaks as the other side does: a line of JSON says
where it listens, and each line of standard input is answered with one. ``prepare FILE`` reads resources,
``commit`` puts in place what was prepared first, ``nothing`` does nothing, to see what a command costs.
"""

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from bench.peers.wire import read_varint
from xds_server.base.ids import TypeUrl
from xds_server.base.memory import expect_many_objects, keep_what_is_there
from xds_server.xds.admission import StreamLimits
from xds_server.xds.cache import SnapshotCache
from xds_server.xds.fleet import Fleet
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.server_options import server_options
from xds_server.xds.servicer import AdsServicer
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event
from xds_server.xds.types import CLUSTER, ENDPOINT


def read_changes(path: Path) -> tuple[list[Resource], list[ResourceKey]]:
    """What is to be put in place, and what is to be taken out, of a file that `resources.write` wrote."""
    upserts, removals = [], []
    raw, at = path.read_bytes(), 0
    while at < len(raw):
        length, start = read_varint(raw, at)
        at = start + length
        record = discovery_pb2.Resource.FromString(raw[start:at])
        key = ResourceKey(TypeUrl(record.resource.type_url), record.name)
        if not record.resource.value:
            removals.append(key)
            continue
        refs = (ResourceKey(ENDPOINT, key.name),) if key.type_url == CLUSTER else ()
        upserts.append(Resource(key, record.resource.value, refs))
    return upserts, removals


_ADMIT_ALL: Final = StreamLimits(rate=1e6, burst=1_000_000, per_peer=1_000_000)
"""The other side admits all at once too."""


def _whole(base: Snapshot, *_: object) -> Snapshot:
    """The view that everybody has."""
    return base


async def serve(initial: Path) -> None:
    """Until standard input ends."""
    expect_many_objects()
    fleet = Fleet()

    def observe(event: Event) -> None:
        fleet.apply(event, now=time.time())

    cache: SnapshotCache[None] = SnapshotCache(_whole)
    servicer = AdsServicer(
        cache=cache,
        view_of=lambda _node, _names: None,
        observe=observe,
        identifier="bench",
        limits=_ADMIT_ALL,
    )
    snapshot = Snapshot().updated(*read_changes(initial))
    cache.commit(snapshot)
    server = grpc.aio.server(options=server_options())
    servicer.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    keep_what_is_there()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    say(serving=f"127.0.0.1:{port}")
    prepared: deque[tuple[list[Resource], list[ResourceKey]]] = deque()
    while line := (await commands.readline()).decode().rstrip("\n"):
        command, _, path = line.partition(" ")
        match command:
            case "prepare":
                prepared.append(read_changes(Path(path)))
                say(prepared=path)
            case "commit":
                upserts, removals = prepared.popleft()
                at = time.monotonic()
                snapshot = snapshot.updated(upserts, removals)
                cache.commit(snapshot)
                say(committed=at)
            case _:
                say(did=command)
    await server.stop(0)


def say(**fact: object) -> None:
    """One line of JSON."""
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
