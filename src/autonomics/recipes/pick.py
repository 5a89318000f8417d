"""Elements that a recipe picks out of lists: the revision that crashes, the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from attrs import evolve

from autonomics.recipes.path import MISSING, UNREAD
from autonomics.recipes.predicate import evaluate
from autonomics.recipes.recipe import Pick
from autonomics.recipes.view import ItemView, SignalView

MAX_ITEMS: Final = 200


def take_picks(picks: Iterable[Pick], view: SignalView) -> Mapping[str, object]:
    """Take each pick's element; MISSING where no element fits, UNREAD where nobody can say.

    An element whose condition is unknown ends the search: a later one might not be the first.
    """
    taken: dict[str, object] = {}
    places: dict[str, int] = {}
    for pick in picks:
        seen = evolve(view, picks=taken)
        items = _read_items(seen.lookup(pick.source))
        start = -1 if pick.after is None else places.get(pick.after)
        if items is None or start is None:
            taken[pick.name] = UNREAD
            continue
        found = _find(pick, items, start + 1, seen)
        if isinstance(found, int):
            places[pick.name] = found
            taken[pick.name] = items[found]
        else:
            taken[pick.name] = found
    return taken


def _read_items(value: object) -> list[object] | None:
    items = cast("list[object]", value) if isinstance(value, list) else None
    return None if items is None or len(items) > MAX_ITEMS else items


def _find(pick: Pick, items: list[object], start: int, view: SignalView) -> object:
    """Give the place of the first element that fits, MISSING or UNREAD."""
    for place in range(start, len(items)):
        truth = evaluate(pick.where, ItemView(view, items[place]))
        if truth is None:
            return UNREAD
        if truth:
            return place
    return MISSING
