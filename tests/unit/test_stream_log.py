"""What an operator reads of the fleet's streams, and how little of it a peer can cause."""

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from xds_server.base.ids import NodeId, Nonce, StreamId, TypeUrl, Version
from xds_server.server.stream_log import StreamLog
from xds_server.xds.stream_events import (
    Cause,
    Nacked,
    Node,
    StreamClosed,
    StreamDenied,
    StreamOpened,
    Subscribed,
    Variant,
)
from xds_server.xds.types import CLUSTER, LISTENER

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as found:
        yield found  # type: ignore[misc]  # structlog's lines are mutable mappings


def opened(stream: int, *, host: str = "10.0.0.1", name: str = "envoy") -> StreamOpened:
    return StreamOpened(
        stream=StreamId(stream),
        node=Node(id=NodeId(name)),
        variant=Variant.DELTA,
        peer=f"ipv4:{host}:{5000 + stream}",
    )


def nacked(stream: int, type_url: TypeUrl = CLUSTER, message: str = "no") -> Nacked:
    return Nacked(
        stream=StreamId(stream), type_url=type_url, version=Version("1"), nonce=Nonce("1"), message=message
    )


def test_a_stream_has_a_line_when_it_begins_and_when_it_ends(lines: Lines) -> None:
    log = StreamLog()
    log.note(opened(7), now=0.0)
    log.note(Subscribed(stream=StreamId(7), type_url=CLUSTER), now=0.0)
    log.note(StreamClosed(stream=StreamId(7)), now=1.0)
    log.note(StreamClosed(stream=StreamId(8), reason="the server is shutting down"), now=1.0)
    assert lines == [
        {
            "event": "envoy connected",
            "log_level": "info",
            "stream": 7,
            "node": "envoy",
            "variant": "delta",
            "peer": "ipv4:10.0.0.1:5007",
        },
        {
            "event": "envoy disconnected",
            "log_level": "info",
            "stream": 7,
            "node": "envoy",
            "peer": "ipv4:10.0.0.1:5007",
            "reason": "closed by the client",
        },
        {
            "event": "envoy disconnected",
            "log_level": "info",
            "stream": 8,
            "node": "",
            "peer": "",
            "reason": "the server is shutting down",
        },
    ]


def test_nacks_have_a_line_a_minute_for_an_address_and_a_type(lines: Lines) -> None:
    log = StreamLog()
    log.note(opened(1), now=0.0)
    log.note(opened(2, host="10.0.0.2"), now=0.0)
    lines.clear()
    for turn in range(10_000):
        log.note(nacked(1, message=f"no {turn}"), now=turn / 1000)
    log.note(nacked(1, LISTENER), now=10.0)
    log.note(nacked(2), now=10.0)
    log.note(nacked(1, message="the last"), now=60.0)
    assert [(each["node"], each["type"], each["message"], each.get("omitted")) for each in lines] == [
        ("envoy", "CDS", "no 0", None),
        ("envoy", "LDS", "no", None),
        ("envoy", "CDS", "no", None),
        ("envoy", "CDS", "the last", 9_999),
    ]


@pytest.mark.parametrize("before", [True, False])
def test_a_rejected_client_has_a_line_a_minute_for_each_cause(lines: Lines, before: bool) -> None:
    log = StreamLog()
    for turn in range(1000):
        for cause in (Cause.LIMIT, Cause.DENIED):
            if before:
                peer = f"ipv4:10.0.0.1:{turn}"
                event: StreamDenied | StreamClosed = StreamDenied(
                    stream=StreamId(turn), peer=peer, reason=f"why {turn}", cause=cause
                )
            else:
                log.note(opened(turn), now=0.0)
                event = StreamClosed(stream=StreamId(turn), reason=f"why {turn}", cause=cause)
            log.note(event, now=0.0)
    found = [each for each in lines if each["event"] == "client rejected"]
    assert [(each["log_level"], each["peer"], each["reason"]) for each in found] == [
        ("warning", "ipv4:10.0.0.1", "why 0"),
        ("warning", "ipv4:10.0.0.1", "why 0"),
    ]
    assert len(lines) - len(found) == (0 if before else 60)  # "envoy connected"


def test_a_fleet_that_comes_back_at_once_is_not_logged(lines: Lines) -> None:
    log = StreamLog()
    log.note(StreamDenied(stream=StreamId(0), peer="ipv4:1.2.3.4:5", reason="", cause=Cause.RATE), now=0.0)
    assert lines == []


def test_streams_that_come_and_go_have_a_line_a_second_for_an_address(lines: Lines) -> None:
    log = StreamLog()
    for turn in range(6000):
        log.note(opened(turn), now=turn / 100)
        log.note(StreamClosed(stream=StreamId(turn)), now=turn / 100)
    assert len(lines) == 120
    assert log._opened == {}


def test_what_a_node_calls_itself_is_cut_and_printable(lines: Lines) -> None:
    StreamLog().note(opened(1, name="\x1b[31m" + "x" * 1000), now=0.0)
    (line,) = lines
    assert line["node"].isprintable()
    assert len(line["node"]) == 200
