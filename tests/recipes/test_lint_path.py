"""Paths that lead nowhere, or to what is not known yet, keep a recipe from loading."""

from __future__ import annotations

import pytest

from autonomics.errors import InvalidRecipe
from autonomics.recipes import parse_library, parse_recipe
from autonomics.testing.decision_stage import DecisionStage as Stage

CRASH = "run/crashloop_exit.toml"
LEVEL = """level = "same_revision"
window_s = 86400"""

CHANGES: list[tuple[str, str, str]] = [
    ('"{pick.previous.id}"', '"{pick.previos.id}"', "expected pick.previos to be declared"),
    ('"{pick.previous.id}"', '"{x.cod}"', "expected x.cod to be a group"),
    ('"{pick.previous.id}"', '"{fact.revision.id}"', "expected fact.revision to be declared"),
    ('"{pick.previous.id}"', '"{item.id}"', "expected item.id to stand in the where of a pick"),
    ('"count.same_revision"', '"count.same_revisions"', "did you mean 'same_revision'"),
    ('"count.same_revision"', '"count.same_revision.x"', "count.same_revision.x to be count. and"),
    ('"count.same_revision"', '"item.count"', "expected item.count to stand in the where"),
    (
        '["count.previous_since_action", "eq", 0]',
        '["count.same_revision", "eq", 0]',
        "expected verify to count since the act, got count.same_revision",
    ),
    (
        '["count.previous_since_action", "eq", 0],',
        "",
        "expected verify to demand that the signal stays away",
    ),
    ('after = "crashing"', 'after = "serving"', "after of pick previous to be an earlier pick"),
    ('after = "crashing"', 'after = "previous"', "after of pick previous to be an earlier pick"),
    (
        'from = "fact.revisions.revisions"\nafter',
        'from = "fact.service.traffic"\nafter',
        "after of pick previous to be an earlier pick from the same list",
    ),
    (
        '["item.ready", "eq", true]',
        '["item.id", "eq_path", "pick.serving.revision"]',
        r"pick previous to read earlier picks alone, got \['serving'\]",
    ),
    (
        '["item.ready", "eq", true]',
        '["count.window", "ge", 1]',
        "expected pick previous to read no counts",
    ),
    ('name = "previous"\nfrom', 'name = "crashing"\nfrom', "names of pick to be distinct"),
    ("counts.same_revision]", "counts.window]", "count window to have a name of its own"),
    (LEVEL, LEVEL.replace("same", "some"), "level of count previous_revision to be a count with"),
    (
        LEVEL,
        LEVEL.replace("same_revision", "previous_since_action"),
        "level of count previous_revision to be a count with as many values",
    ),
    (
        '  "resource.labels.service_name",\n  "pick.previous.id",\n]\n\n# Once',
        '  "pick.previous.id",\n]\n\n# Once',
        "level of count previous_revision to be a count with as many values",
    ),
    (
        LEVEL,
        "window_s = 86400",
        "count previous_revision to be kept by what the signal alone says",
    ),
    (
        '  "pick.previous.id",\n]\n\n# Once',
        '  "count.window",\n]\n\n# Once',
        "count previous_revision to be by no other count",
    ),
    (
        "fingerprint = [\n",
        'fingerprint = [\n  "pick.previous.id",\n',
        "expected fingerprint to read the signal alone, got pick.previous.id",
    ),
    (
        "fingerprint = [\n",
        'fingerprint = [\n  "x.cod",\n',
        "expected x.cod to be a group",
    ),
    (
        'call = "run.revisions.list"\nargs = { name = "',
        'call = "run.revisions.list"\nargs = { name = "{fact.service.name}',
        "args of fact revisions to read the signal alone, got fact.service.name",
    ),
    (
        "validate_only_first = true",
        'validate_only_first = true\nargs = { x = "{x.cod}" }',
        "expected x.cod to be a group",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), CHANGES)
def test_the_lint_refuses_paths_that_lead_nowhere(
    stage: Stage, old: str, new: str, message: str
) -> None:
    text = dict(stage.files)[CRASH].decode()
    assert old in text

    with pytest.raises(InvalidRecipe, match=message):
        parse_library([(CRASH, text.replace(old, new, 1).encode())])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LEVEL, LEVEL.replace("window_s = 86400", ""), "window_s to be there"),
        (
            "since_action = true",
            "since_action = true\nwindow_s = 5",
            r"counts\.previous_since_action\.window_s to be left out",
        ),
        ("since_action = true", "since_acton = true", "window_s to be there"),
        (LEVEL, LEVEL + "\nlevl = 1", "did you mean 'level'"),
        ("by = [\n", "by = []\nx = [\n", "by to be not empty"),
        ('after = "crashing"', 'aftr = "crashing"', r"pick\[1\].* did you mean 'after'"),
        (
            'from = "fact.service',
            'from = "facts.service',
            r"pick\[2\]\.from .* did you mean 'fact'",
        ),
        ("reconciling = false", "reconciling = 2026-01-01", r"absent\.reconciling to be a text"),
        ("reconciling = false", '"a..b" = false', "segments joined by dots"),
        ("\nage_s = 30", "\nage = 30", r"earlier\[0\]\.age_s to be there"),
        ("\nage_s = 30", "\nage_s = -1", "age_s to be an integer >= 0"),
        ("\nage_s = 30", "\nage_s = 30\nage = 1", "did you mean 'age_s'"),
    ],
)
def test_a_broken_part_says_where_and_why(stage: Stage, old: str, new: str, message: str) -> None:
    text = dict(stage.files)[CRASH].decode()
    assert old in text

    with pytest.raises(InvalidRecipe, match=message):
        parse_recipe(text.replace(old, new, 1).encode())
