"""What is said to the tenants' router and to the warden."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from autonomics.actors.holding import Holding
from autonomics.actors.message import EntitlementView, Parked, SignedUp, TenantView, Unplaced
from autonomics.runtime import Address, Call, TakesCast
from autonomics.tenancy.sign_up import Account

ROUTER = "tenants.router"
WARDEN = "tenants.warden"
POOL = "tenants.pool"


def tenant_actor(handle: str, role: str) -> str:
    """Name of a tenant's actor: `tenant/<handle>/<role>`."""
    return f"tenant/{handle}/{role}"


@attrs.frozen
class Locate(Call[Holding]):
    """Ask for a tenant that can take messages; it is woken if it sleeps.

    Raises NoSuchTenant, or TenantUnavailable with the time after which to come again.
    """

    tenant_id: str


@attrs.frozen
class ListTenants(Call[tuple[TenantView, ...]]):
    """Ask for all tenants, oldest first."""


@attrs.frozen
class FindTenant(Call[TenantView | None]):
    """Ask for one tenant by id or handle, in whatever state it is."""

    tenant_id: str


@attrs.frozen
class TellPricePlan(Call[str]):
    """Ask which price plan a tenant holds, by id or handle; NoSuchTenant if there is none.

    The tenant need not be awake, and is not woken.
    """

    tenant_id: str


@attrs.frozen
class TellEntitlement(Call[EntitlementView]):
    """Ask what a tenant holds, by id or handle; NoSuchTenant if there is none.

    The tenant is woken for what it has used, if it can be.
    """

    tenant_id: str


@attrs.frozen
class CreateTenant(Call[tuple[TenantView, int]]):
    """Create a tenant and replay what was parked for it; the reply says how many messages.

    `limits` are what its contract says of its quotas where that differs from the price plan.
    """

    tenant_id: str
    name: str
    price_plan: str
    by: str
    limits: Mapping[str, int] = attrs.field(factory=dict[str, int])


@attrs.frozen
class SignUp(Call[SignedUp]):
    """Have a pending tenant for a marketplace's account; the same one however often it is asked."""

    account: Account


@attrs.frozen
class ChangeTenant(Call[TenantView]):
    """Carry out `activate`, `suspend`, `resume` or `close`."""

    tenant_id: str
    verb: str
    by: str


@attrs.frozen
class SetQuota(Call[Holding]):
    """Move the limit of a quota, for a governed act: once per action id.

    `restore` permits a lower limit: a roll-back puts the earlier one back.
    """

    handle: str
    quota: str
    limit: int
    action_id: str
    restore: bool = False


@attrs.frozen
class ReadHolding(Call[Holding]):
    """Ask what a tenant holds, by handle."""

    handle: str


@attrs.frozen
class WatchHolding:
    """Cast: tell me what this tenant holds now and whenever it changes, as `HoldingChanged`."""

    handle: str
    watcher: Address[TakesCast[HoldingChanged]]


@attrs.frozen
class HoldingChanged:
    """Cast to whoever watches a tenant."""

    holding: Holding


@attrs.frozen
class TellUsage(Call[Mapping[str, int]]):
    """Ask a tenant's governor what the tenant has used this month, by quota."""


@attrs.frozen
class Park(Call[Parked]):
    """Keep a message that nobody can decide yet. Raises ParkingFull for a sender at its bounds."""

    unplaced: Unplaced


RouterQuestion = (
    Locate
    | ListTenants
    | FindTenant
    | TellPricePlan
    | TellEntitlement
    | CreateTenant
    | SignUp
    | ChangeTenant
    | SetQuota
    | ReadHolding
    | Park
)


@attrs.frozen
class Admit(Call[None]):
    """Ask the warden to have a tenant running; TenantUnavailable while it is quarantined."""

    handle: str


@attrs.frozen
class Readmit(Call[None]):
    """Ask the warden to end a quarantine now."""

    handle: str
    by: str


@attrs.frozen
class Dismiss(Call[None]):
    """Ask the warden to stop a tenant's actors; not an error if none run."""

    handle: str


@attrs.frozen
class ListQuarantined(Call[frozenset[str]]):
    """Ask for the handles that are in quarantine."""


WardenQuestion = Admit | Readmit | Dismiss | ListQuarantined
