"""Encodes responses by joining frames that each resource serializes once (discovery.proto).

Streams that are sent the same batch with the same nonce share the bytes.
"""

from xds_server.xds.framing import field, text
from xds_server.xds.responses import Response
from xds_server.xds.stream_events import Variant


class Encoder:
    """Encodes responses of one server; `identifier` goes into ``control_plane`` (rule 23)."""

    def __init__(self, identifier: str) -> None:
        self._control_plane = text(1, identifier)

    def sotw(self, response: Response) -> bytes:
        """A serialized DiscoveryResponse."""
        key = (Variant.SOTW, response.type_url, response.version, response.nonce)
        return response.batch.body(key, lambda: self._sotw(response))

    def delta(self, response: Response) -> bytes:
        """A serialized DeltaDiscoveryResponse."""
        key = (Variant.DELTA, response.type_url, response.version, response.nonce)
        return response.batch.body(key, lambda: self._delta(response))

    def _sotw(self, response: Response) -> bytes:
        return b"".join(
            (
                text(1, response.version),
                *[resource.sotw_frame for resource in response.resources],
                text(4, response.type_url),
                text(5, response.nonce),
                field(6, self._control_plane),
            )
        )

    def _delta(self, response: Response) -> bytes:
        return b"".join(
            (
                text(1, response.version),
                *[resource.delta_frame for resource in response.resources],
                text(4, response.type_url),
                text(5, response.nonce),
                *[field(6, name.encode()) for name in response.removed],
                field(7, self._control_plane),
            )
        )
