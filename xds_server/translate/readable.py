"""A resource as plain data: the JSON form of its message, for people, files and Envoy's static
configuration."""

from collections.abc import Mapping
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

# Imported so that every message type in an Any is registered.
import xds_server.translate.translate  # noqa: F401
from xds_server.base.errors import XdsShadowError
from xds_server.base.ids import TypeUrl
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

_MESSAGES: Final[Mapping[TypeUrl, type[Message]]] = {
    LISTENER: listener_pb2.Listener,
    ROUTE: route_pb2.RouteConfiguration,
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    SECRET: secret_pb2.Secret,
}
_STRUCTS: Final = frozenset({"json_format", "filter_metadata"})
"""Fields that hold a ``Struct``. Protobuf gives the keys of a map in another order in each process."""

_HIDDEN: Final = {"secret": {"inline_string": "(hidden)"}}
Json = dict[str, Any]


def readable(type_url: TypeUrl, body: bytes) -> Json:
    """The fields of a resource, named as in Envoy's documentation. Of a Secret, only the name is included,
    because the result goes to terminals, files and reviews.

    Raises:
        XdsShadowError: a control plane of another version made the resource, with messages that this version
            does not know.
    """
    try:
        message = _MESSAGES[type_url].FromString(body)
        found: Json = _name_first(json_format.MessageToDict(message, preserving_proto_field_name=True))
    except (KeyError, TypeError) as error:
        raise XdsShadowError(
            f"a resource has a type that this version does not know ({error}); use the version of the server"
        ) from error
    return {**found, "generic_secret": _HIDDEN} if type_url == SECRET else found


def _name_first(value: Any) -> Any:
    """The same with the name as the first field of each message; in the order of field numbers, a route's
    name is the last."""
    match value:
        case {"name": name} if "@type" not in value:
            return {"name": name, **_name_first({key: each for key, each in value.items() if key != "name"})}
        case dict():
            return {
                key: _sorted(each) if key in _STRUCTS else _name_first(each) for key, each in value.items()
            }
        case list():
            return [_name_first(each) for each in value]
    return value


def _sorted(value: Any) -> Any:
    match value:
        case dict():
            return {key: _sorted(each) for key, each in sorted(value.items())}
        case list():
            return [_sorted(each) for each in value]
    return value
