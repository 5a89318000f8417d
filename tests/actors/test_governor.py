"""The governor's states as people see them: in the tree, and in each decision's receipt."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomics.supervisors import TreeNode
from autonomics.testing.cloud_fault import Fail, Late
from autonomics.testing.house import House, open_house

RECOVERY_S = 1800


def find_node(node: TreeNode, path: str) -> TreeNode | None:
    if node.path.endswith(path):
        return node
    return next(filter(None, (find_node(child, path) for child in node.children)), None)


# An act that was cut off is looked for twice before it is called not done.
READ_BACK_S = 4.0


async def state_of(house: House, tenant: str = "acme") -> str:
    node = find_node(await house.control.tree(), f"{house.handles[tenant]}/governor")
    assert node is not None
    return str(node.detail).split("'")[3]


async def edges(house: House) -> list[tuple[str, str | None, str]]:
    rows = [row["state"] for row in await house.payloads("acme", "decided")]
    return [(row["from"], row["event"], row["to"]) for row in rows]


async def test_evidence_short_of_a_plan_is_a_warning_until_it_stays_quiet(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        assert await state_of(house) == "stable"
        await house.say("acme", house.oom("acme", 0))
        await trio.sleep(1)
        assert await state_of(house) == "warning"

        await trio.sleep(RECOVERY_S - 10)
        assert await state_of(house) == "warning"
        await trio.sleep(20)
        assert await state_of(house) == "stable", "though nobody has said a word"

        await house.say("acme", {"a": 1})
        assert await edges(house) == [
            ("stable", "uncertain", "warning"),
            ("stable", None, "stable"),
        ]
        assert (await house.payloads("acme", "decided"))[-1]["state"]["settled"]


async def test_another_warning_begins_the_recovery_anew(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        await trio.sleep(1000)
        await house.say("acme", house.oom("acme", 1, "search"))
        await trio.sleep(1000)
        assert await state_of(house) == "warning"
        await trio.sleep(1000)
        assert await state_of(house) == "stable"


async def test_an_act_is_an_intervention_until_it_is_verified(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.run_out_of_memory("acme")
        await trio.sleep(1)
        assert await state_of(house) == "intervening"
        await house.settle(2000)
        assert await state_of(house) == "stable"
        assert await edges(house) == [
            ("stable", "uncertain", "warning"),
            ("warning", "permitted", "intervening"),
        ]


async def test_an_act_that_failed_leaves_its_tenant_degraded_until_it_stays_quiet(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Fail("403 PERMISSION_DENIED"))
        await house.run_out_of_memory("acme")
        await trio.sleep(1)
        assert await state_of(house) == "degraded"
        await trio.sleep(RECOVERY_S)
        assert await state_of(house) == "stable"


@pytest.mark.parametrize("how", ["kill", "restart", "cut"])
async def test_a_governor_comes_back_to_the_state_it_left(
    how: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Late(30.0))
        for steps in ("warning", "intervening"):
            await house.say("acme", house.oom("acme", len(steps)))
            await trio.sleep(1)
            if how == "kill":
                house.kill("acme", "governor")
            else:
                await house.restart(cut=how == "cut")
            await trio.sleep(1 if how == "kill" else READ_BACK_S)
            # A restart cuts the act off, and one that was cut off without effect has failed.
            expected = {"intervening": steps if how == "kill" else "degraded"}.get(steps, steps)
            assert await state_of(house) == expected


async def test_a_suspended_tenant_refuses_and_is_stable_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.control.change_tenant("acme", "suspend", "me")
        await trio.sleep(1)
        assert await state_of(house) == "refusing"
        house.kill("acme", "governor")
        await trio.sleep(1)
        assert await state_of(house) == "refusing"

        await house.control.change_tenant("acme", "resume", "me")
        await trio.sleep(1)
        assert await state_of(house) == "stable"


async def test_the_tree_shows_what_is_open(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.run_out_of_memory("acme")
        await trio.sleep(1)
        node = find_node(await house.control.tree(), f"{house.handles['acme']}/governor")
        assert node is not None
        assert node.detail == {"state": "intervening", "undecided": 0, "open_acts": 1}
