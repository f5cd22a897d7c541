"""The keys of ``node.metadata`` with which an Envoy selects its listener and namespaces.

`bootstrap` writes them, and `server/views.py` reads them.
"""

from typing import Final

from xds_server.core.keys import PREFIX

ACCESS_LOGS: Final = f"{PREFIX}access-logs"
"""Whether the Envoy may send access logs to the cluster of the control plane, which its bootstrap names."""

GATEWAY_ADDRESS: Final = f"{PREFIX}gateway-address"
GATEWAY_PORT: Final = f"{PREFIX}gateway-port"
NAMESPACES: Final = f"{PREFIX}namespaces"
