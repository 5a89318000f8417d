"""Side by side in one run: this runtime, trio's primitives, other libraries, and Erlang.

Each runtime lives in a process of its own. Rounds are interleaved: all runtimes do a workload
once, then all again, so that what else the machine does falls on all of them. Around each sample S
is measured in the same process; a ratio is of the two, and medians are of ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Protocol

import trio
from attrs import asdict, define, field, frozen

from bench.cases import BY_NAME, CASES

ROOT = Path(__file__).resolve().parents[1]
RUNTIMES = (
    "autonomics",
    "trio_channels",
    "triotp",
    "otpylib",
    "pykka",
    "thespian",
    "xoscar",
    "mode",
)
ERLANG = Path(__file__).with_name("erlang") / "bench.escript"
ERLANG_COUNTS = {
    "call1": 50_000,
    "call100": 50_000,
    "cast1": 200_000,
    "cast100": 200_000,
    "ring": 100_000,
    "spawn": 20_000,
    "crash": 500,
    "tree_start": 1_000,
    "tree_stop": 1_000,
}
# Workloads whose cost depends on how many there are, so everybody does as many.
SIZED = {"spawn": 2_000, "tree_start": 200, "tree_stop": 200}
ANSWER_WITHIN_S = 60.0
COMPARED = tuple(case for case in CASES if case.unit == "S")


class Failed(Exception):
    """A runtime could not do it; says why."""


class Contestant(Protocol):
    """Whoever can be measured."""

    about: dict[str, Any]

    def measure(self, case: str, n: int | None, target_s: float) -> dict[str, Any]:
        """Measure once; raises Failed."""
        ...

    def close(self) -> None:
        """Go."""
        ...


class Worker:
    """A runtime in its own process."""

    def __init__(self, module: str, python: str) -> None:
        self.module = module
        self._python = python
        self.about: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [self._python, "-m", "bench.worker", self.module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            self.about = self._answer()
        except Failed:
            self.close()
            raise

    def measure(self, case: str, n: int | None, target_s: float) -> dict[str, Any]:
        """Measure once; the first time finds out how many operations fill the target time."""
        if case not in self.about["cases"]:
            raise Failed(self.about["absent"].get(case, "no such workload"))
        assert self._process.stdin is not None
        request = {"case": case, "n": n or self._counts.get(case), "target_s": target_s}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            sample = self._answer()
        except (Failed, OSError) as failure:
            if self._process.poll() is not None:
                self._start()
            raise Failed(str(failure)) from failure
        if n is None:
            self._counts[case] = sample["n"]
        return sample

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_WITHIN_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.close()
            raise Failed(f"no answer within {ANSWER_WITHIN_S:g} s" if not ready else "it ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Erlang:
    """Erlang's own gen_server and supervisor: wall time, on all cores, and no S of its own."""

    def __init__(self) -> None:
        if shutil.which("escript") is None:
            raise Failed("not installed (escript)")
        asked = [
            "erl",
            "-noshell",
            "-eval",
            "io:put_chars(erlang:system_info(otp_release)),halt().",
        ]
        ran = subprocess.run(asked, capture_output=True, text=True, check=False)
        self.about: dict[str, Any] = {
            "name": "Erlang/OTP",
            "version": ran.stdout.strip(),
            "handler": "a function",
            "host": "process of its own scheduler, all cores; wall time",
        }

    def measure(self, case: str, n: int | None, target_s: float) -> dict[str, Any]:
        """Measure once, in a fresh emulator."""
        if case not in ERLANG_COUNTS:
            raise Failed("no such workload")
        count = ERLANG_COUNTS[case]
        command = ["escript", str(ERLANG), case, str(count)]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_WITHIN_S
        )
        if ran.returncode:
            raise Failed(ran.stderr.strip() or f"exit code {ran.returncode}")
        return {"n": count, "cpu_us": None, "wall_us": float(ran.stdout), "switch_us": None}

    def close(self) -> None:
        """Nothing is left running."""


@frozen(kw_only=True)
class Row:
    """One workload on one runtime: medians of microseconds and of the ratio to S.

    The ratio is of processor time, or of wall time where `is_wall`. `quartiles` are the ratio's.
    """

    case: str
    runtime: str
    n: int = 0
    cpu_us: float | None = None
    wall_us: float | None = None
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    is_wall: bool = False
    error: str = ""


@define
class Samples:
    """What one runtime has shown in one workload so far."""

    taken: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    error: str = ""


def summarise(case: str, runtime: str, samples: Samples) -> Row:
    """Reduce samples to medians and quartiles."""
    if samples.error or not samples.taken:
        return Row(case=case, runtime=runtime, error=samples.error or "not measured")
    taken = samples.taken
    is_wall = taken[0]["cpu_us"] is None
    us = "wall_us" if is_wall else "cpu_us"
    ratios = [sample[us] / sample["switch_us"] for sample in taken]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Row(
        case=case,
        runtime=runtime,
        n=taken[-1]["n"],
        cpu_us=None if is_wall else median(sample["cpu_us"] for sample in taken),
        wall_us=median(sample["wall_us"] for sample in taken),
        ratio=median(ratios),
        quartiles=(low, high),
        is_wall=is_wall,
    )


