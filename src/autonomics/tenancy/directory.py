"""The port behind which tenants are looked up, and the one implementation that needs no disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from autonomics.errors import InvalidInput
from autonomics.tenancy.entitlement import Entitlement
from autonomics.tenancy.quota import Quota
from autonomics.tenancy.tenant import Tenant


class Directory(Protocol):
    """Tenants by handle, with what they hold. Every lookup names its tenant; none crosses over."""

    async def tenant(self, handle: str) -> Tenant | None:
        """Find a tenant; None if there is none."""
        ...

    async def tenants(self) -> tuple[Tenant, ...]:
        """List all tenants, by handle."""
        ...

    async def save_tenant(self, tenant: Tenant) -> None:
        """Add a tenant or replace its row; id and handle stay each other's for ever."""
        ...

    async def entitlement(self, handle: str) -> Entitlement | None:
        """Say what the tenant has bought; None if nothing."""
        ...

    async def save_entitlement(self, handle: str, entitlement: Entitlement | None) -> None:
        """Record what the tenant has bought."""
        ...

    async def quotas(self, handle: str) -> Mapping[str, Quota]:
        """Give the tenant's quotas by name; empty for an unknown tenant."""
        ...

    async def save_quota(self, handle: str, quota: Quota) -> None:
        """Add or replace one quota of the tenant."""
        ...


class MemoryDirectory:
    """A directory that forgets with its process: for embedding hosts and tests."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._entitlements: dict[str, Entitlement] = {}
        self._quotas: dict[str, dict[str, Quota]] = {}

    async def tenant(self, handle: str) -> Tenant | None:
        """Find a tenant; None if there is none."""
        return self._tenants.get(handle)

    async def tenants(self) -> tuple[Tenant, ...]:
        """List all tenants, by handle."""
        return tuple(self._tenants[handle] for handle in sorted(self._tenants))

    async def save_tenant(self, tenant: Tenant) -> None:
        """Add a tenant or replace its row; id and handle stay each other's for ever."""
        for other in self._tenants.values():
            if (other.id == tenant.id) != (other.handle == tenant.handle):
                raise InvalidInput.expected(
                    f"tenant {tenant.id} with handle {tenant.handle}",
                    f"distinct from tenant {other.id} with handle {other.handle}",
                    tenant.id,
                )
        self._tenants[tenant.handle] = tenant

    async def entitlement(self, handle: str) -> Entitlement | None:
        """Say what the tenant has bought; None if nothing."""
        return self._entitlements.get(handle)

    async def save_entitlement(self, handle: str, entitlement: Entitlement | None) -> None:
        """Record what the tenant has bought."""
        self._require(handle)
        if entitlement is None:
            self._entitlements.pop(handle, None)
        else:
            self._entitlements[handle] = entitlement

    async def quotas(self, handle: str) -> Mapping[str, Quota]:
        """Give the tenant's quotas by name; empty for an unknown tenant."""
        return dict(self._quotas.get(handle, {}))

    async def save_quota(self, handle: str, quota: Quota) -> None:
        """Add or replace one quota of the tenant."""
        self._require(handle)
        self._quotas.setdefault(handle, {})[quota.name] = quota

    def _require(self, handle: str) -> None:
        if handle not in self._tenants:
            raise InvalidInput.expected("tenant handle", "that of a known tenant", handle)
