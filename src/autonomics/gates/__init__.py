"""Whether an act may go on: gates, verdicts, refusals and the stop-the-line latch. Pure."""

from __future__ import annotations

from autonomics.gates.context import (
    ACTING_ROLES,
    Approval,
    Bound,
    Certificate,
    Check,
    Freeze,
    GateContext,
    LegalHold,
    Role,
)
from autonomics.gates.gate import GATES, Gate, GateReport, evaluate_gates
from autonomics.gates.latch import (
    LINE,
    Clearance,
    Latch,
    Scope,
    ScopeKind,
    Stop,
    parse_latch,
    recipe_scope,
    resource_scope,
    tenant_scope,
)
from autonomics.gates.refusal import CATALOGUE, NextStep, Refusal, refusal_named
from autonomics.gates.verdict import Ruling, Verdict, permit, refuse, skip

__all__ = [
    "ACTING_ROLES",
    "CATALOGUE",
    "GATES",
    "LINE",
    "Approval",
    "Bound",
    "Certificate",
    "Check",
    "Clearance",
    "Freeze",
    "Gate",
    "GateContext",
    "GateReport",
    "Latch",
    "LegalHold",
    "NextStep",
    "Refusal",
    "Role",
    "Ruling",
    "Scope",
    "ScopeKind",
    "Stop",
    "Verdict",
    "evaluate_gates",
    "parse_latch",
    "permit",
    "recipe_scope",
    "refusal_named",
    "refuse",
    "resource_scope",
    "skip",
    "tenant_scope",
]
