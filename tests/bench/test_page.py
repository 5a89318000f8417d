from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from bench.page import LAYOUTS, PAGE, figure, fill, judge, read_results
from bench.plot import (
    LEAST_S,
    LEFT,
    MOST_S,
    NAMESPACE,
    PICTURE,
    RESULT,
    WIDTH,
    bars,
    draw,
    main,
    place,
)

from bench import plot

SVG = f"{{{NAMESPACE}}}"

COMPARED: dict[str, Any] = {
    "machine": {
        "python": "CPython 3",
        "trio": "0",
        "system": "x",
        "cpus": 2,
        "load_average": [0.5],
    },
    "runtimes": {
        "autonomics": {"version": "1", "handler": "def", "host": "task"},
        "trio_channels": {"version": "2", "handler": "def", "host": "<task>"},
    },
    "cases": {
        "call1": {"operation": "a call <quickly>", "goal": 2.8, "stretch": 2.3},
        "crash": {"operation": "a crash", "goal": None, "stretch": None},
    },
    "rows": [
        {"case": "call1", "runtime": "trio_channels", "ratio": 5.0},
        {"case": "call1", "runtime": "autonomics", "ratio": 2.5},
        {"case": "crash", "runtime": "autonomics", "ratio": None},
    ],
}


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert fill(page, read_results()) == page, "run: python -m bench page"


def test_the_picture_is_that_of_the_results() -> None:
    drawn = draw(json.loads(RESULT.read_text(encoding="utf-8")))

    assert drawn == PICTURE.read_text(encoding="utf-8"), "run: python -m bench plot"


def test_the_page_shows_the_picture() -> None:
    assert f"({PICTURE.name})" in PAGE.read_text(encoding="utf-8")


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(KeyError, match="<!-- gate -->"):
        fill("nothing here", read_results())


def test_words_around_the_tables_are_kept_and_filling_twice_changes_nothing() -> None:
    page = "before\n" + "\n".join(
        f"<!-- {name} -->\n<!-- /{name} -->\nafter {name}" for name in LAYOUTS
    )

    once = fill(page, read_results())

    assert once.startswith("before\n")
    assert all(f"<!-- /{name} -->\nafter {name}" in once for name in LAYOUTS)
    assert fill(once, read_results()) == once


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), (0.1234, "0.123"), (12.345, "12.3"), (123.4, "123"), (1234.5, "1,234")],
)
def test_a_figure_has_three_digits_that_count(value: float | None, written: str) -> None:
    assert figure(value) == written


@pytest.mark.parametrize(
    ("ratio", "said"), [(2.2, "stretch"), (2.5, "goal"), (2.9, "above the goal"), (None, "failed")]
)
def test_a_count_is_held_to_goal_and_stretch(ratio: float | None, said: str) -> None:
    assert judge({"ratio": ratio, "goal": 2.8, "stretch": 2.3, "verdict": "failed"}) == said


def test_a_comparison_is_a_line_a_workload_and_a_column_a_runtime() -> None:
    lines = LAYOUTS["compare"](COMPARED).splitlines()

    assert "| x S | autonomics | trio channels |" in lines
    assert "| call1 | 2.50 | 5.00 |" in lines
    assert "| crash | - | - |" in lines


def test_the_scale_is_logarithmic_and_clipped() -> None:
    assert place(LEAST_S) == place(LEAST_S / 10) == LEFT
    assert place(MOST_S) == place(MOST_S * 10) < WIDTH
    assert place(1.0) - place(0.1) == pytest.approx(place(100.0) - place(10.0))


def test_the_fastest_stands_first_and_who_has_no_figure_is_left_out() -> None:
    assert bars(COMPARED, "call1") == [("autonomics", 2.5), ("trio_channels", 5.0)]
    assert bars(COMPARED, "crash") == []


def test_a_picture_is_valid_and_as_long_as_its_figures() -> None:
    root = ET.fromstring(draw(COMPARED))

    rects = root.findall(f"{SVG}rect")
    assert [rect.get("class") for rect in rects] == ["bar ours", "bar"]
    assert [float(rect.get("width", "")) for rect in rects] == [
        pytest.approx(place(ratio) - LEFT, abs=0.1) for ratio in (2.5, 5.0)
    ]
    [goal] = [line for line in root.findall(f"{SVG}line") if line.get("class") == "goal"]
    assert float(goal.get("x1", "")) == pytest.approx(place(2.8), abs=0.1)
    words = [element.text for element in root.findall(f"{SVG}text")]
    assert "call1: a call <quickly>" in words


def test_a_picture_suits_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in draw(COMPARED)


def test_the_command_draws_a_result_that_it_is_given(tmp_path: Path) -> None:
    result, picture = tmp_path / "result.json", tmp_path / "picture.svg"
    result.write_text(json.dumps(COMPARED))

    assert main([str(result), str(picture)]) == 0

    assert picture.read_text() == plot.draw(COMPARED)
