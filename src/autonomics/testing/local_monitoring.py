"""Cloud Monitoring's `timeSeries.list` over courses of Cloud Run's metrics that a test sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve, frozen

from autonomics.errors import InvalidInput
from autonomics.recipes.signal import parse_moment
from autonomics.testing.local_http import SYSTEM_PARAMETERS, Answer, Refused, Request
from autonomics.testing.local_series import METRICS, Aggregation, Point, Series, write_value

MEMORY: Final = "run.googleapis.com/container/memory/utilizations"
MOST_POINTS: Final = 100_000
_FLAT_SHARE: Final = 0.6
_FLAT_STEP_S: Final = 1800
_FLAT_POINTS: Final = 12
_SINGLE: Final = SYSTEM_PARAMETERS | {
    "filter",
    "interval.startTime",
    "interval.endTime",
    "view",
    "pageSize",
    "pageToken",
    "orderBy",
    "aggregation.alignmentPeriod",
    "aggregation.perSeriesAligner",
    "aggregation.crossSeriesReducer",
}
_GROUP_BY: Final = "aggregation.groupByFields"
_TERM: Final = re.compile(
    r'\s*((?:metric|resource)\.(?:type|labels?\.[a-z_]+))\s*=\s*"((?:[^"\\]|\\.)*)"\s*'
)
_AND: Final = re.compile(r"AND\b")


@frozen
class Course:
    """How a metric of a service went: a value each `step_s`, the last of them set at `end_s`.

    It goes on with its last value until another course is set, as a platform keeps on measuring.
    """

    metric: str
    labels: Mapping[str, str]
    values: tuple[tuple[float, ...], ...]
    step_s: int
    end_s: int

    def points(self, start_s: float, end_s: int) -> Iterator[Point]:
        """Give its points in (start, end], the newest first; an empty interval is one instant."""
        step_s, last = self.step_s, len(self.values) - 1
        is_gauge = METRICS[self.metric].kind == "GAUGE"
        begin_s = self.end_s - last * step_s
        for place in range((end_s - begin_s) // step_s, -1, -1):
            at_s = begin_s + place * step_s
            if not (start_s < at_s or start_s == at_s == end_s):
                return
            samples = self.values[min(place, last)]
            yield Point(at_s if is_gauge else at_s - step_s, at_s, samples)


def make_course(
    metric: str,
    values: Sequence[str | float | Sequence[float]],
    step_s: int,
    end_s: int,
    labels: Mapping[str, str],
) -> Course:
    """Make a course; a distribution takes a number or all its samples per point."""
    if metric not in METRICS:
        raise InvalidInput.expected("metric", f"one of {sorted(METRICS)}", metric)
    read = [
        (float(value),) if isinstance(value, str | int | float) else tuple(map(float, value))
        for value in values
    ]
    is_distribution = METRICS[metric].value_type == "DISTRIBUTION"
    if not all(samples and (is_distribution or len(samples) == 1) for samples in read):
        raise InvalidInput.expected("values", "a number per point, or samples", values)
    return Course(metric, dict(labels), tuple(read), step_s, end_s)


class LocalMonitoring:
    """Keeps courses by service. Memory that nobody has set was flat until now."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        services: Callable[[], Mapping[str, str]],
    ) -> None:
        self._clock = clock
        self._services = services
        """Short names of the revisions that serve, by full names of services."""
        self._courses: dict[str, dict[tuple[object, ...], Course]] = {}

    def set_course(self, name: str, course: Course) -> None:
        """Keep a course in place of the one with the same metric and labels."""
        key = (course.metric, *sorted(course.labels.items()))
        self._courses.setdefault(name, {})[key] = course

    def list_series(self, project: str, request: Request) -> Answer:
        """Answer `timeSeries.list`; raise Refused as the API would."""
        group_by = tuple(value for name, value in request.query if name == _GROUP_BY)
        plain = evolve(request, query=tuple(pair for pair in request.query if pair[0] != _GROUP_BY))
        given = plain.parameters(_SINGLE)
        if given.get("orderBy"):
            raise Refused(400, "order_by is unsupported: it must be left blank.")
        wanted = read_filter(given.get("filter", ""))
        start_s, end_s = _read_interval(given)
        aggregation = Aggregation(
            aligner=given.get("aggregation.perSeriesAligner", "ALIGN_NONE"),
            period_s=_read_seconds(given.get("aggregation.alignmentPeriod", "0s")),
            reducer=given.get("aggregation.crossSeriesReducer", "REDUCE_NONE"),
            group_by=group_by,
        )
        latest_s = min(end_s, int(self._clock().timestamp()))
        matching = [
            series
            for series in self._series(project, wanted["metric.type"], start_s, latest_s)
            if series.points and _matches(series, wanted)
        ]
        return Answer(_write_page(aggregation.apply(matching, end_s), given))

    def _series(self, project: str, metric: str, start_s: float, end_s: int) -> Iterator[Series]:
        for name, revision in self._services().items():
            _, owner, _, location, _, service = name.split("/")
            if owner != project:
                continue
            labels = {
                "project_id": owner,
                "location": location,
                "service_name": service,
                "revision_name": revision,
                "configuration_name": service,
            }
            for course in self._courses_of(name, metric):
                points = tuple(course.points(start_s, end_s))
                yield Series(metric, METRICS[metric], course.labels, labels, points)

    def _courses_of(self, name: str, metric: str) -> list[Course]:
        found = [each for each in self._courses.get(name, {}).values() if each.metric == metric]
        if metric == MEMORY and not found:
            now_s = int(self._clock().timestamp())
            flat = [_FLAT_SHARE] * _FLAT_POINTS
            return [make_course(metric, flat, _FLAT_STEP_S, now_s, {})]
        return found


