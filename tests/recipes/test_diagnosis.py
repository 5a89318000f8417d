from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from autonomics.errors import InvalidRecipe
from autonomics.recipes import (
    Fact,
    History,
    Outcome,
    RecipeSet,
    diagnose,
    needed_facts,
    normalise,
    parse_recipe,
)
from autonomics.testing.decision_stage import FACTS, NOW
from autonomics.testing.decision_stage import DecisionStage as Stage

KILL = "run/fixtures/kill.json"


def recipe_text(name: str, weight: str, extra: str = "", min_margin: str = "1.0") -> bytes:
    return f"""
schema = 1
id = "own.{name}"
version = "1.0.0"
pack = "own"
title = "{name}"
owner = "test"
maturity = "manual"
[match]
kinds = ["text"]
all = []
any_literal = ["something broke"]
[diagnose]
window_s = 60
recovery_s = 60
fingerprint = ["text"]
min_score = 2
min_margin = {min_margin}
[[diagnose.evidence]]
name = "text"
weight = {weight}
required = true
when = [["text", "has", "broke"]]
{extra}
""".encode()


def own(*recipes: bytes) -> RecipeSet:
    return RecipeSet.of(parse_recipe(data) for data in recipes)


BROKE = normalise({"text": "something broke"})


def test_two_kills_confirm_and_say_why(stage: Stage) -> None:
    signal, history = stage.two_kills()
    facts = stage.facts(signal, history, NOW, FACTS)

    found = diagnose(signal, facts, history, stage.recipes, NOW)

    assert (found.outcome, found.recipe_id) == (Outcome.CONFIRMED, "run.oom_memory_limit")
    assert [each.name for each in found.found] == ["kill_line", "repeated"]
    assert (found.missing, found.against, found.vetoes) == ((), (), ())
    assert found.explanation.startswith(
        "CONFIRMED run.oom_memory_limit: Cloud Run instance killed for memory (score 4, needs 3.5)"
    )


def test_evidence_against_is_listed_as_veto(stage: Stage) -> None:
    signal, history = stage.two_kills()
    facts = stage.facts(signal, history, NOW, {**FACTS, "memory": "run/fixtures/memory_leak.json"})

    found = diagnose(signal, facts, history, stage.recipes, NOW)

    assert found.outcome is Outcome.LIKELY
    assert [each.name for each in found.vetoes] == ["leak"]
    assert found.vetoes == found.against


def test_a_fact_that_is_too_old_is_not_known(stage: Stage) -> None:
    signal, history = stage.two_kills()
    facts = stage.facts(signal, history, NOW - timedelta(seconds=121), FACTS)

    found = diagnose(signal, facts, history, stage.recipes, NOW)

    assert found.outcome is Outcome.INCONCLUSIVE
    assert [each.name for each in found.missing] == ["leak"]


@pytest.mark.parametrize(
    ("age_s", "outcome"), [(120, Outcome.CONFIRMED), (121, Outcome.INCONCLUSIVE)]
)
def test_the_age_of_a_fact_is_inclusive(stage: Stage, age_s: int, outcome: Outcome) -> None:
    signal, history = stage.two_kills()
    facts = stage.facts(signal, history, NOW - timedelta(seconds=age_s), FACTS)

    assert diagnose(signal, facts, history, stage.recipes, NOW).outcome is outcome


def test_a_fact_with_an_error_is_not_known(stage: Stage) -> None:
    signal, history = stage.two_kills()
    facts = {
        request.key: Fact(key=request.key, read_at=NOW, error="503")
        for request in needed_facts(signal, history, stage.recipes, NOW)
    }

    found = diagnose(signal, facts, history, stage.recipes, NOW)

    assert found.outcome is Outcome.INCONCLUSIVE


def test_a_threshold_of_score_is_inclusive() -> None:
    assert diagnose(BROKE, {}, History.empty(), own(recipe_text("a", "2")), NOW).outcome is (
        Outcome.CONFIRMED
    )
    assert diagnose(BROKE, {}, History.empty(), own(recipe_text("a", "1.999")), NOW).outcome is (
        Outcome.LIKELY
    )


