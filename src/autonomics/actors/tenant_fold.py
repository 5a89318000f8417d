"""A tenant as its log tells it: history, governor's state, what is undecided and what is open.

The ledger is the journal: a governor that was killed folds the log and is where it was.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import attrs

from autonomics.actors.governor_state import GovernorEvent, GovernorState, step
from autonomics.receipts.log import Receipt
from autonomics.recipes.history import History
from autonomics.recipes.plan import Plan
from autonomics.recipes.record import (
    Received,
    parse_intent,
    parse_payload,
    parse_received,
)
from autonomics.recipes.signal import Json, Signal


@attrs.define
class OpenAct:
    """An act whose last word is not written yet. `asked` keeps one step from being asked twice."""

    action_id: str
    intent_seq: int
    digest: str
    signal: Signal
    plan: Plan
    recipe_id: str
    result: str | None = None
    ended_at: datetime | None = None
    outcome_seq: int | None = None
    verification: str | None = None
    verified_seq: int | None = None
    rollback_seq: int | None = None
    rollback_result: str | None = None
    rollback_outcome_seq: int | None = None
    asked: str = ""


@attrs.define
class Undecided:
    """A received signal that waits for its decision."""

    seq: int
    received: Received
    trace: str | None


class TenantFold:
    """The fold. Every field follows from the receipts alone."""

    def __init__(self) -> None:
        self.history = History.empty()
        # Where the log leaves the governor; it shows BOOT itself until all of it is folded.
        self.state = step(GovernorState.BOOT, GovernorEvent.FOLDED)
        self.has_settled = False
        self.undecided: dict[int, Undecided] = {}
        self.acts: dict[int, OpenAct] = {}
        self.quiet_at: datetime | None = None
        self.signals_by_month: dict[tuple[int, int], int] = {}
        self._signals: dict[int, Signal] = {}
        self._rollbacks: dict[int, int] = {}

    def apply(self, receipt: Receipt) -> None:
        """Fold one receipt in; receipts come in seq order, gap-free."""
        leaf = receipt.fields
        if receipt.payload is None or leaf.kind not in _KINDS:
            self._apply_leaf(receipt)
            return
        payload = cast("dict[str, Any]", parse_payload(receipt.payload))
        if leaf.kind not in ("received", "gate"):
            self.history = self.history.apply(leaf.kind, payload, receipt.seq, leaf.at)
        match leaf.kind:
            case "received":
                received = parse_received(receipt.payload)
                self.undecided[receipt.seq] = Undecided(receipt.seq, received, leaf.trace)
                month = (leaf.at.year, leaf.at.month)
                self.signals_by_month[month] = self.signals_by_month.get(month, 0) + 1
            case "decided":
                self._decided(receipt, payload)
            case "intent":
                self._intended(receipt, payload)
            case "outcome":
                self._ended(receipt, payload["result"])
            case "verified":
                self._verified(receipt, payload["result"])
            case "rolled_back":
                self._rolled_back(receipt, payload["result"])
            case "gate":
                is_clear = payload["event"] == "cleared"
                self.move(GovernorEvent.CLEARED if is_clear else GovernorEvent.LATCH_TRIPPED)
            case _:
                pass

    def _apply_leaf(self, receipt: Receipt) -> None:
        """Fold in what a leaf says alone: of a receipt without payload, or of an erasure.

        How an act ended is not in its leaf, so where that was erased the act counts as failed.
        """
        leaf = receipt.fields
        match leaf.kind:
            case "erasure" if leaf.ref is not None:
                self.undecided.pop(leaf.ref, None)
            case "decided":
                for seq in leaf.cause:
                    self.undecided.pop(seq, None)
            case "outcome" | "verified" | "rolled_back":
                act = self.acts.get(leaf.cause[-1]) or self._act_of(receipt)
                if act is not None:
                    end: dict[str, Json] = {"action_id": act.action_id, "result": "failed"}
                    self.history = self.history.apply("outcome", end, receipt.seq, leaf.at)
                    self._close(act, GovernorEvent.INEFFECTIVE, receipt)
            case _:
                pass

    def usage(self, now: datetime) -> dict[str, int]:
        """Count what the tenant has used in the month of `now`, by quota."""
        month = (now.year, now.month)
        acts = sum((act.at.year, act.at.month) == month for act in self.history.acts.values())
        return {"acts": acts, "signals": self.signals_by_month.get(month, 0)}

    def move(self, event: GovernorEvent) -> None:
        """Let the state machine take one step."""
        self.state = step(self.state, event)

    def settle(self, now: datetime) -> None:
        """Come to rest if nothing disturbed the tenant for its recovery window.

        The next decision says so in its receipt.
        """
        if self.quiet_at is not None and now >= self.quiet_at:
            self.quiet_at = None
            self.has_settled = True
            self.move(GovernorEvent.QUIET)

    def _decided(self, receipt: Receipt, payload: dict[str, Any]) -> None:
        for seq in receipt.fields.cause:
            undecided = self.undecided.pop(seq, None)
            if undecided is not None and payload["answer"] == "act":
                self._signals[receipt.seq] = undecided.received.signal
        # The events count, not the state that the governor saw when it decided: a trip of the
        # latch may have been committed in between, and must not be undone.
        edge = payload["state"]
        if edge["settled"]:
            self.quiet_at, self.has_settled = None, False
            self.move(GovernorEvent.QUIET)
        if edge["event"] is not None:
            self.move(GovernorEvent(edge["event"]))
        if edge["event"] == GovernorEvent.UNCERTAIN.value:
            self.quiet_at = receipt.fields.at + timedelta(seconds=edge["recovery_s"])

    def _intended(self, receipt: Receipt, payload: dict[str, Any]) -> None:
        assert receipt.payload is not None
        seq = receipt.seq
        if payload.get("rolls_back") is not None:
            origin = payload["rolls_back"]
            self._rollbacks[seq] = origin
            if origin in self.acts:
                self.acts[origin].rollback_seq = seq
            return
        intent = parse_intent(receipt.payload)
        (decided_seq,) = receipt.fields.cause
        signal = self._signals.pop(decided_seq, None)
        if signal is None:
            return  # erased since: nobody can verify the act any more, only see how it ended
        recipe_id = str(intent.plan.recipe["id"])
        self.acts[seq] = OpenAct(
            intent.action_id, seq, intent.digest, signal, intent.plan, recipe_id
        )

    def _ended(self, receipt: Receipt, result: str) -> None:
        (intent_seq,) = receipt.fields.cause
        origin = self._rollbacks.get(intent_seq)
        act = self.acts.get(intent_seq if origin is None else origin)
        if act is None:
            return
        if origin is not None:
            act.rollback_result, act.rollback_outcome_seq = result, receipt.seq
            return
        act.result, act.ended_at, act.outcome_seq = result, receipt.fields.at, receipt.seq
        if result == "unknown":
            self._close(act, GovernorEvent.UNKNOWABLE, receipt)
        elif result != "done":
            self._close(act, GovernorEvent.INEFFECTIVE, receipt)

    def _verified(self, receipt: Receipt, result: str) -> None:
        act = self._act_of(receipt)
        if act is None:
            return
        act.verification, act.verified_seq = result, receipt.seq
        if result == "effective":
            self._close(act, GovernorEvent.VERIFIED, receipt)
        elif result == "unknown" or not act.plan.rollback:
            self._close(act, GovernorEvent.INEFFECTIVE, receipt)

    def _rolled_back(self, receipt: Receipt, result: str) -> None:
        act = self._act_of(receipt)
        if act is not None:
            is_back = result == "rolled_back"
            event = GovernorEvent.INEFFECTIVE if is_back else GovernorEvent.UNKNOWABLE
            self._close(act, event, receipt)

    def _act_of(self, receipt: Receipt) -> OpenAct | None:
        """Find the act by the outcome that the receipt names as its cause."""
        for act in self.acts.values():
            if receipt.fields.cause and receipt.fields.cause[-1] in (
                act.outcome_seq,
                act.rollback_outcome_seq,
            ):
                return act
        return None

    def _close(self, act: OpenAct, event: GovernorEvent, receipt: Receipt) -> None:
        """Write an act off; the state follows the last one that was open."""
        del self.acts[act.intent_seq]
        if event is not GovernorEvent.VERIFIED:
            self.move(event)
            # The state is degraded now, or refusing; degraded comes to rest as warning does.
            self.quiet_at = receipt.fields.at + timedelta(seconds=act.plan.verify_until_s)
        elif not self.acts:
            self.move(event)


_KINDS = frozenset(
    {"received", "decided", "approval", "intent", "outcome", "verified", "rolled_back", "gate"}
)
