"""How much a recipe has done already, against how much it may do."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

from autonomics.gates.context import Bound
from autonomics.recipes.history import History, Key
from autonomics.recipes.policy import Policy
from autonomics.recipes.recipe import Recipe


def count_bounds(
    recipe: Recipe, resource: str | None, history: History, policy: Policy, now: datetime
) -> tuple[Bound, ...]:
    """Count the acts against the recipe's bounds; empty where it declares none, which refuses."""
    bounds = recipe.bounds
    if bounds is None:
        return ()
    name = resource or ""
    per_resource, per_tenant = bounds.per_resource, bounds.per_tenant
    counted = [
        Bound(name="open acts on the resource", limit=1, used=history.count_open_acts(name)),
        Bound(
            name=f"acts on the resource in {per_resource.period_s} s",
            limit=per_resource.count,
            used=history.count_acts_on_resource(recipe.id, name, now, per_resource.period_s),
        ),
        Bound(
            name=f"acts of the tenant in {per_tenant.period_s} s",
            limit=per_tenant.count,
            used=history.count_acts_of_tenant(recipe.id, now, per_tenant.period_s),
        ),
    ]
    if policy.fleet is not None:
        counted.append(
            Bound(
                name="tenants touched in an hour",
                limit=fleet_limit(bounds.fleet_share, policy.fleet.tenants),
                used=policy.fleet.touched.get(recipe.id, 0),
            )
        )
    return tuple(counted)


def fleet_limit(share: Decimal, tenants: int) -> int:
    """Give the number of tenants that a share allows; never less than one."""
    return max(1, int((share * tenants).to_integral_value(rounding=ROUND_FLOOR)))


def count_recurrence(recipe: Recipe, key: Key, history: History, now: datetime) -> Bound | None:
    """Count how often the fault came back after an act; None where no bound is declared."""
    if recipe.bounds is None:
        return None
    rate = recipe.bounds.max_recurrence
    return Bound(
        name=f"recurrence in {rate.period_s} s",
        limit=rate.count,
        used=history.count_recurrence(key, now, rate.period_s),
    )
