"""What an actor weighs: resident memory of a fresh process, before and after so many starts.

An actor that has been used weighs more than an idle one: its deque and its first timers are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare import RUNTIMES, Failed, Worker
from bench.reading import Reading, show

SMALL = (10_000,)
FULL = (10_000, 100_000)
GOAL_KB, STRETCH_KB = 4.0, 0.3


def weigh(module: str, python: str, case: str, n: int) -> float:
    """Weigh one of n in a fresh process; kilobytes. Raises Failed."""
    worker = Worker(module, python)
    try:
        return float(worker.measure(case, n, 1.0)["grown_bytes"]) / 1000
    finally:
        worker.close()


def read_memory(sizes: Sequence[int], pythons: Mapping[str, str], *, peers: bool) -> list[Reading]:
    """Weigh the runtime's actors and, if asked, those of others."""
    readings: list[Reading] = []

    def add(name: str, module: str, case: str, n: int, operation: str, **limits: Any) -> None:
        try:
            value, note = weigh(module, pythons.get(module, sys.executable), case, n), ""
        except Failed as failure:
            value, note = None, str(failure)
        readings.append(
            Reading(name=name, operation=operation, value=value, unit="KB", note=note, **limits)
        )

    for n in sizes:
        limits = {"goal": GOAL_KB, "stretch": STRETCH_KB, "goal_number": 7}
        add(f"idle, {n:,}", "autonomics", "spawn", n, f"an idle actor, one of {n:,}", **limits)
    add("used", "autonomics", "used", sizes[0], "an actor that has answered one call")
    add("bare task", "autonomics", "tasks", sizes[0], "a trio task that sleeps")
    for module in RUNTIMES[1:] if peers else ():
        add(module, module, "spawn", sizes[0], f"an idle actor of {module}")
    return readings


def main(arguments: Sequence[str] | None = None) -> int:
    """Weigh and print."""
    parser = argparse.ArgumentParser(prog="python -m bench memory", description=__doc__)
    parser.add_argument("--full", action="store_true", help="100,000 actors as well")
    parser.add_argument("--peers", action="store_true", help="other libraries as well")
    parser.add_argument("--python", action="append", default=[], metavar="RUNTIME=PATH")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    pythons = dict(pair.split("=", 1) for pair in options.python)
    readings = read_memory(FULL if options.full else SMALL, pythons, peers=options.peers)
    if options.json:
        print(json.dumps([reading.to_plain() for reading in readings]))
    else:
        show(readings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
