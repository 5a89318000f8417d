"""A library of recipes as named files: `run/oom_memory_limit.toml`, `run/fixtures/kill.json`.

The files come in as bytes: this room reads no disk. Recipes that don't pass the lint don't load.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

from autonomics.errors import InvalidRecipe
from autonomics.recipes.format import parse_recipe
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.lint import lint_recipe
from autonomics.recipes.recipe import Recipe


def parse_library(files: Iterable[tuple[str, bytes]]) -> RecipeSet:
    """Read all recipes among the files; raise InvalidRecipe, which names the file.

    The inline tests are read and counted, not run: `inline_test.py` runs them.
    """
    recipes: list[Recipe] = []
    for name, data in files:
        if name.endswith(".toml"):
            recipes.append(_parse(name, data))
    ids = [recipe.id for recipe in recipes]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        raise InvalidRecipe.expected("recipe ids", "distinct", twice)
    return RecipeSet.of(recipes)


def _parse(name: str, data: bytes) -> Recipe:
    try:
        recipe = parse_recipe(data)
    except InvalidRecipe as error:
        raise InvalidRecipe(f"{name}: {error}") from error
    area, _, short = recipe.id.partition(".")
    if name.split("/")[-2:] != [area, f"{short}.toml"]:
        raise InvalidRecipe.expected(
            f"{name}: name of the file", f"{area}/{short}.toml after its id", name
        )
    problems = lint_recipe(recipe)
    if problems:
        raise InvalidRecipe(f"{name}: {'; '.join(problems)}")
    return recipe


def parse_fixtures(files: Iterable[tuple[str, bytes]]) -> Mapping[str, object]:
    """Read all JSON files among the files, by name."""
    fixtures: dict[str, object] = {}
    for name, data in files:
        if name.endswith(".json"):
            try:
                fixtures[name] = cast("object", json.loads(data))
            except ValueError as error:
                raise InvalidRecipe(f"{name}: expected fixture to be JSON: {error}") from error
    return fixtures
