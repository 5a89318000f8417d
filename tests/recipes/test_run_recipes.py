"""What the recipes about Cloud Run plan, and which of them a signal is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.recipes import Decision, History, Outcome, diagnose, normalise
from autonomics.recipes.lint import lint_recipe
from autonomics.testing.decision_stage import FACTS, NOW, open_decision_stage
from autonomics.testing.decision_stage import DecisionStage as Stage

STAGE = open_decision_stage()
MAX_INSTANCES = "run.max_instances_reached"
SCALE_RATE = "run.scale_rate_exceeded"
CRASHLOOP = "run.crashloop_exit"
NEW = (MAX_INSTANCES, SCALE_RATE, CRASHLOOP)
LIMIT = "template.scaling.maxInstanceCount"
WARM = "scaling.minInstanceCount"
BOOST = "template.containers.0.resources.startupCpuBoost"
SLOW: Mapping[str, str] = {**FACTS, "instances": "run/fixtures/instances_below_limit.json"}
SPARSE: Mapping[str, str] = {**SLOW, "service": "run/fixtures/service_sparse.json"}


def with_facts(name: str, **changes: Any) -> Stage:
    """Change members of a fixture, by dotted paths with __ for dots."""
    message = STAGE.message(name)
    for path, value in changes.items():
        *way, last = path.split("__")
        node: Any = message
        for segment in way:
            node = node[int(segment)] if segment.isdigit() else node.setdefault(segment, {})
        node[last] = value
    return evolve(STAGE, fixtures={**STAGE.fixtures, name: message})


def decide(stage: Stage, name: str, values: Mapping[str, str] = FACTS, times: int = 1) -> Decision:
    """Decide about the last of some signals that come at one moment."""
    history, decision = History.empty(), None
    for number in range(times):
        signal = stage.signal(f"run/fixtures/{name}.json", message_id=str(number))
        decision = stage.decide(signal, history, values=values)
        if number < times - 1:
            history = stage.after(history, decision)
    assert decision is not None
    return decision


def test_the_limit_is_raised_by_half_and_restored() -> None:
    plan = decide(STAGE, "no_instance_429").plan

    assert plan is not None
    (call,), (undo,) = plan.calls, plan.rollback
    assert (call.call, call.mask, dict(call.set)) == ("run.services.patch", (LIMIT,), {LIMIT: 60})
    assert (undo.mask, dict(undo.set), undo.etag) == ((LIMIT,), {LIMIT: 40}, None)
    assert call.validate_only_first
    assert call.etag == '"CJ2kmq8GEKi"'


def test_a_limit_that_was_left_out_is_left_out_again() -> None:
    stage = with_facts("run/fixtures/instances_at_limit.json", least="99")
    values = {**FACTS, "service": "run/fixtures/service_sparse.json"}

    plan = decide(stage, "no_instance_429", values).plan

    assert plan is not None
    assert dict(plan.calls[0].set) == {LIMIT: 150}
    assert dict(plan.calls[0].before) == dict(plan.rollback[0].set) == {}
    assert plan.rollback[0].mask == (LIMIT,)


@given(st.integers(1, 1000))
def test_no_limit_grows_beyond_half_as_much_again_or_the_ceiling(limit: int) -> None:
    stage = with_facts("run/fixtures/service_512.json", template__scaling__maxInstanceCount=limit)
    name = "run/fixtures/instances_at_limit.json"
    full = {**stage.message(name), "least": str(limit)}
    stage = evolve(stage, fixtures={**stage.fixtures, name: full})

    decision = decide(stage, "no_instance_429")

    if limit >= 200:
        assert (decision.plan, decision.code) == (None, "no_lawful_step")
    else:
        assert decision.plan is not None
        planned = decision.plan.calls[0].set[LIMIT]
        assert isinstance(planned, int)
        assert limit < planned <= min(200, max(limit + 1, limit * 3 // 2))


@given(limit=st.integers(1, 200), whole=st.integers(1, 400))
def test_a_planned_limit_is_never_above_that_of_the_service(limit: int, whole: int) -> None:
    stage = with_facts(
        "run/fixtures/service_512.json",
        template__scaling__maxInstanceCount=limit,
        scaling__maxInstanceCount=whole,
    )
    name = "run/fixtures/instances_at_limit.json"
    full = {**stage.message(name), "least": str(limit)}
    stage = evolve(stage, fixtures={**stage.fixtures, name: full})

    decision = decide(stage, "no_instance_429")

    if decision.answer == "act":
        assert decision.plan is not None
        planned = decision.plan.calls[0].set[LIMIT]
        assert isinstance(planned, int)
        assert planned <= whole
    elif whole >= 2 * limit and limit < 200:
        pytest.fail(f"there was room: {decision.code}")


def test_warm_instances_and_boost_are_set_in_one_call_and_taken_back() -> None:
    plan = decide(STAGE, "no_instance_500", SPARSE).plan

    assert plan is not None
    (call,), (undo,) = plan.calls, plan.rollback
    assert dict(call.set) == {WARM: 3, BOOST: True}
    assert set(call.mask) == set(undo.mask) == {WARM, BOOST}
    assert dict(undo.set) == {}


def test_what_the_service_says_is_restored_as_it_was() -> None:
    stage = with_facts(
        "run/fixtures/service_512.json",
        scaling__minInstanceCount=8,
        template__containers__0__resources__startupCpuBoost=False,
    )

    plan = decide(stage, "no_instance_500", SLOW).plan

    assert plan is not None
    assert dict(plan.calls[0].set) == {WARM: 10, BOOST: True}
    assert dict(plan.rollback[0].set) == {WARM: 8, BOOST: False}


@given(warm=st.integers(0, 20), limit=st.integers(1, 120))
def test_warm_instances_grow_by_one_to_three_and_stay_within_the_limit(
    warm: int, limit: int
) -> None:
    stage = with_facts(
        "run/fixtures/service_512.json",
        scaling__minInstanceCount=warm,
        template__scaling__maxInstanceCount=limit,
    )
    none = {**SLOW, "instances": "run/fixtures/instances_none.json"}

    decision = decide(stage, "no_instance_500", none)

    if warm >= min(10, limit):
        assert decision.code == "no_lawful_step"
    else:
        assert decision.plan is not None
        planned = decision.plan.calls[0].set[WARM]
        assert isinstance(planned, int)
        assert warm < planned <= min(warm + 3, 10, limit)


def test_all_traffic_goes_to_the_ready_revision_before_and_back_by_the_roll_back() -> None:
    plan = decide(STAGE, "exit", times=3).plan

    assert plan is not None
    (call,), (undo,) = plan.calls, plan.rollback
    kind = "TRAFFIC_TARGET_ALLOCATION_TYPE"
    # 00040 is nearer, and was never ready.
    assert call.set["traffic"] == [
        {"type": f"{kind}_REVISION", "revision": "checkout-00039-xyz", "percent": 100}
    ]
    assert undo.set["traffic"] == [{"type": f"{kind}_LATEST", "percent": 100}]


@pytest.mark.parametrize("repeat", [1, 2])
def test_no_fact_is_read_before_the_third_exit(repeat: int) -> None:
    assert decide(STAGE, "exit", times=repeat).facts == ()
    assert len(decide(STAGE, "exit", times=3).facts) == 2


STATUSES = (None, 200, 429, 500, 503)
SEVERITIES = (None, "DEFAULT", "INFO", "WARNING", "ERROR", "CRITICAL")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("values", [FACTS, SLOW])
def test_only_the_documented_pairs_of_status_and_severity_may_act(
    status: int | None, severity: str | None, values: Mapping[str, str]
) -> None:
    message = STAGE.message("run/fixtures/no_instance_429.json")
    del message["severity"], message["httpRequest"]["status"]
    if status is not None:
        message["httpRequest"]["status"] = status
    if severity is not None:
        message["severity"] = severity
    expected = {(429, "WARNING"): MAX_INSTANCES, (500, "ERROR"): SCALE_RATE}.get(
        (status or 0, severity or "")
    )

    decision = STAGE.decide(normalise(message), History.empty(), values=values)

    if expected is None:
        assert decision.diagnosis.outcome is Outcome.INCONCLUSIVE
        assert (decision.answer, decision.code) == ("refuse", "inconclusive")
    else:
        acts = (expected == MAX_INSTANCES) is (values is FACTS)
        assert decision.diagnosis.recipe_id == expected
        assert decision.answer == ("act" if acts else "refuse")


TEXT = "The request was aborted because there was no available instance"
TYPED: dict[str, Any] = {"resource": {"type": "cloud_run_revision"}}


@pytest.mark.parametrize(
    ("message", "recipe", "outcome"),
    [
        ({"text": TEXT}, MAX_INSTANCES, Outcome.INCONCLUSIVE),
        ({"text": TEXT, "status": 429}, MAX_INSTANCES, Outcome.INCONCLUSIVE),
        ({"text": TEXT, "status": "429", "severity": "WARNING"}, MAX_INSTANCES, None),
        ({"text": TEXT, "status": 500, "severity": "ERROR"}, SCALE_RATE, None),
        ({"text": TEXT, "status": 500}, SCALE_RATE, Outcome.INCONCLUSIVE),
        ({**TYPED, "text": TEXT, "status": 500, "severity": "ERROR"}, SCALE_RATE, None),
        ({"text": "there was no available instance of the plugin"}, None, Outcome.NONE),
        ({"text": "429 Too Many Requests"}, None, Outcome.NONE),
        ({"text": "Container called exit(1)."}, CRASHLOOP, None),
        ({"text": "Container called exit(137)"}, CRASHLOOP, None),
        ({"text": "Container called exit(0)."}, None, Outcome.NONE),
        ({"text": "Container called exit."}, None, Outcome.NONE),
        ({"text": "the Container called exit(1)."}, None, Outcome.NONE),
    ],
)
def test_a_text_alone_names_the_recipe_and_proves_nothing(
    message: dict[str, Any], recipe: str | None, outcome: Outcome | None
) -> None:
    found = diagnose(normalise(message), {}, History.empty(), STAGE.recipes, NOW)

    assert found.recipe_id == recipe
    assert found.outcome is (outcome or Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("recipe_id", NEW)
def test_each_recipe_is_tested_from_all_sides(recipe_id: str) -> None:
    recipe = STAGE.recipes.get(recipe_id)

    assert recipe is not None
    assert lint_recipe(recipe) == []
    answers = [test.expect.get("answer") for test in recipe.tests]
    assert answers.count("act") >= 2
    assert answers.count("none") >= 2


@pytest.mark.parametrize("name", ["run.oom_memory_limit", MAX_INSTANCES, SCALE_RATE])
def test_whoever_changes_the_template_asks_whether_it_can_be_rolled_out(name: str) -> None:
    recipe = STAGE.recipes.get(name)

    assert recipe is not None
    names = {each.name for each in recipe.preconditions}
    assert {"revision_name_is_free", "traffic_follows_the_newest"} <= names
