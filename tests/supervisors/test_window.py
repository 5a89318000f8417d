from __future__ import annotations

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from autonomics.supervisors import RestartWindow


class WindowMachine(RuleBasedStateMachine):
    """Against a list of all restarts there ever were, in fractions, on a clock of its own."""

    window: RestartWindow | None = None

    @initialize(limit=st.integers(0, 5), within_s=st.sampled_from([0.5, 1, 2.75, 12]))
    def open(self, limit: int, within_s: float) -> None:
        self.window = RestartWindow(limit, within_s)
        self.limit, self.within = limit, Fraction(within_s)
        self.now = Fraction(1000)
        self.past: list[Fraction] = []

    def recent(self) -> int:
        return sum(self.now - at <= self.within for at in self.past)

    # Quarters: what floats can hold exactly, so that the very edge of the window is met often.
    @rule(quarters=st.integers(0, 13))
    def wait(self, quarters: int) -> None:
        self.now += Fraction(quarters, 4)

    @rule()
    def wait_until_the_oldest_is_just_as_old_as_the_window(self) -> None:
        for at in self.past:
            if self.now - at <= self.within:
                self.now = at + self.within
                return

    @rule()
    def restart(self) -> None:
        assert self.window is not None
        self.past.append(self.now)
        assert self.window.spend(float(self.now)) == (self.recent() <= self.limit)

    @rule()
    def restart_if_one_is_left(self) -> None:
        assert self.window is not None
        is_left = self.recent() < self.limit
        assert self.window.take(float(self.now)) == is_left
        if is_left:
            self.past.append(self.now)

    @invariant()
    def agrees(self) -> None:
        if self.window is None:
            return
        assert self.window.left(float(self.now)) == max(0, self.limit - self.recent())
        assert self.window.used(float(self.now)) == self.recent()


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
