"""What the code costs, measured: `python -m bench [NAME] [--json] [--check]`.

The control plane's cases, which are here, are functions that measure and return a Measurement;
each registers itself with `register`. The runtime's workloads are in `bench.cases`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import TypeAlias

from attrs import field, frozen


@frozen(kw_only=True)
class Measurement:
    """Figures by name, units in the names; `exceeded` lists the limits that were not kept."""

    case: str
    figures: Mapping[str, float | int | str]
    exceeded: tuple[str, ...] = field(default=())


Case: TypeAlias = Callable[[], Measurement]
CASES: dict[str, Case] = {}


def register(name: str) -> Callable[[Case], Case]:
    """Register a case under its name."""

    def keep(measure: Case) -> Case:
        if name in CASES:
            raise ValueError(f"expected names of cases to be distinct, got {name!r} twice")
        CASES[name] = measure
        return measure

    return keep


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile of an ascending sequence that is not empty."""
    return ascending[max(0, ceil(len(ascending) * percent / 100) - 1)]
