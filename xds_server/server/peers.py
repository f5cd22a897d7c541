"""Asks the other replicas for their evidence.

Each replica has the evidence of its own Envoys. They are asked at the addresses that names such as that of a
headless Service resolve to, which changes with each roll-out. A peer that is slow, dead or wrong costs at
most the deadline; it is named, and the verdict is that of the others.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from xds_server.base.address import Address
from xds_server.base.clock import SYSTEM, Clock
from xds_server.base.errors import UsageError
from xds_server.base.ids import NamespacedName
from xds_server.base.sizes import MIB
from xds_server.base.text import plain
from xds_server.core.verdict.record import Record
from xds_server.pb import evidence_pb2, evidence_pb2_grpc
from xds_server.server.peer_evidence import is_consistent, is_plausible, left_out
from xds_server.server.peer_identity import PeerIdentity
from xds_server.server.record_messages import record_of
from xds_server.server.verdict_report import Replica
from xds_server.server.verdicts import Answer, Records

DEADLINE_S: Final = 2.0
"""How long a peer, and the resolution of the names, may take."""

PAUSE_S: Final = 1.0
"""Peers are asked at most this often, however many verdicts are wanted."""

MOST_PEERS: Final = 16
_MAX_BYTES: Final = 16 * MIB
_REMEMBERED_S: Final = 600.0
"""How long a replica is named after its address has disappeared: its evidence disappeared with it."""

_LONGEST: Final = 200
_OPTIONS: Final[list[tuple[str, int]]] = [
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
_SENTENCES: Final[Mapping[grpc.StatusCode | None, str]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: f"it did not answer within {DEADLINE_S:.0f} s",
    grpc.StatusCode.UNAVAILABLE: "it cannot be reached",
    grpc.StatusCode.RESOURCE_EXHAUSTED: f"its answer exceeds {_MAX_BYTES // MIB} MiB",
    grpc.StatusCode.UNIMPLEMENTED: "it has no evidence service; it may run another version",
}


class Resolver:
    """The addresses of the peers. Names are resolved again after `PAUSE_S`, in a thread of its own: a name
    server that hangs must not occupy the threads of others."""

    def __init__(self, peers: Sequence[Address], own: Collection[str], clock: Clock = SYSTEM) -> None:
        """`own` are IP addresses that are this replica's."""
        self._peers = peers
        self._own = own
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="xds-shadow-peers")
        self._running: asyncio.Future[list[Address]] | None = None
        self._found: tuple[float, list[Address]] | None = None

    async def addresses(self) -> list[Address]:
        """The addresses, sorted.

        Raises:
            OSError: a name cannot be resolved. A `TimeoutError`: not within the deadline.
        """
        now = self._clock.monotonic()
        if self._found is None or now - self._found[0] >= PAUSE_S:
            loop = asyncio.get_running_loop()
            if self._running is None or self._running.done():
                self._running = loop.run_in_executor(self._executor, self._resolve)
            async with asyncio.timeout(DEADLINE_S):
                found = await asyncio.shield(self._running)
            self._found = now, found
        return self._found[1]

    def _resolve(self) -> list[Address]:
        found = {
            Address(str(where[0]), peer.port)
            for peer in self._peers
            for *_, where in socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
        }
        return sorted(each for each in found if each.host not in self._own)[:MOST_PEERS]


