from __future__ import annotations

import pytest

from autonomics.errors import InvalidInput
from autonomics.tenancy import (
    Entitlement,
    MemoryDirectory,
    Quota,
    Tenant,
    TenantEvent,
    price_plan_named,
)

ACME = Tenant(id="acme", handle="00112233aabbccdd", display_name="Acme")
OTHER = Tenant(id="other", handle="ffffffffffffffff", display_name="Other")


async def test_a_tenant_is_found_by_its_handle_alone() -> None:
    directory = MemoryDirectory()
    await directory.save_tenant(OTHER)
    await directory.save_tenant(ACME)

    assert await directory.tenant(ACME.handle) == ACME
    assert await directory.tenant("acme") is None
    assert await directory.tenants() == (ACME, OTHER)


async def test_a_tenant_that_changes_keeps_its_row() -> None:
    directory = MemoryDirectory()
    await directory.save_tenant(ACME)

    await directory.save_tenant(ACME.after(TenantEvent.ACTIVATE))

    assert await directory.tenants() == (ACME.after(TenantEvent.ACTIVATE),)


@pytest.mark.parametrize(
    "stranger",
    [
        Tenant(id="acme", handle="ffffffffffffffff", display_name="Acme again"),
        Tenant(id="stranger", handle=ACME.handle, display_name="Stranger"),
    ],
)
async def test_id_and_handle_belong_to_each_other(stranger: Tenant) -> None:
    directory = MemoryDirectory()
    await directory.save_tenant(ACME)

    with pytest.raises(InvalidInput, match="distinct from tenant acme"):
        await directory.save_tenant(stranger)


async def test_quotas_and_entitlements_belong_to_one_tenant() -> None:
    directory = MemoryDirectory()
    await directory.save_tenant(ACME)
    await directory.save_tenant(OTHER)
    held = Entitlement.of(price_plan_named("standard"))
    quota = Quota(name="acts", limit=1, ceiling=2)

    await directory.save_quota(ACME.handle, quota)
    await directory.save_entitlement(ACME.handle, held)

    assert await directory.quotas(ACME.handle) == {"acts": quota}
    assert await directory.entitlement(ACME.handle) == held
    assert await directory.quotas(OTHER.handle) == {}
    assert await directory.entitlement(OTHER.handle) is None


async def test_an_entitlement_can_be_taken_away() -> None:
    directory = MemoryDirectory()
    await directory.save_tenant(ACME)
    await directory.save_entitlement(ACME.handle, Entitlement.of(price_plan_named("standard")))

    await directory.save_entitlement(ACME.handle, None)

    assert await directory.entitlement(ACME.handle) is None


async def test_nothing_is_saved_for_an_unknown_tenant() -> None:
    directory = MemoryDirectory()

    with pytest.raises(InvalidInput, match="that of a known tenant"):
        await directory.save_quota(ACME.handle, Quota(name="acts", limit=1, ceiling=1))
    with pytest.raises(InvalidInput, match="that of a known tenant"):
        await directory.save_entitlement(ACME.handle, None)