def take_rounds(
    case: str,
    contestants: Mapping[str, Contestant],
    *,
    rounds: int,
    n: int | None,
    target_s: float,
) -> list[Row]:
    """Let all do the workload once, and again; who fails is not asked again."""
    samples = {name: Samples() for name in contestants}
    switch_us: float | None = None
    for _ in range(rounds):
        for name, contestant in contestants.items():
            of_this = samples[name]
            if of_this.error:
                continue
            try:
                sample = contestant.measure(case, n, target_s)
            except Failed as failure:
                of_this.error = str(failure)
                continue
            # Who has no S of its own gets the last one that was measured.
            switch_us = sample["switch_us"] = sample["switch_us"] or switch_us
            if switch_us is None:
                of_this.error = "no S was measured in this run"
                continue
            of_this.taken.append(sample)
    return [summarise(case, name, of_one) for name, of_one in samples.items()]


def describe_machine() -> dict[str, Any]:
    """Say what a reader needs to judge absolute figures, and nothing that names the machine."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": trio.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def describe_in_words(machine: Mapping[str, Any]) -> str:
    """Say it in one line."""
    return (
        f"{machine['python']}, trio {machine['trio']}, {machine['system']}, {machine['cpus']} CPUs,"
        f" load average {machine['load_average'][0]}"
    )


def enter(
    names: Sequence[str], pythons: Mapping[str, str]
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Start all that can be started; by name, why the others can't."""
    contestants: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            contestants[name] = (
                Erlang() if name == "erlang" else Worker(name, pythons.get(name, sys.executable))
            )
        except Failed as failure:
            missing[name] = str(failure)
    return contestants, missing


def compare(
    names: Sequence[str],
    cases: Sequence[str],
    *,
    rounds: int,
    target_s: float,
    sizes: Mapping[str, int],
    pythons: Mapping[str, str],
) -> dict[str, Any]:
    """Run the whole comparison; the result is plain data."""
    before = describe_machine()
    contestants, missing = enter(names, pythons)
    rows: list[Row] = []
    try:
        for case in cases:
            rows += take_rounds(
                case, contestants, rounds=rounds, n=sizes.get(case), target_s=target_s
            )
    finally:
        for contestant in contestants.values():
            contestant.close()
    return {
        "machine": before,
        "rounds": rounds,
        "runtimes": {name: one.about for name, one in contestants.items()},
        "missing": missing,
        "cases": {
            case: {
                "operation": BY_NAME[case].operation,
                "goal": BY_NAME[case].goal,
                "stretch": BY_NAME[case].stretch,
            }
            for case in cases
        },
        "rows": [asdict(row) for row in rows],
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the table."""
    print(f"{describe_in_words(result['machine'])}, {result['rounds']} rounds")
    for name, about in result["runtimes"].items():
        print(
            f"  {name:<14} {about['name']} {about['version']}: {about['handler']}, {about['host']}"
        )
    for name, why in result["missing"].items():
        print(f"  {name:<14} {why}")
    case = None
    for row in result["rows"]:
        if row["case"] != case:
            case = row["case"]
            goal = result["cases"][case]["goal"]
            print(f"\n{case}: {result['cases'][case]['operation']} (goal {goal:g} S)")
        if row["ratio"] is None:
            print(f"  {row['runtime']:<14} {'-':>10}    {row['error']}")
            continue
        us = row["wall_us"] if row["is_wall"] else row["cpu_us"]
        low, high = row["quartiles"]
        wall = "  wall time" if row["is_wall"] else ""
        print(
            f"  {row['runtime']:<14} {us:>10.2f} us {row['ratio']:>8.2f} S"
            f"  [{low:.2f} to {high:.2f}]{wall}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print, or write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    everybody = (*RUNTIMES, "erlang")
    parser.add_argument("--only", action="append", choices=everybody, help="one runtime; again")
    parser.add_argument("--case", action="append", choices=[case.name for case in COMPARED])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="larger sizes, longer samples")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="RUNTIME=PATH",
        help="the interpreter of a runtime that is installed elsewhere",
    )
    parser.add_argument("--json", metavar="FILE", help="write the result there; - prints it")
    options = parser.parse_args(arguments)
    result = compare(
        options.only or everybody,
        options.case or [case.name for case in COMPARED],
        rounds=options.rounds,
        target_s=0.3 if options.full else 0.08,
        sizes={name: BY_NAME[name].full[0] if options.full else SIZED[name] for name in SIZED},
        pythons=dict(pair.split("=", 1) for pair in options.python),
    )
    text = json.dumps(result, indent=1)
    if options.json == "-":
        print(text)
    else:
        show(result)
        if options.json:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
