"""What the platform's log says about tenants, as a fold: who they are and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import attrs

from autonomics.actors.message import TenantView
from autonomics.errors import InvalidInput
from autonomics.receipts import canonical
from autonomics.receipts.log import Receipt
from autonomics.tenancy import Entitlement, Quota, Tenant, TenantState
from autonomics.tenancy.price_plans import price_plan_named
from autonomics.tenancy.sign_up import Account

TENANT_TYPE = "autonomics.tenant/1"
QUOTA_TYPE = "autonomics.entitlement/1"


@attrs.frozen(kw_only=True)
class Holding:
    """One tenant with what it holds. `seq` is the platform receipt that it reflects."""

    tenant: Tenant
    price_plan: str
    entitlement: Entitlement
    quotas: Mapping[str, Quota]
    created_at: datetime
    seq: int
    account: Account | None = None

    def view(
        self, *, quarantined: bool = False, used: Mapping[str, int] | None = None
    ) -> TenantView:
        """Show it to a door; quotas only where their usage is known."""
        return TenantView(
            id=self.tenant.id,
            name=self.tenant.display_name,
            handle=self.tenant.handle,
            state=self.tenant.state.value,
            price_plan=self.price_plan,
            created_at=self.created_at,
            account=None if self.account is None else self.account.id,
            quarantined=quarantined,
            quotas={
                name: (used[name], row.limit)
                for name, row in self.quotas.items()
                if used is not None and name in used
            },
        )


def tenant_payload(
    event: str,
    tenant: Tenant,
    price_plan: str,
    by: str,
    limits: Mapping[str, int] | None = None,
    *,
    account: Account | None = None,
) -> bytes:
    """Build the payload of a `tenant` receipt: the tenant as it is after the event.

    `limits` are what a contract says of its quotas where that differs from the price plan;
    `account` is who it is at the marketplace that brought it.
    """
    origin = {} if account is None else {"account": attrs.asdict(account)}
    return canonical.encode(
        {
            **origin,
            "event": event,
            "tenant": {
                "id": tenant.id,
                "handle": tenant.handle,
                "display_name": tenant.display_name,
                "state": tenant.state.value,
            },
            "price_plan": price_plan,
            "limits": dict(limits or {}),
            "by": by,
        }
    )


def quota_payload(
    event: str, handle: str, name: str, limits: tuple[int, int], action_id: str
) -> bytes:
    """Build the payload of an `entitlement` receipt: a quota's limit before and after."""
    before, after = limits
    return canonical.encode(
        {
            "event": event,
            "handle": handle,
            "quota": name,
            "limit_before": before,
            "limit": after,
            "action_id": action_id,
        }
    )


class Holdings:
    """The fold, by tenant id and by handle."""

    def __init__(self) -> None:
        self.by_id: dict[str, Holding] = {}
        self.by_handle: dict[str, Holding] = {}

    def apply(self, receipt: Receipt) -> Holding | None:
        """Fold a platform receipt in; return the holding that it changed."""
        leaf = receipt.fields
        if leaf.kind not in ("tenant", "entitlement") or receipt.payload is None:
            return None
        payload = cast("dict[str, Any]", canonical.decode(receipt.payload))
        if leaf.payload_type == TENANT_TYPE:
            return self._keep(self._with_tenant(payload, receipt))
        if leaf.payload_type == QUOTA_TYPE:
            return self._keep(self._with_quota(payload, receipt))
        return None

    def _keep(self, holding: Holding) -> Holding:
        self.by_id[holding.tenant.id] = holding
        self.by_handle[holding.tenant.handle] = holding
        return holding

    def _with_tenant(self, payload: dict[str, Any], receipt: Receipt) -> Holding:
        row = payload["tenant"]
        tenant = Tenant(
            id=row["id"],
            handle=row["handle"],
            display_name=row["display_name"],
            state=TenantState(row["state"]),
        )
        known = self.by_handle.get(tenant.handle)
        if known is not None:
            return attrs.evolve(known, tenant=tenant, seq=receipt.seq)
        plan = price_plan_named(payload["price_plan"])
        quotas = plan.opening_quotas()
        for name, limit in payload["limits"].items():
            quotas[name] = quotas[name].restore_to(limit)
        return Holding(
            tenant=tenant,
            price_plan=plan.id,
            entitlement=Entitlement.of(plan),
            quotas=quotas,
            created_at=receipt.fields.at,
            seq=receipt.seq,
            account=_read_account(payload),
        )

    def _with_quota(self, payload: dict[str, Any], receipt: Receipt) -> Holding:
        known = self.by_handle.get(payload["handle"])
        if known is None:
            raise InvalidInput.expected("handle", "that of a known tenant", payload["handle"])
        name, limit = payload["quota"], payload["limit"]
        changed = known.quotas[name].restore_to(limit)
        return attrs.evolve(known, quotas={**known.quotas, name: changed}, seq=receipt.seq)


def _read_account(payload: dict[str, Any]) -> Account | None:
    row = payload.get("account")
    return None if row is None else Account(row["id"], row["marketplace"])
