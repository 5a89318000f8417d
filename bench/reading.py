"""A figure beside its goal: what tables are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import asdict, frozen

Judgement = Literal["stretch", "goal", "above the goal", "no goal", "not measured"]


@frozen(kw_only=True)
class Reading:
    """One figure of the suite; `goal_number` is the row of the goals that it answers to."""

    name: str
    operation: str
    value: float | None = None
    unit: str
    goal: float | None = None
    stretch: float | None = None
    goal_number: int | None = None
    note: str = ""

    @property
    def judgement(self) -> Judgement:
        """Hold the figure to goal and stretch; less is better."""
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return "no goal"
        if self.stretch is not None and self.value <= self.stretch:
            return "stretch"
        return "goal" if self.value <= self.goal else "above the goal"

    def to_plain(self) -> Mapping[str, Any]:
        """Give it as plain data, with the judgement."""
        return {**asdict(self), "judgement": self.judgement}


def show(readings: Iterable[Reading]) -> None:
    """Print a table."""
    print(f"{'':<22}{'':>10} {'':<4}{'goal':>8}{'stretch':>9}  {'':<16}")
    for reading in readings:
        value = "-" if reading.value is None else f"{reading.value:.3g}"
        limits = "".join(
            f"{'-' if limit is None else format(limit, 'g'):>{width}}"
            for limit, width in ((reading.goal, 8), (reading.stretch, 9))
        )
        said = reading.note or reading.operation
        print(
            f"{reading.name:<22}{value:>10} {reading.unit:<4}{limits}"
            f"  {reading.judgement:<16}{said}"
        )
