from __future__ import annotations

import pytest

from autonomics.errors import InvalidRecipe
from autonomics.recipes import parse_library, parse_recipe
from autonomics.recipes.lint import lint_recipe
from autonomics.recipes.table import Table
from autonomics.testing.decision_stage import DecisionStage as Stage

OOM, QUOTA = "run/oom_memory_limit.toml", "ent/quota_near_limit.toml"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (QUOTA, "factor = 1.5", "factor = 1", r"action\[0\]\.set\.limit\.factor to be above 1"),
        (QUOTA, 'fn = "scale"\nof', 'fn = "const"\nvalue = ["x"]\nx', "a text, a number or a flag"),
        (QUOTA, 'fn = "scale"', 'fn = "from_extract"', "a path that starts with x"),
        (QUOTA, 'cap = "fact.quota.ceiling"', "", "cap to be a number, got None"),
        (OOM, 'steps = ["256Mi"', 'steps = ["many"', "quantities in ascending order"),
        (OOM, 'next = "give', 'nexd = "give', r"pre\[2\].* did you mean 'next'"),
        (
            OOM,
            'args = { name = "projects',
            'args = { other = [], name = "projects',
            "a list of texts",
        ),
        (
            OOM,
            "fingerprint = [\n",
            "fingerprint = [\n  '',\n",
            "a list of texts that are not empty",
        ),
        (OOM, "[diagnose]\n", "[diagnose]\nevidences = 1\n", "did you mean 'evidence'"),
        (OOM, 'name = "one kill is a warning"', "", "expected test.2..name to be there"),
    ],
)
def test_a_broken_value_says_where_and_why(
    stage: Stage, name: str, old: str, new: str, message: str
) -> None:
    text = dict(stage.files)[name].decode()
    assert old in text

    with pytest.raises(InvalidRecipe, match=message):
        parse_recipe(text.replace(old, new, 1).encode())


def test_a_test_that_expects_nothing_is_refused(stage: Stage) -> None:
    text = dict(stage.files)[QUOTA].decode()
    start = text.index("expect = {")
    end = text.index("\n", start)

    with pytest.raises(InvalidRecipe, match="expect to be some of"):
        parse_recipe((text[:start] + "expect = {}" + text[end:]).encode())


def test_a_constant_needs_to_say_what_was_before(stage: Stage) -> None:
    text = dict(stage.files)[QUOTA].decode()
    start, end = text.index('fn = "scale"'), text.index("[bounds]")

    with pytest.raises(InvalidRecipe, match=r"before to be a path for each of \['limit'\]"):
        parse_recipe((text[:start] + 'fn = "const"\nvalue = 5\n\n' + text[end:]).encode())


def test_resource_types_are_taken_from_a_list_too(stage: Stage) -> None:
    text = dict(stage.files)[OOM].decode()
    old = '["resource.type", "eq", "cloud_run_revision"]'
    new = '["resource.type", "in", ["cloud_run_revision", "cloud_run_job"]]'

    recipe = parse_recipe(text.replace(old, new).encode())

    assert recipe.match.resource_types == ("cloud_run_revision", "cloud_run_job")


def test_a_recipe_that_only_advises_needs_no_bounds_and_no_gate_test(stage: Stage) -> None:
    text = dict(stage.files)[OOM].decode()
    head, tests = text[: text.index("[[action]]")], text[text.index("[[test]]") :]
    gate_codes = ("precondition_failed", "managed_elsewhere", "bounds_exceeded", "recurrence")
    kept = [
        test
        for test in tests.split("[[test]]")[1:]
        if not any(code in test for code in (*gate_codes, "line_stopped", "change_freeze"))
    ]

    recipe = parse_recipe((head + "".join(f"[[test]]{test}" for test in kept)).encode())

    assert recipe.actions == ()
    assert lint_recipe(recipe) == []


def test_a_list_of_tables_holds_tables() -> None:
    with pytest.raises(InvalidRecipe, match=r"rows\[0\] to be a table, got 5"):
        list(Table({"rows": [5]}, "").tables("rows"))


def test_a_file_that_does_not_parse_is_named() -> None:
    with pytest.raises(InvalidRecipe, match=r"run/x\.toml: expected recipe to be TOML"):
        parse_library([("run/x.toml", b"x = [")])
