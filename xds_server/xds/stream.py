"""One open stream of the aggregated discovery service, and what differs between the variants on the wire."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from xds_server.base.ids import NodeId, StreamId
from xds_server.xds.machine import Response, StreamMachine
from xds_server.xds.requests import DeltaReader, DeltaRequest, SotwReader, SotwRequest
from xds_server.xds.server_options import AGE_SPREAD, MAX_AGE_S
from xds_server.xds.stream_events import Cause, Variant
from xds_server.xds.subscribers import Audience

_NO_NODE = NodeId("")

V = TypeVar("V", bound=Hashable)
Machine = StreamMachine[Any]


@dataclass(frozen=True, slots=True)
class Wire:
    """What differs between the variants on the wire."""

    variant: Variant
    machine: Callable[[StreamId], Machine]
    reader: Callable[[], SotwReader | DeltaReader]
    encode: Callable[[Response], bytes]


@dataclass(slots=True, eq=False)
class Stream(Generic[V]):
    """One open stream. `wake` says that there may be something to write, or a reason to end. `audience` is
    there once the first request has said who the client is. `writing_since` is the loop's time at which the
    write that is under way began, and `writing_names` the size of the names in it that do not exist; `opened`
    and `heard` are those at which its first and its latest request came. `status` is how it ends if its
    client did something wrong."""

    id: StreamId
    form: Wire
    machine: Machine
    read: Callable[[bytes], SotwRequest | DeltaRequest]
    peer: str
    names: frozenset[str]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    view: V | None = None
    node: NodeId = _NO_NODE
    opened: float = 0.0
    heard: float = 0.0
    audience: "Audience[Stream[V]] | None" = None
    writing_since: float | None = None
    writing_names: int = 0
    ending: str = ""
    cause: Cause = Cause.CLIENT
    status: grpc.StatusCode | None = None

    def lost(self, now: float) -> str:
        """Why a call ended, as far as gRPC lets know: whether its client ended it or its connection was lost
        it keeps to itself."""
        if now - self.opened >= MAX_AGE_S * (1 - AGE_SPREAD):
            return "its connection reached its maximum age"
        return f"ended by the client, or its connection was lost; last heard of {now - self.heard:.0f} s ago"
