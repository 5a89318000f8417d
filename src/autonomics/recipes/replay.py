"""Deciding again from what was recorded: the same digest, or the first point that differs."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from autonomics.recipes.decision import ENGINE_VERSION, Decision, decide
from autonomics.recipes.history import History
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.record import Received, Recorded


@frozen(kw_only=True)
class Replay:
    """The comparison of one recorded decision with the same decision made again."""

    status: Literal["same", "differs", "engine_differs"]
    recorded: str
    replayed: str | None
    decision: Decision | None


def replay(received: Received, recorded: Recorded, history: History, recipes: RecipeSet) -> Replay:
    """Decide again on the recorded inputs; `history` is the fold of all receipts before.

    A decision of another engine is not comparable, and said to be so.
    """
    if recorded.engine != ENGINE_VERSION:
        return Replay(
            status="engine_differs", recorded=recorded.digest, replayed=None, decision=None
        )
    decision = decide(
        received.signal, recorded.facts, history, recipes, recorded.policy, recorded.now
    )
    return Replay(
        status="same" if decision.digest == recorded.digest else "differs",
        recorded=recorded.digest,
        replayed=decision.digest,
        decision=decision,
    )
