"""The command: measure all cases, or the named one."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

import bench


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was measured; with --check, exit with 1 where a limit was not kept."""
    load_cases()
    parser = argparse.ArgumentParser(prog="python -m bench", description=bench.__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(bench.CASES), help="one case; else all")
    parser.add_argument("--json", action="store_true", help="one JSON object per case and line")
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args(arguments)
    exceeded: list[str] = []
    for name in [options.name] if options.name else sorted(bench.CASES):
        measured = bench.CASES[name]()
        exceeded.extend(f"{name}: {limit}" for limit in measured.exceeded)
        show(measured, as_json=options.json)
    for limit in exceeded:
        print(f"beyond the limit: {limit}", file=sys.stderr)
    return 1 if options.check and exceeded else 0


def load_cases() -> None:
    """Import every module of this package, so that each registers its cases."""
    for module in iter_modules(bench.__path__):
        if not module.name.startswith("_"):
            import_module(f"bench.{module.name}")


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
