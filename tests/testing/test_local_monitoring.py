from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import InvalidInput
from autonomics.testing.local_monitoring import MEMORY

from .cloud_client import BEGIN, NAME, Caller, call_cloud

PATH = "/v3/projects/shop/timeSeries"
INSTANCES = "run.googleapis.com/container/instance_count"
STARTUP = "run.googleapis.com/container/startup_latencies"
REQUESTS = "run.googleapis.com/request_count"
OTHER = NAME.replace("checkout", "search")


def wanted(metric: str, more: str = "") -> str:
    return f'metric.type = "{metric}" AND resource.type="cloud_run_revision"{more}'


def query(
    metric: str, more: str = "", *, window_s: int = 3600, at_s: int = 0, **others: str
) -> dict[str, str]:
    end = BEGIN + timedelta(seconds=at_s)
    return {
        "filter": wanted(metric, more),
        "interval.startTime": (end - timedelta(seconds=window_s)).isoformat(),
        "interval.endTime": end.isoformat(),
        **others,
    }


def aligned(
    metric: str, aligner: str, period_s: int = 60, window_s: int = 3600, **more: str
) -> dict[str, str]:
    aggregation = {
        "aggregation.alignmentPeriod": f"{period_s}s",
        "aggregation.perSeriesAligner": aligner,
    }
    reduction = {f"aggregation.{name}": text for name, text in more.items()}
    return {**query(metric, window_s=window_s), **aggregation, **reduction}


async def ask(caller: Caller, params: dict[str, str]) -> list[Any]:
    page = await caller.get(PATH, **params)
    return list(page.get("timeSeries", []))


def values(series: dict[str, Any]) -> list[Any]:
    return [next(iter(point["value"].values())) for point in series["points"]]


async def test_points_come_typed_and_the_newest_first() -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [1, 2, 4], labels={"state": "active"})

    [series] = await ask(caller, query(INSTANCES))

    assert series["metric"] == {"type": INSTANCES, "labels": {"state": "active"}}
    assert series["resource"]["labels"]["service_name"] == "checkout"
    assert series["resource"]["labels"]["revision_name"].startswith("checkout-00001-")
    assert (series["metricKind"], series["valueType"], series["unit"]) == ("GAUGE", "INT64", "1")
    assert values(series) == ["4", "2", "1"]
    assert series["points"][0]["interval"] == {
        "startTime": "2026-03-01T12:00:00Z",
        "endTime": "2026-03-01T12:00:00Z",
    }


async def test_memory_is_a_distribution_that_is_flat_unless_it_is_set() -> None:
    caller = call_cloud()
    [flat] = await ask(caller, query(MEMORY, window_s=21600))
    caller.cloud.set_memory_course(NAME, ["0.4", "0.5"])

    [course] = await ask(caller, query(MEMORY, window_s=21600))

    assert {found["mean"] for found in values(flat)} == {0.6}
    assert [found["mean"] for found in values(course)] == [0.5, 0.4]
    assert sum(int(count) for count in values(course)[0]["bucketCounts"]) == 1
    assert (course["metricKind"], course["valueType"]) == ("DELTA", "DISTRIBUTION")


async def test_a_course_goes_on_with_its_last_value(autojump_clock: MockClock) -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [1, 3])
    await trio.sleep(150)

    [series] = await ask(caller, query(INSTANCES, at_s=150))

    assert values(series) == ["3", "3", "3", "1"]
    assert series["points"][0]["interval"]["endTime"] == "2026-03-01T12:02:00Z"


async def test_an_interval_holds_its_end_and_not_its_start() -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [1, 2, 3])

    [series] = await ask(caller, query(INSTANCES, window_s=60))
    instant = await ask(
        caller, {"filter": wanted(INSTANCES), "interval.endTime": BEGIN.isoformat()}
    )

    assert values(series) == ["3"]
    assert values(instant[0]) == ["3"]


async def test_nothing_has_been_measured_of_the_future(autojump_clock: MockClock) -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [1, 2])

    [series] = await ask(caller, query(INSTANCES, at_s=600))

    assert values(series) == ["2", "1"]


async def test_a_filter_chooses_by_labels() -> None:
    caller = call_cloud()
    caller.cloud.add_service(OTHER)
    caller.cloud.set_course(NAME, INSTANCES, [1], labels={"state": "active"})
    caller.cloud.set_course(NAME, INSTANCES, [2], labels={"state": "idle"})
    caller.cloud.set_course(OTHER, INSTANCES, [3], labels={"state": "idle"})

    async def found(more: str) -> list[str]:
        return [values(each)[0] for each in await ask(caller, query(INSTANCES, more))]

    assert await found("") == ["1", "2", "3"]
    assert await found(' AND metric.labels.state = "idle"') == ["2", "3"]
    assert await found(' resource.label.service_name="search"') == ["3"]
    assert await found(' AND resource.labels.location="us-east1"') == []
    assert await found(' AND resource.labels.service_name="a\\"b"') == []
    assert await caller.get("/v3/projects/other/timeSeries", **query(INSTANCES)) == {}


