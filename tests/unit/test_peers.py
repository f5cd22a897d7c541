"""Replicas ask each other for their evidence: over gRPC, on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import Authority
from tests.support.records import CANARY, record, shadow
from xds_server.base.address import Address
from xds_server.base.clock import Clock
from xds_server.base.ids import NamespacedName
from xds_server.core.verdict.record import Record
from xds_server.local.demo.fleet import reserved_ports
from xds_server.pb import evidence_pb2, evidence_pb2_grpc
from xds_server.server import peers as peers_module
from xds_server.server.config import PeersConfig, TlsFiles
from xds_server.server.evidence_server import Exchange
from xds_server.server.peer_identity import PeerIdentity
from xds_server.server.record_messages import message_of
from xds_server.server.verdict_report import Replica
from xds_server.server.verdicts import Records, Verdicts

LOOPBACK = "127.0.0.1"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question of a test is asked."""
    monkeypatch.setattr(peers_module, "PAUSE_S", 0.0)


def exchange(
    name: str,
    port: int,
    peers: Sequence[int],
    records: Records | None = None,
    *,
    tls: TlsFiles | None = None,
    host: str = LOOPBACK,
) -> Exchange:
    found = {CANARY: record(10)} if records is None else records
    return Exchange(
        PeersConfig(
            peers=tuple(Address(host, each) for each in (port, *peers)), address=Address(LOOPBACK, port)
        ),
        name=name,
        own=(),
        tls=tls,
        records=lambda: found,
        shadows=lambda: [shadow()],
    )


@contextlib.asynccontextmanager
async def two(
    first: Records | None = None, second: Records | None = None, tls: TlsFiles | None = None
) -> AsyncIterator[tuple[Exchange, Exchange]]:
    """Two replicas."""
    with reserved_ports(2) as ports:
        one = exchange("one", ports[0], [ports[1]], first, tls=tls)
        other = exchange("two", ports[1], [ports[0]], second, tls=tls)
        async with one.running(), other.running():
            yield one, other


@contextlib.asynccontextmanager
async def beside(
    answer: Callable[[], evidence_pb2.GetRecordsResponse], records: Records | None = None
) -> AsyncIterator[Exchange]:
    """A replica beside a peer that answers what the test says."""

    class Peer(evidence_pb2_grpc.EvidenceServiceServicer):
        async def GetRecords(  # noqa: N802 - gRPC's name
            self, _request: object, _context: object
        ) -> evidence_pb2.GetRecordsResponse:
            return answer()

    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    evidence_pb2_grpc.add_EvidenceServiceServicer_to_server(Peer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    try:
        async with exchanging(port, records) as one:
            yield one
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def exchanging(peer: int, records: Records | None = None) -> AsyncIterator[Exchange]:
    with reserved_ports(1) as (port,):
        one = exchange("one", port, [peer], records)
        async with one.running():
            yield one


async def test_either_replica_has_the_same_sums() -> None:
    first, second = {CANARY: record(300, 3)}, {CANARY: record(200, 2, since=990.0, envoy="envoy-2")}
    async with two(first, second) as (one, other):
        found = []
        for name, own, each in (("one", first, one), ("two", second, other)):
            verdicts = Verdicts(
                name=name, records=partial(dict, own), shadows=lambda: [shadow()], peers=each.peers
            )
            found.append(await verdicts.ask())
        assert found[0].shadows == found[1].shadows
        total = found[0].shadows[0].total
        assert (total.pairs, total.canary_failed) == (500, 5)
        assert found[0].replicas == (Replica("one"), Replica("two"))
        assert found[1].replicas == (Replica("two"), Replica("one"))


async def test_a_replica_that_ends_is_named() -> None:
    with reserved_ports(2) as ports:
        one = exchange("one", ports[0], [ports[1]])
        async with one.running():
            async with exchange("two", ports[1], [ports[0]]).running():
                assert [each.replica for each in await one.peers.ask()] == [Replica("two")]
            gone = await one.peers.ask()
            assert [each.replica for each in gone] == [Replica("two", "it cannot be reached")]
            assert gone[0].records == {}


async def test_a_replica_whose_address_disappears_is_named_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    async with two() as (one, _):
        one.peers._clock = Clock(lambda: now, lambda: now)
        assert [each.replica.problem for each in await one.peers.ask()] == [""]
        monkeypatch.setattr(one.peers._resolver, "_resolve", list)
        now += 30
        (gone,) = await one.peers.ask()
        assert gone.replica == Replica("two", "its address disappeared 30 s ago, and its evidence with it")
        now += 600
        assert await one.peers.ask() == []


async def test_a_peer_that_hangs_costs_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "DEADLINE_S", 0.2)

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.close()

    server = await asyncio.start_server(hang, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with exchanging(port) as one:
        (answer,) = await one.peers.ask()
    server.close()
    assert answer.replica == Replica(f"{LOOPBACK}:{port}", "it did not answer within 2 s")


async def test_an_answer_that_is_too_large_is_not_read() -> None:
    flood = evidence_pb2.GetRecordsResponse(replica="two")
    flood.records.add(envoys=["x" * 1000] * 17_000)
    async with beside(lambda: flood) as one:
        (answer,) = await one.peers.ask()
    assert answer.replica.problem == "its answer exceeds 16 MiB"


async def test_however_often_verdicts_are_wanted_peers_are_asked_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_module, "PAUSE_S", 1.0)
    now, asked = 100.0, 0

    def answer() -> evidence_pb2.GetRecordsResponse:
        nonlocal asked
        asked += 1
        return evidence_pb2.GetRecordsResponse(replica="two")

    async with beside(answer) as one:
        one.peers._clock = Clock(lambda: now, lambda: now)
        await asyncio.gather(*(one.peers.ask() for _ in range(20)))
        assert asked == 1
        now += 1
        await one.peers.ask()
        assert asked == 2


