from __future__ import annotations

import pytest

from autonomics.cli.story import summarise, tell_decision, tell_story

PLAN = {
    "resource": "projects/p/services/s",
    "calls": [
        {
            "call": "run.services.patch",
            "resource": "projects/p/services/s",
            "set": {"memory": "1Gi", "fresh": 2},
            "before": {"memory": "512Mi"},
        }
    ],
    "rollback": [{"call": "run.services.restore"}],
}
FINDING = {"name": "seen", "truth": True, "weight": "3", "required": False, "veto": True}
DECISION = {
    "answer": "act",
    "code": None,
    "digest": "d1",
    "diagnosis": {"explanation": "CONFIRMED r.x: title\nrest", "findings": [FINDING]},
    "facts": [{"key": "k", "value": {"n": 1}}, {"key": "e", "error": "no reader"}],
    "verdicts": [{"gate": "bounds", "ruling": "permits"}],
    "state": {"from": "stable", "to": "intervening"},
    "plan": PLAN,
}


def receipt(kind: str, payload: object, **fields: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": "h.1",
        "kind": kind,
        "fields": {"ts": "T"},
        "payload": payload,
        "erased": False,
    }
    return {**row, **fields}


@pytest.mark.parametrize(
    ("kind", "payload", "says"),
    [
        (
            "received",
            {"signal": {"kind": "k", "status": "OPEN", "text": "a\nb"}},
            "k, OPEN: a b",
        ),
        (
            "received",
            {"reason": "unknown_tenant", "tenant": "x"},
            "parked (unknown tenant) for tenant x",
        ),
        ("decided", {"answer": "refuse", "code": "line_stopped"}, "refuse: line_stopped"),
        ("decided", {"answer": "await_approval", "code": None}, "wait for a person's approval"),
        ("intent", {"plan": PLAN}, "act on projects/p/services/s"),
        ("intent", {"plan": {"resource": ""}, "rolls_back": 4}, "undo on the tenant"),
        ("outcome", {"result": "timed_out", "detail": "5 s"}, "timed out: 5 s"),
        ("verified", {"result": "effective", "detail": ""}, "effective"),
        ("rolled_back", {"result": "rollback_failed"}, "rollback failed"),
        ("approval", {"approved": True, "by": "ann"}, "approved by ann"),
        ("approval", {"approved": False, "by": "ann"}, "declined by ann"),
        ("gate", {"event": "tripped", "seq": 4, "reason": "a loop"}, "tripped, reason a loop"),
        ("tenant", {"event": "created", "tenant": {"id": "x"}}, "created, tenant x"),
        ("genesis", None, ""),
        ("strange", {"by": "somebody"}, "by somebody"),
    ],
)
def test_a_receipt_is_summarised_by_its_kind(kind: str, payload: object, says: str) -> None:
    assert summarise(receipt(kind, payload)) == says


def test_a_payload_that_is_erased_is_said_to_be() -> None:
    assert summarise(receipt("received", None, erased=True)) == "its payload is erased"


def test_a_decision_to_act_is_told_with_evidence_facts_and_calls() -> None:
    assert list(tell_decision(DECISION)) == [
        "answer      act",
        "diagnosis   CONFIRMED r.x: title",
        "evidence    found: seen (veto), weight 3",
        'fact        k: {"n": 1}',
        "fact        e: no reader",
        "gates       bounds permits",
        "state       from stable to intervening",
        "call        run.services.patch on projects/p/services/s",
        "            memory: 512Mi becomes 1Gi",
        "            fresh: not set becomes 2",
        "undo        run.services.restore",
        "digest      d1",
    ]


def test_what_was_refused_is_told_with_the_rule_and_the_next_step() -> None:
    refusal = {
        "gate": "stop_line",
        "ruling": "refuses",
        "code": "line_stopped",
        "reason": "r.x may not act: the line is stopped",
        "next": {"step": "clear it", "who": "operator"},
    }
    refused = {**DECISION, "answer": "refuse", "code": "line_stopped", "verdicts": [refusal]}
    lines = list(tell_decision(refused))
    assert "refused     r.x may not act: the line is stopped (line_stopped)" in lines
    assert "next step   clear it (by: operator)" in lines
    assert "plan        run.services.patch on projects/p/services/s" in lines


def test_why_nothing_matched_is_told_line_by_line() -> None:
    diagnosis: dict[str, object] = {
        "explanation": "NONE: no recipe is left\nr.x is ruled out",
        "findings": [],
    }
    lines = list(tell_decision({"answer": "none", "diagnosis": diagnosis}))
    assert lines[1:3] == ["diagnosis   NONE: no recipe is left", "            r.x is ruled out"]


def test_a_whole_life_is_told_in_order() -> None:
    signal = {
        "kind": "k",
        "source": "s",
        "message_id": "m",
        "labels": {"service": "api"},
        "event_at": "2026-01-01T00:00:00.000000Z",
    }
    life = [
        receipt("received", {"signal": signal, "door": "door", "principal": ""}),
        receipt("intent", {"plan": PLAN}, id="h.2"),
        receipt("outcome", {"result": "done", "calls_done": 1, "attempts": 2}, id="h.3"),
        receipt("received", None, id="h.4", erased=True),
    ]
    assert list(tell_story(life)) == [
        "T  h.1  received: k",
        "    from        s, message m",
        "    handed by   nobody named, door door",
        "    event at    2026-01-01T00:00:00.000000Z",
        "    labels      service=api",
        "T  h.2  intent: act on projects/p/services/s",
        "    call        run.services.patch on projects/p/services/s",
        "                memory: 512Mi becomes 1Gi",
        "                fresh: not set becomes 2",
        "    undo        run.services.restore",
        "T  h.3  outcome: done",
        "    calls done  1, attempts 2",
        "T  h.4  received: its payload is erased",
    ]


def test_a_payload_of_another_shape_breaks_no_story() -> None:
    strange: list[dict[str, object]] = [
        receipt("received", {"signal": "text"}),
        receipt("decided", {"answer": None, "diagnosis": 3, "verdicts": [1], "plan": []}),
        receipt("intent", {"plan": None}),
    ]
    assert [line.split(":")[0] for line in tell_story(strange) if line.startswith("T")] == [
        "T  h.1  received",
        "T  h.1  decided",
        "T  h.1  intent",
    ]
