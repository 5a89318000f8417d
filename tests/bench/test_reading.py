from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from bench.compare import Failed, Row
from bench.floors import open_switch
from bench.latency import Spread, measure_call, measure_probe, measure_restart
from bench.memory import read_memory
from bench.peer import on_trio, read_resident_bytes
from bench.reading import Reading, show
from bench.suite import read_times

from bench import __main__ as command
from bench import memory, suite


def reading(value: float | None, goal: float | None = 2.0) -> Reading:
    stretch = None if goal is None else goal / 2
    return Reading(name="x", operation="do x", value=value, unit="S", goal=goal, stretch=stretch)


@pytest.mark.parametrize(
    ("value", "goal", "judgement"),
    [
        (1.0, 2.0, "stretch"),
        (1.01, 2.0, "goal"),
        (2.0, 2.0, "goal"),
        (2.01, 2.0, "above the goal"),
        (9.0, None, "no goal"),
        (None, 2.0, "not measured"),
    ],
)
def test_a_figure_is_held_to_goal_and_stretch(
    value: float | None, goal: float | None, judgement: str
) -> None:
    assert reading(value, goal).judgement == judgement


def test_a_reading_is_plain_data_with_its_judgement() -> None:
    assert reading(1.5).to_plain() == {
        "name": "x",
        "operation": "do x",
        "value": 1.5,
        "unit": "S",
        "goal": 2.0,
        "stretch": 1.0,
        "goal_number": None,
        "note": "",
        "judgement": "goal",
    }


def test_a_table_shows_figure_goal_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    show([reading(1.5), reading(None)])

    out = capsys.readouterr().out
    assert "1.5 S" in out
    assert "not measured" in out


def test_quantiles_become_readings_in_their_unit() -> None:
    spread = Spread("x", "do x", [0.001, 0.002, 0.003], 1e3, "ms").add(50).add(99, goal=2.5)

    assert [(r.name, r.value, r.judgement) for r in spread.readings] == [
        ("x p50", 2.0, "no goal"),
        ("x p99", 3.0, "above the goal"),
    ]


Rows: TypeAlias = dict[tuple[str, int | None], Row]


def row(case: str, ratio: float | None) -> Row:
    return Row(case=case, runtime="autonomics", ratio=ratio, error="" if ratio else "boom")


def test_a_time_in_units_of_another_case_is_divided_by_it() -> None:
    rows: Rows = {("call1", None): row("call1", 2.5), ("call1_idle", None): row("call1_idle", 3.0)}

    [call, idle] = read_times(rows)

    assert (call.value, call.unit) == (2.5, "S")
    assert (idle.value, idle.unit) == (1.2, "x")


def test_a_time_that_is_missing_keeps_its_reason_and_takes_others_with_it() -> None:
    rows: Rows = {("call1", None): row("call1", None), ("call1_idle", None): row("call1_idle", 3.0)}

    [call, idle] = read_times(rows)

    assert (call.value, call.note) == (None, "boom")
    assert idle.value is None


def test_a_size_stands_in_the_name() -> None:
    [spawn] = read_times({("spawn", 10_000): row("spawn", 4.0)})

    assert spawn.name == "spawn, 10,000"


def measure_probe_of_two(count: int) -> Awaitable[list[float]]:
    return measure_probe(2, count)


@pytest.mark.parametrize("measure", [measure_call, measure_restart, measure_probe_of_two])
async def test_latencies_are_taken_one_by_one(
    measure: Callable[[int], Awaitable[list[float]]],
) -> None:
    took_s = await measure(5)

    assert len(took_s) == 5
    assert took_s == sorted(took_s)
    assert took_s[0] > 0


def test_memory_has_a_goal_only_for_idle_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    def weigh(module: str, python: str, case: str, n: int) -> float:
        if case == "tasks":
            raise Failed("boom")
        return 4.5

    monkeypatch.setattr(memory, "weigh", weigh)

    idle, used, task = read_memory([10], {}, peers=False)

    assert (idle.name, idle.value, idle.judgement) == ("idle, 10", 4.5, "above the goal")
    assert (used.value, used.judgement) == (4.5, "no goal")
    assert (task.value, task.note) == (None, "boom")


def test_a_sample_tells_by_how_much_the_process_has_grown() -> None:
    assert read_resident_bytes() > 1_000_000
    assert on_trio(open_switch)(10).grown_bytes < 10_000_000


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], []),
        (["--full"], ["--full"]),
        (["suite", "--json"], ["--json"]),
    ],
)
def test_without_a_name_the_runtimes_suite_is_run(
    arguments: list[str], given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        ran.append(arguments)
        return 3

    monkeypatch.setattr(suite, "main", main)

    assert command.main(arguments) == 3
    assert ran == [given]