async def test_names_that_do_not_resolve_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with exchanging(1) as one:
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        (answer,) = await one.peers.ask()
    assert answer.replica == Replica("peers", "their names cannot be resolved: Name or service not known")


async def test_a_replica_with_two_addresses_counts_once() -> None:
    with reserved_ports(2) as ports:
        one = exchange("one", ports[0], ports[1:])
        other = exchange("two", ports[1], [ports[0]])
        async with one.running(), other.running():
            one.peers._resolver._peers = (*one.peers._resolver._peers, Address("localhost", ports[1]))
            addresses = [Address(LOOPBACK, ports[1]), Address("localhost", ports[1])]
            one.peers._resolver._resolve = lambda: addresses  # type: ignore[method-assign]
            answers = await one.peers.ask()
    assert [each.replica for each in answers] == [Replica("two")]


async def refusal(port: int, channel: grpc.aio.Channel | None = None) -> str:
    async with channel or grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as opened:
        stub = evidence_pb2_grpc.EvidenceServiceStub(opened)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetRecords(evidence_pb2.GetRecordsRequest())
    assert failed.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return failed.value.details() or ""


async def test_without_tls_only_addresses_of_peers_are_answered() -> None:
    with reserved_ports(1) as (port,):
        async with exchange("one", port, [], host="127.0.0.9").running():
            assert await refusal(port) == "the address is none of --peers"


async def test_with_tls_only_certificates_with_our_own_names_are_answered(tmp_path: Path) -> None:
    authority = Authority()
    files = authority.server_files(tmp_path)
    second = {CANARY: record(7)}
    async with two(second=second, tls=files) as (one, _):
        (answer,) = await one.peers.ask()
        assert answer.replica == Replica("two")
        assert answer.records[CANARY].tally.counts.pairs == 7

        envoy = authority.issue(uris=["spiffe://example/gateway"])
        credentials = grpc.ssl_channel_credentials(authority.pem, envoy.key, envoy.certificate)
        channel = grpc.aio.secure_channel(f"localhost:{one.address.port}", credentials)
        found = await refusal(one.address.port, channel)
        assert found == "the certificate has no name of this control plane"


async def test_a_rotated_certificate_is_used(tmp_path: Path) -> None:
    authority = Authority()
    files = authority.server_files(tmp_path)
    identity = PeerIdentity(files)
    assert identity.names() == {"localhost"}
    authority.issue(dns=["xds-shadow", "*.example"]).write(tmp_path, "server")
    assert identity.names() == {"xds-shadow", "*.example"}
    files.certificate.write_text("nothing")
    assert identity.names() == {"xds-shadow", "*.example"}


