"""The init deadlines of a runtime, behind one timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.timer import Timer, TimerQueue


class StartWatch:
    """Tells an incarnation when its init has taken too long.

    A timer of its own for each start would be a twentieth of the start, and almost none ever fires.
    So there is one, set for the earliest deadline. It stays set when that start is over; when it
    fires it looks who is late.
    """

    def __init__(self, timers: TimerQueue) -> None:
        self._timers = timers
        self._deadlines_s: dict[Incarnation, float] = {}
        self._timer: Timer | None = None

    def count_beside_timers(self) -> int:
        """How many deadlines there are that do not show as timers, less the one that does."""
        return len(self._deadlines_s) - (self._timer is not None)

    def watch(self, incarnation: Incarnation, deadline_s: float) -> None:
        """Call `note_overdue` at the deadline, never early, unless forgotten before."""
        self._deadlines_s[incarnation] = deadline_s
        timer = self._timer
        if timer is None or deadline_s < timer.deadline_s:
            if timer is not None:
                timer.disarm()
            self._timer = self._timers.set(deadline_s - self._timers.now_s(), self._look)

    def forget(self, incarnation: Incarnation) -> None:
        """Watch it no more, if it was watched."""
        self._deadlines_s.pop(incarnation, None)

    def left_s(self, incarnation: Incarnation) -> float | None:
        """How long until its deadline; None if it is not watched."""
        deadline_s = self._deadlines_s.get(incarnation)
        return None if deadline_s is None else max(0.0, deadline_s - self._timers.now_s())

    def _look(self) -> None:
        self._timer = None
        now_s = self._timers.now_s()
        late = [one for one, deadline_s in self._deadlines_s.items() if deadline_s <= now_s]
        for incarnation in late:
            del self._deadlines_s[incarnation]
        if self._deadlines_s:
            left_s = min(self._deadlines_s.values()) - now_s
            self._timer = self._timers.set(left_s, self._look)
        for incarnation in late:
            incarnation.note_overdue()
