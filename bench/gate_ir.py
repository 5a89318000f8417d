"""The gate: instructions per operation, in units of a task switch, against goals and a baseline.

Instructions are counted by cachegrind for two sizes and subtracted, so that start-up and set-up
cancel out. Counts repeat to a fraction of a percent where times on a shared machine move by half
and more. They see neither cache misses nor the kernel: `compare`, `latency` and `memory` do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias

import trio
from attrs import asdict, evolve, frozen

from bench.case import Case
from bench.cases import BY_NAME, GATED, SWITCH

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).with_name("baseline.json")
# The order of tasks is drawn, and another installation counts a little more or less.
TOLERANCE = 0.05
GOAL_TOLERANCE = 0.02
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")
AT_ONCE = 2

Key: TypeAlias = tuple[str, int]
Verdict = Literal[
    "ok", "above the goal", "above the baseline", "no baseline", "not measured", "failed"
]
FAILED: tuple[Verdict, ...] = ("above the goal", "above the baseline", "failed")


@frozen(kw_only=True)
class Row:
    """One case: instructions per operation, their ratio to its unit, and what follows."""

    name: str
    instructions: float | None = None
    ratio: float | None = None
    unit: str = "S"
    goal: float | None = None
    stretch: float | None = None
    baseline: float | None = None
    verdict: Verdict = "not measured"
    note: str = ""

    @property
    def failed(self) -> bool:
        """True when the gate must not let this through."""
        return self.verdict in FAILED


def judge(case: Case, ratio: float, baseline: float | None) -> Verdict:
    """Hold a ratio to the goal, then to what it was before; both with a tolerance."""
    if case.goal is not None and ratio > case.goal * (1 + GOAL_TOLERANCE):
        return "above the goal"
    if baseline is None:
        return "no baseline"
    return "above the baseline" if ratio > baseline * (1 + TOLERANCE) else "ok"


def per_operation(case: Case, counts: Mapping[Key, int]) -> float:
    """Subtract the two sizes, and the set-up of each where it grows with them."""
    less, more = case.counts
    grown = counts[case.name, more] - counts[case.name, less]
    if case.behind is not None:
        grown -= counts[case.behind, more] - counts[case.behind, less]
    return grown / (more - less)


def build_rows(
    cases: Sequence[Case],
    counts: Mapping[Key, int],
    missing: Mapping[str, str],
    failures: Mapping[str, str],
    baseline: Mapping[str, float],
) -> list[Row]:
    """Put counts, goals and baseline side by side; S itself comes first.

    `missing` and `failures` say by case why there are no counts of it, or of what it rests on.
    """
    switch = per_operation(SWITCH, counts)
    rows = [Row(name="S", instructions=switch, ratio=1.0, verdict="ok")]
    for case in cases:
        before = baseline.get(case.name)
        row = Row(
            name=case.name,
            unit=case.unit,
            goal=case.goal,
            stretch=case.stretch,
            baseline=before,
            note=missing.get(case.name, ""),
        )
        failed = [failures[name] for name in rests_on(case) if name in failures]
        if failed:
            row = evolve(row, verdict="failed", note=failed[0])
        elif case.name not in missing:
            instructions = per_operation(case, counts)
            ratio = instructions / per_operation(BY_NAME[case.unit], counts)
            verdict = judge(case, ratio, before)
            row = evolve(row, instructions=instructions, ratio=ratio, verdict=verdict)
            if case.behind is not None:
                taken_off = per_operation(BY_NAME[case.behind], counts) / switch
                row = evolve(row, note=f"behind {case.behind}, {taken_off:.3f} S")
        rows.append(row)
    return rows


# Counting


class CountFailed(Exception):
    """A case could not be carried out; says why."""


def rests_on(case: Case) -> tuple[str, ...]:
    """Name the cases that have to be counted for this one."""
    return tuple({name: None for name in (case.name, case.unit, case.behind) if name is not None})


def needed_counts(cases: Sequence[Case]) -> list[Key]:
    """List what has to be counted for these cases, the longest runs first."""
    needed: dict[Key, None] = {}
    for case in (SWITCH, *cases, *(BY_NAME[case.unit] for case in cases)):
        for n in case.counts:
            needed[case.name, n] = None
            if case.behind is not None:
                needed[case.behind, n] = None
    return list(needed)


def count(name: str, n: int) -> int:
    """Count the instructions of a process that carries out a case at one size."""
    command = [*VALGRIND, sys.executable, "-m", "bench.work", name, str(n)]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    counted = COUNTED.search(ran.stderr)
    if ran.returncode or counted is None:
        said = [line for line in ran.stderr.splitlines() if line and line[0] not in "=-"]
        raise CountFailed(f"at {n}: {said[-1] if said else f'exit code {ran.returncode}'}")
    return int(counted[1].replace(",", ""))


def count_all(needed: Sequence[Key]) -> tuple[dict[Key, int], dict[str, str]]:
    """Count two at a time; by case, why it failed where it did."""
    counts: dict[Key, int] = {}
    failures: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for key, future in [(key, pool.submit(count, *key)) for key in needed]:
            try:
                counts[key] = future.result()
            except CountFailed as failure:
                failures[key[0]] = str(failure)
    return counts, failures


# Baseline


def describe_build() -> str:
    """Name what the counts depend on besides our code: the interpreter, how it was built, trio."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    build = "optimised" if "--enable-optimizations" in arguments else "plain"
    python = f"{platform.python_implementation()} {platform.python_version()} ({build})"
    return f"{python}, trio {trio.__version__}, {platform.machine()}"


