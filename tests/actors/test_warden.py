"""A tenant that keeps failing is kept out for a while, and takes nobody with it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.warden import MAX_FAILURES
from autonomics.errors import InvalidInput, NoSuchTenant, TenantUnavailable
from autonomics.testing.house import House, open_house
from autonomics.testing.stage import recording


async def exhaust(house: House, tenant: str = "acme") -> None:
    """Kill an actor of a tenant until the tenant's supervisor gives up."""
    for _ in range(50):
        if (await house.tenant(tenant)).quarantined:
            return
        house.kill(tenant, "receipt_writer")
        await trio.sleep(0.01)
    raise AssertionError("the supervisor never gives up")


async def test_a_tenant_that_gives_up_is_kept_out_alone(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        with recording() as events:
            await exhaust(house)
            with pytest.raises(TenantUnavailable) as refused:
                await house.tell("acme", {"a": 1})
            await house.say("birch", {"a": 1})

        assert 0 < refused.value.retry_after_s <= 1
        assert (await house.control.health()).tenants_quarantined == 1
        started = [fields["path"] for event, fields in events if event == "actor.started"]
        assert not [path for path in started if house.handles["birch"] in str(path)]
        quarantined = [fields for event, fields in events if event == "tenant.quarantined"]
        assert [(row["tenant"], row["failures"]) for row in quarantined] == [
            (house.handles["acme"], 1)
        ]


async def test_a_quarantine_is_a_receipt_and_ends_by_rule(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.tell("acme", {"a": 1}, "m")
        waits: list[float] = []
        for _ in range(3):
            await exhaust(house)
            began = trio.current_time()
            while (await house.tenant("acme")).quarantined:
                await trio.sleep(0.1)
            waits.append(round(trio.current_time() - began))

        assert waits == [1, 2, 4]
        rows = await house.payloads("platform", "restart")
        assert [(row["failures"], row["wait_ms"]) for row in rows] == [
            (1, 1000),
            (2, 2000),
            (3, 4000),
        ]
        assert {row["handle"] for row in rows} == {house.handles["acme"]}
        assert (await house.say("acme", {"a": 1}, "m")).accepted.duplicate


async def test_failures_long_ago_no_longer_count(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        for _ in range(2):
            await exhaust(house)
            await trio.sleep(700)

        assert [row["failures"] for row in await house.payloads("platform", "restart")] == [1, 1]


async def test_after_too_many_failures_only_an_operator_lets_a_tenant_in(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        for _ in range(MAX_FAILURES):
            await exhaust(house)
            await trio.sleep(61)

        await trio.sleep(10_000)
        with pytest.raises(TenantUnavailable, match="operator"):
            await house.tell("acme", {"a": 1})
        assert (await house.payloads("platform", "restart"))[-1]["needs_operator"]

        with recording() as events:
            await house.control.change_tenant("acme", "readmit", "me")
        assert ("tenant.readmitted", {"tenant": house.handles["acme"], "by": "me"}) in events
        assert not (await house.tenant("acme")).quarantined
        assert await house.say("acme", {"a": 1})
        with pytest.raises(NoSuchTenant):
            await house.control.change_tenant("nobody", "readmit", "me")


async def test_a_quarantine_while_the_store_is_slow_or_away_holds_and_is_written_later(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        house.faults.is_away = True
        house.kill_path("disk/store_writer")
        began = trio.current_time()
        await exhaust(house)
        with pytest.raises(TenantUnavailable):
            await house.tell("acme", {"a": 1})
        assert trio.current_time() - began < 1, "the warden does not wait for the store"
        house.faults.is_away = False
        await trio.sleep(10)

        assert len(await house.payloads("platform", "restart")) == 1


@pytest.mark.parametrize("path", ["tenants/warden", "tenants/router"])
async def test_a_tenant_that_outlived_its_warden_is_looked_after_by_the_next(
    path: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.kill_path(path)
        await trio.sleep(6)

        await exhaust(house)
        await trio.sleep(3)

        assert await house.say("acme", {"a": 1})
        assert len(await house.payloads("platform", "restart")) == 1


async def test_a_closed_tenant_is_stopped_and_nobody_notices_but_its_senders(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        await house.say("acme", {"a": 1})
        with recording() as events:
            view = await house.control.change_tenant("acme", "close", "me")
            with pytest.raises(TenantUnavailable, match="closed"):
                await house.tell("acme", {"a": 1})
            await house.say("birch", {"a": 1})
            await trio.sleep(10)

        assert view.state == "closed"
        assert not [event for event, _ in events if event in ("actor.crashed", "child.exited")]
        with pytest.raises(InvalidInput, match="closed"):
            await house.control.change_tenant("acme", "resume", "me")
        await house.restart()
        await trio.sleep(1)
        with pytest.raises(TenantUnavailable):
            await house.tell("acme", {"a": 1})
        assert (await house.log("acme"))[-1].kind == "decided", "its log can still be read"


async def test_a_suspended_tenant_decides_and_refuses(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.control.change_tenant("acme", "suspend", "me")
        await house.run_out_of_memory("acme")
        await house.control.change_tenant("acme", "resume", "me")
        await house.say("acme", house.oom("acme", 2))
        await house.settle(2000)

        rows = await house.payloads("acme", "decided")
        assert [row["code"] for row in rows] == ["evidence_short", "tenant_not_active", None]
        with pytest.raises(InvalidInput, match="verb"):
            await house.control.change_tenant("acme", "praise", "me")
        with pytest.raises(NoSuchTenant):
            await house.control.change_tenant("nobody", "suspend", "me")
