"""`status` answers whatever Envoys say of themselves and of what they reject."""

import asyncio
from dataclasses import replace
from typing import Final

import grpc
import pytest

from tests.support.status import NO_VERDICTS, STATE, status_of
from tests.support.waiting import PATIENCE_S
from xds_server.base.address import Address
from xds_server.base.ids import NodeId, Nonce, StreamId, Version
from xds_server.core.conditions import Reason
from xds_server.core.plan import ShadowStatus, State
from xds_server.core.terms import Setting
from xds_server.pb import status_pb2
from xds_server.server.status_api import StatusServicer
from xds_server.server.status_client import get_status
from xds_server.xds.fleet import Fleet
from xds_server.xds.node import MAX_TEXT_BYTES
from xds_server.xds.stream_events import Nacked, Node, Sent, StreamOpened, Variant
from xds_server.xds.types import SHORT_NAMES

WIDE: Final = "\U0001f600"
"""A character of four bytes."""


def talkative(streams: int, message: str) -> Fleet:
    """So many Envoys whose every text is as long as may be, and that reject every type with this message."""
    fleet, text = Fleet(), WIDE * (MAX_TEXT_BYTES // 4)
    for number in range(streams):
        stream = StreamId(number)
        node = Node(id=NodeId(text[:-8] + f"{number:08}"), cluster=text, build=text)
        fleet.apply(StreamOpened(stream=stream, node=node, variant=Variant.DELTA, peer="peer"), now=0.0)
        for url in SHORT_NAMES:
            version, nonce = Version("1"), Nonce("1")
            sent = Sent(
                stream=stream, type_url=url, version=version, nonce=nonce, resources=1, removed=0, size=1
            )
            nacked = Nacked(stream=stream, type_url=url, version=version, nonce=nonce, message=message)
            fleet.apply(sent, now=0.0)
            fleet.apply(nacked, now=0.0)
    return fleet


@pytest.mark.parametrize(("streams", "cut"), [(10, False), (1_500, True)])
async def test_status_answers_whatever_envoys_say(streams: int, cut: bool) -> None:
    message = WIDE * 2000
    service = status_of(talkative(streams, message))
    server = grpc.aio.server()
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        found = await asyncio.to_thread(get_status, Address("127.0.0.1", port), deadline_s=PATIENCE_S)
    finally:
        await server.stop(0)
    assert len(found.nodes) == streams
    reported = {state.last_nack.message for node in found.nodes for state in node.types}
    assert len(reported) == 1
    assert (reported == {message}) is not cut
    (said,) = reported
    assert len(said) >= 500
    assert found.ByteSize() <= 34 * 2**20


def test_a_setting_is_cut() -> None:
    settings = (
        Setting("paths", "/a," * 80_000, "Namespace staging"),
        Setting("percent", "25", "the Deployment"),
    )
    [shadow] = _shown(
        ShadowStatus("staging", "myapp-canary", "myapp", State.PAUSED, Reason.PAUSED, "", settings=settings)
    )
    long, short = shadow.settings
    assert (long.value[:6], long.value[-1], len(long.value)) == ("/a,/a,", "…", 2_001)
    assert (short.name, short.value, short.origin) == ("percent", "25", "the Deployment")


def _shown(*shadows: ShadowStatus) -> list[status_pb2.Shadow]:
    state = replace(STATE, shadows=list(shadows))
    return list(
        StatusServicer(
            state=lambda: state, explain=lambda _: None, fleet=Fleet(), verdicts=NO_VERDICTS
        ).shadows()
    )
