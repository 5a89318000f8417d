"""The timeouts of one state machine: at most one per timer, and none that comes after its end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import assert_never

import attrs

from autonomics.runtime.state_event import (
    CancelTimeout,
    SetTimeout,
    TimeoutAction,
    TimeoutEvent,
    UpdateTimeout,
)


@attrs.define(eq=False)
class Running:
    """A timeout that is set. Itself the message that its clock sends, so a stale one is known."""

    timer: Hashable
    content: object
    stop_clock: Callable[[], object] | None = None


class TimeoutTable:
    """Maps timers to what runs under them.

    Invariant: whatever is in the table leads to exactly one event unless it is replaced or
    cancelled; whatever is not leads to none, even if its message already stands in the mailbox.
    """

    def __init__(self, start_clock: Callable[[float, Running], Callable[[], object]]) -> None:
        self._start_clock = start_clock
        self._running: dict[Hashable, Running] = {}
        # Delays of 0 need no clock: they are due as soon as no event is left in the machine.
        self._due: deque[Running] = deque()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_due(self) -> bool:
        """One needs no clock, and so is the next event."""
        return bool(self._due)

    def apply(self, action: TimeoutAction) -> None:
        """Do what an action says."""
        match action:
            case CancelTimeout(timer):
                self.cancel(timer)
            case UpdateTimeout(timer, content) if timer in self._running:
                self._running[timer].content = content
            case UpdateTimeout(timer, content):
                self._start(timer, 0, content)
            case SetTimeout(timer, delay_s, content):
                self.cancel(timer)
                if delay_s != math.inf:
                    self._start(timer, delay_s, content)
            case _:
                assert_never(action)

    def cancel(self, timer: Hashable) -> None:
        """Forget a timeout; fine if there is none."""
        running = self._running.pop(timer, None)
        if running is None:
            return
        if running.stop_clock is None:
            self._due.remove(running)
        else:
            running.stop_clock()

    def expire(self, running: Running) -> TimeoutEvent | None:
        """Turn the message of a clock into its event; None if it is stale."""
        if self._running.get(running.timer) is not running:
            return None
        del self._running[running.timer]
        return TimeoutEvent(running.timer, running.content)

    def take_due(self) -> TimeoutEvent | None:
        """Take the first that needs no clock."""
        return self.expire(self._due.popleft()) if self._due else None

    def _start(self, timer: Hashable, delay_s: float, content: object) -> None:
        running = self._running[timer] = Running(timer, content)
        if delay_s == 0:
            self._due.append(running)
        else:
            running.stop_clock = self._start_clock(delay_s, running)
