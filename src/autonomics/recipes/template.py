"""Texts with places to fill: `projects/{resource.labels.project_id}/services/{x.name}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen

from autonomics.errors import InvalidRecipe
from autonomics.recipes.path import Path, parse_path

_PLACE: Final = re.compile(r"\{([^{}]*)\}")


@frozen
class Template:
    """Alternatives of one text; the first whose places can all be filled wins."""

    alternatives: tuple[tuple[str | Path, ...], ...]

    def fill(self, lookup: Callable[[Path], object]) -> str | None:
        """Fill the places; None if no alternative can be filled with texts or integers."""
        for parts in self.alternatives:
            if len(parts) == 1 and isinstance(parts[0], str):
                return parts[0]
            filled = [part if isinstance(part, str) else _text(lookup(part)) for part in parts]
            if None not in filled:
                return "".join(part for part in filled if part is not None)
        return None

    def paths(self) -> tuple[Path, ...]:
        """Give the paths of all places."""
        return tuple(
            part for parts in self.alternatives for part in parts if not isinstance(part, str)
        )


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value else None


def parse_template(text: str | list[str]) -> Template:
    """Read a template, or a list of alternatives; raise InvalidRecipe on a broken place."""
    texts = [text] if isinstance(text, str) else text
    if not texts:
        raise InvalidRecipe.expected("template", "a text or a list of texts", text)
    return Template(tuple(_parts(each) for each in texts))


def _parts(text: str) -> tuple[str | Path, ...]:
    pieces = _PLACE.split(text)
    if any("{" in literal or "}" in literal for literal in pieces[::2]):
        raise InvalidRecipe.expected("template", "with its braces closed", text)
    return tuple(
        parse_path(piece) if place % 2 else piece
        for place, piece in enumerate(pieces)
        if place % 2 or piece
    )
