from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.recipes.quantity import read_number
from autonomics.recipes.slope import slope_per_hour


def course(*shares: str, step_s: int = 1800) -> list[list[object]]:
    return [[place * step_s, share] for place, share in enumerate(shares)]


def test_a_straight_climb_has_its_slope() -> None:
    assert slope_per_hour(course("0.1", "0.15", "0.2", "0.25")) == Decimal("0.1")


def test_a_flat_course_has_none() -> None:
    assert slope_per_hour(course("0.5", "0.5", "0.5")) == 0


def test_a_saw_is_measured_between_its_teeth() -> None:
    teeth = ["0.3", "0.5", "0.7", "0.9", "0.3", "0.5", "0.7", "0.9", "0.3", "0.5", "0.7", "0.9"]

    assert slope_per_hour(course(*teeth)) == Decimal("0.4")


def test_of_two_stretches_of_equal_length_the_later_counts() -> None:
    assert slope_per_hour(course("0.8", "0.8", "0.8", "0.1", "0.2", "0.3")) == Decimal("0.2")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "0.5",
        [],
        [[0, "0.5"]],
        course("0.5", "0.6"),
        course("0.9", "0.1", "0.9", "0.1"),
        [[0, "0.5"], [0, "0.5"], [1, "0.5"]],
        [[0, "0.5"], ["noon", "0.5"], [2, "0.5"]],
        [[0, "0.5", 1], [1, "0.5", 1], [2, "0.5", 1]],
        [0, 1, 2],
        [[place, 1] for place in range(2001)],
    ],
)
def test_what_is_no_course_has_no_slope(value: object) -> None:
    assert slope_per_hour(value) is None


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=20), st.integers(0, 10**9))
def test_the_slope_does_not_depend_on_when_the_clock_began(values: list[int], start: int) -> None:
    here = [[place * 60, value] for place, value in enumerate(values)]
    there = [[start + place * 60, value] for place, value in enumerate(values)]

    assert slope_per_hour(here) == slope_per_hour(there)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, "3"),
        ("3.50", "3.5"),
        ("-2", "-2"),
        ("1Ki", "1024"),
        ("512Mi", str(512 * 2**20)),
        ("1.5Gi", str(3 * 2**29)),
        ("250m", "0.25"),
        ("2G", "2000000000"),
    ],
)
def test_a_quantity_is_read_with_its_unit(value: object, number: str) -> None:
    assert read_number(value) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [True, None, "", "MiB", "5 Mi", "1e3", "0x10", "٣", "NaN", [], "1" * 401, Decimal("NaN")],
)
def test_what_is_no_number_is_none(value: object) -> None:
    assert read_number(value) is None
