from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from presage_operator.queue import WorkQueue

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@dataclass
class HandClock:
    """A monotonic clock and a time of day that move by hand only."""

    seconds: float = 100.0
    wall: datetime = NOON

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


Test = Callable[[WorkQueue[str], HandClock], Awaitable[None]]


def run(test: Test) -> None:
    async def driven() -> None:
        clock = HandClock()
        queue: WorkQueue[str] = WorkQueue(clock=lambda: clock.seconds, wall=lambda: clock.wall)
        async with asyncio.timeout(30):
            await test(queue, clock)
            await queue.close()

    asyncio.run(driven())


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Take and give back all that is ready."""
    queue.tick()
    keys = []
    while queue.depth:
        key = await queue.get()
        assert key is not None
        keys.append(key)
        queue.done(key)
    return keys


def test_keys_come_in_the_order_in_which_they_were_added() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        for key in "abc":
            queue.add(key)
        assert await taken(queue) == ["a", "b", "c"]

    run(test)


def test_a_key_that_is_added_twice_is_handed_out_once() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("a")
        queue.add("b")
        queue.add("a")
        queue.add("a", resync=True)
        assert await taken(queue) == ["a", "b"]

    run(test)


def test_a_key_that_is_added_while_a_worker_has_it_is_handed_out_once_more_after() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.depth == 0  # never with two workers at a time
        queue.done("a")
        assert await taken(queue) == ["a"]

    run(test)


def test_a_changed_key_comes_before_those_of_a_resync() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        for number in range(3):
            queue.add(f"old-{number}", resync=True)
        queue.add("new")
        queue.add("old-2")
        assert await taken(queue) == ["new", "old-2", "old-0", "old-1"]

    run(test)


def test_what_is_told_while_a_resync_is_worked_off_goes_before_its_rest() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        for number in range(100):
            queue.add(f"old-{number}", resync=True)
        asyncio.get_running_loop().call_soon(queue.add, "new")
        order = []
        while queue.depth:
            key = await queue.get()
            assert key is not None
            order.append(key)
            queue.done(key)
        assert order.index("new") <= 1

    run(test)


@pytest.mark.parametrize(("resyncs", "first"), [((True, False), "held"), ((True, True), "other")])
def test_a_key_that_changed_while_a_worker_had_it_keeps_its_precedence(resyncs: tuple[bool, ...], first: str) -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("held", resync=True)
        assert await queue.get() == "held"
        queue.add("other", resync=True)
        for resync in resyncs:
            queue.add("held", resync=resync)
        queue.done("held")
        assert (await taken(queue))[0] == first

    run(test)


def test_a_worker_that_waits_is_woken_by_a_key() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(queue.get()) for _ in range(3)]
            await asyncio.sleep(0)  # all three wait
            for key in "abc":
                queue.add(key)
        assert {worker.result() for worker in workers} == {"a", "b", "c"}
        for key in "abc":
            queue.done(key)

    run(test)


def test_a_worker_that_gives_up_waiting_takes_no_key_with_it() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        impatient = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        impatient.cancel()
        await asyncio.wait({impatient})
        assert impatient.cancelled()
        assert await taken(queue) == ["a"]

    run(test)


def test_a_delayed_key_comes_when_its_time_has_passed() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_after("a", 60)
        assert await taken(queue) == []
        clock.advance(59)
        assert await taken(queue) == []
        clock.advance(1)
        assert await taken(queue) == ["a"]
        assert queue.delayed == 0

    run(test)


@pytest.mark.parametrize("waits", [(60, 10), (10, 60)])
def test_the_earliest_wanted_time_of_a_key_wins(waits: tuple[int, int]) -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        for seconds in waits:
            queue.add_after("after", seconds)
            queue.add_at("at", NOON + timedelta(seconds=seconds))
        clock.advance(10)
        assert sorted(await taken(queue)) == ["after", "at"]
        clock.advance(100)
        assert await taken(queue) == []

    run(test)


def test_a_key_that_is_wanted_ever_earlier_is_not_held_once_for_each_time() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        key = f"wanted for {clock.seconds} seconds"  # made anew: a constant has references of its own
        before = sys.getrefcount(key)
        for seconds in range(10_000, 0, -1):
            queue.add_after(key, seconds)
            queue.add_at(key, NOON + timedelta(seconds=seconds))
        assert queue.delayed == 2
        assert sys.getrefcount(key) - before < 200
        clock.advance(1)
        assert await taken(queue) == [key]

    run(test)


def test_keys_whose_times_were_brought_forward_come_in_the_order_of_the_new_times() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        for seconds in (1000, 500, 250):
            for number in range(100):
                queue.add_after(f"{number:02}", seconds + number)
        clock.advance(250)
        found = []
        for _ in range(100):
            found += await taken(queue)
            clock.advance(1)
        assert found == [f"{number:02}" for number in range(100)]
        assert queue.delayed == 0

    run(test)


def test_a_discarded_key_leaves_no_times_and_no_failures() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_at("a", NOON + timedelta(seconds=5))
        assert [queue.retry("a"), queue.retry("a")] == [1, 2]
        queue.add_after("b", 3)
        queue.discard("a")
        queue.discard("never seen")
        assert queue.delayed == 1
        clock.advance(10)
        assert await taken(queue) == ["b"]
        assert queue.retry("a") == 1

    run(test)


def test_a_discarded_key_that_comes_back_is_wanted_at_its_new_time() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_after("a", 5)
        queue.discard("a")
        queue.add_after("a", 8)
        clock.advance(5)
        assert await taken(queue) == []
        clock.advance(3)
        assert await taken(queue) == ["a"]

    run(test)


def test_discarded_keys_are_let_go() -> None:
    class Job:
        """A key of which one can tell whether it is held."""

    async def test(_: WorkQueue[str], clock: HandClock) -> None:
        queue: WorkQueue[Job] = WorkQueue(clock=lambda: clock.seconds, wall=lambda: clock.wall)
        held: weakref.WeakSet[Job] = weakref.WeakSet()
        for _number in range(10_000):
            job = Job()
            held.add(job)
            queue.add_after(job, 60)
            queue.add_at(job, NOON + timedelta(days=1))
            queue.retry(job)
            queue.discard(job)
        assert len(held) < 200
        await queue.close()

    run(test)


def test_a_time_of_day_comes_at_once_when_the_clock_jumps_over_it() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_at("due", NOON + timedelta(minutes=4))
        queue.add_after("wait", 240)
        clock.wall += timedelta(minutes=5)
        assert await taken(queue) == ["due"]

    run(test)


def test_a_time_of_day_waits_longer_when_the_clock_jumps_back() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add_at("due", NOON + timedelta(minutes=1))
        queue.add_after("wait", 60)
        clock.wall -= timedelta(minutes=5)
        clock.advance(60)
        assert await taken(queue) == ["wait"]
        clock.advance(300)
        assert await taken(queue) == ["due"]

    run(test)


def test_a_jump_of_the_clock_is_seen_by_a_queue_that_nobody_touches() -> None:
    async def test() -> None:
        clock = HandClock()
        queue: WorkQueue[str] = WorkQueue(heartbeat_seconds=0.01, clock=lambda: clock.seconds, wall=lambda: clock.wall)
        queue.add_at("due", NOON + timedelta(hours=1))
        async with asyncio.timeout(30):
            waiting = asyncio.ensure_future(queue.get())
            await asyncio.sleep(0)  # it waits, with a timer for the heartbeat alone
            clock.wall += timedelta(hours=1)
            assert await waiting == "due"
            queue.done("due")
            await queue.close()

    asyncio.run(test())


def test_waits_double_with_each_failure_of_a_key_until_it_is_forgotten() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        assert [queue.retry("poison") for _ in range(10)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
        assert queue.retry("healthy") == 1
        queue.forget("poison")
        assert queue.retry("poison") == 1

    run(test)


def test_a_key_that_failed_ten_thousand_times_still_has_the_longest_wait() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        assert [queue.retry("poison") for _ in range(10_000)][-1] == 300

    run(test)


def test_depth_and_the_oldest_age_count_what_is_ready_alone() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        assert (queue.depth, queue.oldest_seconds) == (0, 0.0)
        queue.add("old", resync=True)
        clock.advance(7)
        queue.add("new")
        queue.add_after("later", 60)
        assert (queue.depth, queue.oldest_seconds, queue.delayed) == (2, 7.0, 1)
        queue.add("old")  # moved up, and as old as before
        assert queue.oldest_seconds == 7.0
        await taken(queue)
        assert (queue.depth, queue.oldest_seconds) == (0, 0.0)

    run(test)


def test_closing_waits_for_the_keys_that_workers_have_and_hands_out_no_more() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        queue.add("held")
        assert await queue.get() == "held"
        queue.add("left")
        closing = asyncio.ensure_future(queue.close())
        await asyncio.sleep(0)
        assert not closing.done()
        assert await queue.get() is None
        queue.add("late")
        queue.done("held")
        await closing
        assert await queue.get() is None

    run(test)


def test_closing_wakes_the_workers_that_wait() -> None:
    async def test(queue: WorkQueue[str], clock: HandClock) -> None:
        waiting = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        await queue.close()
        assert await waiting is None

    run(test)
