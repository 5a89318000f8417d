"""One case at one size in a process of its own: `python -m bench.work NAME N`; for the gate."""

from __future__ import annotations

import os
import sys

import trio

from bench.case import Case
from bench.cases import BY_NAME


async def work(case: Case, n: int) -> None:
    """Carry out n operations and leave at once, so that nobody pays for tidying up."""
    async with case.open(n) as run:
        await run()
        os._exit(0)


if __name__ == "__main__":
    trio.run(work, BY_NAME[sys.argv[1]], int(sys.argv[2]))
