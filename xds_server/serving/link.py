"""What the builder and its workers say to each other over a pair of sockets: MessagePack, each frame with its
length.

Both ends are the same version of the same program on one machine, so nothing here is a format for others.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import msgspec

from xds_server.ads import events
from xds_server.ads.convergence import Converged
from xds_server.base.ids import TypeUrl
from xds_server.config import Security
from xds_server.snapshot.resource import Resource, ResourceKey
from xds_server.snapshot.snapshot import Snapshot

_LENGTH_BYTES: Final = 4
_EVENTS: Final = (
    events.StreamOpened,
    events.Subscribed,
    events.Sent,
    events.Resumed,
    events.Withheld,
    events.Acked,
    events.Nacked,
    events.StreamClosed,
    events.StreamDenied,
)


class Fragment(NamedTuple):
    """A resource as it is sent to a worker."""

    type_url: TypeUrl
    name: str
    body: bytes
    refs: tuple[tuple[TypeUrl, str], ...]
    scope: str
    open: bool
    claims: frozenset[str]


class Commit(msgspec.Struct, tag=True, frozen=True):
    """What changed in the snapshot since the last commit that the worker was sent, and the number of this
    one."""

    upserts: list[Fragment]
    removals: list[tuple[TypeUrl, str]]
    generation: int


class Drain(msgspec.Struct, tag=True, frozen=True):
    """End the streams over so many seconds, then the process."""

    over_s: float


class Listening(msgspec.Struct, tag=True, frozen=True):
    """The worker accepts connections."""


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The worker cannot go on, and why."""

    message: str


class Happened(msgspec.Struct, tag=True, frozen=True):
    """Events of the worker's streams, each with the place of its class in `_EVENTS` and with its time, in
    seconds since the epoch: how long a client takes must not depend on how busy the builder is."""

    events: list[tuple[int, float, msgspec.Raw]]


class Reached(msgspec.Struct, tag=True, frozen=True):
    """The worker's streams have what was committed."""

    converged: Converged


ToWorker = Commit | Drain
FromWorker = Listening | Failed | Happened | Reached
_encode: Final = msgspec.msgpack.Encoder().encode
_from_builder: Final = msgspec.msgpack.Decoder(Commit | Drain)
_from_worker: Final = msgspec.msgpack.Decoder(Listening | Failed | Happened | Reached)
_event_decoders: Final = tuple(msgspec.msgpack.Decoder(each) for each in _EVENTS)


def security_argument(security: Security) -> str:
    """For the command line of a worker; paths and names, nothing secret."""
    return msgspec.json.encode(security, enc_hook=str).decode()


def security_from(argument: str) -> Security:
    """The opposite of `security_argument`."""
    return msgspec.json.decode(argument, type=Security, dec_hook=lambda kind, value: kind(value))


def frame(message: ToWorker | FromWorker) -> bytes:
    """The message as it goes over the socket."""
    payload = _encode(message)
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


async def to_worker(reader: asyncio.StreamReader) -> ToWorker | None:
    """The next message to a worker; None at the end."""
    payload = await _payload(reader)
    return None if payload is None else _from_builder.decode(payload)


async def from_worker(reader: asyncio.StreamReader) -> FromWorker | None:
    """The next message of a worker; None at the end."""
    payload = await _payload(reader)
    return None if payload is None else _from_worker.decode(payload)


async def _payload(reader: asyncio.StreamReader) -> bytes | None:
    try:
        length = await reader.readexactly(_LENGTH_BYTES)
        return await reader.readexactly(int.from_bytes(length, "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def happened(found: Sequence[tuple[float, events.Event]]) -> Happened:
    """Events with their times, ready to be sent."""
    return Happened([(_EVENTS.index(type(event)), at, msgspec.Raw(_encode(event))) for at, event in found])


def events_of(message: Happened) -> list[tuple[float, events.Event]]:
    """The events of a message with their times."""
    return [(at, cast("events.Event", _event_decoders[kind].decode(raw))) for kind, at, raw in message.events]


def difference(old: Snapshot, new: Snapshot, generation: int) -> Commit:
    """What a worker that has `old` lacks of `new`, which has this number."""
    upserts: list[Fragment] = []
    removals: list[tuple[TypeUrl, str]] = []
    for type_url in sorted({*old.types, *new.types}):
        before, after = old.of(type_url), new.of(type_url)
        if before is not after:
            changes = after.changes_since(before)
            upserts += [_fragment(resource) for resource in changes.upserts.resources]
            removals += [(type_url, resource.name) for resource in changes.gone]
    return Commit(upserts, removals, generation)


def _fragment(resource: Resource) -> Fragment:
    type_url, name = resource.key
    return Fragment(
        type_url, name, resource.body, resource.refs, resource.scope, resource.open, resource.claims
    )


def applied(snapshot: Snapshot, commit: Commit) -> Snapshot:
    """The snapshot after `commit`."""
    upserts = [
        Resource(
            ResourceKey(each.type_url, each.name),
            each.body,
            tuple(ResourceKey(*ref) for ref in each.refs),
            scope=each.scope,
            open=each.open,
            claims=each.claims,
        )
        for each in commit.upserts
    ]
    return snapshot.updated(upserts, [ResourceKey(*key) for key in commit.removals])
