"""The catalogue of refusals: a stable code, an HTTP status, the rule, and the next lawful step.

A code never changes its meaning and is never used again. The status follows one rule: 422 unless
401, 403, 404, 409, 413, 423 (line stopped, hold) or 429 says more. Doors answer from here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from attrs import frozen

from autonomics.errors import InvalidInput


@frozen(kw_only=True)
class NextStep:
    """What may lawfully be done next, and by whom."""

    step: str
    who: str

    def record(self) -> dict[str, object]:
        """Give the form that goes into receipts and answers."""
        return {"step": self.step, "who": self.who}


@frozen(kw_only=True)
class Refusal:
    """One row of the catalogue. `rule` is a template over the values that the gate names."""

    code: str
    gate: str
    status: int
    rule: str
    next: NextStep


def _row(  # noqa: PLR0917  (a table reads best as a table)
    code: str, gate: str, status: int, rule: str, step: str, who: str
) -> Refusal:
    next_step = NextStep(step=step, who=who)
    return Refusal(code=code, gate=gate, status=status, rule=rule, next=next_step)


_ROWS: Final = (
    _row(
        "line_stopped",
        "stop_line",
        423,
        "the line is stopped for {scope}: {reason}",
        "clear the stop with root cause, fix and prevention, then send the signal again",
        "operator",
    ),
    _row(
        "latch_unreadable",
        "stop_line",
        423,
        "the stop-the-line latch can't be read, which counts as tripped",
        "inspect the ledger and clear the line",
        "operator",
    ),
    _row(
        "tenant_not_active",
        "tenant_state",
        403,
        "the tenant is {state}, not active",
        "activate or reactivate the tenant",
        "administrator",
    ),
    _row(
        "tenant_refusing",
        "tenant_state",
        423,
        "the tenant's governor refuses all acts until it is cleared",
        "look at the tenant's last receipts and clear the tenant",
        "operator",
    ),
    _row(
        "not_entitled",
        "entitlement",
        403,
        "the tenant's entitlement does not cover this recipe (price plan {price_plan})",
        "choose a price plan that includes the recipe",
        "tenant",
    ),
    _row(
        "entitlement_missing",
        "entitlement",
        403,
        "the tenant holds no current entitlement",
        "buy or renew an entitlement",
        "tenant",
    ),
    _row(
        "role_may_not_act",
        "role",
        403,
        "the role {role} may read and propose, not act",
        "have an operator send the signal",
        "operator",
    ),
    _row(
        "certificate_expired",
        "insurance",
        422,
        "the insurance certificate {certificate} is not valid now",
        "renew the certificate",
        "administrator",
    ),
    _row(
        "certificate_excludes",
        "insurance",
        422,
        "the insurance certificate {certificate} does not cover this recipe",
        "have the recipe added to the certificate",
        "administrator",
    ),
    _row(
        "quota_exhausted",
        "quota",
        429,
        "the quota {quota} is used up (limit={limit}, used={used})",
        "raise the quota within the price plan, or wait for the next period",
        "tenant",
    ),
    _row(
        "quota_missing",
        "quota",
        422,
        "the tenant has no quota for acts",
        "give the tenant a price plan",
        "administrator",
    ),
    _row(
        "legal_hold",
        "legal_hold",
        423,
        "the resource is under legal hold {hold}",
        "have the hold lifted by those who placed it",
        "legal",
    ),
    _row(
        "change_freeze",
        "change_freeze",
        422,
        "changes are frozen until {until}: {reason}",
        "wait for the end of the freeze, then send the signal again",
        "operator",
    ),
    _row(
        "managed_elsewhere",
        "managed_elsewhere",
        422,
        "the resource is managed as code elsewhere, and a change here would be undone",
        "make the proposed change where the resource is declared",
        "owner",
    ),
    _row(
        "manager_unknown",
        "managed_elsewhere",
        422,
        "nobody can say whether the resource is managed as code elsewhere",
        "make the resource's declaration readable, then send the signal again",
        "operator",
    ),
    _row(
        "precondition_failed",
        "preconditions",
        422,
        "the precondition {check} does not hold",
        "bring the resource into the state that the recipe expects",
        "owner",
    ),
    _row(
        "fact_missing",
        "preconditions",
        422,
        "the precondition {check} can't be judged: a fact is missing or too old",
        "make the fact readable, then send the signal again",
        "operator",
    ),
    _row(
        "no_lawful_step",
        "bounds",
        422,
        "the recipe has no step left within its bounds: {reason}",
        "decide by hand whether to go beyond the recipe",
        "owner",
    ),
    _row(
        "bounds_exceeded",
        "bounds",
        429,
        "the bound {bound} is reached (limit={limit}, used={used})",
        "wait until the period is over, or act by hand",
        "operator",
    ),
    _row(
        "bounds_missing",
        "bounds",
        422,
        "no bounds are declared",
        "declare the recipe's bounds",
        "author of the recipe",
    ),
    _row(
        "recurrence",
        "recurrence",
        422,
        "the signal came back after {used} acts, so the acts do not help (limit={limit})",
        "find the root cause, then clear the tenant",
        "operator",
    ),
    _row(
        "approval_missing",
        "approval",
        422,
        "the act needs more approvals (needed={limit}, given={used})",
        "approve or reject the act",
        "operator",
    ),
    _row(
        "gate_error",
        "any",
        422,
        "the gate {gate} failed with {error}, which counts as a refusal",
        "mend the gate, then send the signal again",
        "operator",
    ),
    _row(
        "no_gate_permits",
        "any",
        422,
        "no gate permits it",
        "configure the gates",
        "administrator",
    ),
    _row(
        "evidence_short",
        "diagnosis",
        422,
        "the evidence is short of the recipe's threshold",
        "look at the evidence and act by hand, or wait for more",
        "operator",
    ),
    _row(
        "vetoed",
        "diagnosis",
        422,
        "evidence speaks against it: {veto}",
        "look for the other cause; this act would not help",
        "operator",
    ),
    _row(
        "inconclusive",
        "diagnosis",
        422,
        "the diagnosis is inconclusive",
        "supply the missing evidence or rule out the other cause",
        "operator",
    ),
    _row(
        "no_recipe",
        "diagnosis",
        422,
        "no recipe knows this signal",
        "look at the signal; write a recipe if it comes again",
        "operator",
    ),
    _row(
        "signal_closed",
        "diagnosis",
        422,
        "the incident is closed already",
        "nothing to do",
        "nobody",
    ),
    _row(
        "no_action",
        "diagnosis",
        422,
        "the recipe diagnoses and does not act",
        "follow the recipe's advice by hand",
        "operator",
    ),
    _row(
        "monitor_only",
        "monitor",
        422,
        "the recipe runs in monitor mode for this tenant",
        "enable the recipe for the tenant",
        "administrator",
    ),
    _row(
        "unauthenticated",
        "door",
        401,
        "the sender is not known",
        "send valid credentials",
        "sender",
    ),
    _row(
        "unknown_tenant",
        "door",
        404,
        "there is no such tenant",
        "create the tenant",
        "administrator",
    ),
    _row(
        "idempotency_conflict",
        "door",
        422,
        "the idempotency key was used before with other content",
        "send the request with a new key",
        "sender",
    ),
    _row(
        "signal_too_large",
        "door",
        413,
        "the signal is larger than {limit} bytes",
        "send a smaller signal",
        "sender",
    ),
    _row(
        "mailbox_full",
        "door",
        429,
        "the tenant's mailbox is full",
        "send the signal again later",
        "sender",
    ),
    _row(
        "tool_not_entitled",
        "door",
        403,
        "the tenant's entitlement does not cover this tool",
        "choose a price plan that includes the tool",
        "tenant",
    ),
)

CATALOGUE: Final[Mapping[str, Refusal]] = MappingProxyType({row.code: row for row in _ROWS})


def refusal_named(code: str) -> Refusal:
    """Look a refusal up by its code."""
    row = CATALOGUE.get(code)
    if row is None:
        near = get_close_matches(code, CATALOGUE, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(f"expected refusal code to be in the catalogue, got {code!r}{hint}")
    return row
