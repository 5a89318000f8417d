"""A value that comes once; whoever waits for it may give up without harm to anybody."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

from autonomics.errors import CallingSelf
from autonomics.runtime.context import CURRENT
from autonomics.runtime.incarnation import Incarnation

T = TypeVar("T")


class Promise(Generic[T]):
    """Kept at most once; whoever asks later finds the value still there."""

    __slots__ = ("_then", "_value", "is_kept")

    _value: T

    def __init__(self) -> None:
        self.is_kept: bool = False
        self._then: list[Callable[[], None]] = []

    @property
    def value(self) -> T:
        """What it was kept with; only to be read when it is kept."""
        return self._value

    def keep(self, value: T) -> None:
        """Give the value and tell everybody; synchronous. Whoever calls it does so once."""
        self._value = value
        self.is_kept = True
        then, self._then = self._then, []
        for do in then:
            do()

    def when_kept(self, do: Callable[[], None]) -> None:
        """Have `do` called when it is kept, now if it is; it must neither block nor raise."""
        if self.is_kept:
            do()
        else:
            self._then.append(do)

    def forget(self, do: Callable[[], None]) -> None:
        """Take back what `when_kept` was given."""
        if do in self._then:
            self._then.remove(do)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until it is kept; False when the time is up first. Always a checkpoint."""
        if self.is_kept:
            # Outside of any deadline: with `timeout_s` 0 this would be cut off at once.
            await trio.lowlevel.checkpoint()
            return True
        kept = trio.Event()
        self.when_kept(kept.set)
        try:
            with trio.move_on_after(timeout_s):
                await kept.wait()
        finally:
            self.forget(kept.set)
        return self.is_kept


def check_wait(waiter: Incarnation, target: Incarnation) -> None:
    """Raise CallingSelf or WouldDeadlock if the waiter would wait in vain for the target."""
    if waiter is target:
        raise CallingSelf(f"{target.path} would wait for itself")
    if target.waits_for:
        target.check_cycle(waiter)


@contextmanager
def shown_waiting(target: Incarnation) -> Generator[None]:
    """Show that the current actor waits for the target, so that a call back fails at once.

    Raises CallingSelf or WouldDeadlock.
    """
    waiter = CURRENT.get()
    if waiter is None:
        yield
        return
    check_wait(waiter, target)
    waiter.waits_for.append(target)
    try:
        yield
    finally:
        waiter.waits_for.remove(target)
