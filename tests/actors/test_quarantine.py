from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.warden import MAX_FAILURES
from autonomics.errors import TenantUnavailable
from autonomics.testing.house import House, open_house
from autonomics.testing.stage import recording


async def wear_out(house: House, tenant: str) -> None:
    """Kill a tenant's governor until its supervisor gives up."""
    for _ in range(4):
        house.kill(tenant, "governor")
        await trio.sleep(0.1)


async def test_a_tenant_that_keeps_failing_is_kept_out_and_let_in_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        for tenant in ("acme", "birch"):
            await house.create(tenant)
        with recording() as events:
            await wear_out(house, "acme")
            with pytest.raises(TenantUnavailable, match="in quarantine") as refused:
                await house.tell("acme", {"a": 1})
            assert 0 < refused.value.retry_after_s <= 1.0
            await house.say("birch", {"a": 1})
            (view,) = [each for each in await house.control.tenants() if each.quarantined]
            assert view.id == "acme"
            await trio.sleep(1.5)
            await house.say("acme", {"a": 1})
        restarted = [fields["path"] for name, fields in events if name == "child.restarted"]
        assert not [path for path in restarted if house.handles["birch"] in str(path)]
        rows = await house.payloads("platform", "restart")
        assert [(row["event"], row["failures"]) for row in rows] == [("quarantined", 1)]


async def test_the_wait_doubles_and_ends_with_an_operator(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        for _ in range(MAX_FAILURES):
            await wear_out(house, "acme")
            await trio.sleep(61)
        rows = await house.payloads("platform", "restart")
        assert [row["wait_ms"] for row in rows[:4]] == [1000, 2000, 4000, 8000]
        assert [row["needs_operator"] for row in rows] == [False] * (MAX_FAILURES - 1) + [True]
        await trio.sleep(3600)
        with pytest.raises(TenantUnavailable, match="until an operator readmits it"):
            await house.tell("acme", {"a": 1})
        await house.control.change_tenant("acme", "readmit", "me")
        await house.say("acme", {"a": 1})