class Replicas:
    """The other replicas of the replica `name`, which listens for them at `listening`. `known` returns its
    own records and the canaries of all shadows: what peers report of others is left out."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        name: str,
        listening: Callable[[], Address],
        known: Callable[[], tuple[Records, Collection[NamespacedName]]],
        identity: PeerIdentity | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._last: Sequence[Answer] = ()
        self._resolver = resolver
        self._name = name
        self._listening = listening
        self._known = known
        self._identity = identity
        self._clock = clock
        self._asked: float | None = None
        self._asking = asyncio.Lock()
        self._seen: dict[Address, tuple[str, float]] = {}

    async def ask(self) -> Sequence[Answer]:
        """What all peers answer now, or have answered within the last second."""
        async with self._asking:
            if self._asked is None or self._clock.monotonic() - self._asked >= PAUSE_S:
                self._last = await self._ask_all()
                self._asked = self._clock.monotonic()
        return self._last

    async def _ask_all(self) -> list[Answer]:
        try:
            found = await self._resolver.addresses()
        except TimeoutError:
            return [_failed("peers", f"their names were not resolved within {DEADLINE_S:.0f} s")]
        except OSError as error:
            return [_failed("peers", f"their names cannot be resolved: {error.strerror or error}")]
        addresses = [each for each in found if each != self._listening()]
        outcomes = await asyncio.gather(*map(self._answer, addresses))
        return [*self._once(outcomes), *self._gone(addresses)]

    async def _answer(self, address: Address) -> tuple[bool, Answer]:
        """Whether the peer answered, and its answer. A peer that does not is called by its last name."""
        now = self._clock.monotonic()
        try:
            response = await self._call(address)
        except (grpc.RpcError, UsageError) as error:
            name = self._seen.get(address, (str(address), now))[0]
            return False, _failed(name, _sentence(error))
        name = plain(response.replica, _LONGEST) or str(address)
        self._seen[address] = name, now
        records, problem = await self._believed(response)
        return True, Answer(Replica(name, problem), records)

    def _once(self, outcomes: Sequence[tuple[bool, Answer]]) -> list[Answer]:
        """The answer of each replica: it may have several addresses, and one of them may be ours."""
        found: dict[str, Answer] = {}
        for answered in (True, False):
            for each, answer in outcomes:
                if each is answered and answer.replica.name != self._name:
                    found.setdefault(answer.replica.name, answer)
        return [found[name] for name in sorted(found)]

    def _gone(self, addresses: Collection[Address]) -> list[Answer]:
        """The replicas that answered lately and have no address any more."""
        now = self._clock.monotonic()
        for address, (_, at) in list(self._seen.items()):
            if now - at >= _REMEMBERED_S:
                del self._seen[address]
        present = {self._name, *(name for where, (name, _) in self._seen.items() if where in addresses)}
        gone = {name: at for name, at in self._seen.values() if name not in present}
        return [
            _failed(name, f"its address disappeared {now - at:.0f} s ago, and its evidence with it")
            for name, at in sorted(gone.items())
        ]

    async def _call(self, address: Address) -> evidence_pb2.GetRecordsResponse:
        channel = (
            self._identity.channel(str(address), _OPTIONS)
            if self._identity
            else grpc.aio.insecure_channel(str(address), options=_OPTIONS)
        )
        async with channel:
            stub = evidence_pb2_grpc.EvidenceServiceStub(channel)  # type: ignore[no-untyped-call]
            call = stub.GetRecords(evidence_pb2.GetRecordsRequest(), timeout=DEADLINE_S)
            response: evidence_pb2.GetRecordsResponse = await call
        return response

    async def _believed(self, response: evidence_pb2.GetRecordsResponse) -> tuple[Records, str]:
        """The records that can be true, and a sentence about those that are left out."""
        own, canaries = self._known()
        found: dict[NamespacedName, Record] = {}
        absurd, other, unknown = set[str](), set[str](), set[str]()
        now = time.time()
        for message in response.records:
            canary = NamespacedName(message.namespace, message.canary)
            if canary not in canaries:
                unknown.add(plain(str(canary), _LONGEST))
                continue
            record = record_of(message) if is_plausible(message) else None
            if record is None or canary in found or not is_consistent(record, now):
                absurd.add(str(canary))
            elif canary in own and own[canary].template != record.template:
                other.add(str(canary))
            else:
                found[canary] = record
            await asyncio.sleep(0)  # this process serves Envoys
        return found, left_out(absurd, other, unknown)


def _failed(name: str, problem: str) -> Answer:
    return Answer(Replica(name, problem), {})


def _sentence(error: Exception) -> str:
    if isinstance(error, UsageError):
        return str(error)
    code, details = (error.code(), error.details()) if isinstance(error, grpc.aio.AioRpcError) else (None, "")
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return f"it does not accept this replica: {plain(details or '', _LONGEST)}"
    return _SENTENCES.get(code) or f"it returned an error: {plain(details or '', _LONGEST)}"
