from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.gates import (
    CATALOGUE,
    GATES,
    LINE,
    Approval,
    Bound,
    Certificate,
    Check,
    Freeze,
    Gate,
    GateContext,
    GateReport,
    Latch,
    LegalHold,
    Ruling,
    Verdict,
    evaluate_gates,
    permit,
    skip,
)
from autonomics.tenancy import Entitlement, Quota, TenantState, price_plan_named

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GOOD = GateContext(
    tenant="00112233aabbccdd",
    recipe="run.oom_memory_limit",
    resource="projects/p/services/a",
    now=NOW,
    latch=Latch(),
    tenant_state=TenantState.ACTIVE,
    is_refusing=False,
    entitlement=Entitlement.of(price_plan_named("standard")),
    role="service",
    quota=Quota(name="acts", limit=10, used=9, ceiling=10),
    managed_elsewhere=False,
    preconditions=(Check(name="ready", holds=True),),
    bounds=(Bound(name="per day", limit=1, used=0),),
    plan_fault=None,
    recurrence=Bound(name="recurrence", limit=3, used=2),
    approvals_needed=0,
)
ORDER = [
    "stop_line",
    "tenant_state",
    "entitlement",
    "role",
    "insurance",
    "quota",
    "legal_hold",
    "change_freeze",
    "managed_elsewhere",
    "preconditions",
    "bounds",
    "recurrence",
    "approval",
]
CERTIFICATE = Certificate(id="c-1", covers=("run.*",), ends_at=NOW + HOUR)
YES = [Approval(by=name, expires_at=NOW + HOUR) for name in ("ann", "bob", "eve")]

REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("line_stopped", {"latch": Latch().trip(LINE, "fork", "watchdog")}),
    ("latch_unreadable", {"latch": Latch.unreadable()}),
    ("tenant_not_active", {"tenant_state": TenantState.PENDING}),
    ("tenant_not_active", {"tenant_state": TenantState.SUSPENDED}),
    ("tenant_not_active", {"tenant_state": TenantState.CLOSED}),
    ("tenant_refusing", {"is_refusing": True}),
    ("entitlement_missing", {"entitlement": None}),
    (
        "entitlement_missing",
        {"entitlement": Entitlement.of(price_plan_named("standard"), ends_at=NOW)},
    ),
    ("not_entitled", {"recipe": "opt.cold_start"}),
    ("role_may_not_act", {"role": "viewer"}),
    ("role_may_not_act", {"role": "root"}),
    ("certificate_expired", {"certificate": evolve(CERTIFICATE, ends_at=NOW)}),
    ("certificate_excludes", {"certificate": evolve(CERTIFICATE, covers=("ent.*",))}),
    ("quota_missing", {"quota": None}),
    ("quota_exhausted", {"quota": Quota(name="acts", limit=10, used=10, ceiling=10)}),
    ("legal_hold", {"legal_holds": (LegalHold(id="h", resource="projects/p"),)}),
    ("legal_hold", {"legal_holds": (LegalHold(id="h", resource="*"),)}),
    ("change_freeze", {"freezes": (Freeze(starts_at=NOW, ends_at=NOW + HOUR, reason="sale"),)}),
    ("managed_elsewhere", {"managed_elsewhere": True}),
    ("manager_unknown", {"managed_elsewhere": None}),
    ("precondition_failed", {"preconditions": (Check(name="ready", holds=False),)}),
    ("fact_missing", {"preconditions": (Check(name="ready", holds=None),)}),
    ("bounds_missing", {"bounds": ()}),
    ("no_lawful_step", {"plan_fault": "largest step"}),
    ("bounds_exceeded", {"bounds": (Bound(name="per day", limit=1, used=1),)}),
    ("recurrence", {"recurrence": Bound(name="recurrence", limit=3, used=3)}),
    ("bounds_missing", {"recurrence": None}),
    ("approval_missing", {"approvals_needed": 1}),
    ("approval_missing", {"approvals_needed": 2, "approvals": (YES[0], YES[0])}),
    ("approval_missing", {"approvals_needed": 1, "approvals": (YES[0],), "requested_by": "ann"}),
    (
        "approval_missing",
        {"approvals_needed": 1, "approvals": (Approval(by="ann", expires_at=NOW),)},
    ),
]
PERMITS: list[dict[str, Any]] = [
    {},
    {"certificate": CERTIFICATE},
    {"role": "operator"},
    {"role": "admin"},
    {"managed_elsewhere": "not_declared"},
    {"preconditions": ()},
    {"legal_holds": (LegalHold(id="h", resource="projects/p/services/ab"),)},
    {"freezes": (Freeze(starts_at=NOW - HOUR, ends_at=NOW, reason="over"),)},
    {"freezes": (Freeze(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR, reason="later"),)},
    {"approvals_needed": 2, "approvals": (YES[0], YES[1])},
]


def test_the_gates_stand_in_their_one_order() -> None:
    assert [gate.name for gate in GATES] == ORDER


@pytest.mark.parametrize("changes", PERMITS)
def test_an_act_that_keeps_all_rules_is_permitted(changes: dict[str, Any]) -> None:
    report = evaluate_gates(evolve(GOOD, **changes))

    assert report.permits
    assert report.refusal is None
    assert [verdict.gate for verdict in report.verdicts] == ORDER


@pytest.mark.parametrize(("code", "changes"), REFUSALS)
def test_a_broken_rule_refuses_with_its_code(code: str, changes: dict[str, Any]) -> None:
    report = evaluate_gates(evolve(GOOD, **changes))

    assert not report.permits
    assert report.refusal is not None
    assert report.refusal.code == code
    assert [verdict.gate for verdict in report.verdicts] == ORDER


