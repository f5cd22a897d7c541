"""Answers the other replicas with what this one has recorded.

Only replicas are answered: with TLS who has a certificate with a name of ours, without TLS who has an address
of the peers. However often they ask, the records are read at most once a second.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from xds_server.base.address import Address
from xds_server.base.clock import SYSTEM, Clock
from xds_server.base.ids import NamespacedName
from xds_server.core.plan import ShadowStatus
from xds_server.pb import evidence_pb2, evidence_pb2_grpc
from xds_server.server.ads_server import add_port
from xds_server.server.config import PeersConfig, TlsFiles
from xds_server.server.identity import names_of
from xds_server.server.peer_identity import PeerIdentity
from xds_server.server.peers import PAUSE_S, Replicas, Resolver
from xds_server.server.record_messages import message_of
from xds_server.server.tls import Certificates
from xds_server.server.verdicts import Records
from xds_server.xds.admission import host_of
from xds_server.xds.server_options import connection_options

_CALLS: Final = 32
"""At one time."""

_LARGEST_REQUEST: Final = 4 * 1024
_OPTIONS: Final = (
    *connection_options(),
    ("grpc.max_receive_message_length", _LARGEST_REQUEST),
    ("grpc.max_concurrent_streams", _CALLS),
)
_Context = grpc.aio.ServicerContext[Message, Message]


class EvidenceServicer(evidence_pb2_grpc.EvidenceServiceServicer):
    """Implements ``xds_shadow.v1.EvidenceService`` for the replica `name`."""

    def __init__(
        self,
        *,
        name: str,
        records: Callable[[], Records],
        resolver: Resolver,
        identity: PeerIdentity | None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._name = name
        self._records = records
        self._resolver = resolver
        self._identity = identity
        self._clock = clock
        self._making = asyncio.Lock()
        self._made: tuple[float, evidence_pb2.GetRecordsResponse] | None = None

    async def GetRecords(  # noqa: N802 - gRPC's name
        self, _request: evidence_pb2.GetRecordsRequest, context: _Context
    ) -> evidence_pb2.GetRecordsResponse:
        """What this replica has recorded."""
        if problem := await self._denial(context):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, problem)
        async with self._making:
            if self._made is None or self._clock.monotonic() - self._made[0] >= PAUSE_S:
                self._made = self._clock.monotonic(), await self._response()
        return self._made[1]

    async def _denial(self, context: _Context) -> str:
        """Why the caller is no replica; empty if it is one."""
        if self._identity:
            if names_of(context.auth_context()) & self._identity.names():
                return ""
            return "the certificate has no name of this control plane"
        try:
            peers = {ip_address(each.host) for each in await self._resolver.addresses()}
        except OSError:
            return "the addresses of the peers are not known"
        return "" if _address(context.peer()) in peers else "the address is none of --peers"

    async def _response(self) -> evidence_pb2.GetRecordsResponse:
        response = evidence_pb2.GetRecordsResponse(replica=self._name)
        for record in list(self._records().values()):
            response.records.append(message_of(record))
            await asyncio.sleep(0)  # this process serves Envoys
        return response


class Exchange:
    """The exchange of evidence between this replica, called `name`, and the others. `records` returns what it
    has recorded, `shadows` all shadows. `own` are its IP addresses.
    """

    def __init__(
        self,
        config: PeersConfig,
        *,
        name: str,
        own: Collection[str],
        tls: TlsFiles | None,
        records: Callable[[], Records],
        shadows: Callable[[], Iterable[ShadowStatus]],
    ) -> None:
        self.address = config.address
        self._tls = tls
        identity = PeerIdentity(tls) if tls else None
        resolver = Resolver(config.peers, own)
        self._servicer = EvidenceServicer(name=name, records=records, resolver=resolver, identity=identity)
        self.peers = Replicas(
            resolver,
            name=name,
            listening=lambda: self.address,
            known=lambda: (records(), {NamespacedName(each.namespace, each.canary) for each in shadows()}),
            identity=identity,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen for the other replicas. `address` then has the port in use.

        Raises:
            XdsShadowError: the address cannot be listened on, or the certificates are invalid.
        """
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS)
        evidence_pb2_grpc.add_EvidenceServiceServicer_to_server(self._servicer, server)  # type: ignore[no-untyped-call]
        credentials = Certificates(self._tls).credentials() if self._tls else None
        port = add_port(server, self.address, "--peer-address", credentials)
        self.address = Address(self.address.host, port)
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)


def _address(peer: str) -> IPv4Address | IPv6Address:
    """The address in gRPC's name of a peer, such as ``ipv4:10.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    found = ip_address(unquote(host_of(peer)).partition(":")[2].strip("[]").partition("%")[0])
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
