"""Identifies a client by the ``node`` in its first request (rule 1)."""

from typing import Final

from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict

from xds_server.base.errors import RequestError, RequestLimitError
from xds_server.base.ids import NodeId
from xds_server.xds.stream_events import Node

MAX_METADATA_BYTES: Final = 64 * 1024
MAX_TEXT_BYTES: Final = 1024
"""For each text of a node. They are kept as long as the stream, and shown in `status`."""

_ENVOY: Final = "envoy"
_LOG_FILTERS: Final = "envoy.access_loggers.extension_filters"
_MOST_FILTERS: Final = 20


def node_of(message: base_pb2.Node) -> Node:
    """The node in the message.

    Raises:
        RequestError: a field cannot be read.
        RequestLimitError: a field is too large.
    """
    if message.metadata.ByteSize() > MAX_METADATA_BYTES:
        raise RequestLimitError(f"node.metadata has more than {MAX_METADATA_BYTES:,} bytes")
    for name in ("id", "cluster", "user_agent_name"):
        # Count characters first: encoding megabytes is expensive.
        text = getattr(message, name)
        if len(text) > MAX_TEXT_BYTES or len(text.encode()) > MAX_TEXT_BYTES:
            raise RequestLimitError(f"node.{name} has more than {MAX_TEXT_BYTES:,} bytes")
    try:
        metadata = MessageToDict(message.metadata)
    except (JsonError, ValueError) as error:
        raise RequestError(f"node.metadata cannot be read: {error}") from error
    filters = [each.name for each in message.extensions if each.category == _LOG_FILTERS][:_MOST_FILTERS]
    version = message.user_agent_build_version.version
    build = f"{version.major_number}.{version.minor_number}.{version.patch}"
    return Node(
        id=NodeId(message.id),
        cluster=message.cluster,
        metadata=metadata,
        build=f"{message.user_agent_name} {build}".strip() if message.user_agent_name else "",
        release=(version.major_number, version.minor_number) if message.user_agent_name == _ENVOY else (0, 0),
        log_filters=frozenset(name for name in filters if len(name) <= MAX_TEXT_BYTES),
    )
