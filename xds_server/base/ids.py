"""Identifiers that cross package borders, as types of their own so that mypy keeps them apart."""

from typing import NamedTuple, NewType

TypeUrl = NewType("TypeUrl", str)
"""An xDS resource type, ``type.googleapis.com/…``."""

Version = NewType("Version", str)
"""A version of a resource or of a whole type: a short hash, equal wherever the bytes are equal."""

Nonce = NewType("Nonce", str)
"""Names one response on one stream (xds_protocol.rst, "ACK/NACK and resource type instance version")."""

NodeId = NewType("NodeId", str)
"""``node.id`` as the Envoy sent it."""

StreamId = NewType("StreamId", int)
"""Numbers the streams of one server process, from 1."""


class NamespacedName(NamedTuple):
    """The name of a namespaced Kubernetes object; sorts by namespace, then name. `cluster` is empty for the
    cluster that this program belongs to: there is one today, and the keys of several will not collide."""

    namespace: str
    name: str
    cluster: str = ""

    def __str__(self) -> str:
        named = f"{self.namespace}/{self.name}"
        return f"{self.cluster}:{named}" if self.cluster else named
