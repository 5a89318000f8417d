"""Whether the paths of a recipe lead somewhere: to declared facts, extracts, picks and counts."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from autonomics.recipes.path import Path
from autonomics.recipes.predicate import Condition, paths_of
from autonomics.recipes.recipe import (
    ActionSpec,
    Add,
    Fill,
    Frame,
    FromPath,
    NextStepUp,
    Recipe,
    Scale,
    ValueSpec,
)
from autonomics.recipes.template import Template
from autonomics.recipes.view import COUNTS

# What is known only after the facts were read.
_LATE: Final = frozenset({"fact", "count", "pick"})


def lint_paths(recipe: Recipe) -> Iterator[str]:
    """Say which paths of a recipe lead nowhere, or where their values are not known yet."""
    yield from _lint_names(recipe)
    yield from _lint_picks(recipe)
    yield from _lint_counts(recipe)
    for place, path in _paths_before_facts(recipe):
        if path[0] in _LATE:
            yield f"expected {place} to read the signal alone, got {'.'.join(path)}"


def _lint_names(recipe: Recipe) -> Iterator[str]:
    facts = {spec.name for spec in recipe.facts}
    extracts = {name for each in recipe.extract for name in each.pattern.group_names}
    picks = {pick.name for pick in recipe.picks}
    counts = COUNTS | {count.name for count in recipe.diagnose.counts}
    for path in (*_all_paths(recipe), *_paths_of_picks(recipe)):
        if path[0] == "fact" and path[1] not in facts:
            yield f"expected fact.{path[1]} to be declared under facts, {sorted(facts)}"
        if path[0] == "x" and path[1] not in extracts:
            yield f"expected x.{path[1]} to be a group of an extract, {sorted(extracts)}"
        if path[0] == "pick" and path[1] not in picks:
            yield f"expected pick.{path[1]} to be declared by a pick, {sorted(picks)}"
        if path[0] == "count" and path[1:] not in {(name,) for name in counts}:
            near = get_close_matches(path[1], counts, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"expected {'.'.join(path)} to be count. and one of {sorted(counts)}{hint}"
    for path in _all_paths(recipe):
        if path[0] == "item":
            yield f"expected {'.'.join(path)} to stand in the where of a pick"


def _paths_before_facts(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Give the paths that are looked up before any fact is read."""
    for path in paths_of(recipe.match.condition):
        yield "match", path
    for path in recipe.diagnose.fingerprint:
        yield "fingerprint", path
    for spec in recipe.facts:
        for template in spec.args.values():
            for path in template.paths():
                yield f"args of fact {spec.name}", path


def _paths_of_picks(recipe: Recipe) -> Iterator[Path]:
    for pick in recipe.picks:
        yield pick.source
        yield from paths_of(pick.where)


def _lint_picks(recipe: Recipe) -> Iterator[str]:
    sources: dict[str, Path] = {}
    for pick in recipe.picks:
        if pick.after is not None and sources.get(pick.after) != pick.source:
            yield f"expected after of pick {pick.name} to be an earlier pick from the same list"
        earlier = {path[1] for path in (pick.source, *paths_of(pick.where)) if path[0] == "pick"}
        late = sorted(earlier - set(sources))
        if late:
            yield f"expected pick {pick.name} to read earlier picks alone, got {late}"
        if any(path[0] == "count" for path in (pick.source, *paths_of(pick.where))):
            yield f"expected pick {pick.name} to read no counts"
        sources[pick.name] = pick.source


def _lint_counts(recipe: Recipe) -> Iterator[str]:
    levels = {count.name: count for count in recipe.diagnose.counts if count.is_level}
    for count in recipe.diagnose.counts:
        if count.name in COUNTS:
            yield f"expected count {count.name} to have a name of its own"
        level = levels.get(count.level)
        if level is None or len(level.by) != len(count.by):
            yield f"expected level of count {count.name} to be a count with as many values"
        elif level is count and any(path[0] in _LATE for path in count.by):
            yield f"expected count {count.name} to be kept by what the signal alone says"
        if any(path[0] == "count" for path in count.by):
            yield f"expected count {count.name} to be by no other count"
    since = {"since_action", *(c.name for c in recipe.diagnose.counts if c.window_s is None)}
    if recipe.verify is not None:
        for path in paths_of(recipe.verify.condition):
            if path[0] == "count" and path[1] not in since:
                yield f"expected verify to count since the act, got {'.'.join(path)}"


def _all_paths(recipe: Recipe) -> Iterator[Path]:
    yield from (path for _, path in _paths_before_facts(recipe))
    for condition in _conditions(recipe):
        yield from paths_of(condition)
    for count in recipe.diagnose.counts:
        yield from count.by
    for action in recipe.actions:
        yield from _paths_of_action(action)


def _conditions(recipe: Recipe) -> Iterator[Condition]:
    yield from (each.when for each in recipe.diagnose.evidence)
    yield from (each.when for each in recipe.preconditions)
    if recipe.managed_when is not None:
        yield recipe.managed_when
    if recipe.verify is not None:
        yield recipe.verify.condition


def _paths_of_action(action: ActionSpec) -> Iterator[Path]:
    yield from action.before.values()
    yield from action.idempotency_key
    for template in (action.resource, *action.args.values()):
        yield from template.paths()
    for value in action.set.values():
        yield from _paths_of_value(value)
    if action.etag is not None:
        yield action.etag


def _paths_of_value(spec: ValueSpec) -> Iterator[Path]:
    match spec:
        case NextStepUp(of=of):
            yield of
        case Scale(of=of, caps=caps) | Add(of=of, caps=caps):
            yield of
            yield from (cap for cap in caps if isinstance(cap, tuple))
        case FromPath(path=path):
            yield path
        case Fill(value=frame):
            yield from _paths_of_frame(frame)
        case _:
            pass


def _paths_of_frame(frame: Frame) -> Iterator[Path]:
    match frame:
        case Template():
            yield from frame.paths()
        case list() | dict():
            for each in frame.values() if isinstance(frame, dict) else frame:
                yield from _paths_of_frame(each)
        case _:
            pass
