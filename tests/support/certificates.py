"""A certificate authority of a test's own."""

from pathlib import Path

from xds_server.local.demo.certificates import Authority as DemoAuthority
from xds_server.local.demo.certificates import Issued
from xds_server.server.config import TlsFiles

__all__ = ["Authority", "Issued"]


class Authority(DemoAuthority):
    """Signs what it is asked to."""

    def server_files(self, directory: Path) -> TlsFiles:
        """What a control plane at 127.0.0.1 is started with."""
        certificate, key = self.issue(dns=["localhost"], ips=["127.0.0.1"]).write(directory, "server")
        ca = directory / "ca.crt"
        ca.write_bytes(self.pem)
        return TlsFiles(certificate=certificate, key=key, client_ca=ca)
