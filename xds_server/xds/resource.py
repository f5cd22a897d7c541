"""A resource: serialized and hashed once, framed once for each variant, shared by all streams."""

from hashlib import blake2b
from typing import Final, NamedTuple

from xds_server.base.ids import TypeUrl, Version
from xds_server.base.sizes import MIB
from xds_server.xds.framing import field, text

_DIGEST_BYTES = 8
_ENVELOPE_BYTES: Final = 256
"""What a response adds to a resource besides its name: its version, its type and the lengths."""

MAX_RESPONSE_BYTES: Final = 4 * MIB
"""The most bytes of a response that can be split, without its envelope."""


class ResourceKey(NamedTuple):
    """Identifies a resource among those of all types."""

    type_url: TypeUrl
    name: str


class Resource:
    """A named, serialized Envoy message. Immutable.

    `body` is the deterministic serialization of the message. `refs` are the resources that must be served
    with it. `scope` is what a view may be limited by; a resource without a scope is in every view. Two
    resources are equal if type, name and body are. The version is a hash of the body, or of `identity` if a
    hash of the body would reveal a secret; `identity` must differ whenever the body does. `claims` are values
    that two resources of the same type and parent must not share, such as the domains of the virtual hosts in
    a route configuration, without trailing dots. They follow from the body.

    A route configuration with `vhds` has its virtual hosts as separate resources, named ``<route
    configuration>/<virtual host>``. `xds.variants` inlines them for clients that do not support VHDS.
    """

    # Slots instead of `cached_property`: a dictionary for each resource takes as much memory as its frames.
    __slots__ = (
        *("key", "body", "refs", "scope", "vhds", "claims", "fingerprint", "version"),
        *("_sotw_frame", "_delta_frame", "_host_frame"),
    )

    def __init__(
        self,
        key: ResourceKey,
        body: bytes,
        refs: tuple[ResourceKey, ...] = (),
        *,
        scope: str = "",
        vhds: bool = False,
        identity: bytes | None = None,
        claims: tuple[str, ...] = (),
    ) -> None:
        self.key = key
        self.body = body
        self.refs = refs
        self.scope = scope
        self.vhds = vhds
        self.claims = claims
        content = body if identity is None else identity
        named = f"{key.type_url}\0{key.name}\0".encode()
        digest = blake2b(named + content, digest_size=_DIGEST_BYTES).digest()
        self.fingerprint = int.from_bytes(digest, "big")
        self.version = Version(digest.hex())
        self._sotw_frame = self._delta_frame = self._host_frame = b""

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def size(self) -> int:
        """The most bytes that it takes in a response."""
        return len(self.body) + 2 * len(self.key.name.encode()) + _ENVELOPE_BYTES

    @property
    def too_large(self) -> bool:
        """Whether it fits into no response."""
        return self.size > MAX_RESPONSE_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and self.key == other.key and self.body == other.body

    def __hash__(self) -> int:
        return hash((self.key, self.version))

    def __repr__(self) -> str:
        return f"Resource({self.key.name!r}, {self.version}, {len(self.body)} bytes)"

    @property
    def sotw_frame(self) -> bytes:
        """Field ``resources`` of a DiscoveryResponse (discovery.proto): an ``Any``."""
        if not self._sotw_frame:
            self._sotw_frame = field(2, self._any)
        return self._sotw_frame

    @property
    def delta_frame(self) -> bytes:
        """Field ``resources`` of a DeltaDiscoveryResponse: a ``Resource`` with version, ``Any``, name."""
        if not self._delta_frame:
            framed = text(1, self.version) + field(2, self._any) + text(3, self.key.name)
            self._delta_frame = field(2, framed)
        return self._delta_frame

    @property
    def host_frame(self) -> bytes:
        """Field ``virtual_hosts`` of a RouteConfiguration (route.proto), of a virtual host."""
        if not self._host_frame:
            self._host_frame = field(2, self.body)
        return self._host_frame

    @property
    def _any(self) -> bytes:
        return text(1, self.key.type_url) + (field(2, self.body) if self.body else b"")
