"""Mutual TLS for the connections of Envoys. Certificates are reloaded when their files change.

gRPC asks for the certificates at every handshake, so a rotation affects new connections only and closes no
stream. If the files do not match, as in the middle of a rotation, the last valid certificates stay in use.
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

_log = structlog.stdlib.get_logger(__name__)
_LARGEST: Final = MIB
Signature = tuple[tuple[int, int, int], ...]


class Loaded(NamedTuple):
    """The contents of the files."""

    certificate: bytes
    key: bytes
    client_ca: bytes

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.client_ca
        )


class Certificates:
    """The certificates of the files: the last ones that were valid."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files.

        Raises:
            UsageError: a file cannot be read or is invalid. The message has its option and path.
        """
        self._files = files
        self._lock = threading.Lock()
        self._limit = LogLimit()
        self._seen = signature(files)
        self._loaded = load(files)

    def credentials(self) -> grpc.ServerCredentials:
        """The credentials of a server's port. Clients must present a certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.configuration(),
            self._changed,  # type: ignore[arg-type]  # None: nothing changed
            require_client_authentication=True,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificates, or None if they did not change. gRPC calls this from its own threads."""
        with self._lock:
            try:
                seen = signature(self._files)
                if seen == self._seen:
                    return None
                loaded = load(self._files)
                if signature(self._files) != seen:
                    return None  # in the middle of a rotation; the next handshake reads the files again
            except UsageError as error:
                # The next handshake reads the files again: the cause may be a lack of file descriptors.
                left_out = self._limit.admit(str(error), now=time.monotonic())
                if left_out is not None:
                    _log.error(
                        "certificates rejected",
                        problem=str(error),
                        **omitted(left_out),
                    )
                return None
            self._seen = seen
            if loaded == self._loaded:
                return None
            self._loaded = loaded
            _log.info("certificates reloaded", certificate=str(self._files.certificate))
            return loaded.configuration()


@contextlib.contextmanager
def _errors_name(option: str, path: Path) -> Iterator[None]:
    """Turn an error of the system into one that names the option and the file."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error


def signature(files: TlsFiles) -> Signature:
    """Changes when a file does.

    Raises:
        UsageError: a file cannot be read.
    """
    found = []
    for option, path in files.options():
        with _errors_name(option, path):
            stat = path.stat()
        found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def load(files: TlsFiles) -> Loaded:
    """Read the files.

    Raises:
        UsageError: a file cannot be read or is invalid. The message has its option and path.
    """
    contents = []
    for option, path in files.options():
        with _errors_name(option, path):
            raw = path.read_bytes()
        if len(raw) > _LARGEST:
            raise UsageError(f"{option} {path}: the file has {len(raw)} bytes; the maximum is {_LARGEST}")
        contents.append(raw)
    loaded = Loaded(*contents)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--tls-cert {files.certificate} and --tls-key {files.key} must be a certificate and its private"
            f" key, as PEM without a password ({error})"
        ) from error
    try:
        context.load_verify_locations(cadata=loaded.client_ca.decode("ascii"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--tls-client-ca {files.client_ca}: the file must contain PEM certificates ({error})"
        ) from error
    return loaded
