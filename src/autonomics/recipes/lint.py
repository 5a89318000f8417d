"""What a recipe must have beyond its form before it may load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from autonomics.errors import InvalidInput
from autonomics.gates.refusal import refusal_named
from autonomics.recipes.path import Path
from autonomics.recipes.predicate import AllOf, Comparison, Condition, paths_of
from autonomics.recipes.recipe import InlineTest, Recipe

MIN_LITERAL: Final = 8
_TYPED_ROOTS: Final = (("resource", "type"), ("status",))
_NO_GATES: Final = frozenset({"diagnosis", "door", "monitor"})
_SHORT_OF_EVIDENCE: Final = frozenset({"evidence_short", "inconclusive", "vetoed"})


def lint_recipe(recipe: Recipe) -> list[str]:
    """List what is wrong with a recipe; an empty list lets it load."""
    return [
        *_lint_key(recipe),
        *_lint_paths(recipe),
        *_lint_action(recipe),
        *_lint_names(recipe),
        *_lint_tests(recipe),
    ]


def _lint_key(recipe: Recipe) -> Iterator[str]:
    literals = recipe.match.literals
    short = [literal for literal in literals if len(literal) < MIN_LITERAL]
    if short:
        yield f"expected literals to be at least {MIN_LITERAL} characters long, got {short}"
    if not literals and not any(_is_typed_key(each) for each in _tops(recipe.match.condition)):
        yield (
            "expected match to have a literal, or a key by eq or in on resource.type, status or "
            "a field: a recipe that looks at everything may not load"
        )


def _tops(condition: Condition) -> tuple[Condition, ...]:
    return condition.conditions if isinstance(condition, AllOf) else (condition,)


def _is_typed_key(condition: Condition) -> bool:
    if isinstance(condition, Comparison):
        is_typed = condition.path in _TYPED_ROOTS or condition.path[0] in {"fields", "resource"}
        return is_typed and condition.op in {"eq", "in", "prefix", "regex"}
    # Every branch of an alternative must have a key of its own.
    if isinstance(condition, AllOf):
        return any(_is_typed_key(each) for each in condition.conditions)
    return all(_is_typed_key(each) for each in condition.conditions)


def _lint_paths(recipe: Recipe) -> Iterator[str]:
    facts = {spec.name for spec in recipe.facts}
    extracts = {name for each in recipe.extract for name in each.pattern.group_names}
    for path in _all_paths(recipe):
        if path[0] == "fact" and path[1] not in facts:
            yield f"expected fact.{path[1]} to be declared under facts, {sorted(facts)}"
        if path[0] == "x" and path[1] not in extracts:
            yield f"expected x.{path[1]} to be a group of an extract, {sorted(extracts)}"
    for path in paths_of(recipe.match.condition):
        if path[0] in {"fact", "count"}:
            yield f"expected match to read the signal alone, got {'.'.join(path)}"


def _all_paths(recipe: Recipe) -> Iterator[Path]:
    conditions = [
        recipe.match.condition,
        *(each.when for each in recipe.diagnose.evidence),
        *(each.when for each in recipe.preconditions),
    ]
    if recipe.managed_when is not None:
        conditions.append(recipe.managed_when)
    if recipe.verify is not None:
        conditions.append(recipe.verify.condition)
    for condition in conditions:
        yield from paths_of(condition)
    for action in recipe.actions:
        yield from action.before.values()
        yield from action.idempotency_key
        yield from action.resource.paths()
        if action.etag is not None:
            yield action.etag


def _lint_action(recipe: Recipe) -> Iterator[str]:
    if not recipe.actions:
        return
    if recipe.bounds is None:
        yield "expected a recipe with an action to have bounds"
    if recipe.verify is None:
        yield "expected a recipe with an action to have verify"
    is_irreversible = any(action.is_irreversible for action in recipe.actions)
    if is_irreversible and recipe.approvals == 0:
        yield "expected an irreversible action to need approval"
    if not is_irreversible and recipe.rollback is None:
        yield "expected a recipe with an action to have rollback, or to be irreversible"
    if recipe.verify is not None:
        is_watched = ("count", "since_action") in set(paths_of(recipe.verify.condition))
        if not is_watched:
            yield "expected verify to demand that the signal stays away: count.since_action"


def _lint_names(recipe: Recipe) -> Iterator[str]:
    groups: dict[str, Iterable[str]] = {
        "evidence": (each.name for each in recipe.diagnose.evidence),
        "pre": (each.name for each in recipe.preconditions),
        "test": (each.name for each in recipe.tests),
    }
    for group, names in groups.items():
        listed = list(names)
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            yield f"expected names of {group} to be distinct, got {twice} twice"
    if not any(each.is_required for each in recipe.diagnose.evidence):
        yield "expected at least one evidence to be required"


def _lint_tests(recipe: Recipe) -> Iterator[str]:
    for test in recipe.tests:
        code = test.expect.get("code")
        if code is not None:
            try:
                refusal_named(code)
            except InvalidInput as error:
                yield f"test {test.name!r}: {error}"
                return
    counted = {
        "positive": (2, sum(_is_positive(test) for test in recipe.tests)),
        "negative": (2, sum(_is_negative(test) for test in recipe.tests)),
        "gate refusal": (1, sum(_is_gate_refusal(test) for test in recipe.tests)),
        "missing fact": (1, sum(_lacks_fact(recipe, test) for test in recipe.tests)),
    }
    if not recipe.actions:
        del counted["gate refusal"]
    if not recipe.facts:
        del counted["missing fact"]
    for word, (least, found) in counted.items():
        if found < least:
            yield f"expected at least {least} {word} inline tests, got {found}"


def _is_positive(test: InlineTest) -> bool:
    return (
        test.expect.get("answer") in {"act", "await_approval"}
        or test.expect.get("outcome") == "CONFIRMED"
    )


def _is_negative(test: InlineTest) -> bool:
    expect = test.expect
    return expect.get("answer") == "none" or expect.get("code") in _SHORT_OF_EVIDENCE


def _is_gate_refusal(test: InlineTest) -> bool:
    code = test.expect.get("code")
    return code not in {None, "fact_missing"} and refusal_named(str(code)).gate not in _NO_GATES


def _lacks_fact(recipe: Recipe, test: InlineTest) -> bool:
    declared = {spec.name for spec in recipe.facts}
    return test.expect.get("answer") == "refuse" and not declared <= set(test.facts)
