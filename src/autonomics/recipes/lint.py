"""What a recipe must have beyond its form before it may load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from autonomics.errors import InvalidInput
from autonomics.gates.refusal import refusal_named
from autonomics.recipes.lint_path import lint_paths
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
        *lint_paths(recipe),
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
    # That verify may read no other counts than those since the act is a rule of its own.
    if recipe.verify is not None and not any(
        path[0] == "count" for path in paths_of(recipe.verify.condition)
    ):
        yield "expected verify to demand that the signal stays away: count.since_action"


def _lint_names(recipe: Recipe) -> Iterator[str]:
    groups: dict[str, Iterable[str]] = {
        "evidence": (each.name for each in recipe.diagnose.evidence),
        "pick": (each.name for each in recipe.picks),
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
