from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve
from bench.case import Case
from bench.cases import BY_NAME, SWITCH
from bench.gate_ir import (
    Key,
    Row,
    build_rows,
    fails,
    judge,
    needed_counts,
    per_operation,
    read_baselines,
    write_baseline,
)

from bench import gate_ir

CALL = evolve(BY_NAME["call1"], counts=(100, 300), goal=2.8)


def both(case: Case, set_up: int, each: int) -> dict[Key, int]:
    return {(case.name, n): set_up + each * n for n in case.counts}


def test_set_up_cancels_out() -> None:
    assert per_operation(CALL, both(CALL, 5_000_000, 70)) == 70


def test_a_set_up_that_grows_is_taken_off() -> None:
    start, stop = BY_NAME["tree_start"], BY_NAME["tree_stop"]
    counts = both(start, 1_000, 50) | both(stop, 3_000, 50 + 30)

    assert per_operation(stop, counts) == 30


@pytest.mark.parametrize(
    ("ratio", "before", "verdict"),
    [
        (2.80, 2.80, "ok"),
        (2.85, 2.85, "ok"),
        (2.86, 2.86, "above the goal"),
        (2.10, 2.00, "ok"),
        (2.11, 2.00, "above the baseline"),
        (1.00, 2.00, "ok"),
        (2.00, None, "no baseline"),
        (2.86, None, "above the goal"),
    ],
)
def test_a_ratio_is_held_to_goal_and_baseline(
    ratio: float, before: float | None, verdict: str
) -> None:
    assert judge(CALL, ratio, before) == verdict


@pytest.mark.parametrize(
    ("verdict", "failed"),
    [
        ("ok", False),
        ("no baseline", False),
        ("not measured", False),
        ("above the goal", True),
        ("above the baseline", True),
        ("failed", True),
    ],
)
def test_only_these_verdicts_fail(verdict: gate_ir.Verdict, failed: bool) -> None:
    assert Row(name="x", verdict=verdict).failed is failed


def test_what_is_forgiven_fails_nothing() -> None:
    rows = [Row(name="x", verdict="above the goal"), Row(name="y", verdict="ok")]
    assert fails(rows, set())
    assert not fails(rows, {"above the goal"})
    assert fails([*rows, Row(name="z", verdict="failed")], {"above the goal"})


def test_a_row_is_in_units_of_the_switch_counted_beside_it() -> None:
    counts = both(SWITCH, 800, 30_000) | both(CALL, 9_000, 75_000)

    switch, call = build_rows([CALL], counts, {}, {}, {"call1": 2.49})

    assert (switch.name, switch.instructions, switch.ratio) == ("S", 30_000, 1.0)
    assert (call.instructions, call.ratio, call.verdict) == (75_000, 2.5, "ok")


def test_a_ratio_may_be_to_another_case() -> None:
    crowded = BY_NAME["call1_idle"]
    call = BY_NAME["call1"]
    counts = both(SWITCH, 1, 30_000) | both(call, 1, 60_000) | both(crowded, 9_000_000, 90_000)

    [_, row] = build_rows([crowded], counts, {}, {}, {})

    assert (row.unit, row.ratio, row.verdict) == ("call1", 1.5, "above the goal")


def test_what_was_taken_off_is_told() -> None:
    start, stop = BY_NAME["tree_start"], BY_NAME["tree_stop"]
    counts = both(SWITCH, 1, 10) | both(start, 1, 350) | both(stop, 3, 350 + 260)

    [_, row] = build_rows([stop], counts, {}, {}, {})

    assert (row.ratio, row.note) == (26.0, "behind tree_start, 35.000 S")


def test_what_is_missing_has_no_figures_and_fails_nothing() -> None:
    [_, row] = build_rows([CALL], both(SWITCH, 1, 2), {"call1": "not yet"}, {}, {})

    assert (row.ratio, row.verdict, row.note, row.failed) == (
        None,
        "not measured",
        "not yet",
        False,
    )


def test_a_case_fails_with_what_it_rests_on() -> None:
    crowded = BY_NAME["call1_idle"]

    [_, row] = build_rows([crowded], both(SWITCH, 1, 2), {}, {"call1": "boom"}, {})

    assert (row.verdict, row.note) == ("failed", "boom")


def test_everything_that_a_row_needs_is_counted_once() -> None:
    needed = needed_counts([BY_NAME["call1_idle"], BY_NAME["tree_stop"]])

    assert len(needed) == len(set(needed))
    assert {name for name, _ in needed} == {"S", "call1", "call1_idle", "tree_start", "tree_stop"}


def test_a_baseline_is_kept_by_build_and_case(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert read_baselines(path) == {}

    write_baseline([Row(name="a", ratio=1.0), Row(name="b", ratio=2.0)], "one", path)
    write_baseline([Row(name="b", ratio=3.0), Row(name="c")], "one", path)
    write_baseline([Row(name="S", ratio=1.0), Row(name="a", ratio=4.0)], "two", path)

    assert read_baselines(path) == {"one": {"a": 1.0, "b": 3.0}, "two": {"a": 4.0}}


def test_without_valgrind_the_gate_says_so_and_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate_ir, "VALGRIND", ("no-such-valgrind",))

    assert gate_ir.main([]) == 0
    assert "valgrind is not installed" in capsys.readouterr().out


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand in for valgrind: each call costs 2.5 switches."""
    each = {"S": 30_000, "call1": 75_000}
    monkeypatch.setattr(gate_ir, "VALGRIND", ("true",))

    def count(name: str, n: int) -> int:
        return 1_000 + each[name] * n

    monkeypatch.setattr(gate_ir, "count", count)
    monkeypatch.setattr(gate_ir, "BASELINE", tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def test_the_gate_prints_rows_for_programs(
    canned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate_ir.main(["--case", "call1", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["build"] == gate_ir.describe_build()
    assert [row["name"] for row in told["rows"]] == ["S", "call1"]
    assert told["rows"][1] == {
        "name": "call1",
        "instructions": 75_000,
        "ratio": 2.5,
        "unit": "S",
        "goal": 2.8,
        "stretch": 2.3,
        "baseline": None,
        "verdict": "no baseline",
        "note": "",
    }


def test_the_gate_fails_beyond_the_baseline_until_that_is_updated(
    canned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_baseline([Row(name="call1", ratio=2.3)], gate_ir.describe_build(), canned)
    assert gate_ir.main(["--case", "call1"]) == 1
    assert "above the baseline" in capsys.readouterr().out

    assert gate_ir.main(["--case", "call1", "--update-baseline"]) == 0
    assert gate_ir.main(["--case", "call1"]) == 0


def test_a_case_that_crashes_fails_the_gate_and_shows_why(
    canned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def count(name: str, n: int) -> int:
        if name == "call1":
            raise gate_ir.CountFailed(f"at {n}: ValueError: boom")
        return n

    monkeypatch.setattr(gate_ir, "count", count)

    assert gate_ir.main(["--case", "call1"]) == 1
    assert "failed: at" in capsys.readouterr().out
