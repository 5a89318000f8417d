"""Points of a metric, and Cloud Monitoring's two steps of aggregation over them.

A point holds the samples that it stands for: one of a number, any number of a distribution. Where
the real end interpolates a percentile from a histogram, this one takes it from the samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import pstdev
from typing import Any, Final

from attrs import evolve, field, frozen

from autonomics.testing.local_http import Refused

PERCENTILES: Final = {"99": 0.99, "95": 0.95, "50": 0.5, "05": 0.05}
_BOUNDS: Final = tuple(round(step * 0.05, 2) for step in range(21)) + tuple(
    float(lead * 10**power) for power in range(6) for lead in (2, 5, 10)
)
_NUMERIC: Final = frozenset({"INT64", "DOUBLE"})
_ADDED: Final = _NUMERIC | {"DISTRIBUTION"}
"""What can be summed; the sum of distributions is that of all their samples."""


@frozen
class MetricType:
    """What a metric's descriptor says. The unit is UCUM's."""

    kind: str
    value_type: str
    unit: str


METRICS: Final = {
    "run.googleapis.com/container/memory/utilizations": MetricType(
        "DELTA", "DISTRIBUTION", "10^2.%"
    ),
    "run.googleapis.com/container/cpu/utilizations": MetricType("DELTA", "DISTRIBUTION", "10^2.%"),
    "run.googleapis.com/container/max_request_concurrencies": MetricType(
        "DELTA", "DISTRIBUTION", "1"
    ),
    "run.googleapis.com/container/instance_count": MetricType("GAUGE", "INT64", "1"),
    "run.googleapis.com/container/startup_latencies": MetricType("DELTA", "DISTRIBUTION", "ms"),
    "run.googleapis.com/request_count": MetricType("DELTA", "INT64", "1"),
    "run.googleapis.com/request_latencies": MetricType("DELTA", "DISTRIBUTION", "ms"),
}


@frozen
class Point:
    """The samples of an interval in unix seconds, (start, end]; a gauge's start is its end."""

    start_s: int
    end_s: int
    samples: tuple[float, ...]


@frozen
class Series:
    """A time series; its points, the newest first."""

    metric: str
    type: MetricType
    metric_labels: Mapping[str, str]
    resource_labels: Mapping[str, str]
    points: tuple[Point, ...] = field(factory=tuple[Point, ...])


@frozen
class Aggregation:
    """The parameters `aggregation.*` of a request."""

    aligner: str = "ALIGN_NONE"
    period_s: int = 0
    reducer: str = "REDUCE_NONE"
    group_by: tuple[str, ...] = ()

    def apply(self, series: Sequence[Series], end_s: int) -> list[Series]:
        """Align each series, then reduce them by group; raise Refused where the metric can't be."""
        if self.aligner == "ALIGN_NONE":
            if self.reducer != "REDUCE_NONE":
                raise Refused(400, "aggregation: a reducer needs an aligner.")
            return list(series)
        if self.period_s < 60:
            raise Refused(400, "aggregation.alignmentPeriod must be at least 60s.")
        aligned = [self._align(each, end_s) for each in series]
        return aligned if self.reducer == "REDUCE_NONE" else self._reduce(aligned)

    def _align(self, series: Series, end_s: int) -> Series:
        kinds, value_types, kind, value_type, combine = _find_aligner(self.aligner)
        if series.type.kind not in kinds or series.type.value_type not in value_types:
            raise Refused(
                400,
                f"The aligner {self.aligner} is not valid for a {series.type.kind} metric"
                f" of {series.type.value_type} values.",
            )
        if series.type.value_type == "DISTRIBUTION" and value_type is None:
            combine = tuple
        buckets: dict[int, list[float]] = {}
        for point in reversed(series.points):
            # The last period ends with the interval; the point at a boundary belongs before it.
            bucket_s = end_s - (end_s - point.end_s) // self.period_s * self.period_s
            buckets.setdefault(bucket_s, []).extend(point.samples)
        points = [
            Point(at_s if kind == "GAUGE" else at_s - self.period_s, at_s, combine(samples))
            for at_s, samples in sorted(buckets.items(), reverse=True)
        ]
        if self.aligner == "ALIGN_RATE":
            points = [_divide(point, self.period_s) for point in points]
        made = MetricType(
            kind or series.type.kind, value_type or series.type.value_type, series.type.unit
        )
        return evolve(series, type=made, points=tuple(points))

    def _reduce(self, aligned: list[Series]) -> list[Series]:
        groups: dict[tuple[str, ...], list[Series]] = {}
        for series in aligned:
            key = tuple(_label(series, name) for name in self.group_by)
            groups.setdefault(key, []).append(series)
        return [self._reduce_group(group) for group in groups.values()]

    def _reduce_group(self, group: list[Series]) -> Series:
        value_types, value_type, combine = _find_reducer(self.reducer)
        first = group[0]
        if first.type.value_type not in value_types:
            text = f"The reducer {self.reducer} is not valid for {first.type.value_type} values."
            raise Refused(400, text)
        if first.type.value_type == "DISTRIBUTION" and value_type is None:
            combine = tuple
        samples: dict[int, list[float]] = {}
        starts: dict[int, int] = {}
        for series in group:
            for point in series.points:
                # What is counted are points, whatever each one holds.
                counted = (1.0,) if self.reducer == "REDUCE_COUNT" else point.samples
                samples.setdefault(point.end_s, []).extend(counted)
                starts[point.end_s] = point.start_s
        points = [
            Point(starts[at_s], at_s, combine(samples[at_s]))
            for at_s in sorted(samples, reverse=True)
        ]
        made = evolve(first.type, value_type=value_type or first.type.value_type)
        return Series(
            first.metric,
            made,
            {
                name: text
                for name, text in first.metric_labels.items()
                if self._keeps("metric", name)
            },
            {
                name: text
                for name, text in first.resource_labels.items()
                if self._keeps("resource", name)
            },
            tuple(points),
        )

    def _keeps(self, part: str, name: str) -> bool:
        return not {f"{part}.label.{name}", f"{part}.labels.{name}"}.isdisjoint(self.group_by)


