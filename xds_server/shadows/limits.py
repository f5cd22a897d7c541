"""How much one Service may ask of every Envoy. The oldest stay; what exceeds a limit is left out and
named.
"""

from dataclasses import dataclass
from typing import Final

from xds_server.shadows.policy import Layer
from xds_server.shadows.terms import MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one Service; `endpoints` of one port, `virtual_host_bytes` of one port's virtual host,
    `mirror_memory` in bytes of mirrored bodies in flight. `namespace_memory` is what all Services of the
    namespace may take of an Envoy together, in bytes (`ledger`)."""

    shadows: int = 16
    ports: int = 16
    hosts: int = 64
    endpoints: int = 5_000
    virtual_host_bytes: int = MIB // 2
    mirror_memory: int = 512 * MIB
    namespace_memory: int = 128 * MIB


DEFAULT: Final = Limits()


def limits_of(_namespace: Layer, _installation: Layer) -> Limits:
    """What holds in a namespace."""
    return DEFAULT
