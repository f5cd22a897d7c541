"""Identifiers that several rooms use. They are types of their own so that mypy keeps them apart."""

from typing import NamedTuple, NewType

TypeUrl = NewType("TypeUrl", str)
"""An xDS resource type, ``type.googleapis.com/…``."""

Version = NewType("Version", str)
"""The version of a resource or of a type: a short hash. Equal content has equal versions."""

Nonce = NewType("Nonce", str)
"""Identifies a response on one stream (xds_protocol.rst, "ACK/NACK and resource type instance version")."""

NodeId = NewType("NodeId", str)
"""``node.id`` as the Envoy sent it."""

StreamId = NewType("StreamId", int)
"""Numbers the streams of a server process, starting at 1."""


class NamespacedName(NamedTuple):
    """The name of a namespaced Kubernetes object; sorts by namespace, then name. `cluster` is empty for the
    cluster of this program, which is the only one today. With it, keys of several clusters would not
    collide."""

    namespace: str
    name: str
    cluster: str = ""

    def __str__(self) -> str:
        named = f"{self.namespace}/{self.name}"
        return f"{self.cluster}:{named}" if self.cluster else named
