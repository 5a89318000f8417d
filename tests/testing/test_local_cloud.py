from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from attrs import evolve

from autonomics.errors import EffectFailed, EffectUnknown, InvalidInput
from autonomics.recipes import (
    Decision,
    FactRequest,
    History,
    PlannedCall,
    decide,
    needed_facts,
    normalise,
)
from autonomics.testing.decision_stage import open_decision_stage
from autonomics.testing.local_cloud import Conflict, Fail, Hang, Late, LocalCloud, Lost

NAME = "projects/shop/locations/europe-west1/services/checkout"
MEMORY = "template.containers.0.resources.limits.memory"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def clock() -> datetime:
    return BEGIN + timedelta(seconds=trio.current_time())


def cloud(reconcile_s: float = 0.0) -> LocalCloud:
    made = LocalCloud(clock, reconcile_s=reconcile_s)
    made.add_service(NAME)
    return made


def patch(of: LocalCloud, memory: str = "1Gi", key: str = "k") -> PlannedCall:
    return PlannedCall(
        call="run.services.patch",
        resource=NAME,
        set={MEMORY: memory},
        mask=(MEMORY,),
        before={MEMORY: of.memory_of(NAME)},
        etag=str(of.service(NAME)["etag"]),
        idempotency_key=key,
        timeout_s=60,
        validate_only_first=True,
    )


def get(name: str = NAME, call: str = "run.services.get") -> FactRequest:
    return FactRequest(name="service", call=call, args={"name": name}, timeout_s=2, max_age_s=30)


async def test_a_patch_changes_the_service_and_its_etag() -> None:
    of = cloud()
    planned = patch(of)

    result = await of.call(planned)

    assert of.memory_of(NAME) == "1Gi"
    assert of.service(NAME)["generation"] == "2" == result.detail["generation"]
    assert of.service(NAME)["etag"] == result.detail["etag"] != planned.etag
    assert of.validations == 1
    assert [(effect.idempotency_key, dict(effect.set)) for effect in of.effects] == [
        ("k", {MEMORY: "1Gi"})
    ]


async def test_a_patch_with_an_old_etag_conflicts() -> None:
    of = cloud()
    planned = patch(of)
    of.change_elsewhere(NAME, "labels.team", "web")

    with pytest.raises(EffectFailed, match="409 ABORTED"):
        await of.call(planned)
    assert (of.effects, of.memory_of(NAME)) == ([], "512Mi")


async def test_a_repeated_patch_with_its_etag_has_one_effect() -> None:
    of = cloud()
    planned = patch(of)
    await of.call(planned)

    with pytest.raises(EffectFailed, match="409 ABORTED"):
        await of.call(planned)
    assert of.doubled_effects() == {}


async def test_effects_that_happen_twice_are_counted() -> None:
    of = cloud()
    careless = evolve(patch(of), etag=None)

    await of.call(careless)
    await of.call(careless)

    assert of.doubled_effects() == {"k": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": {MEMORY: "64Gi"}}, "400 INVALID_ARGUMENT"),
        ({"set": {MEMORY: "lots"}}, "400 INVALID_ARGUMENT"),
        ({"set": {MEMORY: "8Gi"}}, "needs 2 CPU"),
        ({"mask": ("template.containers",)}, "updateMask"),
        ({"set": {"uid": "x"}, "mask": ("uid",)}, "no field uid"),
        ({"set": {"template.none": "x"}, "mask": ("template.none",)}, "no field template.none"),
        ({"resource": "projects/none"}, "404 NOT_FOUND"),
        ({"call": "run.services.delete"}, "501 UNIMPLEMENTED"),
    ],
)
async def test_a_patch_that_is_not_valid_changes_nothing(
    changes: dict[str, Any], message: str
) -> None:
    of = cloud()

    with pytest.raises(EffectFailed, match=message):
        await of.call(evolve(patch(of), **changes))
    assert of.effects == []
    assert of.service(NAME)["generation"] == "1"


async def test_a_change_is_rolled_out_after_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    of = cloud(reconcile_s=30)
    first = of.service(NAME)["latestReadyRevision"]
    await of.call(patch(of))

    during = of.service(NAME)
    await trio.sleep(30)
    after = of.service(NAME)

    assert during["reconciling"] is True
    assert during["latestReadyRevision"] == first
    assert during["terminalCondition"]["state"] == "CONDITION_RECONCILING"
    assert "reconciling" not in after
    assert after["latestReadyRevision"] == after["latestCreatedRevision"] != first
    assert after["observedGeneration"] == after["generation"] == "2"


async def test_a_late_answer_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    of = cloud()
    of.script("run.services.patch", Late(5))
    began = trio.current_time()

    await of.call(patch(of))

    assert trio.current_time() - began == 5
    assert of.memory_of(NAME) == "1Gi"


