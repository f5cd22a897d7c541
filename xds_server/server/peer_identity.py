"""The certificate of this replica as the identity that replicas prove to each other.

All replicas have the same certificate, which is valid for servers and for clients. So a peer is whoever
presents a certificate that `--tls-client-ca` verifies and that has a name of our own. The certificates of
Envoys have other names.
"""

import contextlib
import ssl
from typing import Final, NamedTuple, cast

import grpc
import structlog

from xds_server.base.errors import UsageError
from xds_server.server.config import TlsFiles
from xds_server.server.tls import Loaded, Signature, load, signature

_STEPS: Final = 10
"""Turns of a handshake. Three are enough."""

_log = structlog.stdlib.get_logger(__name__)


class _Usable(NamedTuple):
    loaded: Loaded
    names: frozenset[str]


class PeerIdentity:
    """The names and the credentials of the certificate, read again when the files change. Files that are not
    valid leave the last valid ones in use; if there never were any, no replica is known."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen: Signature | None = None
        self._usable: _Usable | None = None
        self._problem = ""

    def names(self) -> frozenset[str]:
        """The DNS names and URIs of the certificate."""
        self._refresh()
        return self._usable.names if self._usable else frozenset()

    def channel(self, address: str, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        """A connection to a peer. It must prove a name of ours: addresses of Pods are in no certificate.

        Raises:
            UsageError: the certificate cannot be used between replicas.
        """
        self._refresh()
        if self._usable is None:
            raise UsageError(self._problem)
        loaded, names = self._usable
        credentials = grpc.ssl_channel_credentials(loaded.client_ca, loaded.key, loaded.certificate)
        name = min(filter(_is_host, names))
        named: list[tuple[str, int | str]] = [*options, ("grpc.ssl_target_name_override", name)]
        return grpc.aio.secure_channel(address, credentials, options=named)

    def _refresh(self) -> None:
        try:
            seen = signature(self._files)
            if seen != self._seen:
                self._seen = seen
                self._usable = _read(self._files)
        except UsageError as error:
            before, self._problem = self._problem, str(error)
            if self._problem != before:
                _log.warning("certificate not usable between replicas", problem=self._problem)


def _read(files: TlsFiles) -> _Usable:
    loaded = load(files)
    try:
        names = _handshake(files, loaded)
    except ssl.SSLError as error:
        raise UsageError(
            f"--tls-client-ca {files.client_ca} must verify --tls-cert {files.certificate}, both as"
            f" a server's and as a client's, because replicas prove their identity with it ({error})"
        ) from error
    if not any(map(_is_host, names)):
        raise UsageError(
            f"--tls-cert {files.certificate} must have a DNS name that is no wildcard, because replicas prove"
            " their identity with it"
        )
    return _Usable(loaded, names)


def _handshake(files: TlsFiles, loaded: Loaded) -> frozenset[str]:
    """The names of the certificate, by a handshake with itself in memory. It fails as one between two
    replicas would."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(files.certificate, files.key, password="")
        context.load_verify_locations(cadata=loaded.client_ca.decode("ascii"))
        contexts.append(context)
    client = contexts[0].wrap_bio(to_client, to_server)
    server = contexts[1].wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_STEPS):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = client.getpeercert() or {}
    names = cast("tuple[tuple[str, str], ...]", found.get("subjectAltName", ()))
    return frozenset(name for kind, name in names if kind in ("DNS", "URI"))


def _is_host(name: str) -> bool:
    """Whether it is a DNS name that a certificate can be asked to have."""
    return not (name.startswith("*") or "/" in name)
