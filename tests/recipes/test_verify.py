from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from autonomics.recipes import (
    Fact,
    History,
    RecipeSet,
    Signal,
    judge_act,
    parse_recipe,
    verification_facts,
)
from autonomics.recipes.record import outcome_payload, parse_payload
from autonomics.testing.decision_stage import FACTS, NOW
from autonomics.testing.decision_stage import DecisionStage as Stage


def acted(stage: Stage) -> tuple[Signal, History]:
    """Fold in an act that was done at NOW."""
    signal, history = stage.two_kills()
    decision = stage.decide(signal, history)
    assert decision.action_id is not None
    payload = parse_payload(outcome_payload(decision.action_id, "done"))
    return signal, stage.after(history, decision).apply("outcome", payload, 9, NOW)


def judge(
    stage: Stage,
    signal: Signal,
    history: History,
    after_s: int,
    state: str = "CONDITION_SUCCEEDED",
    read_at: datetime | None = None,
) -> Any:
    recipe = stage.recipes.get("run.oom_memory_limit")
    assert recipe is not None
    now = NOW + timedelta(seconds=after_s)
    service: dict[str, Any] = stage.message(FACTS["service"])
    service["terminalCondition"] = {"state": state}
    facts = {
        request.key: Fact(
            key=request.key,
            value=service if request.name == "service" else None,
            read_at=read_at or now,
        )
        for request in verification_facts(signal, recipe, now)
    }
    return judge_act(signal, recipe, facts, history, NOW, now)


def kill_again(stage: Stage, signal: Signal, history: History, after_s: int) -> History:
    moment = NOW + timedelta(seconds=after_s)
    again = evolve(signal, event_at=moment, message_id="again")
    return stage.after(history, stage.decide(again, history, now=moment))


@pytest.mark.parametrize(
    ("after_s", "verdict"), [(0, "pending"), (119, "pending"), (120, "effective")]
)
def test_an_act_is_effective_once_the_signal_stayed_away(
    stage: Stage, after_s: int, verdict: str
) -> None:
    signal, history = acted(stage)

    assert judge(stage, signal, history, after_s) == verdict


def test_a_signal_that_comes_back_makes_the_act_ineffective(stage: Stage) -> None:
    signal, history = acted(stage)
    history = kill_again(stage, signal, history, 90)

    assert judge(stage, signal, history, 120) == "pending"
    assert judge(stage, signal, history, 899) == "pending"
    assert judge(stage, signal, history, 900) == "ineffective"


def test_a_signal_of_the_time_to_settle_does_not_count(stage: Stage) -> None:
    signal, history = acted(stage)
    history = kill_again(stage, signal, history, 60)

    assert judge(stage, signal, history, 120) == "effective"


def test_a_service_that_does_not_become_ready_is_ineffective(stage: Stage) -> None:
    signal, history = acted(stage)

    assert judge(stage, signal, history, 120, "CONDITION_FAILED") == "pending"
    assert judge(stage, signal, history, 900, "CONDITION_FAILED") == "ineffective"


def test_a_fact_from_before_the_act_proves_nothing(stage: Stage) -> None:
    text = dict(stage.files)["run/oom_memory_limit.toml"].decode()
    patient = parse_recipe(text.replace("max_age_s = 30\n", "max_age_s = 9999\n").encode())
    stage = evolve(stage, recipes=RecipeSet((patient,)))
    signal, history = acted(stage)
    before = NOW - timedelta(microseconds=1)

    assert judge(stage, signal, history, 120, read_at=NOW) == "effective"

    assert judge(stage, signal, history, 120, read_at=before) == "pending"
    assert judge(stage, signal, history, 900, read_at=before) == "unknown"


def test_a_recipe_that_cannot_be_verified_is_unknown(stage: Stage) -> None:
    signal, history = acted(stage)
    recipe = stage.recipes.get("run.oom_memory_limit")
    assert recipe is not None

    assert judge_act(signal, evolve(recipe, verify=None), {}, history, NOW, NOW) == "unknown"
