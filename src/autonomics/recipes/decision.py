"""The decision about one signal: pure, so that the same inputs give the same decision for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, cast

from attrs import evolve, field, frozen

from autonomics.gates.context import Check, GateContext
from autonomics.gates.gate import GateReport, evaluate_gates
from autonomics.gates.verdict import Verdict, permit, refuse
from autonomics.receipts.canonical import encode
from autonomics.recipes.bounds import count_bounds, count_recurrence
from autonomics.recipes.diagnosis import Candidate, Diagnosis, Outcome, diagnose, hit_of
from autonomics.recipes.effector import Fact
from autonomics.recipes.history import History, HistoryView, Hit
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.plan import Plan, PlanFault, make_plan, resource_of
from autonomics.recipes.policy import ACTS_QUOTA, Policy
from autonomics.recipes.predicate import describe, evaluate
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.signal import Json, Signal, moment_text
from autonomics.recipes.view import COUNTS

# Raised whenever the same inputs could give another decision than before.
ENGINE_VERSION: Final = "2"

Answer = Literal["act", "await_approval", "refuse", "none"]


@frozen(kw_only=True)
class Decision:
    """What is to be done about a signal, and all that led there.

    `answer` is `act` only with a plan and every gate's permit. `await_approval`: approval is all
    that is missing. `refuse` carries the deciding verdict. `none`: no recipe, or a closed incident.
    """

    answer: Answer
    signal: Signal = field(repr=False)
    diagnosis: Diagnosis
    verdicts: tuple[Verdict, ...]
    refusal: Verdict | None
    plan: Plan | None
    action_id: str | None
    digest: str
    engine: str
    now: datetime
    hit: Hit
    facts: tuple[Fact, ...] = field(repr=False)
    history: Mapping[str, Json] = field(repr=False)
    policy: Policy = field(repr=False)

    @property
    def code(self) -> str | None:
        """Give the refusal's code."""
        return None if self.refusal is None else self.refusal.code

    @property
    def line_generation(self) -> int:
        """Give the generation of the line that the decision was made under."""
        return self.policy.latch.generation

    def matches(self) -> list[Json]:
        """List what the history has to count: recipe and fingerprint of each match and level.

        A closed incident names all it might have opened, an open one only what still stands.
        """
        return [
            {"recipe": recipe, "fingerprint": fingerprint}
            for each in self.diagnosis.candidates
            if self.diagnosis.is_closed or each.outcome is not Outcome.NONE
            for recipe, fingerprint in each.keys
        ]


def decide(  # noqa: PLR0917  (the six inputs of every decision, in their one order)
    signal: Signal,
    facts: Mapping[str, Fact],
    history: History,
    recipes: RecipeSet,
    policy: Policy,
    now: datetime,
) -> Decision:
    """Diagnose a signal, plan, ask all gates, and say what is to be done.

    `facts` holds the answers to `needed_facts`, by the key of their request; others are ignored.
    """
    diagnosis = diagnose(signal, facts, history, recipes, now)
    seen = _record_history(diagnosis, history, signal, now)
    used = _used_facts(diagnosis, facts)
    plan: Plan | None = None
    refusal = _refuse_by_diagnosis(diagnosis)
    verdicts: tuple[Verdict, ...] = () if refusal is None else (refusal,)
    answer: Answer = "none" if diagnosis.outcome is Outcome.NONE else "refuse"
    if refusal is None and diagnosis.candidate is not None:
        plan, report = _gate(diagnosis.candidate, signal, history, policy, now)
        monitored = _monitor(diagnosis.candidate.recipe, policy)
        verdicts = (*report.verdicts, monitored)
        refusal = report.refusal or (monitored if monitored.refuses else None)
        answer = _answer(refusal, report, plan)
    digest = _digest(
        signal=signal,
        facts={fact.key: fact for fact in used},
        asked=_asked(diagnosis),
        history=seen,
        recipe=diagnosis.recipe,
        policy=policy,
        verdicts=verdicts,
        plan=plan,
        now=now,
    )
    return Decision(
        answer=answer,
        signal=signal,
        diagnosis=diagnosis,
        verdicts=verdicts,
        refusal=refusal,
        plan=plan,
        action_id=None if plan is None else _action_id(policy.tenant, digest, signal),
        digest=digest,
        engine=ENGINE_VERSION,
        now=now,
        hit=hit_of(signal, now),
        facts=used,
        history=seen,
        policy=policy,
    )


