from __future__ import annotations

import json
from pathlib import Path

import pytest

from autonomics.service import read_library

from .conftest import Shell, expect_one_line

RECIPE = "run.oom_memory_limit"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The package's library as a folder of one's own."""
    for name, data in read_library():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "library"


def test_the_library_is_listed(shell: Shell) -> None:
    code, out, err = shell.run("recipes", "list")
    assert (code, err) == (0, "")
    assert any(line.startswith(f"{RECIPE} ") for line in out.splitlines())
    listed = json.loads(shell.run("recipes", "list", "--json")[1])["recipes"]
    assert len(listed) == len(out.splitlines()) - 1


def test_a_recipe_is_shown_as_it_is_written(shell: Shell) -> None:
    source = dict(read_library())["run/oom_memory_limit.toml"].decode()
    shown = json.loads(shell.run("recipes", "show", RECIPE, "--json")[1])
    assert shown["source"] == source
    assert (shown["id"], shown["tests"] > 0) == (RECIPE, True)
    head, _, text = shell.run("recipes", "show", RECIPE)[1].partition("\n")
    assert head.endswith(shown["digest"])
    assert text == source


def test_the_librarys_own_examples_pass(shell: Shell) -> None:
    code, out, err = shell.run("recipes", "test")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith(" passed, 0 failed")
    one = json.loads(shell.run("recipes", "test", RECIPE, "--json")[1])
    assert one["failed"] == 0
    assert {row["recipe"] for row in one["tests"]} == {RECIPE}
    assert 0 < one["passed"] < len(out.splitlines()) - 1


def test_a_folder_and_the_folder_of_an_area_are_tested_alike(shell: Shell, library: Path) -> None:
    assert shell.run("recipes", "test", str(library)) == shell.run("recipes", "test")
    one = shell.run("recipes", "test", RECIPE)
    assert one == shell.run("recipes", "test", RECIPE, "--from", str(library))
    _, area, _ = shell.run("recipes", "test", str(library / "run"))
    assert set(one[1].splitlines()[:-1]) < set(area.splitlines())
    assert "ent." not in area


def test_an_example_that_fails_is_named_with_the_difference(shell: Shell, library: Path) -> None:
    path = library / "run" / "oom_memory_limit.toml"
    text = path.read_text()
    assert "min_score = 3.5" in text
    path.write_text(text.replace("min_score = 3.5", "min_score = 3.0"))
    code, out, err = shell.run("recipes", "test", str(library))
    assert (code, err) == (1, "")
    assert f"FAIL  {RECIPE}: one kill is a warning" in out
    assert "      expected outcome to be LIKELY, got " in out
    shown = json.loads(shell.run("recipes", "test", str(library), "--json")[1])
    assert shown["failed"] == sum(not row["passed"] for row in shown["tests"]) > 0


def test_a_recipe_that_can_not_be_read_is_named(shell: Shell, library: Path) -> None:
    (library / "run" / "oom_memory_limit.toml").write_text("schema = 1\nid = 7\n")
    code, line = expect_one_line(*shell.run("recipes", "list", "--from", str(library)))
    assert code == 1
    assert line.startswith("run/oom_memory_limit.toml: ")


def test_an_unknown_recipe_or_folder_is_told(shell: Shell, tmp_path: Path) -> None:
    code, line = expect_one_line(*shell.run("recipes", "show", "run.oom_memory_limits"))
    assert (code, line) == (
        1,
        f"there is no recipe or folder run.oom_memory_limits; did you mean {RECIPE}?",
    )
    none = str(tmp_path / "none")
    assert expect_one_line(*shell.run("recipes", "list", "--from", none)) == (
        1,
        f"there is no folder {none}",
    )
    assert expect_one_line(*shell.run("recipes", "test", str(tmp_path))) == (
        1,
        f"there is no recipe in {tmp_path}",
    )
