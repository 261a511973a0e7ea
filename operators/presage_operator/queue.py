"""The work queue: keys of jobs to reconcile, each at most once in it and never with two workers at a time."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


# How much of what is no longer wanted may stay, beside as much as is.
_LEFT_AT_MOST = 64


class _Delays(Generic[K]):
    """Keys that are wanted at a time of one clock; a key's earliest time wins."""

    def __init__(self) -> None:
        self._wanted: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, key: K, moment: float) -> None:
        if moment >= self._wanted.get(key, float("inf")):
            return
        self._wanted[key] = moment
        # The count decides between equal times, so that keys need no order.
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, key))
        self._shrink()

    def discard(self, key: K) -> None:
        if self._wanted.pop(key, None) is not None:
            self._shrink()

    def pop_due(self, moment: float) -> list[K]:
        due: list[K] = []
        while self._heap and self._heap[0][0] <= moment:
            wanted, _, key = heapq.heappop(self._heap)
            if self._wanted.get(key) == wanted:  # else an earlier time took its place
                del self._wanted[key]
                due.append(key)
        return due

    def next(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def _shrink(self) -> None:
        """Drop what an earlier time or a discard left, once that is more than what is wanted."""
        if len(self._heap) > 2 * len(self._wanted) + _LEFT_AT_MOST:
            self._heap = [entry for entry in self._heap if self._wanted.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)


class WorkQueue(Generic[K]):
    """Keys in the order in which they came, new and changed ones before those of a resync.

    A key that is added while a worker has it is handed out once more after `done`. Everything happens in one event
    loop.

    Args:
        first_seconds: Wait after a key's first failure; it doubles with each one.
        most_seconds: Longest such wait.
        heartbeat_seconds: Longest time between two looks at the clocks: a jump of the wall clock is seen within it.
        clock: Monotonic seconds, for `add_after` and ages.
        wall: The time of day, UTC, for `add_at`.
    """

    def __init__(
        self,
        *,
        first_seconds: float = 1.0,
        most_seconds: float = 300.0,
        heartbeat_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._wall = wall
        self._changed: OrderedDict[K, float] = OrderedDict()
        self._resync: OrderedDict[K, float] = OrderedDict()
        self._held: set[K] = set()
        self._again: dict[K, bool] = {}
        self._after: _Delays[K] = _Delays()
        self._at: _Delays[K] = _Delays()
        self._failures: dict[K, int] = {}
        self._closed = False
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """Keys that a worker could take now."""
        return len(self._changed) + len(self._resync)

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest of them waits; 0 where there is none."""
        added = (*self._changed.values(), *self._resync.values())
        return self._clock() - min(added) if added else 0.0

    @property
    def delayed(self) -> int:
        """Times that are still to come."""
        return len(self._after) + len(self._at)

    def add(self, key: K, *, resync: bool = False) -> None:
        """Want a key now; one that waits among those of a resync moves up when it is added as changed."""
        if self._closed:
            return
        if key in self._held:
            self._again[key] = resync and self._again.get(key, True)
        elif key in self._changed or (resync and key in self._resync):
            return
        elif resync:
            self._resync[key] = self._clock()
        else:
            self._changed[key] = self._resync.pop(key, self._clock())
        self._work.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Want a key after so many seconds, whatever becomes of the time of day."""
        self._after.add(key, self._clock() + seconds)
        self._arm()

    def add_at(self, key: K, moment: datetime) -> None:
        """Want a key at a time of day, UTC, also when the clock jumps there."""
        self._at.add(key, moment.timestamp())
        self._arm()

    def retry(self, key: K) -> float:
        """Want a key again after a failure, and return the wait in seconds: it doubles until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = float(min(self._most_seconds, self._first_seconds * 2.0 ** min(failures, 60)))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """Forget the failures of a key and when it was wanted: it is gone. One that is ready is still handed out."""
        self.forget(key)
        self._after.discard(key)
        self._at.discard(key)

    async def get(self) -> K | None:
        """Wait for a key and take it, to be given back by `done`; None once the queue is closed."""
        # Thousands of keys of a resync that need nothing never wait by themselves: others must learn what changes.
        await asyncio.sleep(0)
        while not self._closed:
            self.tick()
            ready = self._changed or self._resync
            if ready:
                key, _ = ready.popitem(last=False)
                self._held.add(key)
                self._idle.clear()
                return key
            self._work.clear()
            await self._work.wait()
        return None

    def done(self, key: K) -> None:
        """Give a key back."""
        self._held.discard(key)
        if not self._held:
            self._idle.set()
        if key in self._again:
            self.add(key, resync=self._again.pop(key))

    async def close(self) -> None:
        """Hand out no more keys, and wait until those that workers have are given back."""
        self._closed = True
        self._work.set()
        if self._timer is not None:
            self._timer.cancel()
        await self._idle.wait()

    def tick(self) -> None:
        """Make ready what has become due; the queue does so itself at each heartbeat at the latest."""
        for key in (*self._after.pop_due(self._clock()), *self._at.pop_due(self._wall().timestamp())):
            self.add(key)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [moment - now for moment, now in self._next_times() if moment is not None]
        if waits and not self._closed:
            # Never longer than a heartbeat: the loop's timers know nothing of the wall clock.
            seconds = min(self._heartbeat_seconds, max(0.0, min(waits)))
            self._timer = asyncio.get_running_loop().call_later(seconds, self.tick)

    def _next_times(self) -> tuple[tuple[float | None, float], ...]:
        return (self._after.next(), self._clock()), (self._at.next(), self._wall().timestamp())
