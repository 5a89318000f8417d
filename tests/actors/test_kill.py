"""Whoever dies, and whenever: nothing acknowledged is lost, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import Accepted
from autonomics.errors import AutonomicsError
from autonomics.testing.cloud_fault import Hang, Late, Lost
from autonomics.testing.house import House, open_house, payload_of, service_name
from autonomics.testing.stage import recording

ROLES = ("receipt_writer", "gate_watchdog", "attempts", "executor", "governor")
PATHS = (
    "ledger/disk",
    "disk/front",
    "disk/store_writer",
    "ledger/platform",
    "control/line",
    "tenants/pool",
    "tenants/warden",
    "tenants/router",
    "control/ledger",
    "control/tenants",
)


async def started_paths(events: list[Any]) -> set[str]:
    return {fields["path"] for event, fields in events if event == "actor.started"}


async def expect_whole(house: House, tenant: str = "acme") -> None:
    """One decision a signal, one outcome an intent, no effect twice."""
    assert await house.settle(2000)
    kinds = Counter(await house.kinds(tenant))
    assert kinds["received"] == kinds["decided"]
    assert kinds["intent"] == kinds["outcome"]
    assert house.cloud.doubled_effects() == {}
    assert house.fell is None


@pytest.mark.parametrize("role", ROLES)
async def test_a_tenant_goes_on_after_the_death_of(role: str, autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        await house.say("acme", {"a": 1}, "m")

        with recording() as events:
            assert house.kill("acme", role)
            decided = await house.say("acme", {"a": 2})
            again = await house.say("acme", {"a": 1}, "m")
            await trio.sleep(1)

        assert not decided.accepted.duplicate
        assert again.accepted.duplicate
        await expect_whole(house)
        others = f"pool/{house.handles['birch']}"
        assert not [path for path in await started_paths(events) if others in path]
        assert not [event for event, _ in events if event == "tenant.quarantined"]


@pytest.mark.parametrize("path", PATHS)
async def test_the_house_goes_on_after_the_death_of(path: str, autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", {"a": 1}, "m")

        assert house.kill_path(path)
        await trio.sleep(3)

        assert not (await house.say("acme", {"a": 2})).accepted.duplicate
        assert (await house.say("acme", {"a": 1}, "m")).accepted.duplicate
        assert (await house.control.health()).readiness == "ready"
        assert (await house.control.health()).tenants_quarantined == 0
        await expect_whole(house)


@pytest.mark.parametrize("path", ["disk/front", "disk/store_writer", "ledger/platform"])
async def test_tenants_live_through_a_restart_of_the_ledger(
    path: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        with recording() as events:
            house.kill_path(path)
            await trio.sleep(3)
            await house.say("acme", {"a": 1})

        assert not [each for each in await started_paths(events) if "/tenants/" in each]


@pytest.mark.parametrize("path", ["tenants/warden", "tenants/router"])
async def test_tenants_live_through_a_restart_of_their_router(
    path: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        with recording() as events:
            house.kill_path(path)
            await trio.sleep(3)
            await house.say("acme", {"a": 1})
            await house.control.change_tenant("acme", "suspend", "me")

        assert not [each for each in await started_paths(events) if "/pool/" in each]
        assert (await house.tenant("acme")).state == "suspended"
        await house.say("acme", house.oom("acme", 0))
        await house.say("acme", house.oom("acme", 1))
        codes = [row["code"] for row in await house.payloads("acme", "decided")]
        assert codes[-1] == "tenant_not_active", "its governor has heard of it"


async def test_a_receipt_writer_dies_with_appends_in_flight(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        accepted: list[Accepted] = []

        async def tell(number: int) -> None:
            accepted.append(await house.tell("acme", {"n": number}, f"m-{number}"))

        for moment in ("before", "after"):
            house.faults.hold(moment)
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(tell, number if moment == "before" else number + 10)
                await trio.testing.wait_all_tasks_blocked()
                house.kill("acme", "receipt_writer")
                await trio.testing.wait_all_tasks_blocked()
                house.faults.release()

        assert len({answer.receipt.id for answer in accepted}) == 20
        await expect_whole(house)
        assert Counter(await house.kinds("acme"))["received"] == 20


async def test_a_governor_dies_while_its_facts_hang(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Hang())

        accepted = await house.tell("acme", house.oom("acme", 1))
        await trio.sleep(0.5)
        house.kill("acme", "governor")
        await house.settle(2000)

        family = await house.control.related(accepted.receipt.id)
        assert [view.kind for view in family] == [
            "received", "decided", "intent", "outcome", "verified",
        ]  # fmt: skip


async def test_a_governor_dies_before_its_decision_is_durable(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.faults.before_s = 1.0
        accepted = await house.tell("acme", house.oom("acme", 1))
        await trio.sleep(0.5)
        house.kill("acme", "governor")
        house.faults.before_s = 0.0
        await expect_whole(house)

        family = await house.control.related(accepted.receipt.id)
        assert [view.kind for view in family].count("decided") == 1
        assert [view.kind for view in family].count("intent") == 1


@pytest.mark.parametrize("role", ["executor", "attempts"])
@pytest.mark.parametrize(
    ("fault", "result", "memory"),
    [
        (Late(2.0), "killed", "512Mi"),  # cut off before it took effect
        (Hang(has_effect=True), "done", "1Gi"),  # cut off after it
        (Hang(has_effect=False), "killed", "512Mi"),
    ],
)
async def test_an_act_that_is_cut_off_is_read_back(
    role: str, fault: Any, result: Any, memory: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", fault)
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(1)

        house.kill("acme", role)
        await expect_whole(house)

        family = await house.control.related(decided.decision.id)
        outcome = next(payload_of(view) for view in family if view.kind == "outcome")
        assert outcome["result"] == result
        assert "read back" in outcome["detail"]
        assert house.cloud.memory_of(service_name("acme")) == memory


async def test_an_executor_dies_while_it_reads_back(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Lost(has_effect=True))
        house.cloud.script("read_back", Late(5.0))
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(2)

        house.kill("acme", "executor")
        await expect_whole(house)

        family = await house.control.related(decided.decision.id)
        assert [payload_of(view)["result"] for view in family if view.kind == "outcome"] == ["done"]


async def test_an_executor_dies_before_its_outcome_is_durable(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Late(0.5))
        decided = await house.run_out_of_memory("acme")
        house.faults.hold()
        await trio.sleep(1)
        house.kill("acme", "executor")
        await trio.sleep(1)
        house.faults.release()
        await expect_whole(house)

        family = await house.control.related(decided.decision.id)
        assert [view.kind for view in family].count("outcome") == 1
        assert len(house.cloud.effects) == 1


async def test_one_attempt_dies_and_its_executor_reads_back(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Hang(has_effect=True))
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(1)
        seq = decided.decision.seq + 1

        with recording() as events:
            assert house.kill_path(f"attempts/act-{seq}")
            await trio.sleep(1)

        family = await house.control.related(decided.decision.id)
        outcome = next(payload_of(view) for view in family if view.kind == "outcome")
        assert outcome["result"] == "done"
        assert not [each for each in await started_paths(events) if each.endswith("/executor")]


async def test_an_attempt_that_reads_back_dies_too_and_nobody_can_know(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Hang(has_effect=True))
        house.cloud.script("read_back", Hang())
        decided = await house.run_out_of_memory("acme")
        await trio.sleep(1)
        seq = decided.decision.seq + 1
        house.kill_path(f"attempts/act-{seq}")
        await trio.sleep(1)
        house.kill_path(f"attempts/act-{seq}")
        await trio.sleep(1)

        (outcome,) = await house.payloads("acme", "outcome")
        assert outcome["result"] == "unknown"


async def test_a_reader_of_facts_that_dies_leaves_a_fact_with_an_error(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Hang())
        house.cloud.script("monitoring.timeSeries.list", Hang())
        accepted = await house.tell("acme", house.oom("acme", 1))
        await trio.testing.wait_all_tasks_blocked()

        paths = [ref.path for ref in house.service.runtime.living() if "/facts-" in ref.path]
        assert len(paths) == 1
        house.kill_path(paths[0])
        await house.settle()

        errors = {row["error"] for row in (await house.payloads("acme", "decided"))[-1]["facts"]}
        assert any("cut off" in error for error in errors if error)
        assert accepted


async def test_a_tenant_that_is_killed_again_and_again_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        sent: list[str] = []

        async def send() -> None:
            for number in range(60):
                try:
                    await house.tell("acme", {"n": number}, f"m-{number}")
                except AutonomicsError:
                    continue
                sent.append(f"m-{number}")
                await trio.sleep(0.3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for turn in range(8):
                await trio.sleep(2.1)
                house.kill("acme", ROLES[turn % len(ROLES)])
        await expect_whole(house)
        ids = [row["signal"]["message_id"] for row in await house.payloads("acme", "received")]
        assert set(sent) <= set(ids)
        assert len(ids) == len(set(ids))
