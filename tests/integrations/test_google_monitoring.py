from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomics.errors import InvalidInput
from autonomics.integrations.google_credential import NoToken
from autonomics.integrations.google_monitoring import (
    DISTRIBUTIONS,
    MOST_PAGES,
    MOST_POINTS,
    NAMED_REDUCERS,
    REDUCERS,
    GoogleMonitoring,
    quote,
)
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.slope import slope_per_hour
from autonomics.testing.discovery import load_document
from autonomics.testing.local_series import METRICS

from .google_end import BEGIN, MONITORING_URL, SERVICE, End, Hang, ok, refusal, virtual_now

COUNT = "run.googleapis.com/container/instance_count"
MEMORY = "run.googleapis.com/container/memory/utilizations"
NOW_S = int(BEGIN.timestamp())
FILTER = (
    f'metric.type = "{COUNT}" AND resource.type = "cloud_run_revision"'
    ' AND resource.labels.location = "europe-west1"'
    ' AND resource.labels.service_name = "checkout"'
)


def ask(**args: str) -> FactRequest:
    return FactRequest(
        name="course",
        call="monitoring.timeSeries.list",
        args={"name": SERVICE, "metric": COUNT, "window_s": "3600", **args},
        timeout_s=3,
        max_age_s=60,
    )


async def read(end: End, **args: str) -> Fact:
    monitoring = GoogleMonitoring(
        end.client(), base_url=MONITORING_URL, tokens=NoToken(), clock=virtual_now
    )
    return await monitoring.read(ask(**args))


def point(at: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"interval": {"startTime": at, "endTime": at}, "value": value}


def page(*points: dict[str, Any], **more: Any) -> httpx2.Response:
    return ok({"timeSeries": [{"points": list(points)}], **more})


async def test_points_come_ascending_as_decimals_with_what_stands_out(
    autojump_clock: MockClock,
) -> None:
    end = End(
        page(
            point("2026-03-02T09:00:00Z", {"doubleValue": 2.25}),
            point("2026-03-02T08:55:00Z", {"doubleValue": 3}),
            point("2026-03-02T08:50:00.123456789Z", {"doubleValue": 2.50}),
        )
    )
    fact = await read(end)
    assert fact.error is None
    assert fact.value == {
        "points": [[NOW_S - 600, "2.5"], [NOW_S - 300, "3"], [NOW_S, "2.25"]],
        "newest": "2.25",
        "least": "2.25",
        "most": "3",
    }
    assert fact.read_at == BEGIN
    assert isinstance(fact.value, dict)
    assert slope_per_hour(fact.value["points"]) is not None


async def test_the_question_names_service_interval_and_one_series(
    autojump_clock: MockClock,
) -> None:
    end = End(ok({}))
    fact = await read(end)
    assert end.requests[0].url.path == "/v3/projects/shop/timeSeries"
    assert end.query(0) == {
        "filter": FILTER,
        "interval.startTime": "2026-03-02T08:00:00Z",
        "interval.endTime": "2026-03-02T09:00:00Z",
        "aggregation.alignmentPeriod": "300s",
        "aggregation.perSeriesAligner": "ALIGN_MEAN",
        "aggregation.crossSeriesReducer": "REDUCE_MEAN",
        "view": "FULL",
        "fields": "timeSeries(points),nextPageToken,executionErrors,unreachable",
    }
    assert fact.value == {"points": []}


async def test_all_of_it_may_be_said(autojump_clock: MockClock) -> None:
    end = End(ok({}))
    await read(
        end,
        window_s="600",
        period_s="60",
        aligner="ALIGN_MAX",
        reducer="REDUCE_SUM",
        revision="checkout-00041-abc",
        **{"metric.labels.state": 'ac"ti\\ve'},
    )
    query = end.query(0)
    assert query["filter"] == (
        FILTER
        + ' AND resource.labels.revision_name = "checkout-00041-abc"'
        + ' AND metric.labels.state = "ac\\"ti\\\\ve"'
    )
    assert query["interval.startTime"] == "2026-03-02T08:50:00Z"
    assert query["aggregation.alignmentPeriod"] == "60s"
    assert query["aggregation.perSeriesAligner"] == "ALIGN_MAX"
    assert query["aggregation.crossSeriesReducer"] == "REDUCE_SUM"