def _answer(refusal: Verdict | None, report: GateReport, plan: Plan | None) -> Answer:
    if refusal is None:
        return "act" if report.permits and plan is not None else "refuse"
    refusals = [verdict for verdict in report.verdicts if verdict.refuses]
    only_approval = [verdict.code for verdict in refusals] == ["approval_missing"]
    return "await_approval" if only_approval and plan is not None else "refuse"


def _refuse_by_diagnosis(diagnosis: Diagnosis) -> Verdict | None:
    recipe = diagnosis.recipe
    evidence = tuple(diagnosis.explanation.split("\n")[1:])
    if recipe is None:
        code = "signal_closed" if diagnosis.is_closed else "no_recipe"
        return refuse("diagnosis", code, subject="the tenant", evidence=evidence)
    if diagnosis.outcome is Outcome.INCONCLUSIVE:
        return refuse("diagnosis", "inconclusive", subject=recipe.id, evidence=evidence)
    if diagnosis.outcome is Outcome.LIKELY:
        code = "vetoed" if diagnosis.vetoes else "evidence_short"
        vetoes = ", ".join(finding.name for finding in diagnosis.vetoes)
        return refuse("diagnosis", code, subject=recipe.id, evidence=evidence, veto=vetoes)
    if not recipe.actions:
        return refuse("diagnosis", "no_action", subject=recipe.id, step=recipe.advice)
    return None


def _monitor(recipe: Recipe, policy: Policy) -> Verdict:
    if policy.is_monitored(recipe.id):
        return refuse("monitor", "monitor_only", subject=recipe.id)
    return permit("monitor")


def _gate(
    candidate: Candidate, signal: Signal, history: History, policy: Policy, now: datetime
) -> tuple[Plan | None, GateReport]:
    recipe = candidate.recipe
    planned = make_plan(candidate, policy.tenant)
    resource = resource_of(candidate)
    fault = planned.reason if isinstance(planned, PlanFault) else None
    report = evaluate_gates(
        GateContext(
            tenant=policy.tenant,
            recipe=recipe.id,
            resource=resource,
            now=now,
            latch=policy.latch,
            tenant_state=policy.tenant_state,
            is_refusing=policy.is_refusing,
            entitlement=policy.entitlement,
            role=policy.role,
            certificate=policy.certificate,
            quota=policy.quotas.get(ACTS_QUOTA),
            legal_holds=policy.legal_holds,
            freezes=policy.freezes,
            managed_elsewhere="not_declared"
            if recipe.managed_when is None
            else evaluate(recipe.managed_when, candidate.view),
            preconditions=_check(candidate, signal, now),
            bounds=count_bounds(recipe, resource, history, policy, now),
            plan_fault=fault,
            recurrence=count_recurrence(recipe, candidate.key, history, now),
            approvals_needed=recipe.approvals,
            approvals=history.approvals.get(candidate.key, ()),
            requested_by=policy.requested_by,
        )
    )
    return (None if isinstance(planned, PlanFault) else planned), report


def _check(candidate: Candidate, signal: Signal, now: datetime) -> tuple[Check, ...]:
    recipe = candidate.recipe
    moment = signal.event_at
    # A signal that names no time is as old as its arrival.
    is_young = moment is None or now - moment <= timedelta(seconds=recipe.max_age_s)
    fresh = Check(
        name="signal_is_fresh",
        holds=is_young,
        evidence=f"at most {recipe.max_age_s} s old",
        step="wait for a signal that is not stale",
    )
    declared = (
        Check(
            name=each.name,
            holds=evaluate(each.when, candidate.view),
            evidence=describe(each.when),
            step=each.next_step,
        )
        for each in recipe.preconditions
    )
    return (fresh, *declared)


