"""The tables of docs/benchmarks.md, written from the results beside this module.

Each table stands between two comments of its name, so that words and figures are kept apart.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.cases import BY_NAME
from bench.compare import describe_in_words

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"

Result = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, figures: range) -> str:
    """Lay out a table; the columns that hold figures end on the right."""
    marks = ["---:" if column in figures else "---" for column in range(len(head))]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(value: float | None, unit: str = "") -> str:
    """Write three digits that count and the unit, or a dash."""
    if value is None:
        return "-"
    written = f"{value:#.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{written.rstrip('.')} {unit}".rstrip()


def lay_out_gate(gate: Result) -> str:
    """Lay out the counts of instructions."""
    rows = [
        (
            row["name"],
            "a switch between two trio tasks" if row["name"] == "S" else operation(row["name"]),
            "-" if row["instructions"] is None else f"{row['instructions']:,.0f}",
            figure(row["ratio"], row["unit"]),
            figure(row["goal"]),
            figure(row["stretch"]),
            "; ".join(filter(None, (judge(row), row["note"]))),
        )
        for row in gate["rows"]
    ]
    head = ("case", "operation", "instructions", "ratio", "goal", "stretch", "")
    return f"{gate['build']}\n\n{table(head, rows, figures=range(2, 6))}"


def operation(case: str) -> str:
    """Name what one operation of a case is."""
    return BY_NAME[case].operation


def judge(row: Result) -> str:
    """Say how a count stands to its goal."""
    ratio, goal, stretch = row["ratio"], row["goal"], row["stretch"]
    if ratio is None:
        return str(row["verdict"])
    if goal is None:
        return ""
    if ratio > goal:
        return "above the goal"
    return "stretch" if stretch is not None and ratio <= stretch else "goal"


def lay_out_suite(suite: Result) -> str:
    """Lay out times, latencies and memory."""
    rows = [
        (
            reading["name"],
            reading["operation"],
            figure(reading["value"], reading["unit"]),
            figure(reading["goal"]),
            figure(reading["stretch"]),
            "" if reading["judgement"] == "no goal" else reading["judgement"],
        )
        for reading in suite["readings"]
    ]
    head = ("", "operation", "measured", "goal", "stretch", "")
    return f"{describe_in_words(suite['machine'])}\n\n{table(head, rows, figures=range(2, 5))}"


def lay_out_compare(result: Result) -> str:
    """Lay out ratios, a line a workload and a column a runtime."""
    names = list(result["runtimes"])
    ratios = {(row["case"], row["runtime"]): row["ratio"] for row in result["rows"]}
    rows = [
        (case, *(figure(ratios.get((case, name))) for name in names)) for case in result["cases"]
    ]
    heads = ("x S", *(name.replace("_", " ") for name in names))
    runtimes = [
        (name.replace("_", " "), about["version"], about["handler"], about["host"])
        for name, about in result["runtimes"].items()
    ]
    about = table(
        ("runtime", "version", "handler", "an actor lives in"), runtimes, figures=range(0)
    )
    ratios_table = table(heads, rows, figures=range(1, len(heads)))
    return f"{describe_in_words(result['machine'])}\n\n{about}\n\n{ratios_table}"


LAYOUTS: Final[Mapping[str, Callable[[Result], str]]] = {
    "gate": lay_out_gate,
    "suite": lay_out_suite,
    "compare": lay_out_compare,
}


def read_results(folder: Path = RESULTS) -> dict[str, Result]:
    """Read what was measured last."""
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in LAYOUTS
    }


def fill(page: str, results: Mapping[str, Result]) -> str:
    """Put the tables in their places; raises KeyError where a page has no place for one."""
    for name, lay_out in LAYOUTS.items():
        found = re.search(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", page, re.DOTALL)
        if found is None:
            raise KeyError(f"expected the page to have <!-- {name} --> and <!-- /{name} -->")
        before, after = page[: found.end(1)], page[found.start(2) :]
        page = f"{before}\n{lay_out(results[name])}\n{after}"
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables into the page."""
    argparse.ArgumentParser(prog="python -m bench page", description=__doc__).parse_args(arguments)
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), read_results()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
