"""From a signal to a decision: normalisation, diagnosis, plan, bounds, and the recipe format. Pure.

`decide` and its first half `diagnose` are functions of their arguments alone.
"""

from __future__ import annotations

from autonomics.recipes.decision import ENGINE_VERSION, Decision, decide
from autonomics.recipes.diagnosis import Diagnosis, Finding, Outcome, diagnose, needed_facts
from autonomics.recipes.effector import (
    Effector,
    EffectResult,
    Fact,
    FactReader,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.recipes.format import parse_recipe
from autonomics.recipes.history import Act, History, parse_history
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.inline_test import InlineResult, run_inline_tests
from autonomics.recipes.library import parse_fixtures, parse_library
from autonomics.recipes.normalise import normalise
from autonomics.recipes.plan import Plan
from autonomics.recipes.policy import Fleet, Policy, parse_policy
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.replay import Replay, replay
from autonomics.recipes.signal import Signal, parse_signal
from autonomics.recipes.verify import Verification, judge_act, verification_facts

__all__ = [
    "ENGINE_VERSION",
    "Act",
    "Decision",
    "Diagnosis",
    "EffectResult",
    "Effector",
    "Fact",
    "FactReader",
    "FactRequest",
    "Finding",
    "Fleet",
    "History",
    "InlineResult",
    "Outcome",
    "Plan",
    "PlannedCall",
    "Policy",
    "ReadBack",
    "Recipe",
    "RecipeSet",
    "Replay",
    "Signal",
    "Verification",
    "decide",
    "diagnose",
    "judge_act",
    "needed_facts",
    "normalise",
    "parse_fixtures",
    "parse_history",
    "parse_library",
    "parse_policy",
    "parse_recipe",
    "parse_signal",
    "replay",
    "run_inline_tests",
    "verification_facts",
]
