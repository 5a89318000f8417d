"""All that the gates look at when they judge one act."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from autonomics.gates.latch import Latch
from autonomics.tenancy.entitlement import Entitlement
from autonomics.tenancy.price_plan import covers_recipe
from autonomics.tenancy.quota import Quota
from autonomics.tenancy.tenant import TenantState

Role = Literal["viewer", "auditor", "operator", "admin", "service"]

# A `service` is a door that hands over a machine's signal.
ACTING_ROLES: frozenset[str] = frozenset({"operator", "admin", "service"})


@frozen(kw_only=True)
class Certificate:
    """An insurance certificate: which recipes it covers, and until when (exclusive)."""

    id: str
    covers: tuple[str, ...]
    ends_at: datetime

    def covers_recipe(self, recipe_id: str) -> bool:
        """Say whether the recipe is insured, whatever the time."""
        return any(covers_recipe(pattern, recipe_id) for pattern in self.covers)


@frozen(kw_only=True)
class LegalHold:
    """A hold on one resource and all below it; `*` holds everything the tenant has."""

    id: str
    resource: str

    def covers(self, resource: str | None) -> bool:
        """Say whether the hold reaches the resource. An unknown resource may be the held one."""
        if self.resource == "*" or resource is None:
            return True
        return resource == self.resource or resource.startswith(self.resource.rstrip("/") + "/")


@frozen(kw_only=True)
class Freeze:
    """A change freeze, from `starts_at` inclusive until `ends_at` exclusive."""

    starts_at: datetime
    ends_at: datetime
    reason: str


@frozen(kw_only=True)
class Check:
    """A named precondition: `holds` is None where nobody can say."""

    name: str
    holds: bool | None
    evidence: str = ""
    step: str | None = None


@frozen(kw_only=True)
class Bound:
    """A named counter against its limit; inclusive: `used >= limit` is reached."""

    name: str
    limit: int
    used: int

    @property
    def is_reached(self) -> bool:
        """True if nothing is left."""
        return self.used >= self.limit


@frozen(kw_only=True)
class Approval:
    """One person's yes to one act."""

    by: str
    expires_at: datetime


@frozen(kw_only=True)
class GateContext:
    """One proposed act, and what the gates need to know about it. No default permits anything."""

    tenant: str
    recipe: str
    resource: str | None
    now: datetime
    latch: Latch
    tenant_state: TenantState
    is_refusing: bool
    entitlement: Entitlement | None
    role: str
    certificate: Certificate | None = None
    quota: Quota | None
    legal_holds: tuple[LegalHold, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    managed_elsewhere: bool | Literal["not_declared"] | None
    preconditions: tuple[Check, ...]
    bounds: tuple[Bound, ...]
    plan_fault: str | None
    recurrence: Bound | None
    approvals_needed: int
    approvals: tuple[Approval, ...] = ()
    requested_by: str = ""
