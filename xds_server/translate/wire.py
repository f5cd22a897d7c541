"""Helpers for protobuf messages and resources."""

from envoy.config.core.v3 import config_source_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from xds_server.xds.resource import Resource, ResourceKey


def serialized(message: Message) -> bytes:
    """The message's deterministic serialization: map entries are sorted."""
    return message.SerializeToString(deterministic=True)


def packed(message: Message) -> Any:
    """The message as an ``Any`` with deterministic contents."""
    return Any(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=serialized(message))


def resource(
    key: ResourceKey,
    message: Message,
    refs: tuple[ResourceKey, ...] = (),
    *,
    scope: str = "",
    vhds: bool = False,
    claims: tuple[str, ...] = (),
) -> Resource:
    """The message as a resource; `scope` is its namespace, if it has one."""
    return Resource(key, serialized(message), refs, scope=scope, vhds=vhds, claims=claims)


def seconds(value: float) -> Duration:
    """A duration with millisecond precision."""
    millis = round(value * 1000)
    return Duration(seconds=millis // 1000, nanos=millis % 1000 * 1_000_000)


def over_ads() -> config_source_pb2.ConfigSource:
    """A configuration source for the ADS stream."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )


def uint32(value: int) -> UInt32Value:
    return UInt32Value(value=value)


def true() -> BoolValue:
    return BoolValue(value=True)
