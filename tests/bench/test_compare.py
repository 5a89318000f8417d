from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from bench.case import Run
from bench.compare import RUNTIMES, Failed, Samples, Worker, main, show, summarise, take_rounds
from bench.floors import open_switch
from bench.peer import Peer, Sample, on_asyncio, on_threads, on_trio
from bench.worker import LEAST, calibrate, measure

from bench import compare


def sample(cpu_us: float | None, switch_us: float | None, wall_us: float = 9.0) -> dict[str, Any]:
    return {"n": 10, "cpu_us": cpu_us, "wall_us": wall_us, "switch_us": switch_us}


@define
class Script:
    """A contestant that tells what it was given to tell."""

    script: list[dict[str, Any] | Failed]
    about: dict[str, Any] = field(factory=dict[str, Any])
    asked: list[int | None] = field(factory=list[int | None])
    is_closed: bool = False

    def measure(self, case: str, n: int | None, target_s: float) -> dict[str, Any]:
        self.asked.append(n)
        told = self.script.pop(0)
        if isinstance(told, Failed):
            raise told
        return told

    def close(self) -> None:
        self.is_closed = True


def test_a_ratio_is_the_median_of_ratios_to_the_switch_beside_each() -> None:
    taken = [sample(30.0, 10.0), sample(80.0, 20.0), sample(25.0, 5.0)]

    row = summarise("call1", "x", Samples(taken))

    assert row.cpu_us == 30.0
    assert row.ratio == 4.0
    assert row.quartiles == (3.5, 4.5)
    assert not row.is_wall


def test_who_has_no_processor_time_is_shown_by_the_wall() -> None:
    row = summarise("call1", "x", Samples([sample(None, 10.0, wall_us=5.0)]))

    assert (row.cpu_us, row.ratio, row.quartiles, row.is_wall) == (None, 0.5, (0.5, 0.5), True)


def test_who_fails_is_not_asked_again_and_others_go_on() -> None:
    good = Script([sample(20.0, 10.0), sample(40.0, 10.0)])
    bad = Script([sample(1.0, 1.0), Failed("boom")])

    rows = take_rounds("call1", {"bad": bad, "good": good}, rounds=2, n=7, target_s=0.1)

    assert [(row.runtime, row.ratio, row.error) for row in rows] == [
        ("bad", None, "boom"),
        ("good", 3.0, ""),
    ]
    assert good.asked == [7, 7]


def test_who_has_no_switch_borrows_the_last_one() -> None:
    ours = Script([sample(20.0, 10.0), sample(20.0, 5.0)])
    theirs = Script([sample(None, None, wall_us=1.0) for _ in range(2)])

    [_, row] = take_rounds("call1", {"a": ours, "b": theirs}, rounds=2, n=None, target_s=0.1)

    assert row.ratio == pytest.approx(0.15)


def test_without_any_switch_there_is_no_ratio() -> None:
    theirs = Script([sample(None, None)])

    [row] = take_rounds("call1", {"b": theirs}, rounds=1, n=None, target_s=0.1)

    assert row.error == "no S was measured in this run"


def slow_peer(asked: list[int], **most: int) -> Peer:
    def take(n: int) -> Sample:
        asked.append(n)
        return Sample(n=n, cpu_s=n * 1e-3, wall_s=n * 1e-3)

    return Peer(
        name="slow", distribution="none", handler="def", host="", measures={"x": take}, most=most
    )


def test_operations_are_as_many_as_fill_the_target_time() -> None:
    assert calibrate(slow_peer([]), "x", target_s=0.5) == 500


def test_operations_are_never_more_than_a_runtime_can_bear() -> None:
    assert calibrate(slow_peer([], x=50), "x", target_s=0.5) == 50
    asked: list[int] = []
    assert measure(slow_peer(asked, x=50), "x", 1_000, 0.1)["n"] == 50
    assert asked == [50]


def test_a_figure_is_per_operation() -> None:
    told = measure(slow_peer([]), "x", 20, 0.1)

    assert (told["n"], told["cpu_us"], told["wall_us"]) == (20, 1_000.0, 1_000.0)
    assert told["switch_us"] > 0


def test_every_runtime_has_a_module_and_every_least_a_hundred_callers() -> None:
    for name in RUNTIMES:
        assert find_spec(f"bench.peers.{name}_peer") is not None
    assert all(LEAST[case] >= 100 for case in ("call100", "cast100"))


def test_who_is_not_installed_says_so() -> None:
    if find_spec("xoscar") is not None:
        pytest.skip("xoscar is installed")

    with pytest.raises(Failed, match=r"not installed \(xoscar\)"):
        Worker("xoscar", sys.executable)


def test_a_comparison_is_plain_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    arguments = ["--only", "autonomics", "--only", "trio_channels", "--case", "call1"]

    assert main([*arguments, "--rounds", "1", "--json", str(file)]) == 0

    result = json.loads(file.read_text())
    assert set(result) == {"machine", "rounds", "runtimes", "missing", "cases", "rows"}
    assert result["machine"]["trio"] == result["runtimes"]["autonomics"]["trio"]
    assert [row["runtime"] for row in result["rows"]] == ["autonomics", "trio_channels"]
    for row in result["rows"]:
        assert set(row) == {
            "case",
            "runtime",
            "n",
            "cpu_us",
            "wall_us",
            "ratio",
            "quartiles",
            "is_wall",
            "error",
        }
        assert row["ratio"] > 0
    assert "call1: a call to an idle actor, async handler (goal 2.8 S)" in capsys.readouterr().out


def test_who_could_not_be_measured_is_shown_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(
        {
            "machine": compare.describe_machine(),
            "rounds": 1,
            "runtimes": {},
            "missing": {"pykka": "not installed (pykka)"},
            "cases": {"call1": {"operation": "a call", "goal": 2.8, "stretch": 2.3}},
            "rows": [
                {"case": "call1", "runtime": "mode", "ratio": None, "error": "no messages"},
            ],
        }
    )

    out = capsys.readouterr().out
    assert "not installed (pykka)" in out
    assert "no messages" in out


@pytest.mark.parametrize("kind", ["trio", "threads", "asyncio"])
def test_only_the_operations_are_on_the_clock(kind: str) -> None:
    steps: list[str] = []

    @contextmanager
    def threads(n: int) -> Generator[Callable[[], None]]:
        steps.append(f"set up {n}")
        yield lambda: steps.append("run")
        steps.append("tear down")

    @asynccontextmanager
    async def tasks(n: int) -> AsyncGenerator[Run]:
        steps.append(f"set up {n}")

        async def run() -> None:
            steps.append("run")

        yield run
        steps.append("tear down")

    how = {"trio": on_trio(tasks), "asyncio": on_asyncio(tasks), "threads": on_threads(threads)}

    taken = how[kind](3)

    assert taken.n == 3
    assert taken.wall_s >= 0
    assert steps == ["set up 3", "run", "tear down"]


def test_the_switch_is_measured_by_the_same_means() -> None:
    taken = on_trio(open_switch)(100)

    assert taken.n == 100
    assert taken.cpu_s > 0
