"""Who the tenants are and what they have bought. Pure: no clock, no I/O, no trio."""

from __future__ import annotations

from autonomics.tenancy.entitlement import Entitlement
from autonomics.tenancy.price_plan import PricePlan
from autonomics.tenancy.price_plans import PRICE_PLANS, price_plan_named
from autonomics.tenancy.quota import Quota
from autonomics.tenancy.tenant import (
    TENANT_TRANSITIONS,
    Tenant,
    TenantEvent,
    TenantState,
    next_tenant_state,
)

__all__ = [
    "PRICE_PLANS",
    "TENANT_TRANSITIONS",
    "Entitlement",
    "PricePlan",
    "Quota",
    "Tenant",
    "TenantEvent",
    "TenantState",
    "next_tenant_state",
    "price_plan_named",
]
