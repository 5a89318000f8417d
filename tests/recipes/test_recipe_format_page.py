"""docs/recipe-format.md names what the code knows, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from autonomics.errors import InvalidRecipe
from autonomics.recipes import parse_recipe
from autonomics.recipes.format import KINDS, SCHEMA
from autonomics.recipes.format_action import FUNCTIONS, MAX_FRAME_DEPTH, MAX_FRAME_NODES
from autonomics.recipes.format_condition import MAX_NESTING, MAX_SHARE
from autonomics.recipes.lint import MIN_LITERAL
from autonomics.recipes.pick import MAX_ITEMS
from autonomics.recipes.plan import MAX_IMAGE_BYTES
from autonomics.recipes.predicate import OPERATORS
from autonomics.recipes.view import COUNTS, ROOTS
from autonomics.testing.decision_stage import DecisionStage as Stage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipe-format.md"
CRASH, LIMIT = "run/crashloop_exit.toml", "run/max_instances_reached.toml"
OOM, SCALE = "run/oom_memory_limit.toml", "run/scale_rate_exceeded.toml"
UNKNOWN = "zz_unknown"

# A place in a shipped recipe for each table of the format, and the page's heading for it.
TABLES = [
    ("The file", CRASH, "schema = 1\n"),
    ("`[match]`", CRASH, "[match]\n"),
    ("`[[extract]]`", OOM, "[[extract]]\n"),
    ("`[diagnose]`", CRASH, "[diagnose]\n"),
    ("`[diagnose]`", CRASH, "[[diagnose.evidence]]\n"),
    ("`[diagnose]`", CRASH, "[diagnose.counts.previous_revision]\n"),
    ("`[facts.<name>]`", CRASH, "[facts.service]\n"),
    ("`[[pick]]`", CRASH, "[[pick]]\n"),
    ("`[[pre]]`", CRASH, "[[pre]]\n"),
    ("`[gates]`", CRASH, "[gates]\n"),
    ("`[[action]]`", CRASH, "[[action]]\n"),
    ("`[[action]]`", CRASH, "[action.set.traffic]\n"),
    ("`[[action]]`", OOM, '[action.set."template.containers.0.resources.limits.memory"]\n'),
    ("`[[action]]`", LIMIT, '[action.set."template.scaling.maxInstanceCount"]\n'),
    ("`[[action]]`", SCALE, '[action.set."scaling.minInstanceCount"]\n'),
    ("`[[action]]`", SCALE, '[action.set."template.containers.0.resources.startupCpuBoost"]\n'),
    ("`[bounds]`", CRASH, "[bounds]\n"),
    ("`[bounds]`", CRASH, "per_resource = { "),
    ("`[verify]`", CRASH, "[verify]\n"),
    ("`[rollback]`", CRASH, "[rollback]\n"),
    ("`[[test]]`", CRASH, "[[test]]\n"),
    ("`[[test]]`", CRASH, "[[test.earlier]]\n"),
    ("`[[test]]`", CRASH, "policy = { "),
    ("`[[test]]`", CRASH, "expect = { "),
    ("Conditions", LIMIT, '"ge_share", { '),
]


def sections() -> dict[str, str]:
    """Give the page's text by heading."""
    parts = re.split(r"^#{1,3} (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(text: str) -> set[str]:
    """Give all that stands between backticks, and each word of it."""
    quoted = re.findall(r"`([^`]+)`", text)
    return {*quoted, *(word for each in quoted for word in re.findall(r"\w+", each))}


def rows(text: str) -> set[str]:
    """Give the words in the first column of the tables."""
    return words("\n".join(line.split("|")[1] for line in text.splitlines() if line[:1] == "|"))


def known_keys(source: str, place: str) -> set[str]:
    """Ask the code for the keys of a table, by a key that it doesn't know."""
    assert place in source
    mark = f"{UNKNOWN} = 1" + ("\n" if place.endswith("\n") else ", ")
    with pytest.raises(InvalidRecipe) as refused:
        parse_recipe(source.replace(place, place + mark, 1).encode())
    found = re.search(r"to be among (\[.*?\]), got '(\w+)'", str(refused.value))
    assert found is not None, str(refused.value)
    assert found[2] == UNKNOWN
    return set(ast.literal_eval(found[1]))


@pytest.mark.parametrize(("heading", "name", "place"), TABLES)
def test_every_key_is_named_where_it_belongs(
    stage: Stage, heading: str, name: str, place: str
) -> None:
    keys = known_keys(dict(stage.files)[name].decode(), place)

    assert keys
    assert keys - words(sections()[heading]) == set()


def test_no_key_is_named_that_the_code_does_not_know(stage: Stage) -> None:
    known: dict[str, set[str]] = {}
    for heading, name, place in TABLES:
        keys = known_keys(dict(stage.files)[name].decode(), place)
        known.setdefault(heading, set()).update(keys)
    for heading in dict.fromkeys(heading for heading, _, _ in TABLES[:-1]):
        named = rows(sections()[heading]) - {"key", "fn"} - set(FUNCTIONS)
        assert named - known[heading] == set(), heading


def test_every_operator_and_no_other_is_named() -> None:
    assert rows(sections()["Conditions"]) == OPERATORS


def test_every_function_is_named_with_its_keys(stage: Stage) -> None:
    text = sections()["`[[action]]`"]
    table = {
        cells[1].strip().strip("`"): words(cells[2])
        for line in text.splitlines()
        if line[:1] == "|" and (cells := line.split("|"))[1].strip().strip("`") in FUNCTIONS
    }
    shipped = {
        "fill": (CRASH, "[action.set.traffic]\n"),
        "next_step": (OOM, '[action.set."template.containers.0.resources.limits.memory"]\n'),
        "scale": (LIMIT, '[action.set."template.scaling.maxInstanceCount"]\n'),
        "add": (SCALE, '[action.set."scaling.minInstanceCount"]\n'),
        "const": (SCALE, '[action.set."template.containers.0.resources.startupCpuBoost"]\n'),
    }

    assert set(table) == set(FUNCTIONS)
    for function, (name, place) in shipped.items():
        keys = known_keys(dict(stage.files)[name].decode(), place)
        assert table[function] == keys - {"fn"}, function
    assert table["from_extract"] == table["from_fact"] == {"of"}


def test_every_root_count_kind_and_limit_is_named() -> None:
    parts = sections()
    text = PAGE.read_text(encoding="utf-8")

    named = rows(parts["Paths and templates"])
    assert set(ROOTS) <= named
    assert {each.split(".")[0] for each in named if "." in each} <= set(ROOTS)
    assert named >= COUNTS
    assert set(KINDS) <= words(parts["`[match]`"])
    for limit in (
        f"schema {SCHEMA}",
        f"at least {MIN_LITERAL} characters",
        f"at most {MAX_ITEMS} elements",
        f"at most {MAX_FRAME_DEPTH} levels deep and {MAX_FRAME_NODES} values large",
        f"at most {MAX_IMAGE_BYTES} bytes",
        f"at most {MAX_NESTING} levels deep",
        f"above 0 and at most {MAX_SHARE}",
    ):
        assert limit in re.sub(r"\s+", " ", text), limit
