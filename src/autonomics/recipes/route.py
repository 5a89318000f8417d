"""One effector and fact reader for all calls: each call's first part names who serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol, TypeAlias

from autonomics.errors import EffectFailed
from autonomics.recipes.effector import (
    EffectResult,
    Fact,
    FactRequest,
    PlannedCall,
    ReadBack,
)


class End(Protocol):
    """Both ports in one: whoever serves an area's calls."""

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Carry out a change."""
        ...

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether a change took place."""
        ...

    async def read(self, request: FactRequest) -> Fact:
        """Answer a question."""
        ...


# Tells the time; handed in, for this room reads no clock.
Clock: TypeAlias = Callable[[], datetime]


class Routes:
    """Ends by the first part of a call: `run`, `monitoring`, `platform`."""

    def __init__(self, ends: Mapping[str, End], clock: Clock) -> None:
        self._ends = dict(ends)
        self._clock = clock

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Carry out a change; raise EffectFailed where nobody serves the call."""
        end = self._end(planned.call)
        if end is None:
            raise EffectFailed(f"nobody serves {planned.call}; known are {sorted(self._ends)}")
        return await end.call(planned)

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether a change took place; unknown where nobody serves the call."""
        end = self._end(planned.call)
        return "unknown" if end is None else await end.read_back(planned)

    async def read(self, request: FactRequest) -> Fact:
        """Answer a question; a fact with an error where nobody serves the call."""
        end = self._end(request.call)
        if end is None:
            error = f"nobody serves {request.call}"
            return Fact(key=request.key, read_at=self._clock(), error=error)
        return await end.read(request)

    def _end(self, call: str) -> End | None:
        return self._ends.get(call.partition(".")[0])
