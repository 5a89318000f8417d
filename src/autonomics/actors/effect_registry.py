"""Which calls recipes may name, and who carries them out: by the first part of their name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime

import trio

from autonomics.actors.message import PLATFORM
from autonomics.errors import EffectFailed
from autonomics.recipes.effector import (
    Effector,
    EffectResult,
    Fact,
    FactReader,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.recipes.index import RecipeSet
from autonomics.telemetry import declare, emit

READ_BACK_S = 10.0

declare(
    "act.out_of_reach",
    "An act that was cut off can't be read back here, for nobody serves its call; it stays open.",
    call="name of the call",
    resource="what it was to change",
)


class EffectRegistry:
    """`Effector` and `FactReader` that hands each call to whoever serves its prefix."""

    def __init__(
        self,
        effectors: Mapping[str, Effector],
        readers: Mapping[str, FactReader],
        clock: Callable[[], datetime],
    ) -> None:
        self._effectors = dict(effectors)
        self._readers = dict(readers)
        self._clock = clock

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Carry out a call; one that nobody serves has failed before it began."""
        effector = self._effectors.get(_prefix(planned.call))
        if effector is None:
            raise EffectFailed(f"no effector is configured for {planned.call}")
        return await effector.call(planned)

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether a call took place; `unknown` if an outside system takes too long to say.

        The platform takes the time it needs: it can't say before its own store is back. And where
        nobody serves the call, as in a command that opens the folder without the server's settings,
        the act stays open: nobody has looked, and the next server can.
        """
        prefix = _prefix(planned.call)
        effector = self._effectors.get(prefix)
        if effector is None:
            emit("act.out_of_reach", call=planned.call, resource=planned.resource)
            await trio.sleep_forever()
        with trio.move_on_after(math.inf if prefix == PLATFORM else READ_BACK_S):
            return await effector.read_back(planned)
        return "unknown"

    async def read(self, request: FactRequest) -> Fact:
        """Read a fact; one that nobody serves is a fact with an error."""
        reader = self._readers.get(_prefix(request.call))
        if reader is None:
            why = f"no reader is configured for {request.call}"
            return Fact(key=request.key, read_at=self._clock(), error=why)
        return await reader.read(request)


def find_dry(recipes: RecipeSet, prefixes: frozenset[str]) -> tuple[str, ...]:
    """List the recipes that can't act, for an effector is missing: they only decide."""
    return tuple(
        recipe.id
        for recipe in recipes.recipes
        if any(_prefix(action.call) not in prefixes for action in recipe.actions)
    )


def _prefix(call: str) -> str:
    return call.partition(".")[0]