async def test_answers_come_in_pages() -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [1, 2], labels={"state": "active"})
    caller.cloud.set_course(NAME, INSTANCES, [3, 4], labels={"state": "idle"})

    params = query(INSTANCES, pageSize="3")
    first = await caller.get(PATH, **params)
    second = await caller.get(PATH, **params, pageToken=first["nextPageToken"])

    assert [values(each) for each in first["timeSeries"]] == [["2", "1"], ["4"]]
    assert [values(each) for each in second["timeSeries"]] == [["3"]]
    assert "nextPageToken" not in second
    heads = await ask(caller, query(INSTANCES, view="HEADERS"))
    assert [("points" in each) for each in heads] == [False, False]


@pytest.mark.parametrize(
    ("metric", "course", "aligner", "expected"),
    [
        (INSTANCES, [1, 2, 6], "ALIGN_MAX", [6]),
        (INSTANCES, [1, 2, 6], "ALIGN_MIN", [1]),
        (INSTANCES, [1, 2, 6], "ALIGN_MEAN", [3.0]),
        (INSTANCES, [1, 2, 6], "ALIGN_SUM", [9]),
        (INSTANCES, [1, 2, 6], "ALIGN_COUNT", [3]),
        (INSTANCES, [1, 2, 6], "ALIGN_NEXT_OLDER", [6]),
        (REQUESTS, [30, 60, 90], "ALIGN_DELTA", [180]),
        (REQUESTS, [30, 60, 90], "ALIGN_RATE", [1.0]),
        (STARTUP, [[100, 200], [300], [9000]], "ALIGN_PERCENTILE_95", [9000.0]),
        (STARTUP, [[100, 200], [300], [9000]], "ALIGN_PERCENTILE_50", [200.0]),
        (STARTUP, [[100, 200], [300], [9000]], "ALIGN_PERCENTILE_05", [100.0]),
    ],
)
async def test_an_aligner_makes_one_value_a_period(
    metric: str, course: list[Any], aligner: str, expected: list[float]
) -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, metric, course)

    [series] = await ask(caller, aligned(metric, aligner, period_s=180))

    assert [float(value) for value in values(series)] == expected
    assert series["points"][0]["interval"]["endTime"] == "2026-03-01T12:00:00Z"


async def test_periods_end_with_the_interval() -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, REQUESTS, [1, 2, 3, 4, 5])

    [series] = await ask(caller, aligned(REQUESTS, "ALIGN_SUM", period_s=120))

    assert values(series) == ["9", "5", "1"]
    assert [point["interval"]["endTime"] for point in series["points"]] == [
        "2026-03-01T12:00:00Z",
        "2026-03-01T11:58:00Z",
        "2026-03-01T11:56:00Z",
    ]


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("REDUCE_SUM", "6"),
        ("REDUCE_MAX", "4"),
        ("REDUCE_MIN", "2"),
        ("REDUCE_MEAN", 3.0),
        ("REDUCE_STDDEV", 1.0),
        ("REDUCE_COUNT", "2"),
        ("REDUCE_PERCENTILE_99", 4.0),
    ],
)
async def test_a_reducer_makes_one_series_of_several(reducer: str, expected: Any) -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, INSTANCES, [2], labels={"state": "active"})
    caller.cloud.set_course(NAME, INSTANCES, [4], labels={"state": "idle"})

    [series] = await ask(caller, aligned(INSTANCES, "ALIGN_MAX", crossSeriesReducer=reducer))

    assert values(series) == [expected]
    assert series["metric"] == {"type": INSTANCES}
    assert series["resource"] == {"type": "cloud_run_revision"}


async def test_distributions_are_merged_and_reduced() -> None:
    caller = call_cloud()
    caller.cloud.set_course(NAME, STARTUP, [[1000, 2000], [9000]], labels={"zone": "a"})

    delta = aligned(STARTUP, "ALIGN_DELTA", period_s=120)
    [merged] = await ask(caller, delta)
    [mean] = await ask(caller, {**delta, "aggregation.crossSeriesReducer": "REDUCE_MEAN"})
    [count] = await ask(caller, {**delta, "aggregation.crossSeriesReducer": "REDUCE_COUNT"})
    [summed] = await ask(caller, {**delta, "aggregation.crossSeriesReducer": "REDUCE_SUM"})

    assert (values(merged)[0]["count"], values(merged)[0]["mean"]) == ("3", 4000.0)
    assert values(mean) == [4000.0]
    assert values(count) == ["1"]
    assert values(summed) == values(merged)


