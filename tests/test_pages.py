"""What the pages show is what happens: their commands run, their tables come from the code.

`python tests/test_pages.py` writes the tables anew.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, get_args

import pytest

from autonomics.cli import program
from autonomics.cli.parser import USAGE
from autonomics.cli.table import TOPICS, read_commands
from autonomics.config import SETTINGS
from autonomics.gates.refusal import CATALOGUE
from autonomics.http import api_keys, health
from autonomics.http.app import FOR_STRANGERS, ROUTES
from autonomics.http.problem import PROBLEMS
from autonomics.http.route import EVERYBODY, Route
from autonomics.receipts import verify
from autonomics.recipes.decision import Answer
from autonomics.storage import data_folder
from autonomics.testing.page import read_steps, run_steps

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = ("install", "api", "support-model", "quick-reference", "marketplace")
NEEDED: Final = ("bash", "curl")


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *escaped]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    return f"`{text}`"


def tell_roles(route: Route) -> str:
    if route.name in (*FOR_STRANGERS, *health.OPEN):
        return "anybody"
    return "any" if route.roles == EVERYBODY else ", ".join(sorted(route.roles))


def list_routes() -> str:
    rows = [
        (
            code(f"{route.method} {route.path}"),
            ", ".join(map(code, route.query)),
            tell_roles(route),
            route.about,
        )
        for route in ROUTES
    ]
    return format_table(("route", "parameters", "roles", "what it does"), rows)


def list_problems() -> str:
    rows = [
        (code(row.code), str(row.status), row.title, row.next_step)
        for row in sorted(PROBLEMS.values(), key=lambda row: (row.status, row.code))
    ]
    return format_table(("code", "status", "title", "next"), rows)


def list_commands() -> str:
    rows: list[tuple[str, str, str]] = []
    for topic in TOPICS:
        verbs = [command.verb for command in read_commands(topic) if command.verb is not None]
        rows.append((code(topic.word), ", ".join(map(code, verbs)), topic.about))
    return format_table(("command", "verbs", "what it does"), rows)


def list_settings() -> str:
    rows = [
        (code(row.name), "" if row.default in (None, "") else code(str(row.default)), row.about)
        for row in SETTINGS
    ]
    return format_table(("setting", "default", "what it is"), rows)


def list_refusals() -> str:
    rows = [
        (code(row.code), str(row.status), row.gate, row.next.step, row.next.who)
        for row in CATALOGUE.values()
    ]
    return format_table(("code", "status", "gate", "next", "by whom"), rows)


TABLES: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "routes": ("api", list_routes),
    "problems": ("api", list_problems),
    "commands": ("quick-reference", list_commands),
    "settings": ("quick-reference", list_settings),
    "refusals": ("quick-reference", list_refusals),
}


def read(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def split_at(page: str, name: str) -> tuple[str, str, str]:
    """Split a page into what stands before, in and after a table that comes from the code."""
    head, mark, rest = page.partition(f"<!-- {name} -->\n")
    table, end, tail = rest.partition("<!-- end -->")
    assert mark, f"expected the page to have the mark of {name}"
    assert end, f"expected the table of {name} to have an end"
    return head + mark, table, end + tail


def write_tables() -> None:
    for name, (page, make) in TABLES.items():
        head, _, tail = split_at(read(page), name)
        (DOCS / f"{page}.md").write_text(head + make() + tail, encoding="utf-8")


def first_cells(page: str, heading: str) -> list[str]:
    section = read(page).partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [cell.strip("`") for cell in re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_a_page_says_what_the_code_says(name: str) -> None:
    page, make = TABLES[name]
    _, shown, _ = split_at(read(page), name)
    assert shown == make(), f"docs/{page}.md: write it anew with `python tests/test_pages.py`"


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason="needs bash and curl")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    """One shell per page runs all of its commands in order."""
    steps = read_steps(read(page))
    assert steps
    for step, output in run_steps(steps, tmp_path, os.environ):
        assert step.is_met_by(output), f"{step.command}\nshown:\n{step.shown}\ncame:\n{output}"


def test_every_page_with_commands_is_run() -> None:
    with_commands = {
        path.stem for path in DOCS.rglob("*.md") if read_steps(path.read_text("utf-8"))
    }
    assert with_commands == set(PAGES)


def test_the_page_lists_exactly_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {*project["optional-dependencies"]} - {"dev"}
    listed = re.findall(r"^\| `(\w+)` \|", read("install"), re.MULTILINE)
    assert {*listed} == extras


def test_the_page_lists_exactly_the_roles() -> None:
    assert {*first_cells("api", "Keys")} == {*api_keys.ROLES}


def test_the_page_lists_exactly_the_answers() -> None:
    assert {*first_cells("api", "Send a signal")} == {*get_args(Answer)}


def test_the_page_lists_exactly_the_exit_codes() -> None:
    codes = {0, 1, USAGE, program.UNFORESEEN, program.INTERRUPTED, program.PIPE_CLOSED}
    listed = [int(cell) for cell in first_cells("quick-reference", "Exit codes")]
    assert listed == sorted(codes | {*verify.VERDICTS})


def test_the_page_lists_exactly_the_files_of_a_data_folder() -> None:
    names = {value for name, value in vars(data_folder).items() if name.endswith("_NAME")}
    assert {*first_cells("quick-reference", "On disk")} == names


if __name__ == "__main__":
    write_tables()
