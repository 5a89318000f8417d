"""The payloads that signals and acts leave in the ledger: builders and their parsers.

All are canonical JSON. Kinds: received, decided, approval, intent, outcome, verified, rolled_back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, cast

from attrs import frozen

from autonomics.errors import InvalidInput
from autonomics.receipts.canonical import decode, encode
from autonomics.recipes.decision import Decision
from autonomics.recipes.effector import Fact, PlannedCall
from autonomics.recipes.plan import Plan
from autonomics.recipes.policy import Policy, parse_policy
from autonomics.recipes.signal import Json, Signal, moment_text, parse_moment, parse_signal

ActResult = Literal["done", "failed", "timed_out", "killed", "unknown"]
ACT_RESULTS: Final = ("done", "failed", "timed_out", "killed", "unknown")
VERIFIED_RESULTS: Final = ("effective", "ineffective", "unknown")
ROLLBACK_RESULTS: Final = ("rolled_back", "rollback_failed")


@frozen(kw_only=True)
class Received:
    """A `received` payload."""

    signal: Signal
    door: str
    principal: str


@frozen(kw_only=True)
class Recorded:
    """What a `decided` payload says of its inputs and of the decision."""

    answer: str
    code: str | None
    digest: str
    engine: str
    now: datetime
    event_at: datetime
    facts: Mapping[str, Fact]
    policy: Policy
    recipe: Mapping[str, Json] | None
    diagnosis: Mapping[str, Json]
    verdicts: tuple[Mapping[str, Json], ...]
    action_id: str | None
    plan: Plan | None


@frozen(kw_only=True)
class Intent:
    """An `intent` payload: enough to carry on, read back or undo the act after a crash."""

    action_id: str
    digest: str
    plan: Plan


def received_payload(signal: Signal, *, door: str, principal: str) -> bytes:
    """Record a signal as it was normalised, the door it came through, and who handed it over."""
    return encode({"signal": signal.record(), "door": door, "principal": principal})


def decided_payload(decision: Decision) -> bytes:
    """Record a decision with all inputs that are not in another receipt of the same log."""
    content: dict[str, Json] = {
        "answer": decision.answer,
        "code": decision.code,
        "digest": decision.digest,
        "engine": decision.engine,
        "now": moment_text(decision.now),
        "event_at": moment_text(decision.hit.at),
        "hit": decision.hit.id,
        "closed": decision.diagnosis.is_closed,
        "matches": decision.matches(),
        "facts": [
            {
                "key": fact.key,
                "value": fact.value,
                "read_at": moment_text(fact.read_at),
                "error": fact.error,
            }
            for fact in decision.facts
        ],
        "history": dict(decision.history),
        "policy": decision.policy.record(),
        "recipe": None if decision.diagnosis.recipe is None else decision.diagnosis.recipe.ref(),
        "diagnosis": decision.diagnosis.record(),
        "verdicts": [cast("Json", verdict.record()) for verdict in decision.verdicts],
        "action_id": decision.action_id,
        "plan": None if decision.plan is None else decision.plan.record(),
    }
    return encode(content)


def intent_payload(decision: Decision) -> bytes:
    """Record what is about to be done; raise InvalidInput unless the decision is to act."""
    plan, action_id = decision.plan, decision.action_id
    if decision.answer != "act" or plan is None or action_id is None:
        raise InvalidInput.expected("answer of a decision with intent", "act", decision.answer)
    content: dict[str, Json] = {
        "action_id": action_id,
        "digest": decision.digest,
        "recipe": dict(plan.recipe),
        "fingerprint": plan.fingerprint,
        "resource": plan.resource,
        "plan": plan.record(),
    }
    return encode(content)


def outcome_payload(
    action_id: str, result: ActResult, *, detail: str = "", calls_done: int = 0, attempts: int = 1
) -> bytes:
    """Record the one end of an act; `calls_done` counts the plan's calls known to have applied."""
    _check_result(result, ACT_RESULTS)
    return encode(
        {
            "action_id": action_id,
            "result": result,
            "detail": detail[:2000],
            "calls_done": calls_done,
            "attempts": attempts,
        }
    )


