"""The configuration of the control plane, validated. `cli` creates it; `app` passes its values on."""

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
ADMIN_PORT: Final = 18080
DEFAULT_ADMIN_ADDRESS: Final = f"127.0.0.1:{ADMIN_PORT}"
DEFAULT_HTTP_ADDRESS: Final = "127.0.0.1:18081"
DEFAULT_KUBE_ADDRESS: Final = "127.0.0.1:18082"
PEER_PORT: Final = 18083
DEFAULT_PEER_ADDRESS: Final = f"127.0.0.1:{PEER_PORT}"
DEFAULT_GATEWAY_PORT: Final = 8080

_HOST: Final = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_LABEL: Final = re.compile(LABEL)


def check_route_configs(names: Iterable[str]) -> None:
    """Check the names of route configurations.

    Raises:
        UsageError: a name is invalid.
    """
    for name in names:
        if not _LABEL.fullmatch(name):
            raise UsageError(
                f"--route-config {name!r}: a name has at most 63 lowercase letters, digits and -,"
                " such as internal"
            )


def check_namespaces(names: Iterable[str], *, option: str = "--namespace") -> None:
    """Check names of namespaces.

    Raises:
        UsageError: a name is invalid.
    """
    for name in names:
        if not _LABEL.fullmatch(name):
            raise UsageError(
                f"{option} {name!r}: the name of a namespace has at most 63 lowercase letters, digits and -,"
                " such as staging"
            )


class RenderFormat(StrEnum):
    """The output formats of ``render``."""

    YAML = "yaml"
    JSON = "json"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """The source of Kubernetes objects: the directories `manifests`, or a cluster if there are none.

    With `allow_loopback_endpoints` the objects of a cluster may have loopback addresses; those of files
    always may. Services are served under their names in `cluster_domains`.
    """

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
            raise UsageError(
                "--manifests reads files, --kubeconfig and --context a cluster; give one of the two"
            )
        if self.manifests and self.namespaces:
            raise UsageError(
                "--namespace selects namespaces of a cluster, and --manifests reads all; leave it out"
            )
        check_namespaces(self.namespaces)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """The replica's identity and the namespace of the Lease. The holder of the Lease writes the Events."""

    identity: str
    lease_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: the server certificate with its intermediate certificates, its private key, and the CA
    certificates that verify client certificates."""

    certificate: Path
    key: Path
    client_ca: Path

    def options(self) -> tuple[tuple[str, Path], ...]:
        """Each file with its option."""
        return (
            ("--tls-cert", self.certificate),
            ("--tls-key", self.key),
            ("--tls-client-ca", self.client_ca),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The protection of the xDS server. Without `tls` it serves plain text.

    `clients` maps the names in a client certificate to the namespaces that the client may see; None stands
    for all. If `clients` itself is None, every valid certificate may see all namespaces.
    """

    tls: TlsFiles | None = None
    clients: Mapping[str, frozenset[str] | None] | None = None


PLAIN: Final = Security()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersConfig:
    """The other replicas, whose names are resolved anew each time, and the address to listen on for them."""

    peers: tuple[Address, ...]
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The configuration of `serve`.

    Attributes:
        route_configs: names of additional route configurations, for listeners that Envoys define themselves.
        gateway: the content of `gateway_file` at the start.
        replica: the identity of this replica among the others.
        peers: None: it is the only replica, or the verdicts are those of its own Envoys.
        events: None disables Kubernetes Events.
        drain_s: over how many seconds streams are closed at the end.
        plaintext_credentials: send credentials to Envoys without TLS too.
        page: serve the live page on an `http_address` that is not loopback.
        api: serve verdicts on an `http_address` that is not loopback.
        page_hosts: host names of the live page besides localhost and the address.
        own_addresses: canonical IP addresses of this control plane.
        namespace: the namespace of its replicas.
    """

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
    replica: str = ""
    peers: PeersConfig | None = None
    events: EventsConfig | None = None
    ready_file: Path | None = None
    drain_s: float = 2.0
    security: Security = PLAIN
    insecure: bool = False
    plaintext_credentials: bool = False
    page: bool = False
    api: bool = False
    page_hosts: tuple[str, ...] = ()
    own_addresses: frozenset[str] = frozenset()
    namespace: str = ""

    @property
    def installation(self) -> PolicyFile:
        """The policy of every shadow."""
        sendable = self.security.tls is not None or self.plaintext_credentials
        return replace(self.policy, credentials=sendable)

    def __post_init__(self) -> None:
        check_route_configs(self.route_configs)
        for name in self.page_hosts:
            if not _HOST.fullmatch(name):
                raise UsageError(f"--page-host {name!r} is not a host name, such as shadows.example.com")
        if not (self.security.tls or self.insecure or self.xds_address.is_loopback):
            raise UsageError(
                f"--xds-address {self.xds_address} is not on loopback, and without TLS every client that"
                " reaches it can read routes and addresses; give --tls-cert, --tls-key and --tls-client-ca,"
                " or --insecure on a trusted network"
            )
        if self.peers and not (self.security.tls or self.insecure or self.peers.address.is_loopback):
            raise UsageError(
                f"--peer-address {self.peers.address} is not on loopback, and without TLS replicas are known"
                " by their addresses alone; give --tls-cert, --tls-key and --tls-client-ca, or --insecure on"
                " a trusted network"
            )
