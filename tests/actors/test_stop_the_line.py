from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput
from autonomics.testing.house import House, open_house, payload_of, service_name
from autonomics.testing.local_cloud import Late, Lost


async def code_of(house: House, tenant: str, number: int = 1) -> str | None:
    """Report a second kill for memory, which calls for an act; the code of its refusal."""
    decided = await house.say(tenant, house.oom(tenant, number))
    code: str | None = payload_of(decided.decision)["code"]
    return code


@pytest.mark.parametrize(
    "scope", ["line", "tenant:acme", "recipe:run.oom_memory_limit", "resource:{service}"]
)
async def test_a_stop_refuses_acts_in_its_scope_until_it_is_cleared(
    scope: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        named = scope.format(service=service_name("acme"))
        await house.say("acme", house.oom("acme", 0))
        await house.control.stop_line(named, "looking into it", "me")
        assert await code_of(house, "acme") == "line_stopped"
        await house.restart()
        assert await code_of(house, "acme", 2) == "line_stopped"
        await house.control.clear_line(named, "cause", "fix", "prevention", "me")
        await trio.sleep(1)
        assert await code_of(house, "acme", 3) is None


async def test_a_stop_of_one_tenant_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        for tenant in ("acme", "birch"):
            await house.create(tenant)
            await house.say(tenant, house.oom(tenant, 0))
        await house.control.stop_line("tenant:acme", "looking into it", "me")
        assert await code_of(house, "acme") == "line_stopped"
        assert await code_of(house, "birch") is None


async def test_an_intent_that_was_planned_before_a_stop_is_not_committed_after_it(
    autojump_clock: MockClock,
) -> None:
    """The plan waits behind another commit while the line is stopped; it is made again."""
    async with open_house() as house:
        for tenant in ("acme", "birch"):
            await house.create(tenant)
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Late(1.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.say, "acme", house.oom("acme", 1))
            await trio.sleep(0.5)
            house.faults.hold()
            nursery.start_soon(house.say, "birch", {"keeps": "the disk busy"})
            await trio.sleep(1.0)  # by now the facts are read and the plan is on its way
            nursery.start_soon(house.control.stop_line, "line", "stop", "me")
            await wait_all_tasks_blocked()
            house.faults.release()
        assert await house.settle()
        assert "intent" not in await house.kinds("acme")
        assert [row["code"] for row in await house.payloads("acme", "decided")] == [
            "evidence_short",
            "line_stopped",
        ]
        assert house.cloud.effects == []


async def test_a_clearing_needs_all_three_texts(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.control.stop_line("line", "stop", "me")
        with pytest.raises(InvalidInput, match="expected prevention to be a text"):
            await house.control.clear_line("line", "cause", "fix", " ", "me")
        assert (await house.control.line()).stopped


async def test_an_outcome_that_nobody_can_know_stops_its_tenant_alone(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        for tenant in ("acme", "birch"):
            await house.create(tenant)
            await house.say(tenant, house.oom(tenant, 0))
        house.cloud.script("run.services.patch", Lost())
        house.cloud.script("read_back", Lost())
        await house.say("acme", house.oom("acme", 1))
        await trio.sleep(5)
        line = await house.control.line()
        assert [stop.scope for stop in line.stops] == [f"tenant:{house.handles['acme']}"]
        assert [row["event"] for row in await house.payloads("acme", "gate")] == ["tripped"]
        assert await code_of(house, "birch") is None
        assert await code_of(house, "acme", 2) == "line_stopped"
        await house.control.clear_line("tenant:acme", "cause", "fix", "prevention", "me")
        await trio.sleep(1)
        decided = payload_of((await house.say("acme", {"a": 1})).decision)
        assert decided["state"]["from"] == "stable"
