from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from autonomics.errors import InvalidRecipe
from autonomics.recipes import parse_library, parse_recipe
from autonomics.recipes.lint import lint_recipe
from autonomics.recipes.template import parse_template
from autonomics.testing.decision_stage import DecisionStage as Stage

OOM = "run/oom_memory_limit.toml"


def source(stage: Stage, name: str = OOM) -> str:
    return dict(stage.files)[name].decode()


def test_the_shipped_recipes_load_and_pass_the_lint(stage: Stage) -> None:
    assert [recipe.id for recipe in stage.recipes.recipes] == [
        "ent.quota_near_limit",
        "run.crashloop_exit",
        "run.max_instances_reached",
        "run.oom_memory_limit",
        "run.scale_rate_exceeded",
    ]
    assert all(lint_recipe(recipe) == [] for recipe in stage.recipes.recipes)


def test_the_digest_is_of_the_content_and_not_of_its_layout(stage: Stage) -> None:
    text = source(stage)
    recipe = parse_recipe(text.encode())

    assert re.fullmatch(r"[0-9a-f]{64}", recipe.digest)
    assert parse_recipe(f"# a comment\n{text}".encode()).digest == recipe.digest
    assert parse_recipe(text.replace("min_score = 3.5", "min_score = 3.50").encode()).digest == (
        recipe.digest
    )
    assert parse_recipe(text.replace("0.02", "0.03").encode()).digest != recipe.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "expected schema to be 1, got 2"),
        ("window_s = 600", "windows_s = 600", "expected diagnose.window_s to be there"),
        ("owner =", "ownr = 'x'\nowner =", "got 'ownr'; did you mean 'owner'"),
        ("veto = true", "vetoo = true", "did you mean 'veto'"),
        ("weight = 3.0", "weight = 'three'", r"diagnose.evidence\[0\].weight to be a number"),
        ("required = true", "required = 1", "required to be true or false, got 1"),
        ("veto = true", "veto = true\nrequired = true", "false where required is true"),
        ('maturity = "automated"', 'maturity = "automatic"', "did you mean 'automated'"),
        ('id = "run.oom_memory_limit"', 'id = "Oom"', "area.name in lower case"),
        ('version = "1.1.0"', 'version = "1.0"', "major.minor.patch"),
        ('["gcp_log_entry", "text"]', '["log"]', "match.kinds to be among"),
        ('limit = "Mi", used', 'limits = "Mi", used', r"names of groups \['limit', 'used'\]"),
        ("timeout_s = 60", "timeout_s = 0", "action.0..timeout_s to be an integer >= 1"),
        ('mask = ["template', 'mask = ["templates', "mask to be the keys of set"),
        ('fn = "next_step"', 'fn = "next_stop"', "did you mean 'next_step'"),
        ('"1Gi", "2Gi"', '"2Gi", "1Gi"', "quantities in ascending order"),
        ("fleet_share = 0.05", "fleet_share = 0", "fleet_share to be in 0..1"),
        ("until_s = 900", "until_s = 100", "until_s to be >= after_s"),
        ('restore = "before_image"', 'restore = "after"', "restore to be one of"),
        ('approval = "none"', 'approval = "three"', "approval to be one of"),
        (
            'idempotency_key = ["fingerprint", "fact.service.generation"]',
            "idempotency_key = []",
            "idempotency_key to be not empty",
        ),
        ('etag = "fact.service.etag"', 'etag = "service.etag"', "root of path"),
        ("expect = { diagnosis =", "expect = { diagnoses =", "did you mean 'diagnosis'"),
        ("earlier_acts_s = [86340]", "earlier_acts_s = [-1]", "a list of seconds >= 0"),
        ('policy = { stop = "line" }', 'policy = { stopp = "line" }', "did you mean 'stop'"),
        (
            "{resource.labels.project_id}/locations",
            "{resource.labels.project_id/locations",
            "with its braces closed",
        ),
        ("{resource.labels.project_id}/locations", "{project}/locations", "root of path"),
        ("title =", "when = 2026-01-01\ntitle =", "a text, number, flag, list or table"),
        ("title =", "title = 'twice'\ntitle =", "recipe to be TOML"),
        ("min_margin = 1.0", "min_margin = nan", "a number"),
    ],
)
def test_a_broken_recipe_says_where_and_why(stage: Stage, old: str, new: str, message: str) -> None:
    text = source(stage)
    assert old in text

    with pytest.raises(InvalidRecipe, match=message):
        parse_recipe(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("data", [b"\xff", b"x = [", b"x = 1e999999999999999999999"])
def test_what_is_no_toml_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRecipe):
        parse_recipe(data)


