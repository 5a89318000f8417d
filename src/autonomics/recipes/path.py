"""Dotted paths into a tree: `resource.labels.service_name`, `template.containers.0.image`.

A segment in double quotes may hold dots: `fields.labels."app.kubernetes.io/name"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal, TypeAlias, cast

from autonomics.errors import InvalidRecipe


class _Missing(Enum):
    MISSING = "missing"
    UNREAD = "unread"


# MISSING: the tree was read and has no such value. UNREAD: nobody has read the tree yet.
MISSING: Final = _Missing.MISSING
UNREAD: Final = _Missing.UNREAD
Absent: TypeAlias = Literal[_Missing.MISSING, _Missing.UNREAD]
Path: TypeAlias = tuple[str, ...]


def parse_path(text: str) -> Path:
    """Split a path into its segments; raise InvalidRecipe if one is empty or a quote is open."""
    parts = text.split('"')
    if len(parts) % 2 == 0:
        raise InvalidRecipe.expected("path", "with its quotes closed", text)
    segments: list[str] = []
    for place, part in enumerate(parts):
        if place % 2:
            segments.append(part)
            continue
        plain = part
        if place > 0 and plain:
            if not plain.startswith("."):
                raise InvalidRecipe.expected("path", "with a dot after each quote", text)
            plain = plain[1:]
        if place < len(parts) - 1 and plain:
            if not plain.endswith("."):
                raise InvalidRecipe.expected("path", "with a dot before each quote", text)
            plain = plain[:-1]
        if plain:
            segments.extend(plain.split("."))
    if not segments or "" in segments:
        raise InvalidRecipe.expected("path", "segments joined by dots", text)
    return tuple(segments)


def is_left_out(tree: object, path: Path) -> bool:
    """Say whether the path ends at an object that leaves out what comes next.

    An object on the way may be left out too; an element of a list may not.
    """
    node = tree
    for place, segment in enumerate(path):
        if isinstance(node, Mapping):
            pairs = cast("Mapping[str, object]", node)
            if segment not in pairs:
                return not any(later.isdecimal() for later in path[place:])
            node = pairs[segment]
        else:
            node = walk(node, (segment,))
    return False


def walk(tree: object, path: Path) -> object:
    """Follow a path; give MISSING where it ends early. Lists take an index as segment."""
    node = tree
    for segment in path:
        if isinstance(node, Mapping):
            pairs = cast("Mapping[str, object]", node)
            if segment not in pairs:
                return MISSING
            node = pairs[segment]
        elif isinstance(node, list):
            items = cast("list[object]", node)
            if not segment.isascii() or not segment.isdigit() or int(segment) >= len(items):
                return MISSING
            node = items[int(segment)]
        else:
            return MISSING
    return node
