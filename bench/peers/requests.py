"""The requests of an Envoy, as bytes. What is alike for all streams is made once and shared by them; an
acknowledgement of 10,000 names is a join of three pieces.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from bench.peers.wire import Head, field

ENVOY: Final = base_pb2.Node(
    id="bench",
    user_agent_name="envoy",
    user_agent_build_version={"version": {"major_number": 1, "minor_number": 40}},
)
"""Who the clients say they are: a server may serve other Envoys in other ways."""

_NODE: Final = ENVOY.SerializeToString()


class Requests(ABC):
    """Of one variant. `names` are the clusters whose assignments are asked for; all else is a wildcard, by
    an empty list, as Envoy does it."""

    method: str

    def __init__(self, endpoint: bytes, names: Iterable[str]) -> None:
        self._endpoint = endpoint
        self._names = dict.fromkeys(names)

    @abstractmethod
    def opening(self, type_url: bytes, *, first: bool, resume: bool) -> bytes:
        """The first request for a type; the stream's first says who asks, and one that comes back says what
        it has."""

    @abstractmethod
    def ack(self, head: Head) -> bytes:
        """The acknowledgement of a response."""

    @abstractmethod
    def renamed(self, last: Head) -> bytes:
        """Tells the change of names that was last set; `last` is the last response with assignments."""

    @abstractmethod
    def learn(self, raw: bytes) -> tuple[bytes, int]:
        """Remember the versions that a response brings, for coming back; its type and number of resources."""

    def rename(self, subscribe: Sequence[str], unsubscribe: Sequence[str]) -> None:
        """Ask for other assignments from now on."""
        for name in unsubscribe:
            del self._names[name]
        self._names |= dict.fromkeys(subscribe)


class SotwRequests(Requests):
    """DiscoveryRequest: every request lists all names again."""

    method = "StreamAggregatedResources"

    def __init__(self, endpoint: bytes, names: Iterable[str]) -> None:
        super().__init__(endpoint, names)
        self._versions: dict[bytes, bytes] = {}
        self._listed = b""
        self.rename((), ())

    def rename(self, subscribe: Sequence[str], unsubscribe: Sequence[str]) -> None:
        super().rename(subscribe, unsubscribe)
        self._listed = b"".join(field(3, name.encode()) for name in self._names)

    def opening(self, type_url: bytes, *, first: bool, resume: bool) -> bytes:
        version = self._versions.get(type_url, b"") if resume else b""
        parts = (
            field(1, version) if version else b"",
            field(2, _NODE) if first else b"",
            self._names_of(type_url),
            field(4, type_url),
        )
        return b"".join(parts)

    def ack(self, head: Head) -> bytes:
        tail = field(4, head.type_url) + field(5, head.nonce)
        return b"".join((field(1, head.version), self._names_of(head.type_url), tail))

    def renamed(self, last: Head) -> bytes:
        return self.ack(last)

    def learn(self, raw: bytes) -> tuple[bytes, int]:
        response = discovery_pb2.DiscoveryResponse.FromString(raw)
        type_url = response.type_url.encode()
        self._versions[type_url] = response.version_info.encode()
        return type_url, len(response.resources)

    def _names_of(self, type_url: bytes) -> bytes:
        return self._listed if type_url == self._endpoint else b""


class DeltaRequests(Requests):
    """DeltaDiscoveryRequest: only what changes is told."""

    method = "DeltaAggregatedResources"

    def __init__(self, endpoint: bytes, names: Iterable[str]) -> None:
        super().__init__(endpoint, names)
        self._versions: dict[bytes, dict[str, str]] = {}
        self._change = b""
        self._openings: dict[tuple[bytes, bool], bytes] = {}

    def rename(self, subscribe: Sequence[str], unsubscribe: Sequence[str]) -> None:
        super().rename(subscribe, unsubscribe)
        for name in unsubscribe:
            # Given up, it is forgotten; a server need not say that it is gone.
            self._versions.get(self._endpoint, {}).pop(name, None)
        new = [field(3, name.encode()) for name in subscribe]
        old = [field(4, name.encode()) for name in unsubscribe]
        self._change = b"".join((field(2, self._endpoint), *new, *old))
        self._openings.clear()

    def opening(self, type_url: bytes, *, first: bool, resume: bool) -> bytes:
        body = self._openings.get((type_url, resume))
        if body is None:
            names = self._names if type_url == self._endpoint else ()
            asked = [field(3, name.encode()) for name in names]
            known = self._versions.get(type_url, {}) if resume else {}
            held = [
                field(5, field(1, name.encode()) + field(2, version.encode()))
                for name, version in known.items()
            ]
            body = self._openings[type_url, resume] = b"".join((field(2, type_url), *asked, *held))
        return field(1, _NODE) + body if first else body

    def ack(self, head: Head) -> bytes:
        return field(2, head.type_url) + field(6, head.nonce)

    def renamed(self, last: Head) -> bytes:  # noqa: ARG002 - delta has no need of it
        return self._change

    def learn(self, raw: bytes) -> tuple[bytes, int]:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(raw)
        type_url = response.type_url.encode()
        known = self._versions.setdefault(type_url, {})
        known |= {resource.name: resource.version for resource in response.resources}
        for name in response.removed_resources:
            known.pop(name, None)
        self._openings.clear()
        return type_url, len(response.resources)