def test_two_confirmed_recipes_that_are_close_conflict() -> None:
    recipes = own(recipe_text("a", "2.5"), recipe_text("b", "3"))

    found = diagnose(BROKE, {}, History.empty(), recipes, NOW)

    assert (found.outcome, found.recipe_id) == (Outcome.INCONCLUSIVE, "own.b")
    assert (found.runner_up, found.margin) == ("own.a", Decimal("0.5"))
    assert "runner-up: own.a, margin 0.5, needs 1" in found.explanation


def test_a_margin_that_suffices_confirms() -> None:
    recipes = own(recipe_text("a", "2"), recipe_text("b", "3"))

    found = diagnose(BROKE, {}, History.empty(), recipes, NOW)

    assert (found.outcome, found.recipe_id) == (Outcome.CONFIRMED, "own.b")
    assert found.margin == Decimal(1)


def test_a_close_rival_that_is_only_likely_makes_likely() -> None:
    recipes = own(recipe_text("a", "1.5"), recipe_text("b", "2"))

    assert diagnose(BROKE, {}, History.empty(), recipes, NOW).outcome is Outcome.LIKELY


def test_of_equal_candidates_the_first_id_stands() -> None:
    recipes = own(recipe_text("b", "1"), recipe_text("a", "1", min_margin="0"))

    assert diagnose(BROKE, {}, History.empty(), recipes, NOW).recipe_id == "own.a"


def test_negative_evidence_takes_from_the_score() -> None:
    doubt = """
[[diagnose.evidence]]
name = "doubt"
weight = -1
when = [["text", "has", "something"]]
"""
    found = diagnose(BROKE, {}, History.empty(), own(recipe_text("a", "2.5", doubt)), NOW)

    assert found.outcome is Outcome.LIKELY
    assert [each.name for each in found.against] == ["doubt"]
    assert found.vetoes == ()


def test_required_evidence_that_is_missing_is_inconclusive() -> None:
    status = """
[[diagnose.evidence]]
name = "status"
weight = 1
required = true
when = [["status", "eq", "500"]]
"""
    recipes = own(recipe_text("a", "2", status))

    def outcome(signal: Any) -> Outcome:
        return diagnose(signal, {}, History.empty(), recipes, NOW).outcome

    assert outcome(BROKE) is Outcome.INCONCLUSIVE
    assert outcome(evolve(BROKE, status="500")) is Outcome.CONFIRMED
    assert outcome(evolve(BROKE, status="404")) is Outcome.NONE


def test_what_is_ruled_out_says_by_what(stage: Stage) -> None:
    signal = stage.signal(KILL, fields={**stage.message(KILL), "logName": "projects/p/logs/stdout"})

    found = diagnose(signal, {}, History.empty(), stage.recipes, NOW)

    assert found.outcome is Outcome.NONE
    assert "run.oom_memory_limit is ruled out by kill_line" in found.explanation


def test_another_service_of_the_same_name_is_another_matter(stage: Stage) -> None:
    signal, history = stage.two_kills()
    elsewhere = evolve(signal, labels={**signal.labels, "location": "us-central1"})

    found = diagnose(elsewhere, {}, history, stage.recipes, NOW)

    assert found.outcome is Outcome.LIKELY


def test_facts_are_asked_for_only_where_they_could_confirm(stage: Stage) -> None:
    signal, history = stage.two_kills()

    asked = needed_facts(signal, history, stage.recipes, NOW)

    assert {request.call for request in asked} == {
        "run.services.get",
        "monitoring.timeSeries.list",
    }
    assert asked[0].args == {"name": "projects/shop/locations/europe-west1/services/checkout"}
    assert needed_facts(signal, History.empty(), stage.recipes, NOW) == ()
    assert needed_facts(evolve(signal, closed=True), history, stage.recipes, NOW) == ()
    assert needed_facts(BROKE, history, stage.recipes, NOW) == ()


def test_a_recipe_set_has_distinct_ids() -> None:
    with pytest.raises(InvalidRecipe, match="distinct ids"):
        own(recipe_text("a", "1"), recipe_text("a", "2"))


def test_a_recipe_is_found_by_its_id(stage: Stage) -> None:
    assert stage.recipes.get("run.oom_memory_limit") is not None
    assert stage.recipes.get("run.other") is None
