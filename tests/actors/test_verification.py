"""Whether an act has helped, and what follows if it has not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.receipts.leaf import decode_leaf
from autonomics.testing.cloud_fault import Fail, Hang
from autonomics.testing.house import House, open_house, payload_of, service_name

LIFE = ["received", "decided", "intent", "outcome", "verified"]


async def act(house: House) -> str:
    decided = await house.run_out_of_memory("acme")
    await trio.sleep(1)
    return decided.decision.id


async def family_kinds(house: House, receipt_id: str) -> list[str]:
    return [view.kind for view in await house.control.related(receipt_id)]


async def test_an_act_is_verified_after_the_recipes_wait(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decision_id = await act(house)

        await trio.sleep(115)
        assert await family_kinds(house, decision_id) == LIFE[:-1]
        await trio.sleep(10)
        assert await family_kinds(house, decision_id) == LIFE


async def test_the_operators_cap_shortens_the_wait(autojump_clock: MockClock) -> None:
    async with open_house(verify_wait_cap_s=2.0) as house:
        await house.create("acme")
        decision_id = await act(house)

        await trio.sleep(3)
        assert await family_kinds(house, decision_id) == LIFE


async def test_an_act_in_vain_is_rolled_back(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decision_id = await act(house)
        await trio.sleep(70)
        await house.say("acme", house.oom("acme", 2))
        await trio.sleep(1000)

        family = await house.control.related(decision_id)
        assert [view.kind for view in family] == [*LIFE, "intent", "outcome", "rolled_back"]
        assert payload_of(family[4])["result"] == "ineffective"
        assert payload_of(family[7])["result"] == "rolled_back"
        assert house.cloud.memory_of(service_name("acme")) == "512Mi"
        intent = decode_leaf(family[2].leaf)
        assert decode_leaf(family[5].leaf).ref == decode_leaf(family[7].leaf).ref == intent.seq
        assert not (await house.control.line()).stopped
        assert len(house.cloud.effects) == 2


@pytest.mark.parametrize("role", ["governor", "executor", "receipt_writer"])
async def test_a_death_at_any_step_of_a_roll_back_leaves_each_receipt_once(
    role: str, autojump_clock: MockClock
) -> None:
    for at_s in (898.9, 899.1):
        async with open_house() as house:
            await house.create("acme")
            decision_id = await act(house)
            await trio.sleep(70)
            await house.say("acme", house.oom("acme", 2))
            house.faults.before_s = 0.3
            await trio.sleep(at_s - 71)
            house.kill("acme", role)
            await trio.sleep(300)

            family = await family_kinds(house, decision_id)
            assert family == [*LIFE, "intent", "outcome", "rolled_back"]
            assert house.cloud.doubled_effects() == {}


async def test_a_roll_back_waits_until_the_line_goes_on(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decision_id = await act(house)
        await trio.sleep(70)
        await house.say("acme", house.oom("acme", 2))
        await house.control.stop_line("line", "smoke", "me")
        await trio.sleep(2000)
        assert await family_kinds(house, decision_id) == LIFE

        await house.control.clear_line("line", "a", "b", "c", "me")
        await trio.sleep(10)
        assert (await family_kinds(house, decision_id))[-1] == "rolled_back"


async def test_a_roll_back_planned_before_a_stop_is_planned_anew_after_it(
    autojump_clock: MockClock,
) -> None:
    for wait_s in (0.1, 0.5, 0.9, 1.2):
        async with open_house() as house:
            await house.create("acme")
            decision_id = await act(house)
            await trio.sleep(70)
            await house.say("acme", house.oom("acme", 2))
            await trio.sleep(827)  # a second before the verification is due
            house.faults.before_s = 1.0
            while "verified" not in await family_kinds(house, decision_id):
                await trio.sleep(0.1)
            await trio.sleep(wait_s)
            await house.control.stop_line("recipe:another", "smoke", "me")
            house.faults.before_s = 0.0
            await trio.sleep(60)

            family = await family_kinds(house, decision_id)
            assert family == [*LIFE, "intent", "outcome", "rolled_back"]


async def test_a_world_that_can_not_be_read_leaves_the_effect_unknown(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        decision_id = await act(house)
        house.cloud.script("run.services.get", *[Fail()] * 1000)
        await trio.sleep(1000)

        family = await house.control.related(decision_id)
        assert payload_of(family[-1])["result"] == "unknown"
        assert "503" in payload_of(family[-1])["detail"]
        assert not (await house.control.line()).stopped, "the act itself is known to be done"


async def test_pending_verifications_look_now_and_then_and_not_with_every_message(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await act(house)
        await trio.sleep(70)
        await house.say("acme", house.oom("acme", 2))
        await trio.sleep(60)  # the condition fails by now, and has until 900 s
        before = house.cloud.requests["run.services.get"]

        for number in range(50):
            await house.say("acme", {"n": number})
        await trio.sleep(10)

        assert house.cloud.requests["run.services.get"] - before <= 3


@pytest.mark.parametrize(
    ("fault", "result"),
    [(Fail("403 PERMISSION_DENIED"), "failed"), (Hang(has_effect=False), "timed_out")],
)
async def test_an_act_that_failed_is_neither_verified_nor_rolled_back(
    fault: Any, result: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", fault)
        decision_id = await act(house)
        await trio.sleep(2000)

        family = await house.control.related(decision_id)
        assert [view.kind for view in family] == LIFE[:-1]
        assert payload_of(family[-1])["result"] == result
