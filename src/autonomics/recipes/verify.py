"""Whether an act has helped: the signal stayed away and the world is as planned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from attrs import evolve

from autonomics.recipes.counting import count_since_act
from autonomics.recipes.diagnosis import fingerprint_of
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.history import History
from autonomics.recipes.pick import take_picks
from autonomics.recipes.predicate import evaluate
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.signal import Signal
from autonomics.recipes.view import SignalView, extract_from, fresh_values, request_facts

Verification = Literal["pending", "effective", "ineffective", "unknown"]


def verification_facts(signal: Signal, recipe: Recipe, now: datetime) -> tuple[FactRequest, ...]:
    """Say which facts the verification of an act needs; all of them have to be read anew."""
    return request_facts(recipe, _view(signal, recipe, now))


def judge_act(  # noqa: PLR0917  (decide's inputs, and when the act ended)
    signal: Signal,
    recipe: Recipe,
    facts: Mapping[str, Fact],
    history: History,
    acted_at: datetime,
    now: datetime,
) -> Verification:
    """Judge an act that ended at `acted_at`, by facts that were read after it.

    "Completed but ineffective" is a failure: the recipe's condition decides, not the call's
    success. Until `until_s` a condition that does not hold is pending; then it has failed.
    """
    verify = recipe.verify
    if verify is None:
        return "unknown"
    age_s = (now - acted_at).total_seconds()
    if age_s < verify.after_s:
        return "pending"
    view = _view(signal, recipe, now)
    requests = request_facts(recipe, view)
    recent = {key: fact for key, fact in facts.items() if fact.read_at >= acted_at}
    seen = evolve(view, facts=fresh_values(requests, recent, now))
    seen = evolve(seen, picks=take_picks(recipe.picks, seen))
    seen = evolve(seen, counts=count_since_act(recipe, seen, history, verify.settle_s))
    truth = evaluate(verify.condition, seen)
    if truth is True:
        return "effective"
    if age_s < verify.until_s:
        return "pending"
    return "ineffective" if truth is False else "unknown"


def _view(signal: Signal, recipe: Recipe, now: datetime) -> SignalView:
    bare = SignalView(
        signal=signal,
        extracts=extract_from(signal, recipe),
        facts={},
        counts={},
        recipe_id=recipe.id,
        fingerprint="",
        now=now,
        absent=recipe.absent,
    )
    return evolve(bare, fingerprint=fingerprint_of(recipe, bare))
