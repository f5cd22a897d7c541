"""Who a client says it is, from the ``node`` of its first request (line 1)."""

from typing import Final

from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict

from xds_server.ads.events import Node
from xds_server.base.errors import RequestError, RequestLimitError
from xds_server.base.ids import NodeId

_NODE_BYTES: Final = 64 * 1024
"""Of ``node.metadata``, and of the id and the cluster together: they are kept as long as the stream."""

_ENVOY: Final = "envoy"


def node_of(message: base_pb2.Node) -> Node:
    """What the message says.

    Raises:
        RequestError: it cannot be read.
        RequestLimitError: it says too much.
    """
    if message.metadata.ByteSize() > _NODE_BYTES or len(message.id) + len(message.cluster) > _NODE_BYTES:
        raise RequestLimitError(
            f"more than {_NODE_BYTES:,} bytes in node.metadata, or in node.id and node.cluster"
        )
    try:
        metadata = MessageToDict(message.metadata)
    except (JsonError, ValueError) as error:
        raise RequestError(f"node.metadata cannot be read: {error}") from error
    version = message.user_agent_build_version.version
    build = f"{version.major_number}.{version.minor_number}.{version.patch}"
    return Node(
        id=NodeId(message.id),
        cluster=message.cluster,
        metadata=metadata,
        build=f"{message.user_agent_name} {build}".strip() if message.user_agent_name else "",
        release=(version.major_number, version.minor_number) if message.user_agent_name == _ENVOY else (0, 0),
    )
