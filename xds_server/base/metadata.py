"""Keys of ``node.metadata`` with which an Envoy asks for a configuration of its own."""

from typing import Final

GATEWAY_ADDRESS: Final = "xds-shadow.io/gateway-address"
GATEWAY_PORT: Final = "xds-shadow.io/gateway-port"
NAMESPACES: Final = "xds-shadow.io/namespaces"
