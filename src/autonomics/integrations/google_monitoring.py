"""Cloud Monitoring, by its API v3: how a metric of a Cloud Run service went.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast

import httpx2
from attrs import frozen

from autonomics.errors import InvalidInput
from autonomics.integrations.google_api import GoogleApi
from autonomics.integrations.google_credential import TokenSource
from autonomics.integrations.google_fact import (
    answer_fact,
    check_arguments,
    read_integer,
    suggest,
)
from autonomics.integrations.google_name import (
    ServiceName,
    check_metric,
    check_metric_label,
    check_revision_id,
    parse_service_name,
)
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.signal import Json, decimal_text, parse_moment

LIST: Final = "monitoring.timeSeries.list"
MOST_POINTS: Final = 2_000
MOST_PAGES: Final = 10
LONGEST_WINDOW_S: Final = 42 * 86_400
SHORTEST_PERIOD_S: Final = 60
MOST_LABEL_VALUE: Final = 256
FIELDS: Final = "timeSeries(points),nextPageToken,executionErrors,unreachable"
LABEL_PREFIX: Final = "metric.labels."

REDUCERS: Final[Mapping[str, str]] = {
    "ALIGN_COUNT": "REDUCE_SUM",
    "ALIGN_DELTA": "REDUCE_SUM",
    "ALIGN_MAX": "REDUCE_MAX",
    "ALIGN_MEAN": "REDUCE_MEAN",
    "ALIGN_MIN": "REDUCE_MIN",
    "ALIGN_PERCENTILE_05": "REDUCE_MIN",
    "ALIGN_PERCENTILE_50": "REDUCE_MEAN",
    "ALIGN_PERCENTILE_95": "REDUCE_MAX",
    "ALIGN_PERCENTILE_99": "REDUCE_MAX",
    "ALIGN_RATE": "REDUCE_SUM",
    "ALIGN_SUM": "REDUCE_SUM",
}
"""The aligners that may be asked for, each with how several series (of instances, revisions or
labels) become one where nobody says."""
NAMED_REDUCERS: Final = (
    "REDUCE_COUNT",
    "REDUCE_MAX",
    "REDUCE_MEAN",
    "REDUCE_MIN",
    "REDUCE_PERCENTILE_05",
    "REDUCE_PERCENTILE_50",
    "REDUCE_PERCENTILE_95",
    "REDUCE_PERCENTILE_99",
    "REDUCE_STDDEV",
    "REDUCE_SUM",
)
DISTRIBUTIONS: Final = frozenset(
    f"run.googleapis.com/{name}"
    for name in (
        "container/cpu/utilizations",
        "container/max_request_concurrencies",
        "container/memory/utilizations",
        "container/startup_latencies",
        "request_latencies",
    )
)
"""Metrics of Cloud Run whose values are distributions, which ALIGN_MEAN does not take: their mean
is that of the whole, by ALIGN_DELTA and REDUCE_MEAN."""


@frozen(kw_only=True)
class _Query:
    """One series of points that was asked for."""

    service: ServiceName
    metric: str
    window_s: int
    period_s: int
    aligner: str
    reducer: str
    labels: Mapping[str, str]

    def params(self, now: datetime) -> dict[str, str]:
        """Write the query of the request."""
        end = now.astimezone(UTC).replace(microsecond=0)
        return {
            "filter": " AND ".join(f"{name} = {quote(text)}" for name, text in self._filter()),
            "interval.startTime": _moment(end - timedelta(seconds=self.window_s)),
            "interval.endTime": _moment(end),
            "aggregation.alignmentPeriod": f"{self.period_s}s",
            "aggregation.perSeriesAligner": self.aligner,
            "aggregation.crossSeriesReducer": self.reducer,
            "view": "FULL",
            "fields": FIELDS,
        }

    def _filter(self) -> Iterator[tuple[str, str]]:
        yield "metric.type", self.metric
        yield "resource.type", "cloud_run_revision"
        yield "resource.labels.location", self.service.location
        yield "resource.labels.service_name", self.service.service
        yield from self.labels.items()


class GoogleMonitoring:
    """`FactReader` for `monitoring.timeSeries.list`."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        base_url: str,
        tokens: TokenSource,
        clock: Callable[[], datetime],
    ) -> None:
        self._api = GoogleApi(client, base_url=base_url, tokens=tokens)
        self._clock = clock

    async def read(self, request: FactRequest) -> Fact:
        """Answer how a metric went: points in time, ascending, and what stands out of them."""
        return await answer_fact(request, self._clock, self._answer)

    async def _answer(self, request: FactRequest) -> dict[str, Json]:
        if request.call != LIST:
            raise InvalidInput(f"unknown call {suggest(request.call, (LIST,))}")
        query = _read_query(request)
        params = query.params(self._clock())
        points: dict[int, Decimal] = {}
        for _ in range(MOST_PAGES):
            page = await self._api.send(
                "GET", f"/v3/projects/{query.service.project}/timeSeries", params
            )
            for at_s, value in _read_points(page):
                if at_s in points:
                    raise InvalidInput(f"expected one value for each moment, got two for {at_s}")
                points[at_s] = value
            if len(points) > MOST_POINTS:
                raise InvalidInput(f"expected at most {MOST_POINTS} points, got more")
            following = page.get("nextPageToken")
            if not following:
                return _summarise(points)
            params = {**params, "pageToken": str(following)}
        raise InvalidInput(f"expected at most {MOST_PAGES} pages, got more")


