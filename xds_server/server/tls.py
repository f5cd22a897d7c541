"""Mutual TLS for the fleet: certificates that are read anew when their files change, and who a client is.

gRPC asks for the certificates at every handshake, so a rotation concerns new connections alone and drops no
stream. Files that do not fit together, as in the middle of a rotation, are not taken: the last good ones
stay.
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import structlog

from xds_server.base.errors import UsageError
from xds_server.base.log_limit import LogLimit, omitted
from xds_server.base.sizes import MIB
from xds_server.server.config import TlsFiles

_log = structlog.get_logger("xds_shadow.tls")
_LARGEST: Final = MIB
_Signature = tuple[tuple[int, int, int], ...]


class _Loaded(NamedTuple):
    certificate: bytes
    key: bytes
    client_ca: bytes

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.client_ca
        )


class Certificates:
    """What is in the files, as long as it can be used."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files.

        Raises:
            UsageError: they cannot be read or used; file and option are named.
        """
        self._files = files
        self._lock = threading.Lock()
        self._limit = LogLimit()
        self._seen = _signature(files)
        self._loaded = _load(files)

    def credentials(self) -> grpc.ServerCredentials:
        """For a server's port; clients have to have a certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.configuration(),
            self._changed,  # type: ignore[arg-type]  # None says that nothing changed
            require_client_authentication=True,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is to be used from now on; None: as before. gRPC asks from threads of its own."""
        with self._lock:
            try:
                signature = _signature(self._files)
                if signature == self._seen:
                    return None
                loaded = _load(self._files)
                if _signature(self._files) != signature:
                    return None  # in the middle of a rotation; the next handshake looks again
            except UsageError as error:
                # Looked at again at the next handshake: it may be for want of file descriptors.
                left_out = self._limit.admit(str(error), now=time.monotonic())
                if left_out is not None:
                    _log.error(
                        "certificates cannot be used; the last good ones stay",
                        problem=str(error),
                        **omitted(left_out),
                    )
                return None
            self._seen = signature
            if loaded == self._loaded:
                return None
            self._loaded = loaded
            _log.info("certificates read anew", certificate=str(self._files.certificate))
            return loaded.configuration()


@contextlib.contextmanager
def _told(option: str, path: Path) -> Iterator[None]:
    """What the system says of a file, with the option that names it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error


def _signature(files: TlsFiles) -> _Signature:
    found = []
    for option, path in files.options():
        with _told(option, path):
            stat = path.stat()
        found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def _load(files: TlsFiles) -> _Loaded:
    contents = []
    for option, path in files.options():
        with _told(option, path):
            raw = path.read_bytes()
        if len(raw) > _LARGEST:
            raise UsageError(f"{option} {path}: it has {len(raw)} bytes, and {_LARGEST} are the most")
        contents.append(raw)
    loaded = _Loaded(*contents)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--tls-cert {files.certificate} and --tls-key {files.key} are no certificate and its key,"
            f" as PEM and without a password ({error})"
        ) from error
    try:
        context.load_verify_locations(cadata=loaded.client_ca.decode("ascii"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--tls-client-ca {files.client_ca}: no certificates as PEM ({error})") from error
    return loaded