def read_baselines(path: Path) -> dict[str, dict[str, float]]:
    """Read the ratios of each build; none at all where there is no file yet."""
    if not path.exists():
        return {}
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_baseline(rows: Sequence[Row], build: str, path: Path) -> None:
    """Put the ratios of these rows in place of what the build had for them."""
    baselines = read_baselines(path)
    ratios = {
        row.name: round(row.ratio, 4)
        for row in rows
        if row.ratio is not None and row.name != SWITCH.name
    }
    baselines[build] = {**baselines.get(build, {}), **ratios}
    path.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n", encoding="utf-8")


# Command


def show(rows: Sequence[Row], build: str) -> None:
    """Print the table."""
    print(build)
    print(f"{'case':<14}{'Ir':>10}{'ratio':>9}  {'of':<6}{'goal':>7}{'stretch':>9}{'before':>9}")
    for row in rows:
        figures = (
            f"{row.instructions or 0:>10,.0f}{figure(row.ratio, 9)}  {row.unit:<6}"
            f"{figure(row.goal, 7)}{figure(row.stretch, 9)}{figure(row.baseline, 9)}"
        )
        print(f"{row.name:<14}{figures}  {row.verdict}{': ' * bool(row.note)}{row.note}")


def figure(value: float | None, width: int) -> str:
    """Print three decimals, or a dash."""
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare, print; 1 if a case is above its goal or its baseline."""
    parser = argparse.ArgumentParser(prog="python -m bench gate", description=__doc__)
    parser.add_argument("--case", action="append", choices=[case.name for case in GATED])
    parser.add_argument("--update-baseline", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if shutil.which(VALGRIND[0]) is None:
        print("gate skipped: valgrind is not installed, so instructions can't be counted")
        return 0
    cases = [case for case in GATED if options.case is None or case.name in options.case]
    missing = {
        case.name: why
        for case in cases
        if case.missing is not None and (why := trio.run(case.missing)) is not None
    }
    build = describe_build()
    counts, failures = count_all(needed_counts([c for c in cases if c.name not in missing]))
    baselines = read_baselines(BASELINE)
    rows = build_rows(cases, counts, missing, failures, baselines.get(build, {}))
    if options.json:
        print(json.dumps({"build": build, "rows": [asdict(row) for row in rows]}))
    else:
        show(rows, build)
    forgiven: set[Verdict] = set()
    if build not in baselines:
        forgiven.add("above the goal")  # another Python counts otherwise; this is only reported
    if options.update_baseline:
        write_baseline(rows, build, BASELINE)
        forgiven.add("above the baseline")
    return 1 if fails(rows, forgiven) else 0


def fails(rows: Iterable[Row], forgiven: Collection[Verdict]) -> bool:
    """True if a row has a verdict that the gate must not let through, and that is not forgiven."""
    return any(row.failed and row.verdict not in forgiven for row in rows)


if __name__ == "__main__":
    sys.exit(main())
