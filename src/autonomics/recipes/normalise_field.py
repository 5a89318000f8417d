"""How the readers take one value out of a message: the right type, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from autonomics.errors import InvalidSignal
from autonomics.recipes.signal import MAX_NAME, MAX_TEXT, Json, parse_moment


def take_object(tree: Mapping[str, Json], key: str) -> dict[str, Json]:
    """Give the object under a key, else an empty one."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def take_name(tree: Mapping[str, Json], key: str) -> str:
    """Give a short text; an overlong one is dropped, for a cut name is another's name."""
    value = tree.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_NAME else ""


def take_code(tree: Mapping[str, Json], key: str) -> str:
    """Give a status code as text, whether it came as number or text."""
    value = tree.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return take_name(tree, key)


def take_labels(tree: Mapping[str, Json], key: str) -> dict[str, str]:
    """Give the labels that are short texts."""
    return {
        name: text
        for name, text in take_object(tree, key).items()
        if isinstance(text, str) and len(text) <= MAX_NAME
    }


def take_moment(tree: Mapping[str, Json], key: str) -> datetime | None:
    """Give a moment from RFC 3339 or from seconds since 1970; 0 and year 1 mean none."""
    value = tree.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        # Beyond year 9999 there is no datetime; such a number is no moment.
        return datetime.fromtimestamp(value, UTC) if 0 < value < 253_402_300_800 else None
    try:
        moment = parse_moment(value)
    except InvalidSignal:
        return None
    return None if moment.year == 1 else moment


def join_text(*parts: Json) -> str:
    """Join the parts that are texts, one per line, cut to the limit of a signal's text."""
    lines = [part for part in parts if isinstance(part, str) and part]
    return "\n".join(dict.fromkeys(lines))[:MAX_TEXT]


def take_list(tree: Mapping[str, Json], key: str) -> list[dict[str, Json]]:
    """Give the objects in a list."""
    value = tree.get(key)
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]
