"""What the tenant is allowed at the moment of a decision: an input, recorded as it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from attrs import field, frozen

from autonomics.errors import InvalidInput
from autonomics.gates.context import Certificate, Freeze, LegalHold
from autonomics.gates.latch import Latch, parse_latch
from autonomics.recipes.signal import Json, moment_text, parse_moment
from autonomics.tenancy.entitlement import Entitlement
from autonomics.tenancy.price_plan import covers_recipe
from autonomics.tenancy.quota import Quota
from autonomics.tenancy.tenant import TenantState

ACTS_QUOTA = "acts"


@frozen(kw_only=True)
class Fleet:
    """How many tenants there are, and how many a recipe has touched within the last hour."""

    tenants: int
    touched: Mapping[str, int]


@frozen(kw_only=True)
class Policy:
    """The rules that hold for one tenant now. `monitor` lists recipes that must not act yet.

    `fleet` is None where one tenant is all there is, as in an embedding host.
    """

    tenant: str
    tenant_state: TenantState
    is_refusing: bool = False
    entitlement: Entitlement | None
    role: str
    requested_by: str = ""
    latch: Latch
    quotas: Mapping[str, Quota] = field(factory=dict[str, Quota])
    certificate: Certificate | None = None
    legal_holds: tuple[LegalHold, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    monitor: tuple[str, ...] = ()
    fleet: Fleet | None = None

    def is_monitored(self, recipe_id: str) -> bool:
        """Say whether the recipe only decides and must not act."""
        return any(covers_recipe(pattern, recipe_id) for pattern in self.monitor)

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        held, insured = self.entitlement, self.certificate
        return {
            "tenant": self.tenant,
            "tenant_state": self.tenant_state.value,
            "refusing": self.is_refusing,
            "entitlement": None
            if held is None
            else {
                "price_plan": held.price_plan,
                "recipes": list(held.recipes),
                "starts_at": _optional(held.starts_at),
                "ends_at": _optional(held.ends_at),
            },
            "role": self.role,
            "requested_by": self.requested_by,
            "latch": cast("Json", self.latch.record()),
            "quotas": {
                name: {"limit": each.limit, "used": each.used, "ceiling": each.ceiling}
                for name, each in self.quotas.items()
            },
            "certificate": None
            if insured is None
            else {
                "id": insured.id,
                "covers": list(insured.covers),
                "ends_at": moment_text(insured.ends_at),
            },
            "legal_holds": [[hold.id, hold.resource] for hold in self.legal_holds],
            "freezes": [
                [moment_text(each.starts_at), moment_text(each.ends_at), each.reason]
                for each in self.freezes
            ],
            "monitor": list(self.monitor),
            "fleet": None
            if self.fleet is None
            else {"tenants": self.fleet.tenants, "touched": dict(self.fleet.touched)},
        }


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)


def _moment(text: object) -> datetime | None:
    return None if text is None else parse_moment(text)


def parse_policy(record: Mapping[str, Json]) -> Policy:
    """Read what `Policy.record` wrote; raise InvalidInput on anything else."""
    try:
        return _parse_policy(cast("dict[str, Any]", record))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"expected policy to be as Policy.record writes it: {error!r}"
        ) from error


def _parse_policy(row: dict[str, Any]) -> Policy:
    held, insured, fleet = row["entitlement"], row["certificate"], row["fleet"]
    return Policy(
        tenant=row["tenant"],
        tenant_state=TenantState(row["tenant_state"]),
        is_refusing=row["refusing"],
        entitlement=None
        if held is None
        else Entitlement(
            price_plan=held["price_plan"],
            recipes=tuple(held["recipes"]),
            starts_at=_moment(held["starts_at"]),
            ends_at=_moment(held["ends_at"]),
        ),
        role=row["role"],
        requested_by=row["requested_by"],
        latch=parse_latch(row["latch"]),
        quotas={
            name: Quota(name=name, limit=each["limit"], used=each["used"], ceiling=each["ceiling"])
            for name, each in row["quotas"].items()
        },
        certificate=None
        if insured is None
        else Certificate(
            id=insured["id"],
            covers=tuple(insured["covers"]),
            ends_at=parse_moment(insured["ends_at"]),
        ),
        legal_holds=tuple(LegalHold(id=each[0], resource=each[1]) for each in row["legal_holds"]),
        freezes=tuple(
            Freeze(starts_at=parse_moment(each[0]), ends_at=parse_moment(each[1]), reason=each[2])
            for each in row["freezes"]
        ),
        monitor=tuple(row["monitor"]),
        fleet=None if fleet is None else Fleet(tenants=fleet["tenants"], touched=fleet["touched"]),
    )