@pytest.mark.parametrize(
    ("fault", "error", "has_effect"),
    [
        (Fail(), EffectFailed, False),
        (Conflict(), EffectFailed, False),
        (Lost(), EffectUnknown, True),
        (Lost(has_effect=False), EffectUnknown, False),
    ],
)
async def test_a_scripted_fault_comes_once(
    fault: Fail | Conflict | Lost, error: type[EffectFailed], has_effect: bool
) -> None:
    of = cloud()
    of.script("run.services.patch", fault)
    planned = patch(of)

    with pytest.raises(error) as caught:
        await of.call(planned)

    assert isinstance(caught.value, EffectUnknown) is (error is EffectUnknown)
    assert len(of.effects) == has_effect
    assert await of.read_back(planned) == ("applied" if has_effect else "not_applied")
    await of.call(evolve(planned, etag=None))
    assert of.memory_of(NAME) == "1Gi"


@pytest.mark.parametrize("has_effect", [True, False])
async def test_a_call_that_hangs_is_ended_by_its_deadline(
    has_effect: bool, autojump_clock: trio.testing.MockClock
) -> None:
    of = cloud()
    of.script("run.services.patch", Hang(has_effect=has_effect))

    with trio.move_on_after(60) as deadline:
        await of.call(patch(of))

    assert deadline.cancelled_caught
    assert len(of.effects) == has_effect


async def test_reading_back_what_somebody_else_changed_is_unknown() -> None:
    of = cloud()
    planned = patch(of)
    of.change_elsewhere(NAME, MEMORY, "2Gi")

    assert await of.read_back(planned) == "unknown"
    assert await of.read_back(evolve(planned, resource="projects/none")) == "unknown"


async def test_reading_back_can_fail_and_be_late(autojump_clock: trio.testing.MockClock) -> None:
    of = cloud()
    of.script("read_back", Fail(), Late(3), Hang())
    planned = patch(of)

    assert await of.read_back(planned) == "unknown"
    assert await of.read_back(planned) == "not_applied"
    with trio.move_on_after(5) as deadline:
        await of.read_back(planned)
    assert deadline.cancelled_caught


async def test_a_fact_is_read_with_its_time(autojump_clock: trio.testing.MockClock) -> None:
    of = cloud()
    await trio.sleep(7)

    fact = await of.read(get())

    assert fact.value == of.service(NAME)
    assert fact.read_at == clock()
    assert fact.key == get().key


async def test_a_fact_that_fails_says_why(autojump_clock: trio.testing.MockClock) -> None:
    of = cloud()
    of.script("run.services.get", Hang(), Late(2.5), Fail("503 UNAVAILABLE"), Lost(), Late(1))

    errors = [(await of.read(get())).error for _ in range(5)]

    assert errors == [
        "no answer within 2 s",
        "no answer within 2 s",
        "503 UNAVAILABLE",
        "the connection broke",
        None,
    ]
    assert (await of.read(get("projects/none"))).error == "404 NOT_FOUND: projects/none"
    assert (await of.read(get(call="run.jobs.get"))).error == "unknown call run.jobs.get"
    assert of.requests["run.services.get"] == 6


async def test_a_memory_course_is_flat_unless_it_is_set() -> None:
    of = cloud()
    request = get(call="monitoring.timeSeries.list")
    flat = (await of.read(request)).value
    of.set_memory_course(NAME, ["0.4", "0.5", "0.6"])

    course = (await of.read(request)).value

    assert isinstance(flat, dict)
    assert isinstance(course, dict)
    points = course["points"]
    assert isinstance(points, list)
    assert [point[1] for point in points if isinstance(point, list)] == ["0.4", "0.5", "0.6"]
    assert flat != course


async def test_a_service_that_was_not_added_is_an_error_of_the_test() -> None:
    with pytest.raises(InvalidInput, match="expected service"):
        cloud().memory_of("projects/none")


async def test_kills_of_the_service_end_in_one_patch_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = open_decision_stage()
    of = cloud(reconcile_s=5)
    history = History.empty()
    decisions: list[Decision] = []
    for number in range(3):
        await trio.sleep(60)
        signal = normalise(of.kill_entry(NAME, insert_id=f"i{number}"))
        requests = needed_facts(signal, history, stage.recipes, clock())
        facts = {request.key: await of.read(request) for request in requests}
        decision = decide(signal, facts, history, stage.recipes, stage.policy, clock())
        decisions.append(decision)
        history = stage.after(history, decision)
        if decision.answer == "act" and decision.plan is not None:
            await of.call(decision.plan.calls[0])

    assert [decision.answer for decision in decisions] == ["refuse", "act", "refuse"]
    assert decisions[-1].code == "bounds_exceeded"
    assert (len(of.effects), of.memory_of(NAME)) == (1, "1Gi")
    plan = decisions[1].plan
    assert plan is not None
    await of.call(plan.rollback[0])
    assert of.memory_of(NAME) == "512Mi"
