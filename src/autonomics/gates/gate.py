"""The gates, in their one order, and their evaluation.

All gates are evaluated and listed; the first that refuses decides. Deny by default: an act needs
at least one permit and no refusal, and a gate that fails has refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from autonomics.gates.context import ACTING_ROLES, GateContext
from autonomics.gates.verdict import Ruling, Verdict, permit, refuse, skip


@frozen
class Gate:
    """A named judge of acts."""

    name: str
    judge: Callable[[GateContext], Verdict]


def _judge_stop_line(act: GateContext) -> Verdict:
    name = "stop_line"
    if not act.latch.is_readable:
        return refuse(name, "latch_unreadable", subject=act.recipe)
    stops = act.latch.stops_for(act.tenant, act.recipe, act.resource)
    if stops:
        return refuse(
            name,
            "line_stopped",
            subject=act.recipe,
            evidence=tuple(f"{stop.scope}: {stop.reason} (by {stop.by})" for stop in stops),
            scope=stops[0].scope,
            reason=stops[0].reason,
        )
    return permit(name, f"generation {act.latch.generation}")


def _judge_tenant_state(act: GateContext) -> Verdict:
    name = "tenant_state"
    state = act.tenant_state.value
    if state != "active":
        return refuse(name, "tenant_not_active", subject=act.recipe, state=state)
    if act.is_refusing:
        return refuse(name, "tenant_refusing", subject=act.recipe)
    return permit(name, state)


def _judge_entitlement(act: GateContext) -> Verdict:
    name = "entitlement"
    held = act.entitlement
    if held is None or not held.is_current(act.now):
        return refuse(name, "entitlement_missing", subject=act.recipe)
    if not held.covers(act.recipe):
        return refuse(name, "not_entitled", subject=act.recipe, price_plan=held.price_plan)
    return permit(name, f"price plan {held.price_plan}")


def _judge_role(act: GateContext) -> Verdict:
    if act.role not in ACTING_ROLES:
        return refuse("role", "role_may_not_act", subject=act.recipe, role=act.role)
    return permit("role", act.role)


def _judge_insurance(act: GateContext) -> Verdict:
    name = "insurance"
    certificate = act.certificate
    if certificate is None:
        return skip(name, "no certificate is configured")
    if act.now >= certificate.ends_at:
        return refuse(name, "certificate_expired", subject=act.recipe, certificate=certificate.id)
    if not certificate.covers_recipe(act.recipe):
        return refuse(name, "certificate_excludes", subject=act.recipe, certificate=certificate.id)
    return permit(name, certificate.id)


def _judge_quota(act: GateContext) -> Verdict:
    name = "quota"
    quota = act.quota
    if quota is None:
        return refuse(name, "quota_missing", subject=act.recipe)
    if quota.is_exhausted:
        return refuse(
            name,
            "quota_exhausted",
            subject=act.recipe,
            quota=quota.name,
            limit=quota.limit,
            used=quota.used,
        )
    return permit(name, f"{quota.name}: {quota.used} of {quota.limit}")


def _judge_legal_hold(act: GateContext) -> Verdict:
    name = "legal_hold"
    holds = [hold.id for hold in act.legal_holds if hold.covers(act.resource)]
    if holds:
        return refuse(name, "legal_hold", subject=act.recipe, evidence=tuple(holds), hold=holds[0])
    return permit(name)


def _judge_change_freeze(act: GateContext) -> Verdict:
    name = "change_freeze"
    standing = [freeze for freeze in act.freezes if freeze.starts_at <= act.now < freeze.ends_at]
    if standing:
        last = max(standing, key=lambda freeze: freeze.ends_at)
        return refuse(
            name,
            "change_freeze",
            subject=act.recipe,
            evidence=tuple(freeze.reason for freeze in standing),
            until=last.ends_at.isoformat(),
            reason=last.reason,
        )
    return permit(name)


def _judge_managed_elsewhere(act: GateContext) -> Verdict:
    name = "managed_elsewhere"
    managed = act.managed_elsewhere
    if managed == "not_declared":
        return skip(name, "the recipe's resource can't be declared elsewhere")
    if managed is None:
        return refuse(name, "manager_unknown", subject=act.recipe)
    if managed:
        return refuse(name, "managed_elsewhere", subject=act.recipe)
    return permit(name)


def _judge_preconditions(act: GateContext) -> Verdict:
    name = "preconditions"
    if not act.preconditions:
        return skip(name, "none declared")
    failed = next((check for check in act.preconditions if check.holds is False), None)
    unknown = next((check for check in act.preconditions if check.holds is None), None)
    worst = failed or unknown
    if worst is None:
        return permit(name, *(check.name for check in act.preconditions))
    return refuse(
        name,
        "precondition_failed" if worst is failed else "fact_missing",
        subject=act.recipe,
        evidence=tuple(
            f"{check.name}: {check.evidence}"
            for check in act.preconditions
            if check.holds is not True
        ),
        step=worst.step,
        check=worst.name,
    )


def _judge_bounds(act: GateContext) -> Verdict:
    name = "bounds"
    if not act.bounds:
        return refuse(name, "bounds_missing", subject=act.recipe)
    if act.plan_fault is not None:
        return refuse(name, "no_lawful_step", subject=act.recipe, reason=act.plan_fault)
    evidence = tuple(f"{bound.name}: {bound.used} of {bound.limit}" for bound in act.bounds)
    reached = next((bound for bound in act.bounds if bound.is_reached), None)
    if reached is not None:
        return refuse(
            name,
            "bounds_exceeded",
            subject=act.recipe,
            evidence=evidence,
            bound=reached.name,
            limit=reached.limit,
            used=reached.used,
        )
    return permit(name, *evidence)


def _judge_recurrence(act: GateContext) -> Verdict:
    name = "recurrence"
    bound = act.recurrence
    if bound is None:
        return refuse(name, "bounds_missing", subject=act.recipe)
    if bound.is_reached:
        return refuse(name, "recurrence", subject=act.recipe, limit=bound.limit, used=bound.used)
    return permit(name, f"{bound.used} of {bound.limit}")


def _judge_approval(act: GateContext) -> Verdict:
    name = "approval"
    if act.approvals_needed == 0:
        return skip(name, "none needed")
    # Two approvals of one person are one, and nobody approves what they asked for.
    people = sorted(
        {
            approval.by
            for approval in act.approvals
            if approval.expires_at > act.now and approval.by != act.requested_by
        }
    )
    if len(people) < act.approvals_needed:
        return refuse(
            name,
            "approval_missing",
            subject=act.recipe,
            evidence=tuple(people),
            limit=act.approvals_needed,
            used=len(people),
        )
    return permit(name, *people)


GATES: tuple[Gate, ...] = (
    Gate("stop_line", _judge_stop_line),
    Gate("tenant_state", _judge_tenant_state),
    Gate("entitlement", _judge_entitlement),
    Gate("role", _judge_role),
    Gate("insurance", _judge_insurance),
    Gate("quota", _judge_quota),
    Gate("legal_hold", _judge_legal_hold),
    Gate("change_freeze", _judge_change_freeze),
    Gate("managed_elsewhere", _judge_managed_elsewhere),
    Gate("preconditions", _judge_preconditions),
    Gate("bounds", _judge_bounds),
    Gate("recurrence", _judge_recurrence),
    Gate("approval", _judge_approval),
)

_PLACE = {gate.name: place for place, gate in enumerate(GATES)}


@frozen
class GateReport:
    """The verdicts of all gates, in the order of GATES."""

    verdicts: tuple[Verdict, ...]

    @property
    def refusal(self) -> Verdict | None:
        """Give the first refusal, which decides; None where all permit."""
        return next((verdict for verdict in self.verdicts if verdict.refuses), None)

    @property
    def permits(self) -> bool:
        """True if one gate permits and none refuses."""
        has_permit = any(verdict.ruling is Ruling.PERMITS for verdict in self.verdicts)
        return has_permit and self.refusal is None


def evaluate_gates(act: GateContext, gates: Sequence[Gate] = GATES) -> GateReport:
    """Ask every gate about the act.

    The listing follows GATES whatever the order of `gates`; gates of a host come last, by name.
    """
    ordered = sorted(gates, key=lambda gate: (_PLACE.get(gate.name, len(_PLACE)), gate.name))
    verdicts = [_ask(gate, act) for gate in ordered]
    if not any(verdict.ruling is not Ruling.NOT_APPLICABLE for verdict in verdicts):
        verdicts.append(refuse("any", "no_gate_permits", subject=act.recipe))
    return GateReport(tuple(verdicts))


def _ask(gate: Gate, act: GateContext) -> Verdict:
    try:
        verdict = gate.judge(act)
    # A gate that fails must refuse, whatever it failed with: to let the error pass would leave
    # the act without a verdict, and to name the errors would let the next new one through.
    except Exception as error:  # noqa: BLE001
        return refuse(
            gate.name,
            "gate_error",
            subject=act.recipe,
            evidence=(str(error)[:200],),
            gate=gate.name,
            error=type(error).__name__,
        )
    if not isinstance(verdict, Verdict):  # pyright: ignore[reportUnnecessaryIsInstance]
        return refuse(
            gate.name,
            "gate_error",
            subject=act.recipe,
            gate=gate.name,
            error=f"an answer of type {type(verdict).__name__}",
        )
    return verdict
