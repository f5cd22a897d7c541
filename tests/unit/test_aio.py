"""base.aio: what the pipeline's loop waits on."""

import asyncio
import time

from tests.support.waiting import PATIENCE_S, eventually
from xds_server.base.aio import Debounce, Mailbox, spawn


def _mailbox() -> Mailbox[tuple[str, int]]:
    return Mailbox(lambda item: item[0])


async def test_the_latest_item_of_each_key_is_kept_in_the_order_of_arrival() -> None:
    mailbox = _mailbox()
    mailbox.put([("a", 1), ("b", 1)])
    mailbox.put([("a", 2)])
    assert await mailbox.take(Debounce(quiet=0, at_most=1)) == [("b", 1), ("a", 2)]
    assert mailbox.take_now() == []


async def test_take_waits_for_a_first_item() -> None:
    mailbox = _mailbox()
    taking = asyncio.create_task(mailbox.take(Debounce(quiet=0, at_most=1)))
    await asyncio.sleep(0)
    assert not taking.done()
    mailbox.put([("a", 1)])
    assert await taking == [("a", 1)]


async def test_an_empty_put_wakes_no_task() -> None:
    mailbox = _mailbox()
    taking = asyncio.create_task(mailbox.take(Debounce(quiet=0, at_most=1)))
    mailbox.put([])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not taking.done()
    taking.cancel()


async def test_a_burst_is_taken_as_one() -> None:
    mailbox = _mailbox()
    mailbox.put([("a", 1)])
    taking = asyncio.create_task(mailbox.take(Debounce(quiet=3600, at_most=0.05)))
    await asyncio.sleep(0)
    mailbox.put([("b", 1)])
    # A quiet time of an hour never passes: it is the upper bound that ends the wait.
    async with asyncio.timeout(PATIENCE_S):
        assert await taking == [("a", 1), ("b", 1)]


async def test_it_knows_since_when_the_first_of_what_is_here_waits() -> None:
    mailbox = _mailbox()
    mailbox.put([])
    assert mailbox.since is None
    before = time.monotonic()
    mailbox.put([("a", 1)])
    after = time.monotonic()
    await eventually(lambda: time.monotonic() > after)
    mailbox.put([("a", 2), ("b", 1)])
    await mailbox.take(Debounce(quiet=0, at_most=1))
    assert mailbox.since is None
    assert mailbox.taken_since is not None
    assert before <= mailbox.taken_since <= after
    mailbox.take_now()
    assert mailbox.taken_since is None


async def test_tasks_have_names() -> None:
    async with asyncio.TaskGroup() as group:
        task = spawn(group, "work", asyncio.sleep(0))
    assert task.get_name() == "xds-shadow/work"


async def test_a_burst_that_is_complete_is_over_at_once() -> None:
    mailbox: Mailbox[tuple[str, int]] = Mailbox(lambda item: item[0], lambda item: item[0] == "last")
    patient = Debounce(quiet=60, at_most=60, few=1, lately=60)
    taking = asyncio.create_task(mailbox.take(patient))
    mailbox.put([("a", 1)])
    await asyncio.sleep(0)
    mailbox.put([("last", 2)])
    assert await taking == [("a", 1), ("last", 2)]


async def test_bursts_are_complete_a_few_times_only() -> None:
    found = Debounce(quiet=0, at_most=1, few=2, lately=10)
    assert [found.hurries(now) for now in (0, 1, 2, 9, 10, 10.5, 11)] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    mailbox: Mailbox[tuple[str, int]] = Mailbox(lambda item: item[0], lambda _: True)
    mailbox.put([("a", 1)])
    taking = asyncio.create_task(mailbox.take(Debounce(quiet=0.01, at_most=60)))
    await eventually(taking.done, what="a burst that ends as others do")
    assert mailbox.take_now() == []
