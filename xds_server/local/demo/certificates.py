"""A certificate authority that exists as long as its process, and writes certificate files.

``python3 -m xds_server.local.demo.certificates DIRECTORY ENVOY...`` issues the certificates for
`docker-compose.yml`; each further run rotates all of them. Requires the package cryptography.
"""

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from xds_server.base.files import replace_file

TRUST_DOMAIN: Final = "spiffe://xds-shadow.demo"
CONTROL_PLANE: Final = "control-plane"
"""The DNS name of all replicas in the containers' network, and in their certificate."""

_DAY = timedelta(days=1)
_MONTH = timedelta(days=30)
_EITHER = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key in PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write the files, each atomically. The key is first, so the two do not match for a moment. Only the
        owner can read the key."""
        files = directory / f"{name}.crt", directory / f"{name}.key"
        for path, content in ((files[1], self.key), (files[0], self.certificate)):
            replace_file(path, content, private=True)
        return files


class Authority:
    """Signs certificates. `pem` is its own certificate, which is valid for the time `valid`."""

    def __init__(self, name: str = "xds-shadow demo", *, valid: timedelta = _DAY) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), valid)
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
        """A certificate with these alternative names and this validity; with a negative time it has
        expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        names += [x509.UniformResourceIdentifier(each) for each in uris]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ips]
        builder = self._builder(subject, key.public_key(), valid)
        if names:
            # RFC 5280, 4.2.1.6: critical if there is no subject.
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not common_name)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = builder.sign(self._key, SHA256())
        return Issued(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

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


def issue_all(directory: Path, envoys: Sequence[str]) -> None:
    """Write ``tls.crt``, ``tls.key`` and ``ca.crt`` into one directory for the control plane and one for each
    Envoy, whose SPIFFE ID ends in its name."""
    authority = Authority(valid=_MONTH)
    issued = {CONTROL_PLANE: authority.issue(dns=[CONTROL_PLANE], valid=_MONTH)}
    issued |= {name: authority.issue(uris=[f"{TRUST_DOMAIN}/{name}"], valid=_MONTH) for name in envoys}
    for name, each in issued.items():
        (directory / name).mkdir(exist_ok=True)
        replace_file(directory / name / "ca.crt", authority.pem, private=True)
        each.write(directory / name, "tls")


def main() -> int:
    """Issue certificates as the command line says."""
    program = "python3 -m xds_server.local.demo.certificates"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("envoy", nargs="+", help="name of an Envoy")
    arguments = parser.parse_args()
    issue_all(arguments.directory, arguments.envoy)
    print(f"certificates issued: {CONTROL_PLANE}, {', '.join(arguments.envoy)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