@pytest.mark.parametrize(
    ("args", "aligner", "reducer"),
    [
        ({"metric": MEMORY}, "ALIGN_DELTA", "REDUCE_MEAN"),
        (
            {"metric": MEMORY, "reducer": "REDUCE_PERCENTILE_99"},
            "ALIGN_DELTA",
            "REDUCE_PERCENTILE_99",
        ),
        ({"metric": MEMORY, "aligner": "ALIGN_PERCENTILE_99"}, "ALIGN_PERCENTILE_99", "REDUCE_MAX"),
        ({"aligner": "ALIGN_RATE"}, "ALIGN_RATE", "REDUCE_SUM"),
        ({"aligner": "ALIGN_MIN"}, "ALIGN_MIN", "REDUCE_MIN"),
    ],
)
async def test_where_nobody_says_the_series_become_one_in_the_way_of_the_metric(
    args: dict[str, str], aligner: str, reducer: str, autojump_clock: MockClock
) -> None:
    end = End(ok({}))
    await read(end, **args)
    assert end.query(0)["aggregation.perSeriesAligner"] == aligner
    assert end.query(0)["aggregation.crossSeriesReducer"] == reducer


VALUES: list[tuple[dict[str, Any], str | None]] = [
    ({"int64Value": "-7"}, "-7"),
    ({"doubleValue": 1e-7}, "0.0000001"),
    ({"doubleValue": 0.30000000000000004}, "0.30000000000000004"),
    ({"doubleValue": -0.0}, "0"),
    ({"doubleValue": "NaN"}, None),
    ({"doubleValue": "Infinity"}, None),
    ({"boolValue": True}, "1"),
    ({"distributionValue": {"count": "2", "mean": 0.25, "bucketCounts": ["2"]}}, "0.25"),
    ({"distributionValue": {"count": "2"}}, "0"),
    ({"distributionValue": {"count": "0"}}, None),
    ({"distributionValue": {}}, None),
]


@pytest.mark.parametrize(("value", "text"), VALUES)
async def test_a_value_of_each_kind_is_read(
    value: dict[str, Any], text: str | None, autojump_clock: MockClock
) -> None:
    fact = await read(End(page(point("2026-03-02T09:00:00Z", value))))
    assert fact.error is None
    assert isinstance(fact.value, dict)
    assert fact.value["points"] == ([] if text is None else [[NOW_S, text]])


async def test_pages_are_followed(autojump_clock: MockClock) -> None:
    first = page(point("2026-03-02T09:00:00Z", {"int64Value": "2"}), nextPageToken="a&b=c")
    end = End(first, page(point("2026-03-02T08:55:00Z", {"int64Value": "1"})))
    fact = await read(end)
    assert isinstance(fact.value, dict)
    assert fact.value["points"] == [[NOW_S - 300, "1"], [NOW_S, "2"]]
    assert end.query(1) == {**end.query(0), "pageToken": "a&b=c"}


ONE = point("2026-03-02T09:00:00Z", {"int64Value": "1"})
MANY = [
    {"interval": {"endTime": f"2026-03-02T{h:02}:{m:02}:{s:02}Z"}, "value": {"int64Value": "1"}}
    for h in range(1)
    for m in range(60)
    for s in range(60)
]
ANSWERS: list[tuple[list[Any], str]] = [
    ([refusal(403, "PERMISSION_DENIED", "no")], "403 PERMISSION_DENIED: no"),
    ([httpx2.ConnectError("")], "no connection to monitoring.googleapis.com: connect error"),
    ([Hang()], "no answer within 3 s"),
    ([page(ONE, nextPageToken="x"), Hang()], "no answer within 3 s"),
    ([page(ONE, ONE)], f"expected one value for each moment, got two for {NOW_S}"),
    ([page(*MANY)], f"expected at most {MOST_POINTS} points, got more"),
    ([page(nextPageToken="x")] * MOST_PAGES, f"expected at most {MOST_PAGES} pages, got more"),
    ([ok({"executionErrors": [{"code": 4}]})], "the answer is incomplete: not all of Monitoring"),
    ([ok({"unreachable": ["r"]})], "the answer is incomplete: not all of Monitoring"),
    ([ok({"timeSeries": {}})], "expected timeSeries and points to be lists of objects"),
    ([ok({"timeSeries": [{"points": [1]}]})], "expected timeSeries and points to be lists of"),
    ([page({"value": {}})], "expected point to be an interval and a value, got ['value']"),
    ([page(point("now", {"int64Value": "1"}))], "expected moment to be RFC 3339"),
    (
        [page(point("2026-03-02T09:00:00Z", {"stringValue": "x"}))],
        "expected value of a point to be",
    ),
    (
        [page(point("2026-03-02T09:00:00Z", {"int64Value": "1e5"}))],
        "expected value of a point to be",
    ),
    (
        [page(point("2026-03-02T09:00:00Z", {"doubleValue": True}))],
        "expected value of a point to be",
    ),
    ([page(point("2026-03-02T09:00:00Z", {}))], "expected value of a point to be a number, got []"),
]