@pytest.mark.parametrize(
    ("issued", "problem"),
    [
        ({"dns": ["localhost"], "usages": [ExtendedKeyUsageOID.SERVER_AUTH]}, "both as a server's and as a"),
        ({"uris": ["spiffe://example/a"]}, "must have a DNS name that is no wildcard"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_reported_and_nobody_is_answered(
    tmp_path: Path, issued: dict[str, Any], problem: str
) -> None:
    authority = Authority()
    files = authority.server_files(tmp_path)
    authority.issue(**issued).write(tmp_path, "server")
    async with two(tls=files) as (one, _):
        (answer,) = await one.peers.ask()
        assert problem in answer.replica.problem
        authority.issue(dns=["localhost"]).write(tmp_path, "server")
        assert [each.replica for each in await one.peers.ask()] == [Replica("two")]


def lie(**changes: object) -> evidence_pb2.Record:
    """A record of 10 pairs with a field that is not as it should be."""
    message = message_of(record(10))
    for name, value in changes.items():
        if name in ("envoys", "silent"):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return message


def lie_of_group(**changes: int) -> evidence_pb2.Record:
    message = message_of(record(10))
    for name, value in changes.items():
        setattr(message.groups[0], name, value)
    return message


def lie_of_gap(**changes: float) -> evidence_pb2.Record:
    message = message_of(record(10))
    for name, value in changes.items():
        setattr(message.gap, name, value)
    return message


def lie_of_counts(what: str) -> evidence_pb2.Record:
    """Two replicas could not add it: their sum would have more than 64 bits."""
    message = message_of(record(10))
    getattr(message, what)["no_id" if what == "lost" else "busy"] = 2**64 - 1
    return message


def lie_of_fields(what: str) -> evidence_pb2.Record:
    message = message_of(record(10))
    getattr(message, what).add(group="GET /", path="$", kind="value", count=2**64 - 1)
    return message


def too_many(what: str, count: int) -> evidence_pb2.Record:
    message = message_of(record(10))
    match what:
        case "groups":
            message.groups.extend([message.groups[0]] * count)
        case "codes":
            message.groups[0].codes.extend([message.groups[0].codes[0]] * count)
        case "differing":
            for _ in range(count):
                message.differing.add(group="GET /", path="$", kind="value", count=1)
        case "lost":
            message.skipped.update({str(number): 1 for number in range(count)})
        case _:
            message.envoys.extend(map(str, range(count)))
    return message


def bucket(number: int) -> evidence_pb2.Record:
    message = message_of(record(1))
    message.groups[0].shadow.clear()
    message.groups[0].shadow[number] = 1
    return message


@pytest.mark.parametrize(
    "message",
    [
        lie(since=0.0),
        lie(since=1e18),
        lie_of_gap(pairs=11),
        lie_of_gap(arrived=11),
        lie_of_gap(expected=11.0),
        lie_of_gap(ended=float("nan")),
        lie_of_gap(since=1e300),
        lie_of_gap(since=-1e300),
        lie_of_gap(ended=1e12),
        *map(lie_of_counts, ("lost", "skipped", "compared", "baseline")),
        *map(lie_of_fields, ("differing", "noise", "alone", "baseline_alone")),
        lie(expected=float("inf")),
        lie(expected=float("nan")),
        lie(expected=-1.0),
        lie(silent=["nobody"]),
        lie(template="x" * 513),
        lie(template="a\x1b[31m"),
        lie_of_group(pairs=2**60),
        lie_of_group(pairs=11),
        lie_of_group(canary_failed=9, stable_failed=9),
        lie_of_group(differing_types=11),
        lie_of_group(slower=6, faster=5),
        too_many("groups", 102),
        too_many("codes", 42),
        too_many("differing", 206),
        too_many("lost", 33),
        too_many("envoys", 10_001),
        bucket(69),
    ],
)
async def test_counts_that_cannot_be_true_are_left_out_and_the_peer_is_named(
    message: evidence_pb2.Record,
) -> None:
    other = NamespacedName("staging", "other")
    fine = message_of(record(5, canary=other))
    response = evidence_pb2.GetRecordsResponse(replica="two", records=[message, fine])
    async with beside(lambda: response) as one:
        own: dict[NamespacedName, Record] = {}
        one.peers._known = lambda: (own, {CANARY, other})
        (answer,) = await one.peers.ask()
    assert answer.replica == Replica("two", "its counts contradict each other: shadow staging/web-canary")
    assert list(answer.records) == [other]


async def test_a_record_that_comes_twice_counts_once() -> None:
    response = evidence_pb2.GetRecordsResponse(replica="two", records=[message_of(record(5))] * 2)
    async with beside(lambda: response) as one:
        (answer,) = await one.peers.ask()
    assert answer.replica.problem == "its counts contradict each other: shadow staging/web-canary"
    assert answer.records[CANARY].tally.counts.pairs == 5


async def test_evidence_about_other_templates_and_other_shadows_is_left_out() -> None:
    mine = {CANARY: record(10, template="mine")}
    strange = record(5, canary=NamespacedName("kube-system", "x\ny"))
    response = evidence_pb2.GetRecordsResponse(
        replica="two\x1b", records=[message_of(record(5, template="other")), message_of(strange)]
    )
    async with beside(lambda: response, mine) as one:
        (answer,) = await one.peers.ask()
    assert answer.replica == Replica(
        "two",
        "its evidence is about other Pod templates: shadow staging/web-canary;"
        " it reports what is no shadow here: shadow kube-system/x y",
    )
    assert answer.records == {}
