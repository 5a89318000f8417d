"""Quotas of the platform: raised by a governed act, once, within the ceiling of the price plan."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.effect_registry import EffectRegistry, find_dry
from autonomics.actors.platform_effect import PlatformEffector
from autonomics.actors.router_message import ROUTER, SetQuota, tenant_actor
from autonomics.errors import EffectFailed, InvalidInput
from autonomics.receipts.leaf import decode_leaf
from autonomics.recipes.effector import FactRequest, PlannedCall
from autonomics.testing.house import House, open_house, payload_of, shipped_recipes, virtual_now


async def use(house: House, count: int) -> None:
    for number in range(count):
        await house.say("acme", {"n": number})


async def report(house: House, used: int, limit: int) -> dict[str, Any]:
    body = {"kind": "quota", "quota": "signals", "used": used, "limit": limit}
    return payload_of((await house.say("acme", body)).decision)


async def limit_of(house: House) -> int:
    return (await house.tenant("acme")).quotas["signals"][1]


def effector_of(house: House, governor: str | None = None) -> PlatformEffector:
    handle, named = house.handles["acme"], house.service.runtime.named
    who = named(governor or tenant_actor(handle, "governor"))
    return PlatformEffector(handle, router=named(ROUTER), governor=who, clock=virtual_now)


def planned(call: str = "platform.quotas.raise", limit: Any = 60, before: int = 40,
            key: str = "k", resource: str = "quotas/signals") -> PlannedCall:  # fmt: skip
    return PlannedCall(
        call=call,
        resource=resource,
        set={"limit": limit},
        mask=("limit",),
        before={"limit": before},
        etag=None,
        idempotency_key=key,
        timeout_s=10.0,
    )


async def test_a_contract_may_set_other_limits_than_the_price_plan(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        made = await house.create("acme", {"signals": 40, "acts": 0})

        assert made.tenant.quotas["signals"][1] == 40
        quotas = (await house.tenant("acme")).quotas
        assert (quotas["signals"], quotas["acts"]) == ((0, 40), (0, 0))
        await house.restart()
        await trio.sleep(1)
        assert await limit_of(house) == 40


async def test_a_quota_that_is_nearly_used_up_is_raised_by_half(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 10})
        await use(house, 8)

        decision = await report(house, 9, 10)
        await trio.sleep(5)

        assert decision["answer"] == "act"
        assert await limit_of(house) == 15
        (row,) = await house.payloads("platform", "entitlement")
        assert (row["event"], row["limit_before"], row["limit"]) == ("quota_raised", 10, 15)
        (outcome,) = await house.payloads("acme", "outcome")
        assert outcome["result"] == "done"
        await house.restart()
        await trio.sleep(1)
        assert await limit_of(house) == 15


async def test_a_raise_that_did_not_last_is_restored(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 10})
        await use(house, 8)
        await report(house, 9, 10)
        await trio.sleep(5)
        await use(house, 6)
        await report(house, 15, 15)  # it came back: the raise was too small
        await trio.sleep(1000)

        (rolled_back,) = await house.payloads("acme", "rolled_back")
        assert rolled_back["result"] == "rolled_back"
        assert await limit_of(house) == 10
        events = [row["event"] for row in await house.payloads("platform", "entitlement")]
        assert events == ["quota_raised", "quota_restored"]


async def test_a_quota_of_acts_refuses_when_it_is_used_up(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme", {"acts": 1})
        first = payload_of((await house.run_out_of_memory("acme")).decision)
        await house.settle(2000)
        second = payload_of((await house.run_out_of_memory("acme", "search")).decision)

        assert (first["answer"], second["code"]) == ("act", "quota_exhausted")
        assert (await house.tenant("acme")).quotas["acts"] == (1, 1)


async def test_a_raise_stops_at_the_ceiling_of_the_price_plan(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        effector = effector_of(house)

        with pytest.raises(EffectFailed, match="5000000"):
            await effector.call(planned(limit=5_000_001, before=1_000_000))
        done = await effector.call(planned(limit=5_000_000, before=1_000_000))
        assert done.detail == {"limit": 5_000_000}


async def test_one_key_raises_once_and_an_old_answer_changes_nothing_back(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 40})
        router = house.service.runtime.named(ROUTER)
        handle = house.handles["acme"]

        await router.call(SetQuota(handle, "signals", 60, "first"))
        await router.call(SetQuota(handle, "signals", 90, "second"))
        await router.call(SetQuota(handle, "signals", 60, "first", restore=True))

        assert await limit_of(house) == 90
        assert len(await house.payloads("platform", "entitlement")) == 2
        keys = [decode_leaf(view.leaf).idem for view in await house.log("platform")]
        assert len([key for key in keys if key]) == len({key for key in keys if key})


async def test_what_the_platform_can_not_do_has_failed_before_it_began(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 40})
        effector = effector_of(house)

        for call in (
            planned("platform.quotas.double"),
            planned(limit="60"),
            planned(resource="signals"),
            planned(resource="quotas/dreams"),
            planned(limit=39),
            planned(before=41),
        ):
            with pytest.raises(EffectFailed):
                await effector.call(call)
        assert await limit_of(house) == 40
        router = house.service.runtime.named(ROUTER)
        with pytest.raises(InvalidInput, match="quota"):
            await router.call(SetQuota(house.handles["acme"], "dreams", 1, "k"))


async def test_reading_back_tells_whether_the_limit_is_as_planned(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 40})
        effector = effector_of(house)

        assert await effector.read_back(planned()) == "not_applied"
        await effector.call(planned())
        assert await effector.read_back(planned()) == "applied"


async def test_a_fact_about_a_quota_is_what_is_used_of_it(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme", {"signals": 40, "recipes": 0})
        await use(house, 10)
        effector = effector_of(house)

        async def read(quota: str) -> Any:
            args = {"quota": quota}
            call = "platform.quotas.get"
            return await effector.read(
                FactRequest(name="quota", call=call, args=args, timeout_s=1.0, max_age_s=10)
            )

        assert (await read("signals")).value == {
            "limit": 40,
            "ceiling": 5_000_000,
            "used": 10,
            "percent": 25,
        }
        assert (await read("recipes")).value["percent"] == 100
        assert "dreams" in (await read("dreams")).error
        effector = effector_of(house, governor="nobody")
        assert "nobody" in (await read("signals")).error


async def test_a_call_that_nobody_serves_fails_and_a_fact_that_nobody_reads_has_an_error(
    autojump_clock: MockClock,
) -> None:
    registry = EffectRegistry({}, {}, virtual_now)

    with pytest.raises(EffectFailed, match="no effector"):
        await registry.call(planned())
    with trio.move_on_after(3600) as patience:
        await registry.read_back(planned())
    assert patience.cancelled_caught  # nobody has looked, so nobody says
    fact = await registry.read(
        FactRequest(name="x", call="moon.get", args={}, timeout_s=1.0, max_age_s=1)
    )
    assert fact.error is not None
    assert "no reader" in fact.error


async def test_recipes_without_an_effector_only_decide() -> None:
    assert "run.oom_memory_limit" in find_dry(shipped_recipes(), frozenset({"platform"}))
    assert find_dry(shipped_recipes(), frozenset({"platform", "run"})) == ()
