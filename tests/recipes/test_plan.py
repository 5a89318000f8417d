from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.recipes import History, RecipeSet, parse_recipe
from autonomics.recipes.quantity import read_number
from autonomics.testing.decision_stage import FACTS, NOW, open_decision_stage
from autonomics.testing.decision_stage import DecisionStage as Stage

OOM = "run/oom_memory_limit.toml"
MEMORY = "template.containers.0.resources.limits.memory"
STAGE = open_decision_stage()


def with_text(stage: Stage, old: str, new: str, name: str = OOM) -> Stage:
    text = dict(stage.files)[name].decode()
    assert old in text
    return evolve(stage, recipes=RecipeSet.of([parse_recipe(text.replace(old, new).encode())]))


def with_memory(stage: Stage, memory: object) -> Stage:
    message = stage.message(FACTS["service"])
    message["template"]["containers"][0]["resources"]["limits"]["memory"] = memory
    return evolve(stage, fixtures={**stage.fixtures, FACTS["service"]: message})


@pytest.mark.parametrize(
    ("present", "planned"),
    [
        ("128Mi", "256Mi"),
        ("256Mi", "512Mi"),
        ("384Mi", "512Mi"),
        ("512Mi", "1Gi"),
        ("1Gi", "2Gi"),
        ("2Gi", "4Gi"),
        ("1024Mi", "2Gi"),
    ],
)
def test_memory_takes_the_next_step_up(stage: Stage, present: str, planned: str) -> None:
    signal, history = stage.two_kills()

    decision = with_memory(stage, present).decide(signal, history)

    assert decision.plan is not None
    assert dict(decision.plan.calls[0].set) == {MEMORY: planned}


@given(st.integers(1, 40_000))
def test_no_step_more_than_doubles_the_memory(mebibytes: int) -> None:
    signal, history = STAGE.two_kills()

    decision = with_memory(STAGE, f"{mebibytes}Mi").decide(signal, history)

    if decision.plan is None:
        assert decision.code == "no_lawful_step"
        assert mebibytes < 128 or mebibytes >= 4096
    else:
        after = read_number(decision.plan.calls[0].set[MEMORY])
        assert after is not None
        assert mebibytes * 2**20 < after <= 2 * mebibytes * 2**20


@pytest.mark.parametrize("memory", [None, "lots", ["512Mi"]])
def test_a_present_value_that_is_not_known_gives_no_plan(stage: Stage, memory: object) -> None:
    signal, history = stage.two_kills()

    decision = with_memory(stage, memory).decide(signal, history)

    assert (decision.answer, decision.code, decision.plan) == ("refuse", "no_lawful_step", None)


@pytest.mark.parametrize("key", ["etag", "generation"])
def test_without_etag_or_generation_there_is_no_plan(stage: Stage, key: str) -> None:
    message = stage.message(FACTS["service"])
    del message[key]
    blind = evolve(stage, fixtures={**stage.fixtures, FACTS["service"]: message})

    decision = blind.decide(*stage.two_kills())

    assert (decision.code, decision.plan) == ("no_lawful_step", None)
    assert decision.refusal is not None
    assert "not known" in decision.refusal.reason


def test_a_signal_that_names_no_resource_gives_no_plan(stage: Stage) -> None:
    signal, _ = stage.two_kills()
    nameless = evolve(signal, labels={"service_name": "checkout"})
    first = stage.decide(evolve(nameless, message_id="1"), History.empty())
    history = stage.after(History.empty(), first)

    decision = stage.decide(nameless, history)

    assert (decision.answer, decision.code) == ("refuse", "inconclusive")


@given(limit=st.integers(0, 10**6), room=st.integers(0, 10**6))
def test_a_scaled_limit_grows_and_stays_within_its_ceiling(limit: int, room: int) -> None:
    name = FACTS["quota"]
    fixture = {
        "name": "signals",
        "limit": limit,
        "used": limit,
        "ceiling": limit + room,
        "percent": 99,
    }
    stage = evolve(STAGE, fixtures={**STAGE.fixtures, name: fixture})

    decision = stage.decide(stage.signal("ent/fixtures/quota_80.json"), History.empty())

    if room == 0:
        assert decision.code == "no_lawful_step"
    else:
        assert decision.plan is not None
        planned = decision.plan.calls[0].set["limit"]
        assert isinstance(planned, int)
        assert limit < planned <= min(limit + room, max(limit + 1, limit * 3 // 2))


@pytest.mark.parametrize(
    ("value", "planned"),
    [
        ('fn = "const"\nvalue = "1Gi"', "1Gi"),
        ('fn = "from_extract"\nof = "x.used"', "516Mi"),
        (
            'fn = "from_fact"\nof = "fact.service.template.containers.0.resources.limits.memory"',
            "512Mi",
        ),
    ],
)
def test_a_value_may_be_fixed_or_taken_over(stage: Stage, value: str, planned: str) -> None:
    old = (
        'fn = "next_step"\n'
        'of = "fact.service.template.containers.0.resources.limits.memory"\n'
        'steps = ["256Mi", "512Mi", "1Gi", "2Gi", "4Gi"]\n'
    )
    before = f'\n[action.before]\n"{MEMORY}" = "fact.service.{MEMORY}"\n'
    own = with_text(stage, old, f"{value}\n{before}")

    decision = own.decide(*own.two_kills())

    assert decision.plan is not None
    assert dict(decision.plan.calls[0].set) == {MEMORY: planned}
    assert dict(decision.plan.rollback[0].set) == {MEMORY: "512Mi"}


def test_an_extract_that_is_missing_gives_no_plan(stage: Stage) -> None:
    old = (
        'fn = "next_step"\n'
        'of = "fact.service.template.containers.0.resources.limits.memory"\n'
        'steps = ["256Mi", "512Mi", "1Gi", "2Gi", "4Gi"]\n'
    )
    before = f'\n[action.before]\n"{MEMORY}" = "fact.service.{MEMORY}"\n'
    own = with_text(stage, old, f'fn = "from_extract"\nof = "x.used"\n{before}')
    first = own.signal("run/fixtures/kill_request_log.json")
    history = own.after(History.empty(), own.decide(first, History.empty()))

    decision = own.decide(evolve(first, message_id="2"), history)

    assert decision.code == "no_lawful_step"


def test_a_step_keeps_its_key_until_the_resource_has_changed(stage: Stage) -> None:
    signal, history = stage.two_kills()

    def key(generation: str, tenant: str = "0" * 16) -> str:
        message = {**stage.message(FACTS["service"]), "generation": generation}
        own = evolve(stage, fixtures={**stage.fixtures, FACTS["service"]: message})
        plan = own.decide(signal, history, policy=evolve(stage.policy, tenant=tenant)).plan
        assert plan is not None
        return plan.calls[0].idempotency_key

    assert key("41") == key("41") != key("42")
    assert key("41", "1" * 16) != key("41")


def test_a_recipe_without_actions_advises(stage: Stage) -> None:
    text = dict(stage.files)[OOM].decode()
    start, end = text.index("[[action]]"), text.index("[bounds]")
    own = evolve(stage, recipes=RecipeSet.of([parse_recipe((text[:start] + text[end:]).encode())]))

    decision = own.decide(*own.two_kills(), now=NOW)

    assert (decision.answer, decision.code) == ("refuse", "no_action")
    assert decision.refusal is not None
    assert decision.refusal.next is not None
    assert decision.refusal.next.step == "find out what the instance needs the memory for"
