"""What a price plan includes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from autonomics.tenancy.quota import Quota


@frozen(kw_only=True)
class QuotaGrant:
    """The limit that a plan starts with, and the ceiling that it may be raised to."""

    limit: int
    ceiling: int


def _freeze(quotas: Mapping[str, QuotaGrant]) -> Mapping[str, QuotaGrant]:
    return MappingProxyType(dict(quotas))


@frozen(kw_only=True)
class PricePlan:
    """A plan: its quotas and the recipes it pays for, as exact ids or `area.*`."""

    id: str
    title: str
    quotas: Mapping[str, QuotaGrant] = field(converter=_freeze)
    recipes: tuple[str, ...]

    def covers(self, recipe_id: str) -> bool:
        """Say whether the plan pays for a recipe; nothing is covered by default."""
        return any(covers_recipe(pattern, recipe_id) for pattern in self.recipes)

    def opening_quotas(self) -> dict[str, Quota]:
        """Give the quotas of a tenant that has used nothing yet."""
        return {
            name: Quota(name=name, limit=grant.limit, ceiling=grant.ceiling)
            for name, grant in self.quotas.items()
        }


def covers_recipe(pattern: str, recipe_id: str) -> bool:
    """Match an exact id, `area.*`, or `*`; nothing else is a wildcard."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return recipe_id.startswith(pattern[:-1])
    return pattern == recipe_id
