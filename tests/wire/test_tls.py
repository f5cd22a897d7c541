"""The fleet's port with mutual TLS: who is let in, what each may see, and certificates that change."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import structlog

from tests.support.certificates import Authority, Issued
from tests.support.waiting import eventually
from tests.wire.rig import Stream, node
from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.server.ads_server import FleetServer
from xds_server.server.config import TlsFiles
from xds_server.server.identity import Allowed, Clients, read_clients
from xds_server.server.tls import Certificates
from xds_server.translate.node_metadata import NAMESPACES
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Event, StreamDenied, StreamOpened, Variant
from xds_server.xds.types import CLUSTER

GATEWAY = "spiffe://example/ns/edge/sa/gateway"
STAGING = "spiffe://example/ns/staging/sa/envoy"
CLIENTS: Allowed = {GATEWAY: None, STAGING: frozenset({"staging"}), "envoy.example": frozenset({"a", "b"})}


class Peer:
    """A fleet's port, and clients of it."""

    def __init__(self, authority: Authority, address: Address, events: list[Event]) -> None:
        self.authority = authority
        self.address = address
        self.events = events
        self._channels: list[grpc.aio.Channel] = []

    def stream(
        self, issued: Issued | None, *, root: bytes | None = None, variant: Variant = Variant.DELTA
    ) -> Stream:
        """A stream over a connection of its own with this certificate."""
        return Stream(self.channel(issued, root=root), variant)

    def channel(self, issued: Issued | None, *, root: bytes | None = None) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(
            root or self.authority.pem, *((issued.key, issued.certificate) if issued else ())
        )
        target = f"localhost:{self.address.port}"
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channel = grpc.aio.secure_channel(target, credentials, options=options)
        self._channels.append(channel)
        return channel

    def plain(self) -> Stream:
        channel = grpc.aio.insecure_channel(str(self.address))
        self._channels.append(channel)
        return Stream(channel, Variant.DELTA)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


@asynccontextmanager
async def served(directory: Path, clients: Allowed | None = None) -> AsyncIterator[tuple[Peer, FleetServer]]:
    """A fleet's port with a cluster in each of two namespaces."""
    authority, events = Authority(), list[Event]()
    fleet = FleetServer(
        identifier="test",
        observe=events.append,
        tls=authority.server_files(directory),
        clients=Clients(clients),
    )
    fleet.commit(Snapshot().updated([of("staging"), of("production")]))
    peer = Peer(authority, await fleet.start(Address("127.0.0.1", 0)), events)
    try:
        yield peer, fleet
    finally:
        await peer.close()
        await fleet.stop(0.0)


def of(namespace: str) -> Resource:
    return Resource(ResourceKey(CLUSTER, f"{namespace}/web"), b"", scope=namespace)


async def seen(stream: Stream, **metadata: str) -> set[str]:
    """The clusters that a client is sent."""
    await stream.ask(CLUSTER, node=node("envoy", **metadata))
    return {each.name for each in (await stream.take()).resources}


async def rejected(stream: Stream, **metadata: str) -> tuple[grpc.StatusCode, str]:
    """How a client is rejected that asks for clusters."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await stream.ask(CLUSTER, node=node("envoy", **metadata))
    return await stream.end()


@pytest.mark.parametrize("variant", Variant)
async def test_a_client_with_a_certificate_is_served(tmp_path: Path, variant: Variant) -> None:
    async with served(tmp_path) as (peer, _):
        stream = peer.stream(peer.authority.issue(uris=[GATEWAY]), variant=variant)
        await stream.ask(CLUSTER, node=node())
        assert len((await stream.take()).resources) == 2


@pytest.mark.parametrize("kind", ["another authority", "expired", "no certificate", "plain text"])
async def test_a_client_without_a_valid_certificate_gets_no_connection(tmp_path: Path, kind: str) -> None:
    async with served(tmp_path) as (peer, _):
        match kind:
            case "another authority":
                stream = peer.stream(Authority().issue(uris=[GATEWAY]))
            case "expired":
                stream = peer.stream(peer.authority.issue(uris=[GATEWAY], valid=-timedelta(days=1)))
            case "no certificate":
                stream = peer.stream(None)
            case _:
                stream = peer.plain()
        code, _ = await rejected(stream)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert not any(isinstance(event, StreamOpened) for event in peer.events)
        # The next one that can is served.
        assert len(await seen(peer.stream(peer.authority.issue(uris=[GATEWAY])))) == 2


def knock(kind: str, peer: Peer, directory: Path) -> None:
    """A client of no library's: a handshake of this kind, then wait for the server to end it."""
    issued = {
        "another authority": lambda: Authority().issue(uris=[GATEWAY]),
        "expired": lambda: peer.authority.issue(uris=[GATEWAY], valid=-timedelta(days=1)),
    }.get(kind)
    context = ssl.create_default_context(cadata=peer.authority.pem.decode())
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if issued:
        context.load_cert_chain(*issued().write(directory, "client"))
    with socket.create_connection(peer.address, timeout=10) as plain, suppress(OSError):
        if kind == "plain text":
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(1)
        else:
            with context.wrap_socket(plain) as protected:
                protected.recv(1)


