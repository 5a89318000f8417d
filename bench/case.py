"""What a workload is: how it is set up, what one operation is, and what it may cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from attrs import frozen

Run: TypeAlias = Callable[[], Awaitable[None]]
Open: TypeAlias = Callable[[int], AbstractAsyncContextManager[Run]]


@frozen(kw_only=True)
class Case:
    """One workload of a runtime on trio.

    `open(n)` sets up what n operations need and yields what carries them out; only that is
    measured. `goal` and `stretch` are limits of the ratio to the case `unit`. `counts` are the two
    sizes whose difference is counted in instructions, `small` and `full` those that are timed.
    `behind` names the case whose work comes before this one's and is no part of it, though it
    grows with n and so would not cancel out; it is counted at the same sizes and taken off. Timed
    is all of it. `missing` says why it can't be measured, if it can't.
    """

    name: str
    operation: str
    open: Open
    number: int | None = None
    unit: str = "S"
    goal: float | None = None
    stretch: float | None = None
    counts: tuple[int, int]
    small: int
    full: tuple[int, ...]
    behind: str | None = None
    missing: Callable[[], Awaitable[str | None]] | None = None