async def test_groups_are_kept_apart() -> None:
    caller = call_cloud()
    caller.cloud.add_service(OTHER)
    for name, count in ((NAME, 2), (OTHER, 5)):
        caller.cloud.set_course(name, INSTANCES, [count], labels={"state": "active"})

    found = await ask(
        caller,
        aligned(
            INSTANCES,
            "ALIGN_MAX",
            crossSeriesReducer="REDUCE_SUM",
            groupByFields="resource.label.service_name",
        ),
    )

    assert [(each["resource"]["labels"], values(each)) for each in found] == [
        ({"service_name": "checkout"}, ["2"]),
        ({"service_name": "search"}, ["5"]),
    ]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"filter": ""}, 400, "one metric type"),
        ({"filter": 'resource.type="cloud_run_revision"'}, 400, "one metric type"),
        ({"filter": 'metric.type="run.googleapis.com/none"'}, 404, "Cannot find metric"),
        ({"filter": wanted(INSTANCES, " AND")}, 400, "ends in AND"),
        ({"filter": wanted(INSTANCES, " OR x")}, 400, "Could not parse"),
        ({"filter": wanted(INSTANCES, ' AND resource.labels.x != "y"')}, 400, "Could not parse"),
        ({"filter": wanted(INSTANCES, f' AND metric.type="{MEMORY}"')}, 400, "given twice"),
        ({"filter": f'metric.type="{MEMORY}" resource.type="global"'}, 400, "resource"),
        ({"interval.endTime": ""}, 400, "interval"),
        ({"interval.startTime": "2027-01-01T00:00:00Z"}, 400, "after the end"),
        ({"orderBy": "points"}, 400, "order_by"),
        ({"pageSize": "-1"}, 400, "pageSize"),
        ({"pageToken": "x"}, 400, "pageToken"),
        ({"view": "SHORT"}, 400, "view"),
        ({"metric": MEMORY}, 400, 'Unknown name "metric"'),
        ({"aggregation.crossSeriesReducer": "REDUCE_SUM"}, 400, "needs an aligner"),
        ({"aggregation.perSeriesAligner": "ALIGN_MAX"}, 400, "at least 60s"),
        ({"aggregation.alignmentPeriod": "1m"}, 400, "alignmentPeriod"),
        (aligned(MEMORY, "ALIGN_MEAN"), 400, "not valid"),
        (aligned(INSTANCES, "ALIGN_RATE"), 400, "not valid"),
        (aligned(INSTANCES, "ALIGN_PERCENTILE_99"), 400, "not valid"),
        (aligned(INSTANCES, "ALIGN_INTERPOLATE"), 400, "none of this"),
        (aligned(INSTANCES, "ALIGN_MAX", crossSeriesReducer="REDUCE_BEST"), 400, "none of this"),
        (aligned(MEMORY, "ALIGN_DELTA", crossSeriesReducer="REDUCE_MAX"), 400, "not valid"),
        (
            aligned(
                INSTANCES, "ALIGN_MAX", crossSeriesReducer="REDUCE_SUM", groupByFields="project"
            ),
            400,
            "no label",
        ),
    ],
)
async def test_what_monitoring_would_refuse_is_refused(
    change: dict[str, str], status: int, message: str
) -> None:
    caller = call_cloud(takes_any_request=True)
    caller.cloud.set_course(NAME, INSTANCES, [1])

    found = await caller.refusal(PATH, **{**query(INSTANCES), **change})

    assert found[0] == status
    assert message in found[2]


async def test_an_interval_has_an_end() -> None:
    caller = call_cloud()

    status, _, message = await caller.refusal(PATH, filter=wanted(INSTANCES))

    assert (status, "required" in message) == (400, True)


async def test_a_course_that_can_not_be_is_an_error_of_the_test() -> None:
    cloud = call_cloud().cloud

    with pytest.raises(InvalidInput, match="expected metric"):
        cloud.set_course(NAME, "none", [1])
    with pytest.raises(InvalidInput, match="expected values"):
        cloud.set_course(NAME, INSTANCES, [[1, 2]])
    with pytest.raises(InvalidInput, match="expected service"):
        cloud.set_course(OTHER, INSTANCES, [1])
