"""The adapters against the stateful local cloud; all that passes is held to the documents."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from autonomics.errors import EffectFailed, EffectUnknown
from autonomics.integrations.google_api import open_client
from autonomics.integrations.google_credential import NoToken, TokenSource
from autonomics.integrations.google_monitoring import GoogleMonitoring
from autonomics.integrations.google_run import GoogleRun
from autonomics.recipes.effector import FactRequest, PlannedCall
from autonomics.testing.cloud_fault import Conflict, Fail, Fault, Hang, Late, Lost
from autonomics.testing.discovery import load_document
from autonomics.testing.discovery_transport import CheckedTransport
from autonomics.testing.local_cloud import LocalCloud

from .google_end import MEMORY, MOST, PATCH, SERVICE, FixedToken, virtual_now

MEMORY_METRIC = "run.googleapis.com/container/memory/utilizations"
ENV = {"API_KEY": "hunter2-hunter2"}


@attrs.frozen
class World:
    cloud: LocalCloud
    run: GoogleRun
    monitoring: GoogleMonitoring

    async def read(self, call: str, name: str = SERVICE, **args: str) -> Any:
        reader = self.run if call.startswith("run.") else self.monitoring
        request = FactRequest(
            name="fact", call=call, args={"name": name, **args}, timeout_s=3, max_age_s=30
        )
        fact = await reader.read(request)
        return fact.error if fact.value is None else fact.value

    async def plan(self, **changes: Any) -> PlannedCall:
        return evolve(PATCH, etag=(await self.read("run.services.get"))["etag"], **changes)


def world(tokens: TokenSource | None = None) -> World:
    cloud = LocalCloud(virtual_now)
    cloud.add_service(SERVICE, env=ENV)
    documents = (load_document("run.v2"), load_document("monitoring.v3"))
    client = open_client(CheckedTransport(cloud.transport(), *documents))
    tokens = tokens or NoToken()
    run = GoogleRun(client, base_url="http://run.local", tokens=tokens, clock=virtual_now)
    monitoring = GoogleMonitoring(
        client, base_url="http://monitoring.local", tokens=tokens, clock=virtual_now
    )
    return World(cloud, run, monitoring)


async def test_an_act_changes_its_paths_alone_and_a_roll_back_restores_them(
    autojump_clock: MockClock,
) -> None:
    of = world()
    before = of.cloud.service(SERVICE)["template"]
    planned = await of.plan(validate_only_first=True)
    result = await of.run.call(planned)
    assert str(result.detail["operation"]).startswith("projects/shop/locations/")
    assert of.cloud.memory_of(SERVICE) == "1Gi"
    assert of.cloud.validations == 1
    assert await of.run.read_back(planned) == "applied"
    undo = evolve(planned, set=planned.before, before=planned.set, etag=None)
    await of.run.call(undo)
    after = of.cloud.service(SERVICE)["template"]
    assert after == before
    assert after["containers"][0]["env"] == [{"name": "API_KEY", "value": ENV["API_KEY"]}]
    assert len(of.cloud.effects) == 2


@pytest.mark.parametrize(
    ("call", "fault", "kind", "text"),
    [
        ("run.services.get", Fail("503"), EffectFailed, "503 UNAVAILABLE: "),
        ("run.services.get", Lost(), EffectFailed, "no answer from run.local: remote protocol"),
        ("run.services.validate", Fail("500"), EffectFailed, "500 INTERNAL: "),
        ("run.services.validate", Lost(has_effect=False), EffectFailed, "no answer from run.local"),
        ("run.services.patch", Conflict(), EffectFailed, "409 ABORTED: "),
        ("run.services.patch", Fail("403"), EffectFailed, "403 PERMISSION_DENIED: "),
        ("run.services.patch", Fail("412"), EffectFailed, "412 FAILED_PRECONDITION: "),
        (
            "run.services.patch",
            Fail("429", retry_after_s=7),
            EffectFailed,
            "429 RESOURCE_EXHAUSTED: .*\\(retry after 7 s\\)$",
        ),
        ("run.services.patch", Fail("503"), EffectUnknown, "503 UNAVAILABLE: "),
        ("run.services.patch", Lost(has_effect=False), EffectUnknown, "no answer from run.local"),
    ],
)
async def test_a_fault_without_effect_is_told_and_read_back_as_not_applied(
    call: str, fault: Fault, kind: type[Exception], text: str, autojump_clock: MockClock
) -> None:
    of = world()
    planned = await of.plan(validate_only_first=True)
    of.cloud.script(call, fault)
    with pytest.raises(EffectFailed) as caught:
        await of.run.call(planned)
    assert caught.type is kind
    assert re.match(text, str(caught.value))
    assert of.cloud.effects == []
    assert await of.run.read_back(planned) == "not_applied"


async def test_an_answer_lost_after_the_effect_is_unknown_until_it_is_read_back(
    autojump_clock: MockClock,
) -> None:
    of = world()
    planned = await of.plan()
    of.cloud.script("run.services.patch", Lost())
    with pytest.raises(EffectUnknown, match="no answer from"):
        await of.run.call(planned)
    assert await of.run.read_back(planned) == "applied"
    assert len(of.cloud.effects) == 1


async def test_an_effect_that_never_answers_is_read_back_after_the_deadline(
    autojump_clock: MockClock,
) -> None:
    of = world()
    planned = await of.plan()
    of.cloud.script("run.services.patch", Hang())
    with pytest.raises(trio.TooSlowError), trio.fail_after(20):
        await of.run.call(planned)
    assert await of.run.read_back(planned) == "applied"
    of.cloud.script("read_back", Hang())
    with trio.move_on_after(10):
        assert await of.run.read_back(planned) == "applied"


async def test_a_client_that_waits_long_enough_sees_a_late_answer(
    autojump_clock: MockClock,
) -> None:
    of = world()
    planned = await of.plan()
    of.cloud.script("run.services.patch", Late(20))
    await of.run.call(planned)
    assert trio.current_time() == 20
    of.cloud.script("run.services.patch", Late(70))
    undo = evolve(planned, set=planned.before, before=planned.set, etag=None)
    with pytest.raises(EffectUnknown, match=r"no answer from run\.local: read timeout"):
        await of.run.call(undo)
    assert trio.current_time() == 20 + undo.timeout_s


async def test_a_change_of_somebody_else_stands(autojump_clock: MockClock) -> None:
    of = world()
    planned = await of.plan()
    of.cloud.change_elsewhere(SERVICE, MEMORY, "2Gi")
    with pytest.raises(EffectFailed, match="conflict: expected etag"):
        await of.run.call(planned)
    assert await of.run.read_back(planned) == "unknown"
    undo = evolve(planned, set=planned.before, before=planned.set, etag=None)
    with pytest.raises(EffectFailed, match="conflict: "):
        await of.run.call(undo)
    assert of.cloud.memory_of(SERVICE) == "2Gi"


async def test_a_change_between_reading_and_patching_is_refused_by_the_etag(
    autojump_clock: MockClock,
) -> None:
    of = world()
    planned = await of.plan()
    of.cloud.script("run.services.patch", Late(5))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def interfere() -> None:
            await trio.sleep(1)
            of.cloud.change_elsewhere(SERVICE, "labels.team", "web")

        with pytest.raises(EffectFailed, match="409 ABORTED"):
            await of.run.call(planned)
    assert of.cloud.memory_of(SERVICE) == "512Mi"


async def test_instances_and_traffic_are_changed_too(autojump_clock: MockClock) -> None:
    of = world()
    more = await of.plan(set={MOST: 150}, mask=(MOST,), before={MOST: 100})
    await of.run.call(more)
    assert of.cloud.service(SERVICE)["template"]["scaling"]["maxInstanceCount"] == 150
    newest, oldest = (await of.read("run.revisions.list"))["revisions"]
    back = {
        "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
        "revision": oldest["id"],
        "percent": 100,
    }
    old: Any = of.cloud.service(SERVICE).get("traffic", [])
    away = await of.plan(set={"traffic": [back]}, mask=("traffic",), before={"traffic": old})
    await of.run.call(away)
    assert of.cloud.shares_of(SERVICE) == {oldest["id"]: 100}
    assert await of.run.read_back(away) == "applied"
    await of.run.call(evolve(away, set=away.before, before=away.set, etag=None))
    assert of.cloud.shares_of(SERVICE) == {newest["id"]: 100}


async def test_facts_are_read_and_show_no_env(autojump_clock: MockClock) -> None:
    of = world()
    service = await of.read("run.services.get")
    assert service["template"]["containers"][0]["image"] == "local"
    assert ENV["API_KEY"] not in repr(service)
    (row,) = (await of.read("run.revisions.list", page_size="1"))["revisions"]
    assert row["ready"] is True
    assert await of.read("run.revisions.get", row["name"]) == row
    of.cloud.set_memory_course(SERVICE, ["0.5", "0.6", "0.75"], step_s=600)
    course = await of.read(
        "monitoring.timeSeries.list", metric=MEMORY_METRIC, window_s="3600", period_s="600"
    )
    assert [value for _, value in course["points"]] == ["0.5", "0.6", "0.75"]


async def test_an_expired_token_is_dropped_and_told(autojump_clock: MockClock) -> None:
    tokens = FixedToken()
    of = world(tokens)
    of.cloud.demand_token("another")
    assert (await of.read("run.services.get")).startswith("401 UNAUTHENTICATED: ")
    assert tokens.dropped == [tokens.text]
