"""A picture of a comparison: one group of bars a workload, on one logarithmic scale of S.

Drawn by hand as SVG: a plotting library would be the largest dependency of the project.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_name("results") / "compare.json"
PICTURE = ROOT / "docs" / "benchmarks.svg"

NAMESPACE = "http://www.w3.org/2000/svg"
OURS = "autonomics"
WIDTH, LEFT, RIGHT, TOP = 760, 150, 80, 56
ROW, GAP, TITLE = 17, 12, 22
LEAST_S, MOST_S = 0.01, 1_000.0

STYLE = """
    svg { background: #ffffff; }
    text { font: 12px system-ui, sans-serif; fill: #24292f; }
    .head { font-weight: 600; }
    .faint { fill: #656d76; font-size: 11px; paint-order: stroke; }
    .faint { stroke: #ffffff; stroke-width: 3; }
    .grid { stroke: #d0d7de; stroke-width: 1; }
    .bar { fill: #a8b3bf; }
    .ours { fill: #0969da; }
    .goal { stroke: #bc4c00; stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
      svg { background: #0d1117; }
      text { fill: #e6edf3; }
      .faint { fill: #9198a1; stroke: #0d1117; }
      .grid { stroke: #30363d; }
      .bar { fill: #59636e; }
      .ours { fill: #4493f8; }
      .goal { stroke: #f0883e; }
    }
"""


def place(ratio: float) -> float:
    """Find the x of a ratio, in pixels; what is off the scale stands at its end."""
    clipped = min(max(ratio, LEAST_S), MOST_S)
    share = math.log10(clipped / LEAST_S) / math.log10(MOST_S / LEAST_S)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def draw(result: Mapping[str, Any]) -> str:
    """Draw the picture; who has no figure for a workload has no bar there."""
    groups = {case: bars(result, case) for case in result["cases"]}
    groups = {case: rows for case, rows in groups.items() if rows}
    height = TOP + sum(TITLE + ROW * len(rows) + GAP for rows in groups.values())
    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
        f"<title>{escape(describe(result))}</title>",
        f"<style>{STYLE}</style>",
        text(10, 20, describe(result), "head"),
        text(10, 38, "The orange mark is the goal. A shorter bar is faster.", "faint"),
    ]
    for power in range(round(math.log10(LEAST_S)), round(math.log10(MOST_S)) + 1):
        x = place(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - GAP}"/>'
        )
        parts.append(text(x, TOP - 4, f"{10.0**power:g} S", "faint", anchor="middle"))
    y = TOP
    for case, rows in groups.items():
        parts += draw_group(result["cases"][case], case, rows, y)
        y += TITLE + ROW * len(rows) + GAP
    return "\n".join([*parts, "</svg>", ""])


def describe(result: Mapping[str, Any]) -> str:
    """Say what the picture shows, in one line."""
    machine = result["machine"]
    versions = f"{machine['python']}, trio {machine['trio']}"
    return f"Time per operation in task switches of trio (S), {versions}"


def bars(result: Mapping[str, Any], case: str) -> list[tuple[str, float]]:
    """List who has a figure for a workload, with the figure, the fastest first."""
    found = [
        (row["runtime"], row["ratio"])
        for row in result["rows"]
        if row["case"] == case and row["ratio"] is not None
    ]
    return sorted(found, key=lambda bar: bar[1])


def draw_group(
    about: Mapping[str, Any], case: str, rows: Sequence[tuple[str, float]], top: int
) -> list[str]:
    """Draw the bars of one workload."""
    parts: list[str] = []
    figures = [text(10, top + 15, f"{case}: {about['operation']}", "head")]
    for index, (runtime, ratio) in enumerate(rows):
        y = top + TITLE + ROW * index
        kind = "bar ours" if runtime == OURS else "bar"
        width = max(1.0, place(ratio) - LEFT)
        name = runtime.replace("_", " ")
        figures.append(
            text(LEFT - 6, y + 12, name, "head" if runtime == OURS else "", anchor="end")
        )
        parts.append(
            f'<rect class="{kind}" x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="{ROW - 4}"/>'
        )
        figures.append(text(LEFT + width + 5, y + 12, f"{ratio:.2f}", "faint"))
    if about["goal"] is not None:
        x, bottom = place(about["goal"]), top + TITLE + ROW * len(rows)
        parts.append(
            f'<line class="goal" x1="{x:.1f}" y1="{top + TITLE}" x2="{x:.1f}" y2="{bottom}"/>'
        )
    # Last, so that a figure stays readable where the mark of the goal runs through it.
    return parts + figures


def text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    """Write words."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a result of `compare --json`."""
    parser = argparse.ArgumentParser(prog="python -m bench plot", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=RESULT)
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    result = json.loads(options.result.read_text(encoding="utf-8"))
    options.picture.write_text(draw(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
