"""What nobody may act past trips the tenant's latch, and only that tenant's."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.supervisors import TreeNode
from autonomics.testing.cloud_fault import Fail, Lost
from autonomics.testing.demo_view import detail_of
from autonomics.testing.house import House, open_house, payload_of, service_name

MEMORY = "template.containers.0.resources.limits.memory"


async def state_of(house: House, tenant: str) -> str:
    def find(node: TreeNode) -> TreeNode | None:
        if node.id == house.handles[tenant]:
            return next(child for child in node.children if child.id == "governor")
        return next(filter(None, map(find, node.children)), None)

    node = find(await house.control.tree())
    assert node is not None
    return str(detail_of(node)["state"])


async def lose_track(house: House, tenant: str = "acme") -> None:
    """Have an act of which nobody can say whether it took effect."""
    house.cloud.script("run.services.patch", Lost(has_effect=True))
    house.cloud.script("read_back", Fail())
    await house.run_out_of_memory(tenant)
    await trio.sleep(5)


async def test_an_outcome_that_nobody_knows_trips_the_latch_of_its_tenant(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        await lose_track(house)

        (outcome,) = await house.payloads("acme", "outcome")
        assert outcome["result"] == "unknown"
        (gate,) = await house.payloads("acme", "gate")
        assert gate["event"] == "tripped"
        assert "can't be known" in gate["reason"]
        assert [row.scope for row in (await house.control.line()).stops] == [
            f"tenant:{house.handles['acme']}"
        ]
        assert await state_of(house, "acme") == "refusing"
        assert await state_of(house, "birch") == "stable"
        refused = await house.run_out_of_memory("acme", "search")
        assert payload_of(refused.decision)["code"] == "line_stopped"
        acted = await house.run_out_of_memory("birch")
        assert payload_of(acted.decision)["answer"] == "act"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_cleared_tenant_is_stable_again(restart: Any, autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await lose_track(house)
        if restart:
            await house.restart()
            await trio.sleep(1)
            assert await state_of(house, "acme") == "refusing"

        await house.control.clear_line("tenant:acme", "a", "b", "c", "me")
        await trio.sleep(1)

        assert await state_of(house, "acme") == "stable"
        events = [row["event"] for row in await house.payloads("acme", "gate")]
        assert events == ["tripped", "cleared"]
        acted = await house.run_out_of_memory("acme", "search")
        assert payload_of(acted.decision)["answer"] == "act"


async def test_a_latch_that_was_cleared_is_not_tripped_again_by_the_same_receipt(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await lose_track(house)
        await house.control.clear_line("tenant:acme", "a", "b", "c", "me")
        await house.restart()
        await trio.sleep(5)
        house.kill("acme", "gate_watchdog")
        await trio.sleep(5)

        assert not (await house.control.line()).stopped


async def test_a_roll_back_that_fails_trips_the_latch(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.run_out_of_memory("acme")
        await trio.sleep(70)
        # It comes back once the change has settled: the act was in vain, and can't be undone.
        house.cloud.script("run.services.patch", Fail("500 INTERNAL"))
        await house.say("acme", house.oom("acme", 2))
        await trio.sleep(1000)

        (verified,) = await house.payloads("acme", "verified")
        assert verified["result"] == "ineffective"
        (rolled_back,) = await house.payloads("acme", "rolled_back")
        assert rolled_back["result"] == "rollback_failed"
        assert "roll-back" in (await house.payloads("acme", "gate"))[0]["reason"]
        assert await state_of(house, "acme") == "refusing"


async def test_a_latch_that_can_not_be_tripped_yet_is_tripped_when_the_line_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Lost(has_effect=True))
        house.cloud.script("read_back", Fail())
        # received, decided with intent, outcome; then the trip finds no store
        await house.say("acme", house.oom("acme", 0))
        house.faults.fail_next(None, None, None, "before")
        await house.say("acme", house.oom("acme", 1))
        await trio.sleep(20)

        events = [row["event"] for row in await house.payloads("acme", "gate")]
        assert events == ["stopped", "tripped"], "it held in the line's memory from the first try"
        assert (await house.control.line()).stopped


async def test_a_fault_that_keeps_coming_back_trips_the_latch(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        number = 0
        for _ in range(5):
            for _ in range(2):
                await house.say("acme", house.oom("acme", number))
                number += 1
                await trio.sleep(1)
            await trio.sleep(90_000)  # noqa: ASYNC116 - a day and more: the bound on one resource is over
            house.cloud.change_elsewhere(service_name("acme"), MEMORY, "512Mi")

        codes = [row["code"] for row in await house.payloads("acme", "decided")]
        assert "recurrence" in codes
        gate = (await house.payloads("acme", "gate"))[0]
        assert "keeps coming back" in gate["reason"]
        assert await state_of(house, "acme") == "refusing"
