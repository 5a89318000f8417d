"""The restart budget of one supervisor: a sliding window over its restarts."""

from __future__ import annotations

import math
from collections import deque

from autonomics.errors import InvalidSpec


class RestartWindow:
    """At most `max_restarts` restarts within any `within_s` seconds.

    The edge is inclusive: a restart exactly `within_s` old still counts. Time comes in as an
    argument, so the rule can be tested without a clock. OTP manual, supervisor, "maximum restart
    intensity"; OTP counts in whole seconds, this does not.
    """

    def __init__(self, max_restarts: int, within_s: float) -> None:
        if type(max_restarts) is not int or max_restarts < 0:
            raise InvalidSpec.expected("max_restarts", "an integer of 0 or more", max_restarts)
        if isinstance(within_s, bool) or not isinstance(within_s, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSpec.expected("within_s", "a number of seconds", within_s)
        if not (0 < within_s < math.inf):
            raise InvalidSpec.expected("within_s", "positive and finite", within_s)
        self.max_restarts = max_restarts
        self.within_s = within_s
        self._spent: deque[float] = deque()

    def spend(self, now: float) -> bool:
        """Count a restart; False when it is one too many."""
        self._forget_old(now)
        self._spent.append(now)
        return len(self._spent) <= self.max_restarts

    def take(self, now: float) -> bool:
        """Count a restart if there is one left; False, and nothing counted, when there is none."""
        self._forget_old(now)
        if len(self._spent) >= self.max_restarts:
            return False
        self._spent.append(now)
        return True

    def used(self, now: float) -> int:
        """How many restarts lie in the window."""
        self._forget_old(now)
        return len(self._spent)

    def left(self, now: float) -> int:
        """How many restarts it takes to use up the budget."""
        return max(0, self.max_restarts - self.used(now))

    def _forget_old(self, now: float) -> None:
        while self._spent and now - self._spent[0] > self.within_s:
            self._spent.popleft()
