"""A runtime in a process of its own, that measures what it is told: `python -m bench.worker NAME`.

Requests and answers are JSON, one a line. Each answer has S, measured around it in this process.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import trio

from bench.floors import open_switch
from bench.peer import Peer, on_trio

SWITCHES = 4_000
# Below this the fixed part, such as a hundred callers that begin, is more than the operations.
LEAST = {"call100": 2_000, "cast100": 5_000, "ring": 2_000, "cast1": 1_024, "cast1_room": 1_024}
LEAST_OF_OTHERS = 8


def main(module: str) -> None:
    """Serve until the requests end."""
    # Whatever the runtime prints goes to stderr: stdout is for answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")

    try:
        peer: Peer = import_module(f"bench.peers.{module}_peer").PEER
    except ModuleNotFoundError as error:
        tell({"error": f"not installed ({error.name})"})
        return
    except Exception as error:  # noqa: BLE001 - a peer that fails says why and ends nothing else
        tell({"error": f"{type(error).__name__}: {error}"})
        return
    tell(describe(peer))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            tell(measure(peer, request["case"], request["n"], request["target_s"]))
        except Exception as error:  # noqa: BLE001 - as above
            tell({"error": f"{type(error).__name__}: {error}"})


def describe(peer: Peer) -> dict[str, Any]:
    """Say what is measured, in which version."""
    return {
        "name": peer.name,
        "version": find_version(peer.distribution),
        "handler": peer.handler,
        "host": peer.host,
        "cases": sorted(peer.measures),
        "absent": dict(peer.absent),
        "python": platform.python_version(),
        "trio": trio.__version__,
    }


def find_version(distribution: str) -> str:
    """Find an installed version; empty where there is none, as in a bare checkout."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def measure(peer: Peer, case: str, n: int | None, target_s: float) -> dict[str, Any]:
    """Measure n operations, or as many as take about the target time."""
    how = peer.measures[case]
    most = peer.most.get(case)
    if n is None:
        n = calibrate(peer, case, target_s)
    n = n if most is None else min(n, most)
    # Before and after: a shared machine changes its pace within a sample.
    before = on_trio(open_switch)(SWITCHES)
    sample = how(n)
    after = on_trio(open_switch)(SWITCHES)
    return {
        "n": n,
        "cpu_us": sample.cpu_s / n * 1e6,
        "wall_us": sample.wall_s / n * 1e6,
        "switch_us": (before.cpu_s + after.cpu_s) / (2 * SWITCHES) * 1e6,
        "grown_bytes": sample.grown_bytes / n,
    }


def calibrate(peer: Peer, case: str, target_s: float) -> int:
    """Find out how many operations take about the target time."""
    least = n = LEAST.get(case, LEAST_OF_OTHERS)
    most = peer.most.get(case, 1_000_000)
    while n < most:
        took_s = peer.measures[case](n).wall_s
        if took_s > target_s / 5:
            return min(most, max(least, round(n * target_s / took_s)))
        n *= 5
    return most


if __name__ == "__main__":
    main(sys.argv[1])
