"""An entitlement: which plan a tenant holds, and from when to when."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from autonomics.errors import InvalidInput
from autonomics.tenancy.price_plan import PricePlan, covers_recipe


@frozen(kw_only=True)
class Entitlement:
    """What one tenant has bought. `recipes` are those of the plan, or a contract's own list.

    Valid from `starts_at` inclusive until `ends_at` exclusive; None means without end.
    """

    price_plan: str
    recipes: tuple[str, ...]
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("starts_at", "ends_at"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput.expected(name, "an aware datetime", moment)
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise InvalidInput.expected("ends_at", f"after {self.starts_at}", self.ends_at)

    @classmethod
    def of(
        cls,
        plan: PricePlan,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> Entitlement:
        """Entitle to all that a plan includes."""
        return cls(price_plan=plan.id, recipes=plan.recipes, starts_at=starts_at, ends_at=ends_at)

    def is_current(self, now: datetime) -> bool:
        """Say whether the entitlement holds at that moment."""
        if self.starts_at is not None and now < self.starts_at:
            return False
        return self.ends_at is None or now < self.ends_at

    def covers(self, recipe_id: str) -> bool:
        """Say whether the recipe is paid for, whatever the time."""
        return any(covers_recipe(pattern, recipe_id) for pattern in self.recipes)
