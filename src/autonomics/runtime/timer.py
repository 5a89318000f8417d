"""One heap of deadlines for a whole runtime: call timeouts and delayed messages."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False)
class Timer:
    """Something that will be done once, never early, unless cancelled."""

    deadline: float
    _queue: TimerQueue
    _fire: Callable[[], None] | None

    @property
    def is_set(self) -> bool:
        """False once it has fired or was cancelled."""
        return self._fire is not None

    def cancel(self) -> float | None:
        """Take it back; the seconds that were left, or None when it has fired or was cancelled."""
        if not self.disarm():
            return None
        return max(0.0, self.deadline - trio.current_time())

    def disarm(self) -> bool:
        """Take it back without asking the time; False when there was nothing to take back."""
        if self._fire is None:
            return False
        self._fire = None
        self._queue.note_cancelled()
        return True

    def rearm(self, delay_s: float, fire: Callable[[], None]) -> None:
        """Set a timer that has just fired again; this is how an interval stays one Timer."""
        self.deadline += delay_s
        self._fire = fire
        self._queue.push(self)

    def fire(self) -> bool:
        """Do what it was set for; False when it had been cancelled."""
        if self._fire is None:
            return False
        fire, self._fire = self._fire, None
        fire()
        return True


class TimerQueue:
    """A heap with one trio task asleep until its first deadline.

    Why not `trio.fail_after` around each call: a CancelScope per call costs more than the two task
    switches of the call itself. Here a timeout is a heap push, and cancelling it sets one field.
    """

    def __init__(self) -> None:
        # The counter keeps timers of one deadline in the order they were set.
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        self._nap = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def set(self, delay_s: float, fire: Callable[[], None]) -> Timer:
        """Call `fire` in `delay_s` seconds; it must not raise and must not block."""
        timer = Timer(trio.current_time() + delay_s, self, fire)
        self.push(timer)
        return timer

    def push(self, timer: Timer) -> None:
        """Put a timer into the heap and shorten the nap if it is now the first."""
        heapq.heappush(self._heap, (timer.deadline, next(self._numbers), timer))
        # Only when it is the first: setting a deadline costs trio more than all of the rest here.
        self._nap.deadline = min(self._nap.deadline, timer.deadline)

    def note_cancelled(self) -> None:
        """Count a cancelled entry; sweep once they are the greater part.

        Almost every call timeout is cancelled, so without the sweep a busy runtime would hold all
        calls of the last timeout's length.
        """
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].is_set]
            heapq.heapify(self._heap)
            self._cancelled = 0

    # A KeyboardInterrupt here would take down every deadline; it can wait for another task.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep and fire, for ever."""
        while True:
            self._nap = trio.CancelScope(
                deadline=self._heap[0][0] if self._heap else math.inf,
            )
            with self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                if not timer.fire():
                    self._cancelled -= 1
