"""A signal's life in plain words, from the receipts that it left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

Row = Mapping[str, Any]

ANSWERS = {
    "act": "act",
    "await_approval": "wait for a person's approval",
    "refuse": "refuse",
    "none": "do nothing",
}
TRUTHS = {True: "found", False: "not found", None: "not known"}
SHOWN = 300


def tell_story(receipts: Sequence[Row]) -> Iterator[str]:
    """Tell the receipts of one life, oldest first, as indented lines."""
    for receipt in receipts:
        fields, payload = receipt["fields"], receipt["payload"]
        yield f"{fields['ts']}  {receipt['id']}  {receipt['kind']}: {summarise(receipt)}"
        if isinstance(payload, dict):
            for line in _details(receipt["kind"], cast("Row", payload)):
                yield f"    {line}"


def summarise(receipt: Row) -> str:
    """Say in a few words what one receipt records."""
    payload = receipt["payload"]
    if receipt["erased"]:
        return "its payload is erased"
    if not isinstance(payload, dict):
        return ""
    row = cast("Row", payload)
    match receipt["kind"], row:
        case "received", {"signal": signal}:
            return _summarise_signal(_row(signal))
        case "received", {"reason": reason, "tenant": tenant}:
            return f"parked ({_words(reason)}){_named(' for tenant ', tenant)}"
        case "decided", {"answer": answer}:
            return f"{ANSWERS.get(str(answer), answer)}{_named(': ', row.get('code'))}"
        case "intent", {"plan": plan}:
            what = "undo" if "rolls_back" in row else "act"
            return f"{what} on {_row(plan).get('resource') or 'the tenant'}"
        case (("outcome" | "verified" | "rolled_back"), {"result": result}):
            return f"{_words(result)}{_named(': ', row.get('detail'))}"
        case "approval", {"approved": approved, "by": by}:
            return f"{'approved' if approved else 'declined'} by {by}"
        case _:
            return _summarise_event(row)


def tell_decision(payload: Row) -> Iterator[str]:
    """Tell a decision: the answer, the diagnosis with its evidence, what refused, the plan."""
    answer = str(payload.get("answer"))
    yield f"answer      {ANSWERS.get(answer, answer)}"
    yield from _details("decided", payload)


def _summarise_signal(signal: Row) -> str:
    parts = [str(signal.get("kind"))]
    parts += [str(signal[name]) for name in ("resource_type", "status") if signal.get(name)]
    text = str(signal.get("text") or "")
    return f"{', '.join(parts)}{_named(': ', _cut(text, 100))}"


def _summarise_event(row: Row) -> str:
    """Say what the house did: an event, and who or what it was about."""
    names = ("scope", "key", "role", "tenant", "handle", "quota", "limit", "reason", "by")
    event = _words(row.get("event", ""))
    shown: list[str] = []
    for name in names:
        value = row.get(name)
        if isinstance(value, dict):
            value = cast("Row", value).get("id")
        if isinstance(value, str | int) and value != "":
            shown.append(f"{_words(name)} {_cut(str(value), 100)}")
    return ", ".join([event, *shown]) if event else ", ".join(shown)


def _details(kind: str, payload: Row) -> Iterator[str]:
    match kind:
        case "received":
            yield from _tell_received(payload)
        case "decided":
            yield from _tell_decided(payload)
        case "intent":
            yield from _tell_plan(payload.get("plan"), "call")
        case "outcome":
            calls, attempts = payload.get("calls_done"), payload.get("attempts")
            yield f"calls done  {calls}, attempts {attempts}"
        case _:
            pass


def _tell_received(payload: Row) -> Iterator[str]:
    signal = payload.get("signal")
    if not isinstance(signal, dict):
        return
    row = cast("Row", signal)
    yield f"from        {row.get('source')}, message {row.get('message_id')}"
    yield f"handed by   {payload.get('principal') or 'nobody named'}, door {payload.get('door')}"
    for name in ("severity", "event_at", "value"):
        if row.get(name):
            yield f"{name.replace('_', ' '):<12}{row[name]}"
    labels = row.get("labels")
    if isinstance(labels, dict) and labels:
        shown = cast("Row", labels).items()
        yield "labels      " + _cut(", ".join(f"{name}={value}" for name, value in shown))


def _tell_decided(payload: Row) -> Iterator[str]:
    yield from _tell_diagnosis(_row(payload.get("diagnosis")))
    for fact in _rows(payload.get("facts")):
        value = fact.get("error") or _cut(json.dumps(fact.get("value"), ensure_ascii=False))
        yield f"fact        {fact.get('key')}: {value}"
    verdicts = _rows(payload.get("verdicts"))
    if verdicts:
        yield "gates       " + ", ".join(
            f"{each.get('gate')} {_words(each.get('ruling'))}" for each in verdicts
        )
    code = payload.get("code")
    for verdict in verdicts:
        if verdict.get("ruling") == "refuses" and verdict.get("code") == code:
            yield from _tell_refusal(verdict)
            break
    state = _row(payload.get("state"))
    if state and state.get("from") != state.get("to"):
        yield f"state       from {state.get('from')} to {state.get('to')}"
    yield from _tell_plan(payload.get("plan"), "call" if payload.get("answer") == "act" else "plan")
    yield f"digest      {payload.get('digest')}"


def _tell_diagnosis(diagnosis: Row) -> Iterator[str]:
    head = str(diagnosis.get("explanation") or diagnosis.get("outcome") or "none").split("\n")
    yield f"diagnosis   {head[0]}"
    for finding in _rows(diagnosis.get("findings")):
        truth = finding.get("truth")
        role = (
            " (veto)" if finding.get("veto") else " (required)" if finding.get("required") else ""
        )
        word = TRUTHS.get(truth, str(truth))
        yield f"evidence    {word}: {finding.get('name')}{role}, weight {finding.get('weight')}"
    if not diagnosis.get("findings"):
        for line in head[1:]:
            yield f"            {line}"


def _tell_refusal(verdict: Row) -> Iterator[str]:
    yield f"refused     {verdict.get('reason')} ({verdict.get('code')})"
    step = _row(verdict.get("next"))
    if step:
        yield f"next step   {step.get('step')} (by: {step.get('who')})"


def _tell_plan(plan: object, word: str) -> Iterator[str]:
    row = _row(plan)
    for call in _rows(row.get("calls")):
        yield f"{word:<12}{call.get('call')} on {call.get('resource') or 'the tenant'}"
        before = _row(call.get("before"))
        for path, value in _row(call.get("set")).items():
            yield f"            {path}: {_shown(before.get(path))} becomes {_shown(value)}"
    if row.get("rollback"):
        yield "undo        " + ", ".join(str(each.get("call")) for each in _rows(row["rollback"]))


def _row(value: object) -> Row:
    return cast("Row", value) if isinstance(value, dict) else {}


def _rows(value: object) -> list[Row]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Row", item) for item in items if isinstance(item, dict)]


def _shown(value: object) -> str:
    return "not set" if value is None else _cut(str(value), 100)


def _words(value: object) -> str:
    return str(value).replace("_", " ")


def _named(before: str, value: object) -> str:
    return f"{before}{value}" if value else ""


def _cut(text: str, limit: int = SHOWN) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."
