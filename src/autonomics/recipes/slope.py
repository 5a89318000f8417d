"""How steeply a measured value climbs, by least squares, in exact decimal arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from itertools import pairwise
from typing import Final, TypeAlias, cast

from autonomics.recipes.quantity import read_number

MIN_POINTS: Final = 3
MAX_POINTS: Final = 2_000
_HOUR_S: Final = 3_600
_Point: TypeAlias = "tuple[Decimal, Decimal]"
# One fixed precision, so that every machine finds the same slope.
_CONTEXT: Final = Context(prec=50)


def slope_per_hour(value: object) -> Decimal | None:
    """Give the slope of `[[seconds, value], ...]` per hour, points ascending in time.

    A value that falls to half or less was reset (a restart), and a line through a saw's teeth is
    flat; so the longest stretch between resets is measured, the later one of two. None where that
    is shorter than three points, or where the value is no such list.
    """
    points = _read_points(value)
    if points is None:
        return None
    stretch = max(reversed(_stretches(points)), key=len)
    if len(stretch) < MIN_POINTS:
        return None
    return _fit(stretch)


def _read_points(value: object) -> list[_Point] | None:
    if not isinstance(value, list):
        return None
    rows = cast("list[object]", value)
    if not 0 < len(rows) <= MAX_POINTS:
        return None
    points: list[_Point] = []
    for row in rows:
        pair = cast("list[object]", row) if isinstance(row, list) else []
        numbers = [read_number(each) for each in pair]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            return None
        points.append((numbers[0], numbers[1]))
    is_ascending = all(earlier[0] < later[0] for earlier, later in pairwise(points))
    return points if is_ascending else None


def _stretches(points: Sequence[_Point]) -> list[list[_Point]]:
    stretches: list[list[_Point]] = [[points[0]]]
    for earlier, later in pairwise(points):
        if later[1] * 2 <= earlier[1] and earlier[1] > 0:
            stretches.append([])
        stretches[-1].append(later)
    return stretches


def _fit(points: Sequence[_Point]) -> Decimal:
    context = _CONTEXT
    start = points[0][0]
    count = Decimal(len(points))
    xs = [context.subtract(x, start) for x, _ in points]
    ys = [y for _, y in points]
    sum_x, sum_y = sum(xs, Decimal(0)), sum(ys, Decimal(0))
    sum_xy = sum((context.multiply(x, y) for x, y in zip(xs, ys, strict=True)), Decimal(0))
    sum_xx = sum((context.multiply(x, x) for x in xs), Decimal(0))
    above = context.subtract(context.multiply(count, sum_xy), context.multiply(sum_x, sum_y))
    below = context.subtract(context.multiply(count, sum_xx), context.multiply(sum_x, sum_x))
    return context.multiply(context.divide(above, below), Decimal(_HOUR_S))
