"""One resource: serialized and hashed once, framed once for each variant, shared by every stream."""

from functools import cached_property
from hashlib import blake2b
from typing import Final, NamedTuple

from xds_server.base.ids import TypeUrl, Version
from xds_server.base.sizes import MIB
from xds_server.xds.framing import field, text

_DIGEST_BYTES = 8
_NO_CLAIMS: Final = frozenset[str]()
_ENVELOPE_BYTES: Final = 256
"""What a response adds to a resource, besides its name: its version, its type, the lengths."""

MAX_RESPONSE_BYTES: Final = 4 * MIB
"""Of a response that can be split, without its envelope."""


class ResourceKey(NamedTuple):
    """Names a resource among those of all types."""

    type_url: TypeUrl
    name: str


class Resource:
    """A named, serialized Envoy message, immutable once made.

    `body` is the message's deterministic serialization; `refs` are the resources without which it must not
    be served. `scope` is what a view may be limited by; what has none is in every view. Two resources are
    equal if type, name and body are. `identity` is what the version is made of instead of the body, where a
    hash of it would tell too much; it has to be as different as the body is. `claims` are what no two
    resources of a type and parent may have at the same time, as the domains of the virtual hosts of a route
    configuration; they follow from the body.

    A route configuration that is `open` leaves its virtual hosts to resources of their own, named ``<route
    configuration>/<virtual host>`` (xDS calls that VHDS); `xds.variants` closes it for those clients that
    cannot have it so.
    """

    # No __slots__: the framed forms are made at first use and kept in the instance's dictionary.

    def __init__(
        self,
        key: ResourceKey,
        body: bytes,
        refs: tuple[ResourceKey, ...] = (),
        *,
        scope: str = "",
        open: bool = False,  # noqa: A002 - the word for it
        identity: bytes | None = None,
        claims: frozenset[str] = _NO_CLAIMS,
    ) -> None:
        self.key = key
        self.body = body
        self.refs = refs
        self.scope = scope
        self.open = open
        self.claims = claims
        content = body if identity is None else identity
        digest = blake2b(
            b"\0".join((key.type_url.encode(), key.name.encode(), content)), digest_size=_DIGEST_BYTES
        )
        self.fingerprint = int.from_bytes(digest.digest(), "big")
        self.version = Version(digest.hexdigest())

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def size(self) -> int:
        """What it takes of a response, at most, in bytes."""
        return len(self.body) + 2 * len(self.key.name.encode()) + _ENVELOPE_BYTES

    @property
    def too_large(self) -> bool:
        """Whether no response may have it."""
        return self.size > MAX_RESPONSE_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and self.key == other.key and self.body == other.body

    def __hash__(self) -> int:
        return hash((self.key, self.version))

    def __repr__(self) -> str:
        return f"Resource({self.key.name!r}, {self.version}, {len(self.body)} bytes)"

    @cached_property
    def sotw_frame(self) -> bytes:
        """Field ``resources`` of a DiscoveryResponse (discovery.proto): an ``Any``."""
        return field(2, self._any)

    @cached_property
    def delta_frame(self) -> bytes:
        """Field ``resources`` of a DeltaDiscoveryResponse: a ``Resource`` with version, ``Any``, name."""
        return field(2, text(1, self.version) + field(2, self._any) + text(3, self.key.name))

    @cached_property
    def host_frame(self) -> bytes:
        """Field ``virtual_hosts`` of a RouteConfiguration (route.proto), of a virtual host."""
        return field(2, self.body)

    @property
    def _any(self) -> bytes:
        return text(1, self.key.type_url) + (field(2, self.body) if self.body else b"")