def verified_payload(action_id: str, result: str, *, detail: str = "") -> bytes:
    """Record whether the act helped: effective, ineffective or unknown."""
    _check_result(result, VERIFIED_RESULTS)
    return encode({"action_id": action_id, "result": result, "detail": detail[:2000]})


def rolled_back_payload(action_id: str, result: str, *, detail: str = "") -> bytes:
    """Record the end of a roll-back: rolled_back or rollback_failed."""
    _check_result(result, ROLLBACK_RESULTS)
    return encode({"action_id": action_id, "result": result, "detail": detail[:2000]})


def approval_payload(
    decision: Decision, *, by: str, is_approved: bool, expires_at: datetime
) -> bytes:
    """Record one person's yes or no to the act that a decision proposes."""
    candidate = decision.diagnosis.candidate
    if candidate is None:
        raise InvalidInput.expected("decision to approve", "one with a recipe", decision.answer)
    return encode(
        {
            "recipe": candidate.recipe.id,
            "fingerprint": candidate.view.fingerprint,
            "digest": decision.digest,
            "by": by,
            "approved": is_approved,
            "expires_at": moment_text(expires_at),
        }
    )


def _check_result(result: str, results: tuple[str, ...]) -> None:
    if result not in results:
        raise InvalidInput.expected("result", f"one of {list(results)}", result)


def parse_payload(data: bytes) -> dict[str, Json]:
    """Decode any payload of these kinds, as `History.apply` takes it."""
    row = decode(data)
    if not isinstance(row, dict):
        raise InvalidInput.expected("payload", "an object", row)
    return cast("dict[str, Json]", row)


def parse_received(data: bytes) -> Received:
    """Read a `received` payload; raise InvalidInput on any other."""
    row = cast("dict[str, Any]", parse_payload(data))
    if set(row) != {"signal", "door", "principal"}:
        raise InvalidInput.expected("keys of received", "signal, door, principal", sorted(row))
    return Received(
        signal=parse_signal(row["signal"]), door=row["door"], principal=row["principal"]
    )


def parse_decided(data: bytes) -> Recorded:
    """Read a `decided` payload; raise InvalidInput on any other."""
    row = cast("dict[str, Any]", parse_payload(data))
    try:
        facts = [
            Fact(
                key=each["key"],
                value=each["value"],
                read_at=parse_moment(each["read_at"]),
                error=each["error"],
            )
            for each in row["facts"]
        ]
        return Recorded(
            answer=row["answer"],
            code=row["code"],
            digest=row["digest"],
            engine=row["engine"],
            now=parse_moment(row["now"]),
            event_at=parse_moment(row["event_at"]),
            facts={fact.key: fact for fact in facts},
            policy=parse_policy(row["policy"]),
            recipe=row["recipe"],
            diagnosis=row["diagnosis"],
            verdicts=tuple(row["verdicts"]),
            action_id=row["action_id"],
            plan=None if row["plan"] is None else parse_plan(row["plan"]),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInput(f"expected payload to be a decided one: {error!r}") from error


def parse_intent(data: bytes) -> Intent:
    """Read an `intent` payload; raise InvalidInput on any other."""
    row = cast("dict[str, Any]", parse_payload(data))
    try:
        return Intent(
            action_id=row["action_id"], digest=row["digest"], plan=parse_plan(row["plan"])
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidInput(f"expected payload to be an intent: {error!r}") from error


def parse_plan(record: Mapping[str, Any]) -> Plan:
    """Read what `Plan.record` wrote."""
    return Plan(
        recipe=record["recipe"],
        fingerprint=record["fingerprint"],
        resource=record["resource"],
        calls=tuple(_parse_call(each) for each in record["calls"]),
        rollback=tuple(_parse_call(each) for each in record["rollback"]),
        settle_s=record["settle_s"],
        verify_after_s=record["verify_after_s"],
        verify_until_s=record["verify_until_s"],
    )


def _parse_call(row: Mapping[str, Any]) -> PlannedCall:
    return PlannedCall(
        call=row["call"],
        resource=row["resource"],
        set=row["set"],
        mask=tuple(row["mask"]),
        before=row["before"],
        args=row["args"],
        etag=row["etag"],
        idempotency_key=row["idempotency_key"],
        timeout_s=row["timeout_ms"] / 1000,
        validate_only_first=row["validate_only_first"],
    )
