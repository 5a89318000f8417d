from __future__ import annotations

from itertools import pairwise

import pytest

from autonomics.errors import InvalidInput
from autonomics.tenancy import PRICE_PLANS, price_plan_named

LADDER = ["evaluation", "standard", "professional", "enterprise"]


def test_the_four_plans_are_on_offer() -> None:
    assert list(PRICE_PLANS) == LADDER
    assert all(plan.id == name for name, plan in PRICE_PLANS.items())


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(LADDER)))
def test_a_higher_plan_includes_all_of_a_lower_one(lower: str, higher: str) -> None:
    less, more = PRICE_PLANS[lower], PRICE_PLANS[higher]

    assert all(more.quotas[name].limit >= grant.limit for name, grant in less.quotas.items())
    assert all(more.covers(recipe.replace("*", "any")) for recipe in less.recipes)


def test_opening_quotas_are_unused_and_within_their_ceilings() -> None:
    for plan in PRICE_PLANS.values():
        quotas = plan.opening_quotas()
        assert set(quotas) == {"acts", "signals", "recipes"}
        assert all(quota.used == 0 and quota.limit <= quota.ceiling for quota in quotas.values())


def test_a_recipe_is_covered_by_its_id_or_its_area() -> None:
    standard = price_plan_named("standard")

    assert standard.covers("run.oom_memory_limit")
    assert not standard.covers("runaway.process")
    assert not standard.covers("firestore.index_missing")
    assert price_plan_named("evaluation").covers("ent.quota_near_limit")
    assert not price_plan_named("evaluation").covers("ent.quota_exhausted")
    assert price_plan_named("enterprise").covers("anything.at_all")


def test_an_unknown_plan_is_no_default_plan() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'standard'"):
        price_plan_named("standart")
    with pytest.raises(InvalidInput, match="got 'zzz'$"):
        price_plan_named("zzz")
