from __future__ import annotations

from typing import Any

from trio.testing import MockClock

from autonomics.integrations.google_credential import NoToken
from autonomics.integrations.google_monitoring import GoogleMonitoring
from autonomics.recipes.effector import FactRequest

from .google_end import BEGIN, MONITORING_URL, SERVICE, End, ok, virtual_now

COUNT = "run.googleapis.com/container/instance_count"


def ask(**args: str) -> FactRequest:
    return FactRequest(
        name="course",
        call="monitoring.timeSeries.list",
        args={"name": SERVICE, "metric": COUNT, "window_s": "3600", **args},
        timeout_s=3,
        max_age_s=60,
    )


def monitoring(end: End) -> GoogleMonitoring:
    return GoogleMonitoring(
        end.client(), base_url=MONITORING_URL, tokens=NoToken(), clock=virtual_now
    )


def point(at: str, **value: Any) -> dict[str, Any]:
    return {"interval": {"startTime": at, "endTime": at}, "value": value}


async def test_points_come_ascending_as_decimals_with_what_stands_out(
    autojump_clock: MockClock,
) -> None:
    points = [
        point("2026-03-02T09:00:00Z", doubleValue=0.1),
        point("2026-03-02T08:55:00Z", doubleValue=3),
        point("2026-03-02T08:50:00Z", doubleValue=2.50),
    ]
    end = End(ok({"timeSeries": [{"points": points}]}))
    fact = await monitoring(end).read(ask())
    now_s = int(BEGIN.timestamp())
    assert fact.error is None
    assert fact.value == {
        "points": [[now_s - 600, "2.5"], [now_s - 300, "3"], [now_s, "0.1"]],
        "newest": "0.1",
        "least": "0.1",
        "most": "3",
    }
    assert fact.read_at == BEGIN