async def test_grpc_says_why_a_handshake_failed_if_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "INFO")
    authority = Authority()
    files = authority.server_files(tmp_path)
    (tmp_path / "manifests").mkdir()
    tls = [f"{option}={path}" for option, path in files.options()]
    control_plane = ControlPlane([f"--manifests={tmp_path / 'manifests'}"], tmp_path, extra=tls)
    reasons = {
        "no certificate": "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "expired": "CERTIFICATE_VERIFY_FAILED: certificate has expired",
        "plain text": "HTTP_REQUEST",
    }
    try:
        await control_plane.start()
        peer = Peer(authority, control_plane.xds_address, [])
        for kind in reasons:
            await asyncio.to_thread(knock, kind, peer, tmp_path)
    finally:
        await control_plane.stop()
    log = (tmp_path / "control-plane.log").read_text()
    for reason in reasons.values():
        assert log.count(reason) == 1
    assert "BEGIN" not in log


@pytest.mark.parametrize(
    ("names", "metadata", "expected"),
    [
        ({"uris": [GATEWAY]}, {}, {"staging", "production"}),
        ({"uris": [STAGING]}, {}, {"staging"}),
        ({"uris": [GATEWAY]}, {NAMESPACES: "production"}, {"production"}),
        ({"uris": [STAGING]}, {NAMESPACES: "staging"}, {"staging"}),
        ({"dns": ["envoy.example"]}, {}, set()),
        ({"dns": ["envoy.example"], "uris": [STAGING]}, {}, {"staging"}),
        ({"dns": ["envoy.example"], "uris": [GATEWAY]}, {}, {"staging", "production"}),
    ],
)
async def test_a_client_is_sent_what_its_certificate_may_see(
    tmp_path: Path, names: dict[str, list[str]], metadata: dict[str, str], expected: set[str]
) -> None:
    async with served(tmp_path, CLIENTS) as (peer, _):
        stream = peer.stream(peer.authority.issue(**names))  # type: ignore[arg-type]
        assert await seen(stream, **metadata) == {f"{namespace}/web" for namespace in expected}


@pytest.mark.parametrize(
    ("names", "metadata", "why"),
    [
        (
            {"uris": ["spiffe://other"]},
            {},
            "the certificate's names (spiffe://other) are not listed in --tls-clients",
        ),
        ({}, {}, "the certificate's names (no name) are not listed in --tls-clients"),
        (
            {"uris": [STAGING]},
            {NAMESPACES: "staging,production"},
            f"node.metadata {NAMESPACES} requests production, which this client may not see",
        ),
    ],
)
async def test_a_client_that_is_not_listed_is_rejected_with_the_reason(
    tmp_path: Path, names: dict[str, list[str]], metadata: dict[str, str], why: str
) -> None:
    async with served(tmp_path, CLIENTS) as (peer, _):
        stream = peer.stream(peer.authority.issue(**names))  # type: ignore[arg-type]
        assert await rejected(stream, **metadata) == (grpc.StatusCode.PERMISSION_DENIED, why)
        # The client may read the status before the server has told of the end of the call.
        await eventually(lambda: peer.events, what="the event of the rejection")
        (event,) = peer.events
        assert isinstance(event, StreamDenied)
        assert event.reason == why


