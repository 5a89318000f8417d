from __future__ import annotations

import pytest

from autonomics.errors import NoSuchTenant
from autonomics.service import read_support_model
from autonomics.testing.door import House


async def test_a_door_is_told_the_tier_of_a_tenants_price_plan(house: House) -> None:
    model = read_support_model()
    globex = await house.control.tenant("globex")
    assert globex is not None

    assert await house.control.support_model("acme") == model.tier("standard")
    assert await house.control.support_model("globex") == model.tier("evaluation")
    assert await house.control.support_model(globex.handle) == model.tier("evaluation")


async def test_a_tenant_keeps_its_tier_in_every_state(house: House) -> None:
    tier = read_support_model().tier("standard")
    for verb in ("suspend", "resume", "close"):
        await house.control.change_tenant("acme", verb, "test")
        assert await house.control.support_model("acme") == tier


async def test_nobody_has_no_tier(house: House) -> None:
    with pytest.raises(NoSuchTenant):
        await house.control.support_model("nobody")
