"""A commit has reached the fleet with the last acknowledgement, on real streams."""

from tests.support.waiting import eventually
from tests.wire.rig import Rig, Stream, node, resource
from xds_server.xds.stream_events import Acked, StreamClosed, Variant
from xds_server.xds.types import CLUSTER, ROUTE


async def synced(rig: Rig, variant: Variant) -> Stream:
    """A stream that has taken the clusters."""
    stream = rig.connect(variant)
    before = rig.count(Acked)
    await stream.ask(CLUSTER, node=node())
    await stream.ask(CLUSTER, answers=await stream.take())
    await eventually(lambda: rig.count(Acked) > before)
    return stream


async def test_it_has_when_the_last_stream_has_answered(rig: Rig, variant: Variant) -> None:
    rig.commit(resource(CLUSTER, "a", b"1"))
    assert rig.converged == [(1, False)]
    first, second = await synced(rig, variant), await synced(rig, variant)
    rig.commit(resource(CLUSTER, "a", b"2"))
    answers = [await stream.take() for stream in (first, second)]
    await first.ask(CLUSTER, answers=answers[0])
    await eventually(lambda: rig.count(Acked) == 3)
    assert rig.converged == [(1, False)]
    await second.ask(CLUSTER, answers=answers[1])
    await eventually(lambda: rig.converged == [(1, False), (2, True)])


async def test_a_commit_that_concerns_no_stream_is_not_waited_for(rig: Rig, variant: Variant) -> None:
    snapshot = rig.commit(resource(CLUSTER, "a", b"1"))
    await synced(rig, variant)
    rig.cache.commit(snapshot.updated([resource(ROUTE, "r", b"1")]))
    assert rig.converged == [(1, False), (2, False)]


async def test_a_rejection_is_an_answer(rig: Rig, variant: Variant) -> None:
    rig.commit(resource(CLUSTER, "a", b"1"))
    stream = await synced(rig, variant)
    rig.commit(resource(CLUSTER, "a", b"2"))
    await stream.ask(CLUSTER, answers=await stream.take(), error="no")
    await eventually(lambda: rig.converged == [(1, False), (2, True)])


async def test_who_is_gone_is_not_waited_for(rig: Rig, variant: Variant) -> None:
    rig.commit(resource(CLUSTER, "a", b"1"))
    stream = await synced(rig, variant)
    rig.commit(resource(CLUSTER, "a", b"2"))
    await stream.take()
    assert rig.converged == [(1, False)]
    stream.cancel()
    await rig.seen(StreamClosed)
    assert rig.converged == [(1, False), (2, True)]


async def test_taking_away_counts_too(rig: Rig, variant: Variant) -> None:
    rig.commit(resource(CLUSTER, "a", b"1"), resource(CLUSTER, "b", b"1"))
    stream = await synced(rig, variant)
    rig.commit(resource(CLUSTER, "a", b"1"))
    await stream.ask(CLUSTER, answers=await stream.take())
    await eventually(lambda: rig.converged == [(1, False), (2, True)])