def read_filter(text: str) -> dict[str, str]:
    """Read a monitoring filter of equalities; the labels' names come out as `..labels.<name>`.

    Raises Refused for anything else, for a second metric type, and for a metric that is not known.
    """
    found: dict[str, str] = {}
    rest = text
    while rest:
        term = _TERM.match(rest)
        if term is None:
            raise Refused(400, f"Field filter had an invalid value: Could not parse at `{rest}`.")
        key = term[1].replace(".label.", ".labels.")
        if key in found:
            raise Refused(400, f"Field filter had an invalid value: {key} is given twice.")
        found[key] = re.sub(r"\\(.)", r"\1", term[2])
        rest = rest[term.end() :]
        if joined := _AND.match(rest):
            rest = rest[joined.end() :]
            if not rest.strip():
                raise Refused(400, "Field filter had an invalid value: it ends in AND.")
    if "metric.type" not in found:
        raise Refused(400, "Field filter had an invalid value: it must specify one metric type.")
    if found["metric.type"] not in METRICS:
        raise Refused(404, f'Cannot find metric(s) that match type = "{found["metric.type"]}".')
    if found.get("resource.type", "cloud_run_revision") != "cloud_run_revision":
        raise Refused(400, "Field filter had an invalid value: the metric has no such resource.")
    return found


def _matches(series: Series, wanted: Mapping[str, str]) -> bool:
    for key, value in wanted.items():
        part, _, name = key.partition(".labels.")
        if name:
            labels = series.metric_labels if part == "metric" else series.resource_labels
            if labels.get(name) != value:
                return False
    return True


def _read_interval(given: Mapping[str, str]) -> tuple[float, int]:
    end = given.get("interval.endTime")
    if end is None:
        raise Refused(400, "Field interval.endTime had an invalid value: it is required.")
    try:
        end_s = parse_moment(end).timestamp()
        start_s = parse_moment(given.get("interval.startTime", end)).timestamp()
    except InvalidInput as error:
        raise Refused(400, f"Field interval had an invalid value: {error}") from None
    if start_s > end_s:
        raise Refused(400, "Field interval.startTime had an invalid value: it is after the end.")
    return start_s, int(end_s)


def _read_seconds(text: str) -> int:
    if re.fullmatch(r"\d{1,7}s", text) is None:
        raise Refused(400, "Field aggregation.alignmentPeriod had an invalid value.")
    return int(text[:-1])


def _write_page(found: Sequence[Series], given: Mapping[str, str]) -> dict[str, Any]:
    """Write one page: so many points, or so many series where only their heads are wanted."""
    size, offset = _read_page(given)
    view = given.get("view", "FULL")
    if view not in ("FULL", "HEADERS"):
        raise Refused(400, "Field view had an invalid value.")
    rows: list[tuple[Series, tuple[Point, ...]]] = []
    total = 0
    for series in found:
        length = len(series.points) if view == "FULL" else 1
        low, high = max(0, offset - total), min(length, offset + size - total)
        if low < high:
            rows.append((series, series.points[low:high] if view == "FULL" else ()))
        total += length
    page: dict[str, Any] = {}
    if rows:
        page["timeSeries"] = [_write_series(series, points) for series, points in rows]
        page["unit"] = rows[0][0].type.unit
    if offset + size < total:
        page["nextPageToken"] = f"at-{offset + size}"
    return page


def _read_page(given: Mapping[str, str]) -> tuple[int, int]:
    size, token = given.get("pageSize", "0"), given.get("pageToken") or "at-0"
    if re.fullmatch(r"\d{1,9}", size) is None:
        raise Refused(400, "Field pageSize had an invalid value: it must be positive.")
    if re.fullmatch(r"at-\d{1,9}", token) is None:
        raise Refused(400, "Field pageToken had an invalid value.")
    return min(int(size) or MOST_POINTS, MOST_POINTS), int(token[3:])


def _write_series(series: Series, points: Sequence[Point]) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": series.metric}
    resource: dict[str, Any] = {"type": "cloud_run_revision"}
    if series.metric_labels:
        metric["labels"] = dict(series.metric_labels)
    if series.resource_labels:
        resource["labels"] = dict(series.resource_labels)
    written: dict[str, Any] = {
        "metric": metric,
        "resource": resource,
        "metricKind": series.type.kind,
        "valueType": series.type.value_type,
        "unit": series.type.unit,
    }
    if points:
        written["points"] = [
            {
                "interval": {
                    "startTime": _write_second(point.start_s),
                    "endTime": _write_second(point.end_s),
                },
                "value": write_value(series.type.value_type, point.samples),
            }
            for point in points
        ]
    return written


def _write_second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
