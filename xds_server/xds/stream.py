"""One open ADS stream, and what differs between the two protocol variants on the wire."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc

from xds_server.base.ids import NodeId, StreamId
from xds_server.xds.machine import StreamMachine
from xds_server.xds.requests import DeltaReader, DeltaRequest, SotwReader, SotwRequest
from xds_server.xds.responses import Response
from xds_server.xds.server_options import AGE_SPREAD, MAX_AGE_S
from xds_server.xds.stream_events import Cause, Variant
from xds_server.xds.subscribers import Subscribers

_NO_NODE = NodeId("")

V = TypeVar("V", bound=Hashable)
Machine = StreamMachine[Any]
Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Wire:
    """How one protocol variant reads requests, decides on responses and encodes them."""

    variant: Variant
    machine: Callable[[StreamId], Machine]
    reader: Callable[[], SotwReader | DeltaReader]
    encode: Callable[[Response], bytes]


@dataclass(slots=True, eq=False)
class Stream(Generic[V]):
    """One open stream.

    `wake` is set when there may be a response to write or a reason to end. `subscribers` is the group that
    the stream belongs to; None until the first request has identified the client. `writing_since` is the
    loop time at which the current write began; `writing_names` is the size in bytes of the removed names in
    it. `opened_at` and `last_request_at` are the loop times of the first and the latest request. `ending` is
    the reason for closing the stream, and `status` its gRPC status if the client caused it.
    """

    id: StreamId
    wire: Wire
    machine: Machine
    read: Callable[[bytes], SotwRequest | DeltaRequest]
    peer: str
    names: frozenset[str]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    view: V | None = None
    node: NodeId = _NO_NODE
    opened_at: float = 0.0
    last_request_at: float = 0.0
    subscribers: "Subscribers[Stream[V]] | None" = None
    writing_since: float | None = None
    writing_names: int = 0
    ending: str = ""
    cause: Cause = Cause.CLIENT
    status: grpc.StatusCode | None = None

    def end(self, reason: str, cause: Cause, status: grpc.StatusCode | None = None) -> None:
        """Record why the stream must close; its writer closes it."""
        self.ending, self.cause, self.status = reason, cause, status

    def close_reason(self, now: float) -> str:
        """Why the call ended, as far as gRPC reports it: gRPC does not distinguish a client that ended the
        call from a lost connection."""
        if now - self.opened_at >= MAX_AGE_S * (1 - AGE_SPREAD):
            return "its connection reached its maximum age"
        idle = now - self.last_request_at
        return f"ended by the client, or its connection was lost; last request {idle:.0f} s ago"