def _asked(diagnosis: Diagnosis) -> dict[str, int]:
    """Give the tolerated age of each fact that a candidate asked for, the strictest."""
    asked: dict[str, int] = {}
    for candidate in diagnosis.candidates:
        for request in candidate.requests:
            known = asked.get(request.key, request.max_age_s)
            asked[request.key] = min(known, request.max_age_s)
    return asked


def _used_facts(diagnosis: Diagnosis, facts: Mapping[str, Fact]) -> tuple[Fact, ...]:
    return tuple(facts[key] for key in sorted(_asked(diagnosis)) if key in facts)


def _record_history(
    diagnosis: Diagnosis, history: History, signal: Signal, now: datetime
) -> dict[str, Json]:
    """Record the numbers that the decision takes from the past, by recipe and fingerprint.

    Not the past itself: what no recipe of this decision counts can't change it.
    """
    hit = hit_of(signal, now)
    return {
        f"{each.recipe.id} {each.view.fingerprint}": _view_history(each, history, hit, now).record()
        for each in diagnosis.candidates
    }


def _view_history(candidate: Candidate, history: History, hit: Hit, now: datetime) -> HistoryView:
    recipe, key = candidate.recipe, candidate.key
    bounds, resource = recipe.bounds, resource_of(candidate) or ""
    seen = HistoryView(
        window=history.count_window(key, hit, recipe.diagnose.window_s),
        since_action=history.count_since_action(key, hit),
        approvals=tuple(sorted(each.by for each in history.approvals.get(key, ()))),
        counts={name: n for name, n in candidate.view.counts.items() if name not in COUNTS},
    )
    if bounds is None:
        return seen
    per_resource, per_tenant = bounds.per_resource, bounds.per_tenant
    return evolve(
        seen,
        acts_on_resource=history.count_acts_on_resource(
            recipe.id, resource, now, per_resource.period_s
        ),
        acts_of_tenant=history.count_acts_of_tenant(recipe.id, now, per_tenant.period_s),
        recurrence=history.count_recurrence(key, now, bounds.max_recurrence.period_s),
        open_acts=history.count_open_acts(resource),
    )


def _digest(
    *,
    signal: Signal,
    facts: Mapping[str, Fact],
    asked: Mapping[str, int],
    history: Mapping[str, Json],
    recipe: Recipe | None,
    policy: Policy,
    verdicts: tuple[Verdict, ...],
    plan: Plan | None,
    now: datetime,
) -> str:
    """Digest the inputs as recorded, all verdicts and the plan; no id or time of our own.

    Of a fact: its value, and whether it was fresh, not when we read it.
    """
    content: dict[str, Json] = {
        "engine": ENGINE_VERSION,
        "signal": signal.record(),
        "facts": {
            key: {"value": fact.value, "error": fact.error, "fresh": fact.is_fresh(now, asked[key])}
            for key, fact in facts.items()
        },
        "history": hashlib.sha256(encode(history)).hexdigest(),
        "recipe": None if recipe is None else recipe.ref(),
        "policy": policy.record(),
        "verdicts": [cast("Json", verdict.record()) for verdict in verdicts],
        "plan": None if plan is None else plan.record(),
    }
    return hashlib.sha256(encode(content)).hexdigest()


def _action_id(tenant: str, digest: str, signal: Signal) -> str:
    content: list[Json] = [
        tenant,
        digest,
        signal.source,
        signal.message_id,
        None if signal.event_at is None else moment_text(signal.event_at),
    ]
    return hashlib.sha256(encode(content)).hexdigest()[:32]