def _read_query(request: FactRequest) -> _Query:
    """Check all arguments before anything is sent; raise InvalidInput."""
    labels = {name: text for name, text in request.args.items() if name.startswith(LABEL_PREFIX)}
    optional = ("period_s", "aligner", "reducer", "revision", *labels)
    check_arguments(request, ("name", "metric", "window_s"), optional)
    args = request.args
    metric = check_metric(args["metric"])
    period_s = read_integer(request, "period_s", 300, SHORTEST_PERIOD_S, LONGEST_WINDOW_S)
    most_s = min(LONGEST_WINDOW_S, period_s * MOST_POINTS)
    window_s = read_integer(request, "window_s", period_s, period_s, most_s)
    is_distribution = metric in DISTRIBUTIONS and "aligner" not in args
    aligner = args.get("aligner", "ALIGN_DELTA" if is_distribution else "ALIGN_MEAN")
    if aligner not in REDUCERS:
        raise InvalidInput(f"unknown aligner {suggest(aligner, REDUCERS)}")
    reducer = args.get("reducer", "REDUCE_MEAN" if is_distribution else REDUCERS[aligner])
    if reducer not in NAMED_REDUCERS:
        raise InvalidInput(f"unknown reducer {suggest(reducer, NAMED_REDUCERS)}")
    filters: dict[str, str] = {}
    if "revision" in args:
        filters["resource.labels.revision_name"] = check_revision_id(args["revision"])
    for name, text in labels.items():
        filters[LABEL_PREFIX + check_metric_label(name.removeprefix(LABEL_PREFIX))] = text
    return _Query(
        service=parse_service_name(args["name"]),
        metric=metric,
        window_s=window_s,
        period_s=period_s,
        aligner=aligner,
        reducer=reducer,
        labels=filters,
    )


def quote(text: str) -> str:
    """Write a text as a filter's string literal, which nothing in it can end."""
    if not text.isprintable() or len(text) > MOST_LABEL_VALUE:
        constraint = f"printable and of at most {MOST_LABEL_VALUE} characters"
        raise InvalidInput.expected("value in a filter", constraint, text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _read_points(page: Mapping[str, Any]) -> Iterator[tuple[int, Decimal]]:
    """Read the points of a page; raise InvalidInput if some may be missing or can't be read."""
    if page.get("executionErrors") or page.get("unreachable"):
        raise InvalidInput("the answer is incomplete: not all of Monitoring could be reached")
    for series in _objects(page.get("timeSeries", [])):
        for point in _objects(series.get("points", [])):
            interval, value = point.get("interval"), point.get("value")
            if not isinstance(interval, dict) or not isinstance(value, dict):
                raise InvalidInput.expected("point", "an interval and a value", sorted(point))
            ended_at = parse_moment(cast("dict[str, Any]", interval).get("endTime"))
            number = _read_value(cast("dict[str, Any]", value))
            if number is not None:
                yield int(ended_at.timestamp()), number


def _objects(value: object) -> list[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(item, dict) for item in items):
        raise InvalidInput("expected timeSeries and points to be lists of objects")
    return cast("list[dict[str, Any]]", items)


def _read_value(value: Mapping[str, Any]) -> Decimal | None:
    """Read a TypedValue; a distribution gives its mean, NaN and an empty one give nothing."""
    match value:
        case {"int64Value": str(text)} if text.removeprefix("-").isdecimal() and text.isascii():
            return Decimal(text)
        case {"doubleValue": "NaN" | "Infinity" | "-Infinity"}:
            return None
        case {"doubleValue": bool()}:
            pass
        case {"doubleValue": int() | float() as number}:
            return Decimal(repr(number))
        case {"boolValue": bool(flag)}:
            return Decimal(int(flag))
        case {"distributionValue": {"count": str(count), **rest}} if count != "0":
            return _read_value({"doubleValue": rest.get("mean", 0)})
        case {"distributionValue": dict()}:
            return None
        case _:
            pass
    raise InvalidInput.expected("value of a point", "a number", sorted(value))


def _summarise(points: Mapping[int, Decimal]) -> dict[str, Json]:
    rows: list[Json] = [[at_s, decimal_text(points[at_s])] for at_s in sorted(points)]
    if not points:
        return {"points": rows}
    return {
        "points": rows,
        "newest": decimal_text(points[max(points)]),
        "least": decimal_text(min(points.values())),
        "most": decimal_text(max(points.values())),
    }
