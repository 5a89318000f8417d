"""Which recipes a signal could be about: by kind and resource type first, then by literal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import field, frozen

from autonomics.errors import InvalidRecipe
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.signal import Signal


def _by_kind(recipes: tuple[Recipe, ...]) -> Mapping[str, tuple[Recipe, ...]]:
    kinds: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        for kind in recipe.match.kinds:
            kinds.setdefault(kind, []).append(recipe)
    return MappingProxyType({kind: tuple(found) for kind, found in kinds.items()})


@frozen
class RecipeSet:
    """Recipes by id, ascending, with their index."""

    recipes: tuple[Recipe, ...]
    _kinds: Mapping[str, tuple[Recipe, ...]] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        ids = [recipe.id for recipe in self.recipes]
        if sorted(set(ids)) != ids:
            raise InvalidRecipe.expected("recipes", "of distinct ids in ascending order", ids)
        # The one way to set a derived field on a frozen class.
        object.__setattr__(self, "_kinds", _by_kind(self.recipes))

    @classmethod
    def of(cls, recipes: Iterable[Recipe]) -> RecipeSet:
        """Build a set from recipes in any order."""
        return cls(tuple(sorted(recipes, key=lambda recipe: recipe.id)))

    def get(self, recipe_id: str) -> Recipe | None:
        """Find a recipe by its id."""
        return next((recipe for recipe in self.recipes if recipe.id == recipe_id), None)

    def candidates(self, signal: Signal) -> tuple[Recipe, ...]:
        """Give the recipes whose kind, resource type and literals fit, by id.

        A signal that doesn't say its resource type passes: the match's own condition then is
        unknown, and the diagnosis at most inconclusive.
        """
        return tuple(
            recipe
            for recipe in self._kinds.get(signal.kind, ())
            if _has_type(recipe, signal) and _has_literal(recipe, signal)
        )


def _has_type(recipe: Recipe, signal: Signal) -> bool:
    types = recipe.match.resource_types
    return not types or not signal.resource_type or signal.resource_type in types


def _has_literal(recipe: Recipe, signal: Signal) -> bool:
    literals = recipe.match.literals
    return not literals or any(literal in signal.text for literal in literals)
