"""base.memory: the garbage collector is off only while it is said to be."""

import gc

from tests.support.waiting import eventually
from xds_server.base.memory import Trimmer, without_collections


async def test_nothing_is_collected_meanwhile() -> None:
    with without_collections(at_most=60):
        assert not gc.isenabled()
    assert gc.isenabled()


async def test_what_takes_too_long_is_collected_again() -> None:
    with without_collections(at_most=0.01):
        await eventually(gc.isenabled, what="collections")
    assert gc.isenabled()


async def test_memory_is_returned_once_for_all_calls_before_then() -> None:
    calls: list[int] = []
    trimmer = Trimmer(after=0.001, trim=calls.append)
    trimmer.soon()
    trimmer.soon()
    await eventually(lambda: bool(calls))
    assert calls == [0]
    trimmer.soon()
    await eventually(lambda: len(calls) == 2)
    assert calls == [0, 0]