@pytest.mark.parametrize(("code", "changes"), REFUSALS)
def test_a_refusal_says_why_and_what_to_do_next(code: str, changes: dict[str, Any]) -> None:
    act = evolve(GOOD, **changes)
    refusal = evaluate_gates(act).refusal

    assert refusal is not None
    assert refusal.reason.startswith(f"{act.recipe} may not act: ")
    assert "{" not in refusal.reason
    assert refusal.next is not None
    assert refusal.next.step
    assert refusal.next.who
    assert refusal.status == CATALOGUE[code].status


def test_the_first_gate_that_refuses_decides_and_the_rest_are_listed() -> None:
    act = evolve(GOOD, role="viewer", quota=None, tenant_state=TenantState.CLOSED)

    report = evaluate_gates(act)

    assert report.refusal is not None
    assert report.refusal.code == "tenant_not_active"
    assert [verdict.code for verdict in report.verdicts if verdict.refuses] == [
        "tenant_not_active",
        "role_may_not_act",
        "quota_missing",
    ]


def test_insurance_is_not_asked_where_no_certificate_is_configured() -> None:
    verdict = evaluate_gates(GOOD).verdicts[ORDER.index("insurance")]

    assert verdict.ruling is Ruling.NOT_APPLICABLE


def test_an_unknown_resource_may_be_the_held_one() -> None:
    hold = LegalHold(id="h", resource="projects/elsewhere")

    assert evaluate_gates(evolve(GOOD, legal_holds=(hold,))).permits
    assert not evaluate_gates(evolve(GOOD, legal_holds=(hold,), resource=None)).permits


def test_of_several_freezes_the_last_end_is_named() -> None:
    freezes = tuple(
        Freeze(starts_at=NOW - HOUR, ends_at=NOW + hours * HOUR, reason=f"{hours} h")
        for hours in (1, 3, 2)
    )

    refusal = evaluate_gates(evolve(GOOD, freezes=freezes)).refusal

    assert refusal is not None
    assert "2026-03-01T15:00:00+00:00: 3 h" in refusal.reason


def test_a_failed_precondition_outranks_one_that_nobody_knows() -> None:
    checks = (
        Check(name="unknown", holds=None),
        Check(name="failed", holds=False, step="do this"),
        Check(name="fine", holds=True),
    )

    refusal = evaluate_gates(evolve(GOOD, preconditions=checks)).refusal

    assert refusal is not None
    assert refusal.code == "precondition_failed"
    assert refusal.next is not None
    assert (refusal.next.step, refusal.next.who) == ("do this", "owner")
    assert len(refusal.evidence) == 2


def raise_error(_act: GateContext) -> Verdict:
    raise ZeroDivisionError("in the gate")


def answer_nothing(_act: GateContext) -> Verdict:
    return None  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("judge", [raise_error, answer_nothing])
def test_an_error_inside_a_gate_is_a_refusal(judge: Any) -> None:
    report = evaluate_gates(GOOD, (*GATES, Gate("own", judge)))

    assert report.refusal is not None
    assert (report.refusal.gate, report.refusal.code) == ("own", "gate_error")


def test_an_error_in_one_gate_leaves_the_others_listed() -> None:
    report = evaluate_gates(evolve(GOOD, recurrence=3))  # type: ignore[arg-type]

    assert [verdict.gate for verdict in report.verdicts] == ORDER
    assert report.refusal is not None
    assert report.refusal.evidence == ("'int' object has no attribute 'is_reached'",)


def test_no_gates_at_all_permit_nothing() -> None:
    report = evaluate_gates(GOOD, ())

    assert not report.permits
    assert report.refusal is not None
    assert report.refusal.code == "no_gate_permits"


def test_an_empty_report_permits_nothing() -> None:
    assert not GateReport(()).permits


def test_gates_that_have_nothing_to_say_permit_nothing() -> None:
    report = evaluate_gates(GOOD, (Gate("own", lambda _: skip("own")),))

    assert not report.permits
    assert [verdict.gate for verdict in report.verdicts] == ["own", "any"]


def test_a_host_may_add_a_gate_of_its_own_behind_the_others() -> None:
    report = evaluate_gates(GOOD, (Gate("aaa", lambda _: permit("aaa", "fine")), *GATES))

    assert report.permits
    assert report.verdicts[-1].gate == "aaa"


# One row per code: two rows about the same fields could mend each other.
broken = st.lists(st.sampled_from(REFUSALS), max_size=4, unique_by=lambda row: row[0])


@given(broken, st.permutations(GATES))
def test_the_listing_does_not_depend_on_the_order_of_the_gates(
    changes: list[tuple[str, dict[str, Any]]], gates: list[Gate]
) -> None:
    act = GOOD
    for _, change in changes:
        act = evolve(act, **change)

    report = evaluate_gates(act, gates)

    assert report == evaluate_gates(act)
    assert report.permits is not any(verdict.refuses for verdict in report.verdicts)
    assert report.permits is (not changes)


@given(st.lists(st.sampled_from(Ruling), max_size=6))
def test_an_act_needs_a_permit_and_no_refusal(rulings: list[Ruling]) -> None:
    gates = tuple(
        Gate(f"own-{place}", lambda _, ruling=ruling: _verdict(ruling))  # type: ignore[misc]
        for place, ruling in enumerate(rulings)
    )

    permits = evaluate_gates(GOOD, gates).permits

    assert permits is (Ruling.PERMITS in rulings and Ruling.REFUSES not in rulings)


def _verdict(ruling: Ruling) -> Verdict:
    return Verdict(gate="own", ruling=ruling)