@pytest.mark.parametrize(("answers", "error"), ANSWERS)
async def test_a_course_that_can_not_be_read_says_why(
    answers: list[Any], error: str, autojump_clock: MockClock
) -> None:
    fact = await read(End(*answers))
    assert fact.value is None
    assert (fact.error or "").startswith(error)
    assert trio.current_time() <= 3


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (
            {"metric": "cpu"},
            "expected metric to be a type such as run.googleapis.com/request_count",
        ),
        ({"metric": 'a/b" OR metric.type = "c'}, "expected metric to be a type"),
        ({"window_s": "299"}, "expected window_s to be an integer from 300 to 600000, got '299'"),
        ({"window_s": "600001"}, "expected window_s to be an integer from 300 to 600000"),
        ({"window_s": "-1"}, "expected window_s to be an integer"),
        ({"window_s": "9999999999"}, "expected window_s to be an integer"),
        ({"period_s": "59"}, "expected period_s to be an integer from 60 to 3628800, got '59'"),
        ({"aligner": "ALIGN_MAEN"}, "unknown aligner 'ALIGN_MAEN' (did you mean ALIGN_MEAN?)"),
        ({"aligner": "ALIGN_NONE"}, "unknown aligner 'ALIGN_NONE'"),
        ({"reducer": "REDUCE_NONE"}, "unknown reducer 'REDUCE_NONE'"),
        ({"revision": "a/b"}, "expected revision to be lower-case letters, digits and hyphens"),
        ({"metric.labels.a b": "x"}, "expected metric label to be lower-case letters"),
        ({"metric.labels.": "x"}, "expected metric label to be lower-case letters"),
        ({"metric.labels.a": "x\ny"}, "expected value in a filter to be printable and of at most"),
        ({"metric.labels.a": "x" * 257}, "expected value in a filter to be printable and of at"),
        ({"window": "60"}, "unknown argument 'window' (did you mean window_s?) of monitoring.time"),
    ],
)
async def test_a_question_that_makes_no_sense_is_not_sent(args: dict[str, str], error: str) -> None:
    end = End()
    fact = await read(end, **args)
    assert (fact.error or "").startswith(error)
    assert end.requests == []


async def test_an_unknown_call_is_told() -> None:
    monitoring = GoogleMonitoring(
        End().client(), base_url=MONITORING_URL, tokens=NoToken(), clock=virtual_now
    )
    request = FactRequest(
        name="x", call="monitoring.timeseries.list", args={}, timeout_s=1, max_age_s=1
    )
    error = (await monitoring.read(request)).error
    assert error == (
        "unknown call 'monitoring.timeseries.list' (did you mean monitoring.timeSeries.list?)"
    )


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_value_ends_its_literal(text: str) -> None:
    try:
        literal = quote(text)
    except InvalidInput:
        assert not text.isprintable()
        return
    # Printable text is escaped in a filter as in JSON.
    assert json.loads(literal) == text


def test_aligners_and_reducers_are_the_apis() -> None:
    method = load_document("monitoring.v3").find("GET", "/v3/projects/p/timeSeries").document
    parameters = method["parameters"]
    aligners = set(parameters["aggregation.perSeriesAligner"]["enum"])
    reducers = set(parameters["aggregation.crossSeriesReducer"]["enum"])
    assert REDUCERS.keys() <= aligners
    assert {*NAMED_REDUCERS, *REDUCERS.values()} <= reducers


def test_the_distributions_are_those_that_the_local_cloud_knows_too() -> None:
    known = {name for name, metric in METRICS.items() if metric.value_type == "DISTRIBUTION"}
    assert {name for name in METRICS if name in DISTRIBUTIONS} == known