async def test_certificates_change_under_streams_and_none_is_dropped(tmp_path: Path) -> None:
    async with served(tmp_path) as (peer, fleet):
        first = peer.authority
        old = peer.stream(first.issue(uris=[GATEWAY]))
        assert len(await seen(old)) == 2
        # Another authority for both sides; who comes now has to know the new one.
        second = Authority()
        second.server_files(tmp_path)
        newer = peer.stream(second.issue(uris=[GATEWAY]), root=second.pem)
        assert len(await seen(newer)) == 2
        code, _ = await rejected(peer.stream(first.issue(uris=[GATEWAY])))
        assert code is grpc.StatusCode.UNAVAILABLE
        # The stream of before goes on.
        fleet.commit(Snapshot().updated([of("staging"), of("production"), of("new")]))
        assert [each.name for each in (await old.take()).resources] == ["new/web"]


async def test_files_that_do_not_match_are_not_used_and_reported_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (peer, _):
        (tmp_path / "server.key").write_bytes(Authority().issue().key)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert len(await seen(peer.stream(peer.authority.issue(uris=[GATEWAY])))) == 2
        reported = [each for each in logs if each["log_level"] == "error"]
        assert len(reported) == 1
        assert reported[0]["problem"].startswith(f"--tls-cert {tmp_path / 'server.crt'} and --tls-key")
        assert "PRIVATE" not in repr(logs)


async def test_a_rotation_while_there_are_no_file_descriptors_is_taken_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    async with served(tmp_path) as (peer, _):
        second = Authority()
        second.server_files(tmp_path)
        with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
            patched.setattr(Path, "read_bytes", none_left)
            # Whoever knows the old ones is served meanwhile.
            for _ in range(2):
                assert len(await seen(peer.stream(peer.authority.issue(uris=[GATEWAY])))) == 2
        assert [each["event"] for each in logs] == ["certificates rejected"]
        assert len(await seen(peer.stream(second.issue(uris=[GATEWAY]), root=second.pem))) == 2


# The files of the options


def files_of(directory: Path) -> TlsFiles:
    return Authority().server_files(directory)


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("server.crt", None, "--tls-cert {}: No such file or directory"),
        ("server.key", None, "--tls-key {}: No such file or directory"),
        ("ca.crt", None, "--tls-client-ca {}: No such file or directory"),
        ("server.key", b"no key", "--tls-cert"),
        ("server.crt", b"-----BEGIN CERTIFICATE-----\nx\n", "--tls-cert"),
        ("ca.crt", b"no certificate", "--tls-client-ca {}: the file must contain PEM certificates"),
        (
            "ca.crt",
            b"x" * (1024 * 1024 + 1),
            "--tls-client-ca {}: the file has 1048577 bytes; the maximum is",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named_with_their_option(
    tmp_path: Path, name: str, content: bytes | None, wrong: str
) -> None:
    files = files_of(tmp_path)
    path = tmp_path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as rejection:
        Certificates(files)
    assert str(rejection.value).startswith(wrong.format(path))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "the file must map clients to namespaces, such as spiffe://example/gateway: [staging]"),
        ("- a", "the file must map clients to namespaces, such as spiffe://example/gateway: [staging]"),
        ("a: {b: c}", 'a: the value must be a list of namespaces, or "*" for all'),
        ("a: []", 'a: the value must be a list of namespaces, or "*" for all'),
        ("a: ['']", 'a: the value must be a list of namespaces, or "*" for all'),
        ("a: ['*', b]", 'a: "*" means all namespaces and cannot be combined with others'),
        ("a: [b", "this is not valid YAML: "),
        ("'': [b]", "'' is not a name in a certificate"),
    ],
)
def test_an_invalid_list_of_clients_is_rejected(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "clients.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as rejection:
        read_clients(path)
    assert str(rejection.value).startswith(f"--tls-clients {path}: {wrong}")


def test_a_list_of_clients(tmp_path: Path) -> None:
    path = tmp_path / "clients.yaml"
    path.write_text(f'{GATEWAY}: "*"\n{STAGING}: [staging]\nenvoy.example: [a, b]\nother: ["*"]\none: a\n')
    assert read_clients(path) == {**CLIENTS, "other": None, "one": frozenset({"a"})}
    assert read_clients(None) is None
    with pytest.raises(UsageError, match="No such file"):
        read_clients(tmp_path / "gone")