_Combine = Callable[[list[float]], tuple[float, ...]]
_COMBINE: Final[Mapping[str, _Combine]] = {
    "MIN": lambda samples: (min(samples),),
    "MAX": lambda samples: (max(samples),),
    "SUM": lambda samples: (sum(samples),),
    "MEAN": lambda samples: (math.fsum(samples) / len(samples),),
    "STDDEV": lambda samples: (pstdev(samples),),
    "COUNT": lambda samples: (float(len(samples)),),
    "NEXT_OLDER": lambda samples: (samples[-1],),
}
_EITHER: Final = frozenset({"GAUGE", "DELTA"})


def _find_aligner(
    name: str,
) -> tuple[frozenset[str], frozenset[str], str | None, str | None, _Combine]:
    """Give the kinds and value types that it takes, those it makes if others, and how."""
    short = name.removeprefix("ALIGN_")
    if short.startswith("PERCENTILE_") and short[11:] in PERCENTILES:
        take = _take_percentile(PERCENTILES[short[11:]])
        return _EITHER, frozenset({"DISTRIBUTION"}), "GAUGE", "DOUBLE", take
    match short:
        case "MIN" | "MAX":
            return _EITHER, _NUMERIC, None, None, _COMBINE[short]
        case "SUM":
            return _EITHER, _ADDED, None, None, _COMBINE[short]
        case "MEAN":
            return _EITHER, _NUMERIC, None, "DOUBLE", _COMBINE[short]
        case "COUNT":
            return _EITHER, _NUMERIC, None, "INT64", _COMBINE[short]
        case "DELTA":
            return frozenset({"DELTA"}), _ADDED, None, None, _COMBINE["SUM"]
        case "RATE":
            return frozenset({"DELTA"}), _NUMERIC, "GAUGE", "DOUBLE", _COMBINE["SUM"]
        case "NEXT_OLDER":
            return frozenset({"GAUGE"}), _NUMERIC, None, None, _COMBINE[short]
        case _:
            raise Refused(400, f"aggregation.perSeriesAligner: {name} is none of this local end's.")


def _find_reducer(name: str) -> tuple[frozenset[str], str | None, _Combine]:
    short = name.removeprefix("REDUCE_")
    if short.startswith("PERCENTILE_") and short[11:] in PERCENTILES:
        return _ADDED, "DOUBLE", _take_percentile(PERCENTILES[short[11:]])
    match short:
        case "MIN" | "MAX":
            return _NUMERIC, None, _COMBINE[short]
        case "SUM":
            return _ADDED, None, _COMBINE[short]
        case "MEAN" | "STDDEV":
            return _ADDED, "DOUBLE", _COMBINE[short]
        case "COUNT":
            return _ADDED, "INT64", _COMBINE[short]
        case _:
            raise Refused(400, f"aggregation.crossSeriesReducer: {name} is none of this end's.")


def _take_percentile(share: float) -> _Combine:
    def take(samples: list[float]) -> tuple[float, ...]:
        return (sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)],)

    return take


def _divide(point: Point, by: int) -> Point:
    return evolve(point, samples=tuple(sample / by for sample in point.samples))


def _label(series: Series, path: str) -> str:
    part, _, name = path.replace(".labels.", ".label.").partition(".label.")
    labels = {"metric": series.metric_labels, "resource": series.resource_labels}.get(part)
    if labels is None or not name:
        raise Refused(400, f"aggregation.groupByFields: {path} is no label.")
    return labels.get(name, "")


def write_value(value_type: str, samples: Iterable[float]) -> dict[str, Any]:
    """Write a google.monitoring.v3.TypedValue."""
    found = list(samples)
    if value_type == "INT64":
        return {"int64Value": str(round(found[0]))}
    if value_type == "DOUBLE":
        return {"doubleValue": found[0]}
    counts = [0] * (len(_BOUNDS) + 1)
    for sample in found:
        counts[sum(1 for bound in _BOUNDS if sample >= bound)] += 1
    while counts and not counts[-1]:
        counts.pop()
    mean = math.fsum(found) / len(found)
    distribution: dict[str, Any] = {
        "count": str(len(found)),
        "mean": mean,
        "sumOfSquaredDeviation": math.fsum((sample - mean) ** 2 for sample in found),
        "bucketOptions": {"explicitBuckets": {"bounds": list(_BOUNDS)}},
        "bucketCounts": [str(count) for count in counts],
    }
    return {"distributionValue": {name: value for name, value in distribution.items() if value}}
