"""Values that a plan computes, and before-images of any form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.errors import InvalidRecipe
from autonomics.receipts.canonical import encode
from autonomics.recipes import Decision, History, RecipeSet, parse_recipe
from autonomics.recipes.lint import lint_recipe
from autonomics.recipes.plan import MAX_IMAGE_BYTES
from autonomics.recipes.record import parse_plan
from autonomics.testing.decision_stage import FACTS, open_decision_stage
from autonomics.testing.decision_stage import DecisionStage as Stage

QUOTA = "ent/quota_near_limit.toml"
STAGE = open_decision_stage()
SET = """[action.set.limit]
fn = "scale"
of = "fact.quota.limit"
factor = 1.5
cap = "fact.quota.ceiling"
"""


def with_set(text: str, stage: Stage = STAGE) -> Stage:
    """Let the quota's recipe set its limit in another way."""
    source = dict(stage.files)[QUOTA].decode()
    assert SET in source
    recipe = parse_recipe(source.replace(SET, f"[action.set.limit]\n{text}\n").encode())
    assert lint_recipe(recipe) == []
    return evolve(stage, recipes=RecipeSet.of([recipe]))


def decide(stage: Stage, **quota: Any) -> Decision:
    name = FACTS["quota"]
    fixture = {**stage.message(name), **quota}
    own = evolve(stage, fixtures={**stage.fixtures, name: fixture})
    return own.decide(own.signal("ent/fixtures/quota_80.json"), History.empty())


def planned(decision: Decision) -> Any:
    return None if decision.plan is None else decision.plan.calls[0].set["limit"]


NUMBERS = st.integers(-(10**9), 10**12)


@settings(deadline=None)
@given(limit=NUMBERS, by=st.integers(1, 10**6), cap=NUMBERS, ceiling=NUMBERS)
def test_what_is_added_to_stays_within_each_cap_and_always_grows(
    limit: int, by: int, cap: int, ceiling: int
) -> None:
    stage = with_set(
        f'fn = "add"\nof = "fact.quota.limit"\nby = {by}\ncap = [{cap}, "fact.quota.ceiling"]'
    )

    decision = decide(stage, limit=limit, ceiling=ceiling)

    if limit >= min(cap, ceiling):
        assert (decision.code, decision.plan) == ("no_lawful_step", None)
    else:
        assert planned(decision) == min(limit + by, cap, ceiling)


SCALE = 'fn = "scale"\nof = "fact.quota.limit"\nfactor = 1.25\ncap = [500, "fact.quota.ceiling"]'


