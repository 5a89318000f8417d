from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from bench.__main__ import load_cases, main
from bench.decision import measure_sync_ms
from bench.diagnosis import built_messages, measure

import bench
from autonomics.recipes import normalise, parse_library
from autonomics.service import read_library
from bench import Measurement, decision, percentile, register

ROOT = Path(__file__).resolve().parents[2]


def test_diagnosis_is_measured_on_signals_of_every_outcome() -> None:
    signals = [normalise(message) for message in built_messages()]

    measured = measure(signals, parse_library(read_library()), rounds=1)

    figures = measured.figures
    assert measured.exceeded == ()
    assert figures["signals"] == figures["diagnoses"] == len(signals) + 1
    outcomes = [figures[name] for name in ("confirmed", "likely", "inconclusive", "none")]
    assert all(isinstance(count, int) and count > 0 for count in outcomes)
    assert 0 < float(figures["p50_ms"]) <= float(figures["p99_ms"]) <= float(figures["max_ms"])


def test_a_percentile_is_the_nearest_rank() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 99) == 4.0
    assert percentile([7.0], 1) == 7.0


@pytest.fixture
def slow_case(monkeypatch: pytest.MonkeyPatch) -> str:
    load_cases()
    monkeypatch.setattr(bench, "CASES", dict(bench.CASES))
    too_slow = Measurement(case="slow", figures={"mean_ms": 200.0}, exceeded=("mean 200 ms",))
    bench.CASES["slow"] = lambda: too_slow
    return "slow"


def test_only_a_check_fails_beyond_a_limit(
    slow_case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([slow_case]) == 0
    assert main([slow_case, "--check"]) == 1
    assert "beyond the limit: slow: mean 200 ms" in capsys.readouterr().err


def test_figures_are_printed_for_people_and_for_programs(
    slow_case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([slow_case])
    main([slow_case, "--json"])

    text = capsys.readouterr().out
    assert "mean_ms" in text
    assert json.loads(text.splitlines()[-1]) == {
        "case": "slow",
        "figures": {"mean_ms": 200.0},
        "exceeded": ["mean 200 ms"],
    }


def test_two_cases_of_one_name_are_refused(slow_case: str) -> None:
    with pytest.raises(ValueError, match="'slow' twice"):
        register(slow_case)(lambda: Measurement(case="slow", figures={}))


def test_the_command_lists_the_case() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "bench", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "diagnosis" in shown.stdout


def test_a_decision_is_measured_over_http(tmp_path: Path) -> None:
    took_ms = trio.run(decision.measure, tmp_path, 3)
    assert len(took_ms) == 3
    assert took_ms == sorted(took_ms)
    assert measure_sync_ms(tmp_path) > 0
