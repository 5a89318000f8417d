"""How a tool says no: a stable code, the reason, and the next lawful step, as a value.

Codes that the catalogue of the gates has are taken from there, and an error has the code that it
has over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from autonomics.errors import (
    AutonomicsError,
    CallFailed,
    CallTimedOut,
    DoorRefused,
    Fenced,
    IdempotencyConflict,
    InvalidInput,
    LedgerError,
    NoSuchTenant,
    Overloaded,
    ParkingFull,
    StoreUnavailable,
    TenantRefused,
    TenantUnavailable,
)
from autonomics.gates.refusal import CATALOGUE, NextStep
from autonomics.gates.verdict import Verdict


class Refusal(BaseModel):
    """Why not, and what may lawfully be done next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(description="Stable code of the refusal.")
    reason: str = Field(description="Why, in words.")
    next_step: str = Field(description="What may lawfully be done next.")
    who: str = Field(description="Who can do that: caller, operator, administrator, tenant, owner.")


_STEPS: Final[Mapping[str, NextStep]] = MappingProxyType(
    {
        **{code: row.next for code, row in CATALOGUE.items()},
        **{
            code: NextStep(step=step, who=who)
            for code, step, who in (
                ("unknown_tool", "call one of the tools that tools/list names", "caller"),
                ("unknown_method", "use a method that the server's capabilities name", "caller"),
                ("invalid_params", "send the parameters that the protocol asks for", "caller"),
                ("invalid_arguments", "correct the arguments as the tool's schema says", "caller"),
                ("invalid_input", "correct the value and call again", "caller"),
                ("unknown_receipt", "look the receipt's id up", "caller"),
                (
                    "tenant_not_named",
                    "start `autonomics mcp` with --tenant ID, or use a key of the tenant's",
                    "operator",
                ),
                ("conflict", "look at the present state first", "caller"),
                ("parking_full", "create the tenant, or stop sending", "operator"),
                ("busy", "call again", "caller"),
                ("store_unavailable", "call again; health_check tells how the store is", "caller"),
                ("ledger_error", "look at the health of the store", "operator"),
                ("tenant_unavailable", "call again later", "caller"),
                ("timed_out", "call again; health_check tells how the control plane is", "caller"),
                ("internal", "look the tool up in the server's log", "operator"),
            )
        },
    }
)

# The first row that fits decides: a class stands above its parents.
ERRORS: Final[tuple[tuple[type[AutonomicsError], str], ...]] = (
    (IdempotencyConflict, "idempotency_conflict"),
    (StoreUnavailable, "store_unavailable"),
    (Fenced, "busy"),
    (LedgerError, "ledger_error"),
    (NoSuchTenant, "unknown_tenant"),
    (TenantUnavailable, "tenant_unavailable"),
    (ParkingFull, "parking_full"),
    (TenantRefused, "conflict"),
    (Overloaded, "mailbox_full"),
    (CallTimedOut, "timed_out"),
    (CallFailed, "busy"),
    (InvalidInput, "invalid_input"),
)


def refuse(code: str, reason: str) -> Refusal:
    """Refuse with a code of the table or of the catalogue."""
    step = _STEPS[code]
    return Refusal(code=code, reason=reason, next_step=step.step, who=step.who)


def refusal_of(verdict: Verdict) -> Refusal:
    """Show the refusal of a gate."""
    assert verdict.code is not None  # whoever asks has seen that it refuses
    step = verdict.next or _STEPS[verdict.code]
    return Refusal(code=verdict.code, reason=verdict.reason, next_step=step.step, who=step.who)


def refusal_for(error: AutonomicsError) -> Refusal | None:
    """Return the refusal that an error means to the caller; None for a fault of ours."""
    if isinstance(error, DoorRefused):
        return refuse(error.code, str(error))
    for kind, code in ERRORS:
        if isinstance(error, kind):
            return refuse(code, str(error) or code.replace("_", " "))
    return None
