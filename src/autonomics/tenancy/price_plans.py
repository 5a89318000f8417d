"""The price plans on offer. Change them here and nowhere else.

`acts` are governed acts per month, `signals` signals per month, `recipes` custom recipes.
The steps follow one rule: a plan's ceiling is the limit that the next plan starts with.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from autonomics.errors import InvalidInput
from autonomics.tenancy.price_plan import PricePlan, QuotaGrant

PRICE_PLANS: Mapping[str, PricePlan] = MappingProxyType(
    {
        "evaluation": PricePlan(
            id="evaluation",
            title="Evaluation",
            quotas={
                "acts": QuotaGrant(limit=100, ceiling=100),
                "signals": QuotaGrant(limit=10_000, ceiling=10_000),
                "recipes": QuotaGrant(limit=0, ceiling=0),
            },
            recipes=("run.oom_memory_limit", "ent.quota_near_limit"),
        ),
        "standard": PricePlan(
            id="standard",
            title="Standard",
            quotas={
                "acts": QuotaGrant(limit=10_000, ceiling=50_000),
                "signals": QuotaGrant(limit=1_000_000, ceiling=5_000_000),
                "recipes": QuotaGrant(limit=5, ceiling=20),
            },
            recipes=("run.*", "ent.*", "pubsub.*"),
        ),
        "professional": PricePlan(
            id="professional",
            title="Professional",
            quotas={
                "acts": QuotaGrant(limit=50_000, ceiling=250_000),
                "signals": QuotaGrant(limit=5_000_000, ceiling=25_000_000),
                "recipes": QuotaGrant(limit=20, ceiling=100),
            },
            recipes=("run.*", "ent.*", "pubsub.*", "firestore.*", "data.*", "ts.*", "opt.*"),
        ),
        "enterprise": PricePlan(
            id="enterprise",
            title="Enterprise",
            quotas={
                "acts": QuotaGrant(limit=250_000, ceiling=10_000_000),
                "signals": QuotaGrant(limit=25_000_000, ceiling=1_000_000_000),
                "recipes": QuotaGrant(limit=100, ceiling=10_000),
            },
            recipes=("*",),
        ),
    }
)


def price_plan_named(plan_id: str) -> PricePlan:
    """Look a plan up; there is no default plan, so an unknown name is an error."""
    plan = PRICE_PLANS.get(plan_id)
    if plan is None:
        near = get_close_matches(plan_id, PRICE_PLANS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(
            f"expected price plan to be one of {sorted(PRICE_PLANS)}, got {plan_id!r}{hint}"
        )
    return plan
