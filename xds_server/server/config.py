"""What the command line was asked to do, as checked values. Read by `app`, `demo`, `cli` and `serving`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from xds_server.base.address import Address
from xds_server.base.dns import LABEL
from xds_server.base.errors import UsageError
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.layers import NO_FILE, PolicyFile
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig

DEFAULT_XDS_ADDRESS: Final = "127.0.0.1:18000"
DEFAULT_ADMIN_ADDRESS: Final = "127.0.0.1:18080"
DEFAULT_HTTP_ADDRESS: Final = "127.0.0.1:18081"
DEFAULT_KUBE_ADDRESS: Final = "127.0.0.1:18082"
DEFAULT_GATEWAY_PORT: Final = 8080


_HOST: Final = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


_LABEL: Final = re.compile(LABEL)


def check_route_configs(names: Iterable[str]) -> None:
    """Names of route configurations for listeners of others.

    Raises:
        UsageError: one cannot be a name.
    """
    for name in names:
        if not _LABEL.fullmatch(name):
            raise UsageError(
                f"--route-config {name!r}: write small letters, digits and -, at most 63, such as internal"
            )


class RenderFormat(StrEnum):
    """The output formats of ``render``."""

    YAML = "yaml"
    JSON = "json"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where the Kubernetes objects come from: directories of files if any are given, else a cluster. With
    `allow_loopback_endpoints` a cluster's objects may have loopback addresses, as files always may. Services
    are called by their names in `cluster_domains`."""

    manifests: tuple[Path, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    namespaces: tuple[str, ...] = ()
    allow_loopback_endpoints: bool = False
    cluster_domains: tuple[str, ...] = CLUSTER_DOMAINS

    @property
    def loopback_endpoints(self) -> bool:
        """Whether an endpoint may have a loopback address."""
        return bool(self.manifests) or self.allow_loopback_endpoints

    def __post_init__(self) -> None:
        if self.manifests and (self.kubeconfig or self.context):
            raise UsageError("--manifests reads files and --kubeconfig a cluster; give one of the two")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Who writes Events. `identity` tells the replicas apart that share the Lease of `lease_namespace`."""

    identity: str
    lease_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: the server's certificate with what leads to its root, its key, and the roots that clients'
    certificates come from."""

    certificate: Path
    key: Path
    client_ca: Path

    def options(self) -> tuple[tuple[str, Path], ...]:
        """Each with the option that names it."""
        return (
            ("--tls-cert", self.certificate),
            ("--tls-key", self.key),
            ("--tls-client-ca", self.client_ca),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How the fleet's port is protected: without `tls` it is plain text. `clients` are the namespaces that
    the names in a certificate may see, None being all; if it is None itself, every certificate may see
    everything."""

    tls: TlsFiles | None = None
    clients: Mapping[str, frozenset[str] | None] | None = None


PLAIN: Final = Security()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Everything that `serve` needs. Without `events` none are written. `page`: serve the page and its API
    though `http_address` is not on loopback. `plaintext_credentials`: send credentials to Envoys though they
    are served without TLS. `own_addresses` are those of this process, canonical, and `namespace` is where its
    replicas are. `page_hosts` are the page's names beside localhost and the address. `gateway` is what
    `gateway_file` said at the start. `route_configs` are names of further route configurations, for listeners
    that Envoys have of their own."""

    source: SourceConfig
    expose_all: bool = False
    policy: PolicyFile = NO_FILE
    xds_address: Address
    admin_address: Address
    http_address: Address
    gateway_port: int = DEFAULT_GATEWAY_PORT
    gateway: GatewayConfig = TRANSPARENT
    gateway_file: Path | None = None
    route_configs: tuple[str, ...] = ()
    events: EventsConfig | None = None
    ready_file: Path | None = None
    drain_s: float = 2.0
    security: Security = PLAIN
    insecure: bool = False
    plaintext_credentials: bool = False
    page: bool = False
    page_hosts: tuple[str, ...] = ()
    own_addresses: frozenset[str] = frozenset()
    namespace: str = ""

    @property
    def installation(self) -> PolicyFile:
        """What holds for every shadow."""
        sendable = self.security.tls is not None or self.plaintext_credentials
        return replace(self.policy, credentials=sendable)

    def __post_init__(self) -> None:
        check_route_configs(self.route_configs)
        for name in self.page_hosts:
            if not _HOST.fullmatch(name):
                raise UsageError(f"--page-host {name!r} is not a host name, such as shadows.example.com")
        if not (self.security.tls or self.insecure or self.xds_address.is_loopback):
            raise UsageError(
                f"--xds-address {self.xds_address} is not on loopback, and without TLS whoever reaches it can"
                " read routes and addresses; give --tls-cert, --tls-key and --tls-client-ca, or"
                " --insecure on a network that you trust"
            )
