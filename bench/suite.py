"""The runtime's own suite: each workload's time in units of S, latencies, and memory, with goals.

Times are medians of ratios, of processor time; they are reported and never gated, for on a shared
machine they move by half. `gate` counts instructions instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.cases import BY_NAME, CASES
from bench.compare import (
    SIZED,
    Failed,
    Row,
    Worker,
    describe_in_words,
    describe_machine,
    take_rounds,
)
from bench.latency import FULL as FULL_LATENCIES
from bench.latency import Sizes, read_latencies
from bench.memory import FULL as FULL_MEMORY
from bench.memory import SMALL as SMALL_MEMORY
from bench.memory import read_memory
from bench.reading import Reading, show

RUNTIME = "autonomics"


def time_cases(rounds: int, target_s: float, *, full: bool) -> dict[tuple[str, int | None], Row]:
    """Time each workload, at each of its sizes where the size matters; by name and size."""
    worker = Worker(RUNTIME, sys.executable)
    rows: dict[tuple[str, int | None], Row] = {}
    try:
        for case in CASES:
            sizes: Sequence[int | None] = [None]
            if case.name in SIZED:
                sizes = case.full if full else [case.small]
            for n in sizes:
                [rows[case.name, n]] = take_rounds(
                    case.name,
                    {RUNTIME: worker},
                    # What takes seconds is steadier, and is done once.
                    rounds=rounds if n is None or n == min(case.full) else 1,
                    n=n,
                    target_s=target_s,
                )
    finally:
        worker.close()
    return rows


def read_times(rows: Mapping[tuple[str, int | None], Row]) -> list[Reading]:
    """Turn rows into readings; a case in units of another is divided by that one's median."""
    readings: list[Reading] = []
    for (name, n), row in rows.items():
        case = BY_NAME[name]
        value = row.ratio
        if case.unit != "S" and value is not None:
            other = rows[case.unit, None].ratio
            value = None if other is None else value / other
        readings.append(
            Reading(
                name=name if n is None else f"{name}, {n:,}",
                operation=case.operation,
                value=value,
                unit="S" if case.unit == "S" else "x",
                goal=case.goal,
                stretch=case.stretch,
                goal_number=case.number,
                note=row.error,
            )
        )
    return readings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite and print it; 1 if a workload could not be carried out."""
    parser = argparse.ArgumentParser(prog="python -m bench suite", description=__doc__)
    parser.add_argument("--full", action="store_true", help="larger sizes, more rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    before = describe_machine()
    try:
        rows = time_cases(
            rounds=9 if options.full else 3,
            target_s=0.3 if options.full else 0.08,
            full=options.full,
        )
    except Failed as failure:
        print(f"the runtime can't be measured: {failure}", file=sys.stderr)
        return 1
    readings = read_times(rows)
    readings += read_latencies(FULL_LATENCIES if options.full else Sizes())
    sizes = FULL_MEMORY if options.full else SMALL_MEMORY
    readings += read_memory(sizes, {}, peers=False)
    if options.json:
        plain: dict[str, Any] = {
            "machine": before,
            "readings": [reading.to_plain() for reading in readings],
        }
        print(json.dumps(plain))
    else:
        print(describe_in_words(before))
        show(readings)
    return 1 if any(reading.value is None for reading in readings) else 0


if __name__ == "__main__":
    sys.exit(main())
