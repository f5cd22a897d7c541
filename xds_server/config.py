"""What the command line was asked to do, as checked values. Read only by `app`, `demo` and `cli`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.shadows.policy import NO_FILE, PolicyFile

DEFAULT_XDS_ADDRESS: Final = "0.0.0.0:18000"
DEFAULT_ADMIN_ADDRESS: Final = "127.0.0.1:18080"
DEFAULT_HTTP_ADDRESS: Final = "127.0.0.1:18081"
DEFAULT_KUBE_ADDRESS: Final = "127.0.0.1:18082"
DEFAULT_GATEWAY_PORT: Final = 8080


class Form(StrEnum):
    """What ``render -o`` takes."""

    YAML = "yaml"
    JSON = "json"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where the Kubernetes objects come from: directories of files if any are given, else a cluster."""

    manifests: tuple[Path, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    namespaces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.manifests and (self.kubeconfig or self.context):
            raise UsageError("--manifests reads files and --kubeconfig a cluster; give one of the two")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Who writes Events. `identity` tells the replicas apart that share the Lease of `lease_namespace`."""

    identity: str
    lease_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Everything that `serve` needs. Without `events` none are written. Of more than one of `workers` each is
    a process of its own."""

    source: SourceConfig
    expose_all: bool = False
    policy: PolicyFile = NO_FILE
    xds_address: Address
    admin_address: Address
    http_address: Address
    gateway_port: int = DEFAULT_GATEWAY_PORT
    events: EventsConfig | None = None
    ready_file: Path | None = None
    drain_s: float = 2.0
    workers: int = 1
