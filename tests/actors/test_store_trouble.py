"""A store that fails, hesitates or stays away: a condition, from which everybody recovers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import CallTimedOut, StoreUnavailable
from autonomics.testing.cloud_fault import Late
from autonomics.testing.house import House, open_house, payload_of, service_name
from autonomics.testing.stage import recording


async def lose_store(house: House) -> None:
    house.faults.is_away = True
    house.kill_path("disk/store_writer")
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", 1)])
async def test_a_failed_commit_is_said_at_once(
    moment: Any, count: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.fail_next(moment)
        began = trio.current_time()

        with pytest.raises(StoreUnavailable):
            await house.tell("acme", {"a": 1}, "m")

        assert trio.current_time() - began < 0.1
        await trio.sleep(5)
        assert Counter(await house.kinds("acme"))["received"] == count
        assert (await house.tell("acme", {"a": 1}, "m")).duplicate is bool(count)


async def test_while_the_store_is_away_all_is_refused_at_once_and_nobody_restarts(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        with recording() as events:
            await lose_store(house)
            for _ in range(20):
                began = trio.current_time()
                with pytest.raises(StoreUnavailable):
                    await house.tell("acme", {"a": 1})
                with pytest.raises(StoreUnavailable):
                    await house.control.receipts(house.handles["acme"], 0, 10)
                with pytest.raises(StoreUnavailable):
                    await house.control.create_key("admin", None, "me")
                assert trio.current_time() - began < 0.1
                await trio.sleep(3)
            health = await house.control.health()
            house.faults.is_away = False
            await trio.sleep(10)

        assert health.readiness == "store_unavailable"
        assert "store" in health.store
        started = {fields["path"] for event, fields in events if event == "actor.started"}
        assert started == {"root/control/ledger/disk/store_writer"}
        health = await house.control.health()
        assert (health.readiness, health.store) == ("ready", "open")
        assert not (await house.control.line()).stopped, "a store that is away trips nothing"
        assert not (await house.say("acme", {"a": 1})).accepted.duplicate


@pytest.mark.parametrize(
    "path", ["tenants/router", "tenants/warden", "tenants/pool", "ledger/keyring", "control/line",
             "ledger/platform", "ledger/doorkeeper"]
)  # fmt: skip
async def test_whoever_dies_while_the_store_is_away_is_back_with_it(
    path: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        made = await house.create("acme")
        await lose_store(house)
        assert house.kill_path(path)
        await trio.sleep(60)
        with pytest.raises(StoreUnavailable):
            await house.tell("acme", {"a": 1})
        house.faults.is_away = False
        await trio.sleep(10)

        assert house.fell is None
        assert await house.say("acme", {"a": 1})
        assert await house.control.authenticate(made.api_key.secret) is not None
        assert (await house.control.health()).readiness == "ready"


async def test_an_outcome_that_came_while_the_store_was_away_is_written_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Late(2.0))
        decided = await house.run_out_of_memory("acme")
        await lose_store(house)
        await trio.sleep(10)
        assert house.cloud.memory_of(service_name("acme")) == "1Gi", "it was under way already"
        house.faults.is_away = False
        assert await house.settle(2000)

        family = await house.control.related(decided.decision.id)
        assert [view.kind for view in family].count("outcome") == 1
        assert payload_of(family[-1])["result"] == "effective"
        assert not (await house.control.line()).stopped


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 7))
async def test_a_failure_of_any_commit_of_a_signals_life_leaves_each_receipt_once(
    moment: Any, nth: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.fail_next(*[None] * (nth - 1), moment)
        for number in range(2):
            for _ in range(20):
                try:
                    await house.tell("acme", house.oom("acme", number), f"m-{number}")
                except StoreUnavailable:
                    await trio.sleep(1)
                else:
                    break
        assert await house.settle(2000)

        kinds = Counter(await house.kinds("acme"))
        assert kinds["received"] == kinds["decided"] == 2
        assert kinds["intent"] == kinds["outcome"] == kinds["verified"] == 1
        assert house.cloud.doubled_effects() == {}


@pytest.mark.parametrize("outage_s", [0, 60])
async def test_a_quota_raise_during_an_outage_is_no_riddle(
    outage_s: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 5})
        for number in range(3):
            await house.say("acme", {"n": number})
        house.faults.fail_next(None, None, "after")  # received, decided with intent, the raise
        await house.say("acme", {"kind": "quota", "quota": "signals", "used": 4, "limit": 5})
        await trio.testing.wait_all_tasks_blocked()
        house.faults.is_away = outage_s > 0
        await trio.sleep(outage_s)
        house.faults.is_away = False
        await trio.sleep(5)
        await house.settle(2000)

        (outcome,) = await house.payloads("acme", "outcome")
        assert outcome["result"] == "done"
        assert not (await house.control.line()).stopped
        (raised,) = await house.payloads("platform", "entitlement")
        assert (raised["limit_before"], raised["limit"]) == (5, 7)
        assert (await house.tenant("acme")).quotas["signals"][1] == 7


async def test_a_slow_store_only_takes_longer(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.before_s = 3.0

        decided = await house.say("acme", {"a": 1})

        assert decided.accepted.receipt.kind == "received"
        house.faults.before_s = 30.0
        with pytest.raises(CallTimedOut):
            await house.tell("acme", {"a": 2}, "slow")
        house.faults.before_s = 0.0
        await trio.sleep(60)
        assert (await house.tell("acme", {"a": 2}, "slow")).duplicate


async def test_one_commit_serves_all_who_wait(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        for tenant in ("acme", "birch", "cedar"):
            await house.create(tenant)
        house.faults.hold()
        async with trio.open_nursery() as nursery:
            for number in range(30):
                tenant = ("acme", "birch", "cedar")[number % 3]
                nursery.start_soon(house.tell, tenant, {"n": number})
            await trio.testing.wait_all_tasks_blocked()
            before = house.faults.commits
            house.faults.release()
        assert house.faults.commits - before < 12


async def test_grown_logs_are_signed_on_time(autojump_clock: MockClock) -> None:
    async with open_house(checkpoint_every_s=1.0) as house:
        await house.create("acme")
        decided = await house.say("acme", {"a": 1})
        await trio.sleep(2)

        notes = house.medium.logs[decided.decision.origin].checkpoints
        assert max(notes) == 3
