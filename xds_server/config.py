"""What the command line was asked to do, as checked values. Read only by `app`, `demo` and `cli`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from xds_server.base.errors import UsageError

DEFAULT_XDS_ADDRESS: Final = "0.0.0.0:18000"
DEFAULT_ADMIN_ADDRESS: Final = "127.0.0.1:18080"
DEFAULT_GATEWAY_PORT: Final = 8080
MAX_PORT: Final = 65535

GATEWAY_PORT_METADATA: Final = "xds-shadow.io/gateway-port"
"""Key in ``node.metadata`` with which an Envoy asks for a gateway port of its own."""


class Address(NamedTuple):
    """Where to listen or connect. Port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, option: str) -> Address:
    """``HOST:PORT`` or ``[IPv6]:PORT``.

    Raises:
        UsageError: it is neither; the message names `option`.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in bare) != host.startswith("[") or not port.isdecimal():
        raise UsageError(f"{option}: {text!r} is not HOST:PORT, such as 127.0.0.1:18000 or [::1]:18000")
    if int(port) > MAX_PORT:
        raise UsageError(f"{option}: port {port} is above {MAX_PORT}")
    return Address(bare, int(port))


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
class ServeConfig:
    """Everything that `serve` needs."""

    source: SourceConfig
    expose_all: bool = False
    xds_address: Address
    admin_address: Address
    gateway_port: int = DEFAULT_GATEWAY_PORT
    ready_file: Path | None = None
    drain_s: float = 2.0
