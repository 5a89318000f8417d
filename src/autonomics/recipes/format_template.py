"""Templates as they stand in a recipe: every place starts at a known root."""

from __future__ import annotations

from typing import cast

from autonomics.errors import InvalidRecipe
from autonomics.recipes.format_condition import read_path
from autonomics.recipes.table import Table
from autonomics.recipes.template import Template, parse_template


def read_args(table: Table) -> dict[str, Template]:
    """Read the table `args` of templates."""
    args = table.table("args")
    return {name: read_template(value, args.name(name)) for name, value in args.entries()}


def read_template(value: object, place: str) -> Template:
    """Read a text with places, or a list of alternatives."""
    texts = cast("list[object]", value) if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRecipe.expected(place, "a text or a list of texts", texts)
    template = parse_template(cast("list[str]", texts))
    for path in template.paths():
        read_path(".".join(f'"{part}"' if "." in part else part for part in path), place)
    return template
