"""How acts end as the cloud answers them, in receipts: each through the real adapter over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import Decided
from autonomics.testing.cloud_fault import Conflict, Fail, Fault, Hang, Late, Lost
from autonomics.testing.house import House, open_house, payload_of, service_name

PATCH = "run.services.patch"
VALIDATE = "run.services.validate"
ACT_DEADLINE_S = 60.0


async def end_of(house: House) -> dict[str, Any]:
    """Run out of memory, and give the one outcome of the act that follows."""
    decided = await house.run_out_of_memory("acme")
    await trio.sleep(100.0)
    return await outcome_of(house, decided)


async def outcome_of(house: House, decided: Decided) -> dict[str, Any]:
    family = await house.control.related(decided.decision.id)
    [outcome] = [payload_of(view) for view in family if view.kind == "outcome"]
    return outcome


@pytest.mark.parametrize(
    ("call", "fault", "result", "detail"),
    [
        (PATCH, Fail("400"), "failed", "400 INVALID_ARGUMENT"),
        (PATCH, Fail("401"), "failed", "401 UNAUTHENTICATED"),
        (PATCH, Fail("403"), "failed", "403 PERMISSION_DENIED"),
        (PATCH, Fail("404"), "failed", "404 NOT_FOUND"),
        (PATCH, Conflict(), "failed", "409 ABORTED"),
        (PATCH, Fail("412"), "failed", "412 FAILED_PRECONDITION"),
        (PATCH, Fail("429", retry_after_s=30), "failed", "(retry after 30 s)"),
        (PATCH, Fail("500"), "timed_out", "500 INTERNAL"),
        (PATCH, Fail("503"), "timed_out", "503 UNAVAILABLE"),
        (PATCH, Lost(has_effect=False), "timed_out", "read back: not applied"),
        (PATCH, Lost(has_effect=True), "done", "read back: applied"),
        (PATCH, Hang(has_effect=False), "timed_out", "read back: not applied"),
        (PATCH, Hang(has_effect=True), "done", "read back: applied"),
        (PATCH, Late(5.0), "done", ""),
        (VALIDATE, Fail("503"), "failed", "503 UNAVAILABLE"),
        (VALIDATE, Lost(), "failed", "no answer"),
    ],
)
async def test_an_act_ends_as_its_patch_was_answered(
    call: str, fault: Fault, result: str, detail: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script(call, fault)

        outcome = await end_of(house)

        assert (outcome["result"], detail in outcome["detail"]) == (result, True)
        assert len(house.cloud.effects) == (result == "done")
        assert house.cloud.requests[PATCH] <= 1, "what was cut off is never sent again"


async def test_an_act_has_one_deadline_for_all_that_it_sends(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        await trio.sleep(1.0)
        # Facts, and then the version that the patch is made on.
        house.cloud.script("run.services.get", Late(0.0), Late(25.0))
        house.cloud.script(VALIDATE, Late(25.0))
        house.cloud.script(PATCH, Late(25.0, has_effect_first=True))
        decided = await house.say("acme", house.oom("acme", 1))
        await trio.sleep(100.0)

        outcome = await outcome_of(house, decided)
        why = f"gave no answer within {ACT_DEADLINE_S:g} s; read back: applied"
        assert (outcome["result"], why in outcome["detail"]) == ("done", True)


async def test_an_act_on_a_service_that_was_changed_meanwhile_is_a_conflict(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        await trio.sleep(1.0)
        # The plan is made of the first answer; the act finds another version.
        house.cloud.script("run.services.get", Late(0.0), Late(5.0))
        decided = await house.say("acme", house.oom("acme", 1))
        await trio.sleep(1.0)
        house.cloud.change_elsewhere(service_name("acme"), "labels.team", "web")
        await trio.sleep(100.0)

        outcome = await outcome_of(house, decided)
        assert (outcome["result"], "conflict" in outcome["detail"]) == ("failed", True)
        assert house.cloud.effects == []
        assert house.cloud.service(service_name("acme"))["labels"] == {"team": "web"}


async def test_a_change_between_validation_and_patch_is_the_clouds_own_conflict(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script(VALIDATE, Late(5.0))
        house.cloud.script(PATCH, Late(5.0))
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(7.0)
        house.cloud.change_elsewhere(service_name("acme"), "labels.team", "web")
        await trio.sleep(100.0)

        outcome = await outcome_of(house, decided)
        assert (outcome["result"], "409 ABORTED" in outcome["detail"]) == ("failed", True)
        assert house.cloud.effects == []


async def test_an_effect_that_nobody_can_look_at_is_unknown_and_trips_the_latch(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script(PATCH, Lost(has_effect=True))
        house.cloud.script("read_back", Lost())

        outcome = await end_of(house)

        assert (outcome["result"], len(house.cloud.effects)) == ("unknown", 1)
        assert [row["event"] for row in await house.payloads("acme", "gate")] == ["tripped"]
        assert house.cloud.requests[PATCH] == 1


async def test_facts_that_are_not_to_be_had_let_no_act_through(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.demand_token("nobody has it")

        await house.run_out_of_memory("acme")

        decided = (await house.payloads("acme", "decided"))[-1]
        assert decided["answer"] != "act"
        assert "401 UNAUTHENTICATED" in str(decided["facts"])
        assert house.cloud.requests.keys().isdisjoint({PATCH, VALIDATE})


async def test_credentials_that_end_in_the_middle_of_an_act_fail_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script(VALIDATE, Late(5.0))
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(1.0)
        house.cloud.demand_token("nobody has it")
        await trio.sleep(100.0)

        outcome = await outcome_of(house, decided)
        assert outcome["result"] == "failed"
        assert "401 UNAUTHENTICATED" in outcome["detail"]
