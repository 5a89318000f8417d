from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from autonomics.errors import InvalidRecipe
from autonomics.recipes import (
    History,
    Outcome,
    diagnose,
    normalise,
    parse_fixtures,
    parse_library,
    parse_recipe,
    run_inline_tests,
)
from autonomics.service import read_library
from autonomics.testing.decision_stage import NOW
from autonomics.testing.decision_stage import DecisionStage as Stage

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "signals"
OOM = "run/oom_memory_limit.toml"


def names() -> list[tuple[str, str]]:
    recipes = parse_library(read_library()).recipes
    return [(recipe.id, test.name) for recipe in recipes for test in recipe.tests]


@pytest.mark.parametrize(("recipe_id", "name"), names())
def test_each_inline_test_of_the_library_passes(stage: Stage, recipe_id: str, name: str) -> None:
    recipe = stage.recipes.get(recipe_id)
    assert recipe is not None
    only = evolve(recipe, tests=tuple(test for test in recipe.tests if test.name == name))

    (result,) = run_inline_tests(only, stage.fixtures, stage.recipes)

    assert result.has_passed, (result.differences, result.decision.diagnosis.explanation)


def test_an_inline_test_can_fail(stage: Stage) -> None:
    text = dict(stage.files)[OOM].decode().replace('answer = "act" }', 'answer = "none" }', 1)

    results = run_inline_tests(parse_recipe(text.encode()), stage.fixtures)

    failed = [result for result in results if not result.has_passed]
    assert [result.differences for result in failed] == [("expected answer to be none, got act",)]


def test_an_inline_test_without_its_fixture_says_so(stage: Stage) -> None:
    recipe = stage.recipes.get("run.oom_memory_limit")
    assert recipe is not None

    with pytest.raises(InvalidRecipe, match=r"fixture run/fixtures/kill\.json"):
        run_inline_tests(recipe, {})


def test_an_unknown_stop_in_an_inline_test_says_so(stage: Stage) -> None:
    text = dict(stage.files)[OOM].decode().replace('stop = "line"', 'stop = "planet"')

    with pytest.raises(InvalidRecipe, match="one of"):
        run_inline_tests(parse_recipe(text.encode()), stage.fixtures)


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ('stop = "tenant"', "line_stopped"),
        ('stop = "unreadable"', "latch_unreadable"),
        ('stop = "recipe"', "line_stopped"),
        ('tenant_state = "closed"', "tenant_not_active"),
        ('role = "viewer"', "role_may_not_act"),
        ("acts_used = 250000", "quota_exhausted"),
        ("legal_hold = true", "legal_hold"),
        ("monitor = true", "monitor_only"),
        ('certificate = "expired"', "certificate_expired"),
        ('certificate = "valid"', "none"),
        ('price_plan = "evaluation"', "none"),
    ],
)
def test_an_inline_test_may_set_the_rules(stage: Stage, policy: str, code: str) -> None:
    text = dict(stage.files)[OOM].decode()
    text = text.replace('policy = { stop = "line" }', f"policy = {{ {policy} }}").replace(
        'expect = { answer = "refuse", code = "line_stopped" }',
        f'expect = {{ diagnosis = "run.oom_memory_limit", code = "{code}" }}',
    )

    results = run_inline_tests(parse_recipe(text.encode()), stage.fixtures)

    assert [result.differences for result in results if not result.has_passed] == []


def test_a_fixture_that_is_no_json_is_named() -> None:
    with pytest.raises(InvalidRecipe, match=r"run/fixtures/x\.json: expected fixture to be JSON"):
        parse_fixtures([("run/fixtures/x.json", b"{")])


@pytest.mark.parametrize(
    ("metric", "observed", "outcome"),
    [
        ("serviceruntime.googleapis.com/quota/allocation/usage", "0.8", Outcome.CONFIRMED),
        ("serviceruntime.googleapis.com/quota/rate/net_usage", "0.85", Outcome.CONFIRMED),
        ("compute.googleapis.com/quota/cpus_per_vm_family/usage", "0.799", Outcome.NONE),
        ("compute.googleapis.com/quota/cpus_per_vm_family/exceeded", "1", Outcome.NONE),
        ("serviceruntime.googleapis.com/quota/allocation/usage", "48", Outcome.INCONCLUSIVE),
        ("run.googleapis.com/container/memory/utilizations", "0.9", Outcome.NONE),
        ("", "0.9", Outcome.NONE),
    ],
)
def test_an_incident_is_about_a_quota_by_its_metric(
    stage: Stage, metric: str, observed: str, outcome: Outcome
) -> None:
    incident = {"state": "open", "observed_value": observed, "metric": {"type": metric}}

    found = diagnose(normalise({"incident": incident}), {}, History.empty(), stage.recipes, NOW)

    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Memory limit of 512M exceeded with 523M used. Consider more.", Outcome.INCONCLUSIVE),
        ("Memory limit of 1024 MiB exceeded with 1035 MiB used.", Outcome.INCONCLUSIVE),
        (
            (
                "While handling this request, the container instance was found to be using too "
                "much memory and was terminated."
            ),
            Outcome.INCONCLUSIVE,
        ),
        ("Memory limit of 512 MiB exceeded with 100 MiB used.", Outcome.NONE),
        ("The memory limit of the plan is 512 MiB", Outcome.NONE),
        ("Memory limit of my laptop exceeded with all of it used", Outcome.NONE),
        ("process was using too much memory and was terminated by me", Outcome.NONE),
        ("OOMKilled", Outcome.NONE),
    ],
)
def test_a_kill_is_known_by_its_words_and_proven_by_its_log(
    stage: Stage, text: str, outcome: Outcome
) -> None:
    found = diagnose(normalise({"text": text}), {}, History.empty(), stage.recipes, NOW)

    assert found.outcome is outcome


def samples() -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(SHARED.glob("*/samples.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_no_real_signal_is_taken_for_what_it_is_not(stage: Stage) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no samples at {SHARED}")
    wrong: list[str] = []
    seen = 0
    for sample in samples():
        signal = normalise(sample["payload"])
        found = diagnose(signal, {}, History.empty(), stage.recipes, signal.event_at or NOW)
        if found.outcome is not Outcome.NONE:
            seen += 1
            if found.recipe_id not in sample["expect"]:
                wrong.append(f"{sample['id']}: {found.recipe_id}")
    assert wrong == []
    assert seen >= 2
