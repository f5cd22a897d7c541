"""A certificate authority of a test's own, and files as they are mounted."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from xds_server.config import TlsFiles

_DAY = timedelta(days=1)
_EITHER = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """As files, each replaced in one step; the key comes first, so between the two they do not fit."""
        files = directory / f"{name}.crt", directory / f"{name}.key"
        for path, content in ((files[1], self.key), (files[0], self.certificate)):
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.replace(path)
        return files


class Authority:
    """Signs what it is asked to."""

    def __init__(self, name: str = "test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self,
        *,
        dns: Sequence[str] = (),
        uris: Sequence[str] = (),
        ips: Sequence[str] = (),
        valid: timedelta = _DAY,
        usages: Sequence[ObjectIdentifier] = _EITHER,
        common_name: str = "client",
    ) -> Issued:
        """A certificate with these alternative names, for so long; a negative time is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        names += [x509.UniformResourceIdentifier(each) for each in uris]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ips]
        builder = self._builder(subject, key.public_key(), valid)
        if names:
            # RFC 5280, 4.2.1.6: critical where there is no other name.
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not common_name)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, SHA256())
        return Issued(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def server_files(self, directory: Path) -> TlsFiles:
        """What a control plane at 127.0.0.1 is started with."""
        certificate, key = self.issue(dns=["localhost"], ips=["127.0.0.1"]).write(directory, "server")
        ca = directory / "ca.crt"
        ca.write_bytes(self.pem)
        return TlsFiles(certificate=certificate, key=key, client_ca=ca)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, valid: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * _DAY)
            .not_valid_after(now + valid)
        )