@settings(deadline=None)
@given(limit=st.integers(0, 600), ceiling=st.integers(0, 600))
def test_what_is_scaled_stays_within_the_least_of_several_caps(limit: int, ceiling: int) -> None:
    value = planned(decide(with_set(SCALE), limit=limit, ceiling=ceiling))

    cap = min(500, ceiling)
    expected = min(max(limit * 5 // 4, limit + 1), cap)
    assert value == (None if limit >= cap else expected)


@pytest.mark.parametrize("function", ['fn = "add"\nby = 1', 'fn = "scale"\nfactor = 2'])
def test_a_cap_that_leaves_no_whole_step_leaves_none(function: str) -> None:
    stage = with_set(f'{function}\nof = "fact.quota.limit"\ncap = 7.5')

    assert planned(decide(stage, limit=6)) == 7
    decision = decide(stage, limit=7)
    assert (decision.code, decision.plan) == ("no_lawful_step", None)
    assert decision.refusal is not None
    assert "stands at its ceiling, 7.5" in decision.refusal.reason


@pytest.mark.parametrize("quota", [{"limit": "many"}, {"ceiling": "high"}, {"ceiling": None}])
def test_without_a_number_or_a_cap_there_is_no_step(quota: dict[str, Any]) -> None:
    stage = with_set('fn = "add"\nof = "fact.quota.limit"\nby = 1\ncap = ["fact.quota.ceiling"]')

    decision = decide(stage, **quota)

    assert (decision.code, decision.plan) == ("no_lawful_step", None)


FILL = """fn = "fill"
value = [
  { name = "{fact.quota.name}/{resource.labels.quota}", share = 100, on = true, parts = ["a"] },
]

[action.before]
limit = "fact.quota.image"
"""


def test_a_structure_is_filled_as_it_is_written() -> None:
    decision = decide(with_set(FILL), name="signals", image=[])

    assert planned(decision) == [
        {"name": "signals/signals", "share": 100, "on": True, "parts": ["a"]}
    ]


@pytest.mark.parametrize("name", ["", None, True, ["signals"], {"a": 1}])
def test_a_place_that_can_not_be_filled_leaves_no_plan(name: Any) -> None:
    decision = decide(with_set(FILL), name=name, image=[])

    assert (decision.code, decision.plan) == ("no_lawful_step", None)
    assert decision.refusal is not None
    assert "fact.quota.name" in decision.refusal.reason


OF_NOTHING: list[tuple[str, Any]] = [
    ('fn = "from_fact"\nof = "fact.quota.used"', 7),
    ('fn = "const"\nvalue = 9', 9),
    ('fn = "fill"\nvalue = { a = [1, {}], b = {} }', {"a": [1, {}], "b": {}}),
]


@pytest.mark.parametrize(("text", "value"), OF_NOTHING)
def test_a_value_that_starts_from_nothing_says_what_was_before(text: str, value: Any) -> None:
    stage = with_set(f'{text}\n\n[action.before]\nlimit = "fact.quota.limit"')

    plan = decide(stage, used=7).plan

    assert plan is not None
    assert plan.calls[0].set["limit"] == value
    assert plan.rollback[0].set["limit"] == 100_000


images = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(deadline=None)
@given(images)
def test_a_roll_back_restores_the_image_exactly(image: Any) -> None:
    plan = decide(with_set(FILL), name="signals", image=image).plan

    assert plan is not None
    (call,), (undo,) = plan.calls, plan.rollback
    seen = STAGE.signal("ent/fixtures/quota_80.json", fields={"image": image}).record()
    assert undo.set["limit"] == json.loads(encode(seen))["fields"]["image"]
    assert undo.mask == call.mask
    assert dict(undo.before) == dict(call.set)
    assert parse_plan(json.loads(encode(plan.record()))) == plan


@pytest.mark.parametrize("image", [None, pytest.param(..., id="missing")])
def test_an_image_that_is_not_known_leaves_no_plan(image: Any) -> None:
    decision = decide(with_set(FILL), name="signals", **({} if image is ... else {"image": image}))

    assert (decision.code, decision.plan) == ("no_lawful_step", None)


def test_an_image_beyond_the_limit_leaves_no_plan() -> None:
    fits = ["x" * (MAX_IMAGE_BYTES - 4)]
    assert len(encode(fits)) == MAX_IMAGE_BYTES

    assert decide(with_set(FILL), name="signals", image=fits).answer == "act"
    decision = decide(with_set(FILL), name="signals", image=[fits[0] + "x"])
    assert (decision.code, decision.plan) == ("no_lawful_step", None)
    assert decision.refusal is not None
    assert "larger than 8192 bytes" in decision.refusal.reason


DEEP = "[" * 9 + "]" * 9
BROKEN: list[tuple[str, str]] = [
    ('fn = "add"\nof = "fact.quota.limit"\nby = 0\ncap = 5', "by to be an integer >= 1, got 0"),
    ('fn = "add"\nof = "fact.quota.limit"\nby = 1', "cap to be a number, got None"),
    ('fn = "add"\nof = "fact.quota.limit"\nby = 1\ncap = []', "cap to be not empty"),
    ('fn = "add"\nof = "fact.quota.limit"\nby = 1\ncap = [true]', "cap to be paths and numbers"),
    ('fn = "add"\nof = "fact.quota.limit"\nby = 1\ncap = ["5"]', "root of path"),
    ('fn = "fill"\nvalue = "x"', "value to be a list or a table, got 'x'"),
    ('fn = "fill"', "value to be made of"),
    ('fn = "fill"\nvalue = [1.5]', "value to be made of texts, integers, flags"),
    ('fn = "fill"\nvalue = ["{fact.quota"]', "with its braces closed"),
    ('fn = "fill"\nvalue = ["{quota.name}"]', "root of path"),
    (f'fn = "fill"\nvalue = {DEEP}', "at most 8 levels deep"),
    (f'fn = "fill"\nvalue = [{"1, " * 200}]', "200 values large"),
    ('fn = "fills"\nvalue = []', "did you mean 'fill'"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_broken_value_says_where_and_why(text: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        with_set(text)
