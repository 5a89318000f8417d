"""The console script."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own, and return its exit code."""
    from autonomics.cli.program import run_program

    return run_program(arguments)


if __name__ == "__main__":
    sys.exit(main())
