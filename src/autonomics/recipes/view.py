"""What the conditions of one recipe see: the signal, its extracts, facts and counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.path import MISSING, UNREAD, Path, is_left_out, walk
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.signal import Json, Signal, moment_text

# The first segments that a path may have, and how many segments each needs at least.
ROOTS: Final[Mapping[str, int]] = {
    "kind": 1,
    "severity": 1,
    "status": 1,
    "text": 1,
    "value": 1,
    "event_at": 1,
    "source": 1,
    "resource": 2,
    "fields": 2,
    "x": 2,
    "fact": 2,
    "count": 2,
    "pick": 2,
    "item": 2,
    "recipe": 2,
    "fingerprint": 1,
}
COUNTS: Final = frozenset({"window", "since_action"})
PLAIN: Final = frozenset({"kind", "severity", "status", "text", "value", "source"})


@frozen(kw_only=True)
class SignalView:
    """The signal with all that was derived from it for one recipe.

    `absent` says what paths mean where a fact leaves them out, from the fact's name on.
    """

    signal: Signal
    extracts: Mapping[str, str]
    facts: Mapping[str, object]
    counts: Mapping[str, int]
    recipe_id: str
    fingerprint: str
    now: datetime
    absent: Mapping[Path, Json] = field(factory=dict[Path, Json])
    picks: Mapping[str, object] = field(factory=dict[str, object])

    def lookup(self, path: Path) -> object:
        """Give the value, MISSING, or UNREAD. An empty text of the signal is MISSING."""
        root = path[0]
        if root == "fields":
            return walk(self.signal.fields, path[1:])
        if root in PLAIN:
            return getattr(self.signal, root) or MISSING
        if root == "resource":
            return self._lookup_resource(path)
        if root == "fact":
            return self._lookup_fact(path)
        if root == "x":
            return self.extracts.get(path[1], MISSING)
        if root == "count":
            return self.counts.get(path[1], UNREAD)
        if root == "pick":
            return _below(self.picks.get(path[1], UNREAD), path[2:])
        if root == "event_at":
            moment = self.signal.event_at
            return MISSING if moment is None else moment_text(moment)
        return {"recipe": self.recipe_id, "fingerprint": self.fingerprint}.get(root, MISSING)

    def is_left_out(self, path: Path) -> bool:
        """Say whether a fact that was read leaves the path out, and what that means is known."""
        if path[0] != "fact" or path[1:] not in self.absent:
            return False
        return is_left_out(self.facts.get(path[1], UNREAD), path[2:])

    def _lookup_fact(self, path: Path) -> object:
        found = _below(self.facts.get(path[1], UNREAD), path[2:])
        return self.absent[path[1:]] if self.is_left_out(path) else found

    def _lookup_resource(self, path: Path) -> object:
        if path[1] == "type":
            return self.signal.resource_type or MISSING
        return self.signal.labels.get(".".join(path[2:]), MISSING)


@frozen
class ItemView:
    """A view with one element of a list in it, as `item`."""

    view: SignalView
    item: object

    @property
    def now(self) -> datetime:
        """Give the moment of the decision."""
        return self.view.now

    def lookup(self, path: Path) -> object:
        """Give the value, MISSING, or UNREAD."""
        return walk(self.item, path[1:]) if path[0] == "item" else self.view.lookup(path)


def _below(value: object, path: Path) -> object:
    return value if value is UNREAD or value is MISSING else walk(value, path)


def extract_from(signal: Signal, recipe: Recipe) -> dict[str, str]:
    """Take the named groups out of the signal; an earlier extraction wins over a later one."""
    found: dict[str, str] = {}
    bare = SignalView(
        signal=signal,
        extracts={},
        facts={},
        counts={},
        recipe_id=recipe.id,
        fingerprint="",
        now=_NEVER,
    )
    for extraction in recipe.extract:
        text = bare.lookup(extraction.path)
        if isinstance(text, str):
            for name, value in extraction.pattern.extract(text).items():
                found.setdefault(name, value + extraction.units.get(name, ""))
    return found


_NEVER: Final = datetime.min  # noqa: DTZ901  (never compared: extraction reads no clock)


def request_facts(recipe: Recipe, view: SignalView) -> tuple[FactRequest, ...]:
    """Fill the recipe's fact requests; one whose arguments the signal lacks is left out."""
    requests: list[FactRequest] = []
    for spec in recipe.facts:
        args = {name: template.fill(view.lookup) for name, template in spec.args.items()}
        filled = {name: text for name, text in args.items() if text is not None}
        if len(filled) == len(args):
            requests.append(
                FactRequest(
                    name=spec.name,
                    call=spec.call,
                    args=filled,
                    timeout_s=spec.timeout_ms / 1000,
                    max_age_s=spec.max_age_s,
                )
            )
    return tuple(requests)


def fresh_values(
    requests: tuple[FactRequest, ...], facts: Mapping[str, Fact], now: datetime
) -> dict[str, object]:
    """Give the values of the facts that were read, without failure and not too long ago."""
    values: dict[str, object] = {}
    for request in requests:
        fact = facts.get(request.key)
        if fact is not None and fact.is_fresh(now, request.max_age_s):
            values[request.name] = fact.value
    return values
