"""Measure everything and write docs/benchmarks.md and its picture anew; takes ten minutes."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Sequence

from bench import compare, gate_ir, page, plot, suite


def publish(pythons: Sequence[str]) -> None:
    """Keep each result as it is printed for programs; goals that are missed stop nothing."""
    steps: dict[str, tuple[Callable[[Sequence[str]], int], list[str]]] = {
        "gate": (gate_ir.main, ["--json", "--update-baseline"]),
        "suite": (suite.main, ["--json", "--full"]),
        "compare": (
            compare.main,
            ["--json", "-", "--rounds", "9", *(f"--python={pair}" for pair in pythons)],
        ),
    }
    for name, (main, arguments) in steps.items():
        print(f"measuring: {name}", file=sys.stderr)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            main(arguments)
        (page.RESULTS / f"{name}.json").write_text(printed.getvalue(), encoding="utf-8")
    page.main([])
    plot.main([])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m bench publish", description=__doc__)
    parser.add_argument("--python", action="append", default=[], metavar="RUNTIME=PATH")
    publish(parser.parse_args(arguments).python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
