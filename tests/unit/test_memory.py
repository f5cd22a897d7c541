"""base.memory: the garbage collector is off only while it is said to be."""

import gc

from tests.support.waiting import eventually
from xds_server.base.memory import without_collections


async def test_nothing_is_collected_meanwhile() -> None:
    with without_collections(at_most=60):
        assert not gc.isenabled()
    assert gc.isenabled()


async def test_what_takes_too_long_is_collected_again() -> None:
    with without_collections(at_most=0.01):
        await eventually(gc.isenabled, what="collections")
    assert gc.isenabled()
