"""The command: the runtime's suite and its parts, or the cases of the control plane."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

import bench

MEASURED: Final = ("decision", "diagnosis", "at_rest", "ledger")
COMMANDS: Final = {
    "suite": "bench.suite",
    "gate": "bench.gate_ir",
    "compare": "bench.compare",
    "latency": "bench.latency",
    "memory": "bench.memory",
    "plot": "bench.plot",
    "page": "bench.page",
    "publish": "bench.publish",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was measured; with --check, exit with 1 where a limit was not kept.

    Without a name the runtime's suite is run.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"--full", "--json"}:
        given = ["suite", *given]
    if given[0] in COMMANDS:
        command: Callable[[Sequence[str]], int] = import_module(COMMANDS[given[0]]).main
        return command(given[1:])
    load_cases()
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=bench.__doc__,
        epilog=f"Without a name: suite. Of the runtime, each with --help: {', '.join(COMMANDS)}.",
    )
    parser.add_argument("name", choices=sorted(bench.CASES), help="one case")
    parser.add_argument("--json", action="store_true", help="one JSON object per case and line")
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args(given)
    measured = bench.CASES[options.name]()
    show(measured, as_json=options.json)
    for limit in measured.exceeded:
        print(f"beyond the limit: {options.name}: {limit}", file=sys.stderr)
    return 1 if options.check and measured.exceeded else 0


def load_cases() -> None:
    """Import the modules that register cases of the control plane."""
    for name in MEASURED:
        import_module(f"bench.{name}")


def show(measured: bench.Measurement, *, as_json: bool) -> None:
    """Print one case."""
    if as_json:
        print(
            json.dumps(
                {
                    "case": measured.case,
                    "figures": dict(measured.figures),
                    "exceeded": list(measured.exceeded),
                }
            )
        )
        return
    print(measured.case)
    for name, figure in measured.figures.items():
        shown = f"{figure:.4f}" if isinstance(figure, float) else str(figure)
        print(f"  {name:<24}{shown:>14}")


if __name__ == "__main__":
    sys.exit(main())
