"""How often a fault was seen, counted more finely than by a recipe's fingerprint.

Each hit is kept under the recipe's fingerprint and under each level that the recipe declares; a
count looks up a level by the signal's own values, or by others such as the previous revision's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from autonomics.receipts.canonical import encode
from autonomics.recipes.history import History, Hit, Key
from autonomics.recipes.recipe import Count, Recipe
from autonomics.recipes.signal import Json
from autonomics.recipes.view import SignalView


def level_keys(recipe: Recipe, view: SignalView) -> tuple[Key, ...]:
    """Give the keys under which a hit is kept, beside its fingerprint."""
    own = (count for count in recipe.diagnose.counts if count.is_level)
    return tuple(key for count in own if (key := _key(recipe, count, view)) is not None)


def count_levels(recipe: Recipe, view: SignalView, history: History, hit: Hit) -> Mapping[str, int]:
    """Count for the decision about a hit, which is counted with those it is one of.

    A count whose values are not all known is left out, as is one since an act that never was.
    """
    counts = recipe.diagnose.counts
    keys = {count.name: _key(recipe, count, view) for count in counts}
    own = {keys[count.name] for count in counts if count.is_level}
    found: dict[str, int] = {}
    for count in counts:
        key = keys[count.name]
        if key is None:
            continue
        among = hit if key in own else None
        seen = (
            history.count_since_action((recipe.id, view.fingerprint), among, hits_of=key)
            if count.window_s is None
            else history.count_around(key, hit.at, count.window_s, among)
        )
        if seen is not None:
            found[count.name] = seen
    return found


def count_since_act(
    recipe: Recipe, view: SignalView, history: History, settle_s: int
) -> Mapping[str, int]:
    """Count what has come since the last act and the time it needed to settle."""
    acts_on = (recipe.id, view.fingerprint)
    keys = {"since_action": acts_on} | {
        count.name: key
        for count in recipe.diagnose.counts
        if count.window_s is None and (key := _key(recipe, count, view)) is not None
    }
    counts = {
        name: history.count_since_action(acts_on, settle_s=settle_s, hits_of=key)
        for name, key in keys.items()
    }
    return {name: seen for name, seen in counts.items() if seen is not None}


def _key(recipe: Recipe, count: Count, view: SignalView) -> Key | None:
    """Name a level's values; None where one of them isn't known."""
    values: list[Json] = []
    for path in count.by:
        value = view.lookup(path)
        if not isinstance(value, str):
            return None
        values.append(value)
    content: list[Json] = [recipe.id, count.level, values]
    return recipe.id, hashlib.sha256(encode(content)).hexdigest()[:32]
