from __future__ import annotations

import pytest
from attrs import evolve

from autonomics.errors import EffectFailed
from autonomics.recipes import FactRequest, History, PlannedCall, normalise
from autonomics.recipes.platform_quota import PlatformQuotas
from autonomics.recipes.route import Routes
from autonomics.tenancy import MemoryDirectory, Quota, Tenant
from autonomics.testing.decision_stage import HANDLE, NOW
from autonomics.testing.decision_stage import DecisionStage as Stage

RAISE = PlannedCall(
    call="platform.quotas.raise",
    resource="quotas/signals",
    set={"limit": 150},
    mask=("limit",),
    before={"limit": 100},
    idempotency_key="k",
    timeout_s=1,
)


async def directory(limit: int = 100, used: int = 80, ceiling: int = 200) -> MemoryDirectory:
    found = MemoryDirectory()
    for handle in (HANDLE, "f" * 16):
        await found.save_tenant(Tenant(id=f"t{handle[0]}", handle=handle, display_name="T"))
        quota = Quota(name="signals", limit=limit, used=used, ceiling=ceiling)
        await found.save_quota(handle, quota)
    return found


def quotas(of: MemoryDirectory) -> PlatformQuotas:
    return PlatformQuotas(of, HANDLE, lambda: NOW)


def request(quota: str = "signals", call: str = "platform.quotas.get") -> FactRequest:
    return FactRequest(name="quota", call=call, args={"quota": quota}, timeout_s=1, max_age_s=10)


@pytest.mark.parametrize(
    ("used", "limit", "percent"), [(80, 100, 80), (799, 1000, 79), (0, 0, 100), (3, 2, 150)]
)
async def test_a_quota_is_read_with_its_share_rounded_down(
    used: int, limit: int, percent: int
) -> None:
    fact = await quotas(await directory(limit, used, 2000)).read(request())

    assert isinstance(fact.value, dict)
    assert (fact.value["limit"], fact.value["percent"]) == (limit, percent)


async def test_an_unknown_quota_or_call_is_an_error_of_the_fact() -> None:
    end = quotas(await directory())

    assert "keeps no quota 'cpu'" in str((await end.read(request("cpu"))).error)
    assert "unknown call" in str((await end.read(request(call="platform.quotas.list"))).error)


async def test_a_limit_is_raised_for_this_tenant_alone() -> None:
    of = await directory()
    end = quotas(of)
    assert await end.read_back(RAISE) == "not_applied"

    result = await end.call(RAISE)

    assert not result.is_repeat
    assert await end.read_back(RAISE) == "applied"
    assert (await of.quotas(HANDLE))["signals"].limit == 150
    assert (await of.quotas("f" * 16))["signals"].limit == 100


async def test_a_repeat_is_told_and_changes_nothing() -> None:
    end = quotas(await directory())
    await end.call(RAISE)

    assert (await end.call(RAISE)).is_repeat


async def test_a_raised_limit_is_restored() -> None:
    of = await directory()
    end = quotas(of)
    await end.call(RAISE)

    await end.call(
        evolve(RAISE, call="platform.quotas.restore", set={"limit": 100}, before={"limit": 150})
    )

    assert (await of.quotas(HANDLE))["signals"].limit == 100


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        (evolve(RAISE, set={"limit": 201}), "in 100..200"),
        (evolve(RAISE, before={"limit": 90}), "the limit is 100 by now"),
        (evolve(RAISE, resource="quotas/cpu"), "does not apply"),
        (evolve(RAISE, set={"limit": "150"}), "does not apply"),
        (evolve(RAISE, mask=("ceiling",)), "does not apply"),
        (evolve(RAISE, call="platform.quotas.drop"), "unknown call"),
    ],
)
async def test_what_is_not_lawful_fails_and_changes_nothing(
    planned: PlannedCall, message: str
) -> None:
    of = await directory()

    with pytest.raises(EffectFailed, match=message):
        await quotas(of).call(planned)
    assert (await of.quotas(HANDLE))["signals"].limit == 100


async def test_a_quota_that_is_gone_cannot_be_read_back() -> None:
    end = quotas(await directory())

    assert await end.read_back(evolve(RAISE, resource="quotas/cpu")) == "unknown"


async def test_calls_go_to_the_end_that_serves_their_area() -> None:
    routes = Routes({"platform": quotas(await directory())}, lambda: NOW)

    assert (await routes.read(request())).error is None
    assert not (await routes.call(RAISE)).is_repeat
    assert await routes.read_back(RAISE) == "applied"


async def test_a_call_that_nobody_serves_fails() -> None:
    routes = Routes({}, lambda: NOW)

    assert (await routes.read(request())).error == "nobody serves platform.quotas.get"
    assert await routes.read_back(RAISE) == "unknown"
    with pytest.raises(EffectFailed, match=r"nobody serves platform\.quotas\.raise"):
        await routes.call(RAISE)


async def test_the_quota_signal_ends_in_a_raised_quota(stage: Stage) -> None:
    of = await directory()
    end = quotas(of)
    signal = normalise({"kind": "quota", "metric": "signals", "used": 80, "limit": 100})
    fact = await end.read(request())
    service = evolve(stage, fixtures={**stage.fixtures, "now": fact.value})

    decision = service.decide(signal, History.empty(), values={"quota": "now"})
    assert decision.plan is not None
    await end.call(decision.plan.calls[0])

    assert (await of.quotas(HANDLE))["signals"].limit == 150
