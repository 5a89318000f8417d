"""One heap of deadlines for a whole runtime: call timeouts and delayed messages."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

# Timers fired between two checkpoints: after a pause of the loop, thousands may be due at once.
BURST: Final = 32

# Entries among which it is worth looking for those that were cancelled.
SWEEP_FROM: Final = 64


class Item(Protocol):
    """What waits in the queue: a Timer, or the slot of a call with its timeout."""

    is_open: bool
    """False once it has fired or was cancelled."""

    def fire(self) -> None:
        """Do what it was set for, unless it was cancelled; neither block nor raise."""
        ...


class Timer:
    """Something that will be done once, never early, unless cancelled."""

    __slots__ = ("_fire", "_home", "_queue", "deadline_s", "is_open")

    def __init__(self, deadline_s: float, queue: TimerQueue, fire: Callable[[], object]) -> None:
        self.deadline_s: float = deadline_s
        self.is_open: bool = True
        self._queue = queue
        self._fire = fire
        self._home: dict[Timer, None] | None = None

    @property
    def is_set(self) -> bool:
        """False once it has fired or was cancelled."""
        return self.is_open

    def cancel(self) -> float | None:
        """Take it back; the seconds that were left, or None when it has fired or was cancelled."""
        if not self.disarm():
            return None
        return max(0.0, self.deadline_s - trio.current_time())

    def disarm(self) -> bool:
        """Take it back without asking the time; False when there was nothing to take back."""
        if not self.is_open:
            return False
        self._close()
        return True

    def keep_in(self, home: dict[Timer, None]) -> None:
        """Stand in this set as long as it is set, for its owner to find it."""
        self._home = home
        home[self] = None

    def _close(self) -> None:
        self.is_open = False
        if self._home is not None:
            self._home.pop(self, None)

    def rearm(self, delay_s: float) -> None:
        """Set a timer that has just fired again; this is how an interval stays one Timer."""
        self.deadline_s += delay_s
        assert self._home is not None
        self.is_open = True
        self._home[self] = None
        self._queue.add(self.deadline_s, self)

    def fire(self) -> None:
        """Do what it was set for, unless it was cancelled."""
        if self.is_open:
            self._close()
            self._fire()


class TimerQueue:
    """A heap with one trio task asleep until its first deadline.

    Why not `trio.fail_after` around each call: a CancelScope per call costs more than the two task
    switches of the call itself. Here a timeout is a heap push, and cancelling it sets one field.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s: Callable[[], float] = now_s
        # The number keeps timers of one deadline in the order they were set.
        self._heap: list[tuple[float, int, Item]] = []
        self._number = 0
        self._sweep_at = SWEEP_FROM
        self._nap = trio.CancelScope()
        self._nap_ends_s = math.inf

    def __len__(self) -> int:
        return sum(entry[2].is_open for entry in self._heap)

    def set(self, delay_s: float, fire: Callable[[], object]) -> Timer:
        """Call `fire` in `delay_s` seconds; it must not raise and must not block."""
        timer = Timer(self.now_s() + delay_s, self, fire)
        self.add(timer.deadline_s, timer)
        return timer

    def add(self, deadline: float, item: Item) -> None:
        """Put an item into the heap and shorten the nap if it is now the first."""
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        self._number += 1
        heapq.heappush(self._heap, (deadline, self._number, item))
        # Only then: setting a deadline costs trio more than all of the rest here.
        if deadline < self._nap_ends_s:
            self._nap_ends_s = self._nap.deadline = deadline

    def _sweep(self) -> None:
        """Drop what was cancelled, whenever there may be as much of it as of what is set.

        Almost every call timeout is cancelled, so without the sweep a busy runtime would hold all
        calls of the last timeout's length. To count what is cancelled would cost each call more.
        """
        self._heap = [entry for entry in self._heap if entry[2].is_open]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))

    # A KeyboardInterrupt here would take down every deadline; it can wait for another task.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep and fire, for ever."""
        while True:
            self._nap_ends_s = self._heap[0][0] if self._heap else math.inf
            self._nap = trio.CancelScope(deadline=self._nap_ends_s)
            with self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            left = BURST
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2].fire()
                left -= 1
                if not left:
                    await trio.lowlevel.checkpoint()
                    left = BURST
