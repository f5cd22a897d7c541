"""Logs the events of xDS streams. The number of lines is limited, so that no client can fill a disk."""

from typing import Final, NamedTuple

import structlog

from xds_server.base.ids import StreamId
from xds_server.base.log_limit import LogLimit, omitted
from xds_server.base.text import plain
from xds_server.xds.admission import host_of
from xds_server.xds.nack_summary import summary
from xds_server.xds.stream_events import (
    Cause,
    Event,
    Nacked,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Withheld,
)
from xds_server.xds.types import SHORT_NAMES

_LONGEST_MESSAGE: Final = 500
"""Characters of the message of a NACK."""

_LONGEST_NODE: Final = 200
_STREAMS: Final = 60
"""How many opened and how many closed streams of an address are logged in a minute."""

_MISTAKES: Final = (Cause.INVALID, Cause.DENIED, Cause.LIMIT)
"""Causes of a closed stream that are an error of the client."""

_log = structlog.stdlib.get_logger(__name__)


class _Opened(NamedTuple):
    node: str
    peer: str


class StreamLog:
    """Logs one NACK for each type and one rejected client for each cause, in a minute and for each
    address."""

    def __init__(self) -> None:
        self._opened: dict[StreamId, _Opened] = {}
        self._mistakes = LogLimit()
        self._streams = LogLimit(lines=_STREAMS)

    def note(self, event: Event, *, now: float) -> None:
        """Log the event, unless it is of a kind that is not logged or its limit is reached."""
        match event:
            case StreamOpened():
                self._note_opened(event, now)
            case Nacked():
                self._note_nack(event, now)
            case StreamDenied(cause=Cause.RATE):
                pass  # a fleet that reconnects at once retries, and a metric counts it
            case StreamDenied(peer=peer, reason=reason, cause=cause):
                self._note_rejected(peer, cause, reason, now)
            case StreamClosed():
                self._note_closed(event, now)
            case Withheld():
                self._note_withheld(event, now)

    def _note_opened(self, event: StreamOpened, now: float) -> None:
        node, peer = self._opened[event.stream] = _Opened(plain(event.node.id, _LONGEST_NODE), event.peer)
        left_out = self._streams.admit((host_of(peer), StreamOpened), now=now)
        if left_out is not None:
            _log.info(
                "envoy connected",
                stream=event.stream,
                node=node,
                variant=event.variant.value,
                peer=peer,
                **omitted(left_out),
            )

    def _note_nack(self, event: Nacked, now: float) -> None:
        node, peer = self._opened.get(event.stream, _Opened("", ""))
        kind = SHORT_NAMES[event.type_url]
        left_out = self._mistakes.admit((host_of(peer), kind), now=now)
        if left_out is not None:
            _log.warning(
                "envoy rejected a configuration",
                stream=event.stream,
                node=node,
                peer=peer,
                type=kind,
                version=event.version,
                message=summary(event.message, _LONGEST_MESSAGE),
                **omitted(left_out),
            )

    def _note_withheld(self, event: Withheld, now: float) -> None:
        node, peer = self._opened.get(event.stream, _Opened("", ""))
        left_out = self._mistakes.admit((host_of(peer), Withheld), now=now)
        if left_out is not None:
            _log.error(
                "response withheld",
                stream=event.stream,
                node=node,
                type=SHORT_NAMES[event.type_url],
                size=event.size,
                **omitted(left_out),
            )

    def _note_closed(self, event: StreamClosed, now: float) -> None:
        node, peer = self._opened.pop(event.stream, _Opened("", ""))
        if event.cause in _MISTAKES:
            self._note_rejected(peer, event.cause, event.reason, now, node=node)
            return
        left_out = self._streams.admit((host_of(peer), StreamClosed), now=now)
        if left_out is not None:
            _log.info(
                "envoy disconnected",
                stream=event.stream,
                node=node,
                peer=peer,
                reason=event.reason or "closed by the client",
                **omitted(left_out),
            )

    def _note_rejected(self, peer: str, cause: Cause, reason: str, now: float, **more: str) -> None:
        host = host_of(peer)
        left_out = self._mistakes.admit((host, cause), now=now)
        if left_out is not None:
            _log.warning("client rejected", peer=host, **more, reason=reason, **omitted(left_out))