def without_tests(text: str, *names: str) -> str:
    head, *tests = text.split("[[test]]")
    return "[[test]]".join(
        [head, *(test for test in tests if not any(f'"{name}' in test for name in names))]
    )


def cut(text: str, start: str, end: str) -> str:
    return text[: text.index(start)] + text[text.index(end) :]


Change = Callable[[str], str]
UNLOADABLE: list[tuple[Change, str]] = [
    (
        lambda text: text.replace('any_literal = ["Memory limit of ",', 'any_literal = ["Memory",'),
        "at least 8 characters",
    ),
    (
        lambda text: re.sub(
            r"any_literal.*\n",
            "",
            text.replace('["resource.type", "eq", "cloud_run_revision"],', ""),
        ),
        "a recipe that looks at everything may not load",
    ),
    (
        lambda text: text.replace("fact.memory.points", "fact.memori.points"),
        "expected fact.memori to be declared",
    ),
    (
        lambda text: text.replace('"x.used", "ge_path"', '"x.uses", "ge_path"'),
        "expected x.uses to be a group",
    ),
    (
        lambda text: text.replace(
            'all = [\n  ["resource.type"',
            'all = [\n  ["count.window", "ge", 1],\n  ["resource.type"',
        ),
        "match to read the signal alone",
    ),
    (lambda text: cut(text, "[bounds]", "[verify]"), "an action to have bounds"),
    (lambda text: cut(text, "[verify]", "[rollback]"), "an action to have verify"),
    (lambda text: cut(text, "[rollback]", "[[test]]"), "to have rollback"),
    (
        lambda text: text.replace("timeout_s = 60", "timeout_s = 60\nirreversible = true"),
        "irreversible action to need approval",
    ),
    (
        lambda text: text.replace('  ["count.since_action", "eq", 0],\n', ""),
        "that the signal stays away",
    ),
    (lambda text: text.replace('name = "repeated"', 'name = "leak"'), "names of evidence"),
    (
        lambda text: text.replace("required = true", "required = false"),
        "at least one evidence to be required",
    ),
    (lambda text: text.replace('code = "vetoed"', 'code = "vetod"'), "did you mean 'vetoed'"),
    (
        lambda text: without_tests(text, "two kills within", "two kills that only"),
        "2 positive inline tests",
    ),
    (
        lambda text: without_tests(
            text,
            "a text that",
            "a container",
            "a leak",
            "one kill",
            "two kills an",
            "the line alone",
            "without the memory's",
        ),
        "2 negative inline tests",
    ),
    (
        lambda text: without_tests(text, "without the", "the line alone"),
        "1 missing fact inline tests",
    ),
    (lambda text: text[: text.index("[[test]]")], "1 gate refusal inline tests"),
]


@pytest.mark.parametrize(("change", "message"), UNLOADABLE)
def test_the_lint_refuses_what_may_not_load(stage: Stage, change: Change, message: str) -> None:
    text = change(source(stage))
    assert text != source(stage)

    with pytest.raises(InvalidRecipe, match=message):
        parse_library([(OOM, text.encode())])


def test_a_recipe_stands_in_the_file_of_its_name(stage: Stage) -> None:
    data = dict(stage.files)[OOM]

    with pytest.raises(InvalidRecipe, match=r"run/other\.toml.*run/oom_memory_limit\.toml"):
        parse_library([("run/other.toml", data)])


def test_two_recipes_of_one_id_do_not_load(stage: Stage) -> None:
    data = dict(stage.files)[OOM]

    with pytest.raises(InvalidRecipe, match="distinct"):
        parse_library([(f"core/{OOM}", data), (f"own/{OOM}", data)])


@pytest.mark.parametrize("text", ["{", "a}b", "{a.}", "{}"])
def test_a_template_with_a_broken_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecipe):
        parse_template(text)


def test_a_template_takes_the_first_alternative_that_can_be_filled() -> None:
    template = parse_template(["a/{x.one}", "b/{x.two}/{x.three}"])

    def fill(**values: object) -> str | None:
        return template.fill(lambda path: values.get(path[1]))

    assert fill(one="1", two="2") == "a/1"
    assert fill(two="2", three=3) == "b/2/3"
    assert fill(two="2", three=True) is None
    assert fill(one="") is None
