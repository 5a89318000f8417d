"""The pages and the code say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from autonomics.receipts import verify
from autonomics.receipts.leaf import KINDS

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| (.+?) \| (.+?) \|", re.MULTILINE)
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def read(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def rows(page: str, heading: str) -> dict[str, str]:
    """First and second column of the table below a heading."""
    section = read(page).partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = ROW.findall(section)
    return {name.strip("`"): text for name, text in found[1:]}


def test_the_page_lists_exactly_the_keys_of_a_leaf() -> None:
    known = verify.REQUIRED_KEYS | verify.OPTIONAL_KEYS
    assert set(rows("receipt-format.md", "The leaf")) == known


def test_the_page_lists_exactly_the_kinds() -> None:
    assert rows("receipt-format.md", "Kinds") == KINDS


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text("utf-8")):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["guarantees.md", "design/deviations.md"])
def test_every_promise_names_a_test_that_is_there(page: str) -> None:
    named = NAMED_TEST.findall(read(page))
    assert len(named) >= 10
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, f"{path}::{name}"


def test_every_promise_of_the_readme_stands_among_the_guarantees() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## What is guaranteed")[2].partition("\n## ")[0]
    promises = [" ".join(text.split()) for text in section.split("\n- ")[1:]]
    page = " ".join(read("guarantees.md").split())
    assert promises
    for promise in promises:
        assert promise in page
