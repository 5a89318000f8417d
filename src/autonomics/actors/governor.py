"""The governor: decides a tenant's signals one after the other, and sees each act to its end.

It never waits for the world: facts are the executor's to read, receipts the writer's to commit.
What it wants becomes true when it comes back to it as a committed receipt.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, cast

import attrs

from autonomics.actors.attempt import FactsRead
from autonomics.actors.executor import WantFacts
from autonomics.actors.governor_state import GovernorEvent, GovernorState, step
from autonomics.actors.holding import Holding
from autonomics.actors.line import LineChanged, WatchLine
from autonomics.actors.router_message import HoldingChanged, TellUsage, WatchHolding
from autonomics.actors.source import Source
from autonomics.actors.tenant_fold import OpenAct, TenantFold, Undecided
from autonomics.actors.writer_message import AppendLater, Follow, IntentRefused, More, Page
from autonomics.gates import Latch
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.leaf import RecipeRef
from autonomics.recipes.decision import Decision, decide
from autonomics.recipes.diagnosis import Outcome, needed_facts
from autonomics.recipes.effector import Fact
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.policy import Policy
from autonomics.recipes.recipe import Recipe
from autonomics.recipes.record import (
    decided_payload,
    intent_payload,
    parse_payload,
    rolled_back_payload,
    verified_payload,
)
from autonomics.recipes.signal import Json
from autonomics.recipes.verify import judge_act, verification_facts
from autonomics.runtime import Actor, Address, Continue, Down, MailboxSpec, ReplyTo, TakesCast
from autonomics.telemetry import declare, emit
from autonomics.tenancy import TenantState

DECIDED_TYPE = "autonomics.decided/1"
INTENT_TYPE = "autonomics.intent/1"
VERIFIED_TYPE = "autonomics.verified/1"
ROLLED_BACK_TYPE = "autonomics.rolled_back/1"
RETRY_S = 0.2
LOOK_AGAIN_S = 5.0

declare(
    "signal.decided",
    "A governor decided a signal.",
    tenant="handle",
    seq="the received receipt",
    answer="act, await_approval, refuse or none",
    code="code of the refusal, or None",
    recipe="id of the diagnosed recipe, or None",
    decide_ms="milliseconds that the decision took, diagnosis and gates",
    trace="trace id, or None",
)
declare(
    "act.verified",
    "The effect of an act was judged.",
    tenant="handle",
    action_id="governed action",
    result="effective, ineffective or unknown",
)
declare(
    "act.rolled_back",
    "An act that did not help was undone, or could not be.",
    tenant="handle",
    action_id="governed action",
    result="rolled_back or rollback_failed",
)


@attrs.define
class _Pending:
    """The signal that is being decided now, and what is still missing."""

    undecided: Undecided
    facts: dict[str, Fact] | None = None
    is_sent: bool = False


class Governor(Actor):
    """One tenant's mind: a fold, a decision, an append."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000)

    def __init__(
        self,
        handle: str,
        *,
        writer: Address[TakesCast[AppendLater | Follow | More]],
        watchdog: Address[TakesCast[WatchLine]],
        executor: Address[TakesCast[WantFacts]],
        router: Address[TakesCast[WatchHolding]],
        recipes: RecipeSet,
        monitor: tuple[str, ...],
        source: Source,
        verify_wait_cap_s: float,
    ) -> None:
        self._handle = handle
        self._writer = writer
        self._watchdog = watchdog
        self._executor = executor
        self._router = router
        self._recipes = recipes
        self._monitor = monitor
        self._source = source
        self._cap_s = verify_wait_cap_s
        self._fold = TenantFold()
        self._latch = Latch.unreadable()
        self._holding: Holding | None = None
        self._pending: _Pending | None = None
        self._stale_generation = -1
        self._rest_at: datetime | None = None
        self._is_caught_up = False

    async def init(self) -> Continue:
        """Return at once; the log is folded page by page."""
        return Continue("follow")

    async def handle_continue(self, message: object) -> None:
        """Follow log, line and holding."""
        self._writer.cast(Follow(self.ref))
        self._watchdog.cast(WatchLine(self.ref))
        self._watch_holding()

    def describe(self) -> object:
        """Show the state."""
        return {
            "state": (self._fold.state if self._is_caught_up else GovernorState.BOOT).value,
            "undecided": len(self._fold.undecided),
            "open_acts": len(self._fold.acts),
        }

    def _watch_holding(self) -> None:
        self._router.monitor("router")
        self._router.cast(WatchHolding(self._handle, self.ref))

    async def handle_call(self, message: TellUsage, reply_to: ReplyTo) -> object:
        """Tell what the tenant has used."""
        assert isinstance(message, TellUsage), message  # pyright: ignore[reportUnnecessaryIsInstance]
        return self._fold.usage(self._source.clock())

    async def handle_cast(
        self, message: Page | LineChanged | HoldingChanged | FactsRead | IntentRefused
    ) -> None:
        """Take what happened, then do what is due."""
        match message:
            case Page(receipts, caught_up):
                for receipt in receipts:
                    self._fold.apply(receipt)
                self._is_caught_up = self._is_caught_up or caught_up
                if self._pending and self._pending.undecided.seq not in self._fold.undecided:
                    self._pending = None
                self._writer.cast(More(self.ref))
            case LineChanged(latch):
                self._latch = latch
            case HoldingChanged(holding):
                self._hold(holding)
            case FactsRead(("decide", int(seq)), facts):
                if self._pending and self._pending.undecided.seq == seq:
                    self._pending.facts = dict(facts)
            case FactsRead(("verify", int(seq)), facts):
                self._verify(seq, dict(facts))
            case IntentRefused(entries):
                self._decide_anew(entries)
            case _:
                raise TypeError(f"expected a page of the log, got {message!r}")
        self._do_what_is_due()

    async def handle_info(self, message: object) -> None:
        """Come back to a router that was restarted; look at the acts again."""
        match message:
            case Down(tag="router"):
                self.send_after(RETRY_S, "watch")
            case "watch":
                self._watch_holding()
            case ("due", int(intent_seq)):
                act = self._fold.acts.get(intent_seq)
                if act is not None and act.asked == "wait":
                    act.asked = ""
                self._do_what_is_due()
            case "rest":
                self._do_what_is_due()
            case _:
                pass

    def _hold(self, holding: Holding) -> None:
        before = self._holding
        self._holding = holding
        was = before.tenant.state if before else TenantState.ACTIVE
        now = holding.tenant.state
        if was is not now and now is TenantState.SUSPENDED:
            self._fold.move(GovernorEvent.SUSPENDED)
        elif was is TenantState.SUSPENDED and now is TenantState.ACTIVE:
            self._fold.move(GovernorEvent.REACTIVATED)

    def _do_what_is_due(self) -> None:
        if self._is_caught_up and self._holding is not None and self._latch.is_readable:
            self._fold.settle(self._source.clock())
            self._decide_next(self._holding)
            for act in list(self._fold.acts.values()):
                self._advance(act)
            self._rest()

    def _rest(self) -> None:
        """Have the end of the recovery window noticed also if nobody says a word until then."""
        quiet_at = self._fold.quiet_at
        if quiet_at is not None and quiet_at != self._rest_at:
            self._rest_at = quiet_at
            self.send_after((quiet_at - self._source.clock()).total_seconds(), "rest")

    # Decisions

    def _decide_next(self, holding: Holding) -> None:
        """Decide the oldest signal; the next waits until this decision is in the log."""
        if self._pending is None and self._fold.undecided:
            self._pending = _Pending(next(iter(self._fold.undecided.values())))
            self._want_facts(self._pending)
        pending = self._pending
        if pending is None or pending.is_sent or pending.facts is None:
            return
        if self._latch.generation <= self._stale_generation:
            return  # the line has moved on; its news is on the way
        pending.is_sent = True
        self._send_decision(pending.undecided, pending.facts, holding)

    def _want_facts(self, pending: _Pending) -> None:
        signal = pending.undecided.received.signal
        now = self._source.clock()
        requests = needed_facts(signal, self._fold.history, self._recipes, now)
        if requests:
            token = ("decide", pending.undecided.seq)
            self._executor.cast(WantFacts(self.ref, token, requests))
        else:
            pending.facts = {}

    def _send_decision(
        self, undecided: Undecided, facts: dict[str, Fact], holding: Holding
    ) -> None:
        signal = undecided.received.signal
        before = self._source.monotonic()
        decision = decide(
            signal,
            facts,
            self._fold.history,
            self._recipes,
            self._policy(holding, undecided),
            self._source.clock(),
        )
        took_ms = (self._source.monotonic() - before) * 1000
        payload = {
            **parse_payload(decided_payload(decision)),
            "state": self._state_step(decision),
        }
        recipe = decision.diagnosis.recipe
        decided = Entry(
            kind="decided",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=DECIDED_TYPE,
            cause=(undecided.seq,),
            idem=f"decided:{undecided.seq}",
            recipe=None if recipe is None else _recipe_ref(recipe.ref()),
            digest=decision.digest,
            trace=undecided.trace,
        )
        entries: tuple[Entry, ...] = (decided,)
        if decision.answer == "act":
            entries = (decided, self._intent_entry(decision, undecided))
        self._writer.cast(AppendLater(self.ref, entries))
        emit(
            "signal.decided",
            tenant=self._handle,
            seq=undecided.seq,
            answer=decision.answer,
            code=decision.code,
            recipe=decision.diagnosis.recipe_id,
            decide_ms=took_ms,
            trace=undecided.trace,
        )

    def _intent_entry(self, decision: Decision, undecided: Undecided) -> Entry:
        assert decision.plan is not None
        return Entry(
            kind="intent",
            actor=self.path,
            payload=intent_payload(decision),
            payload_type=INTENT_TYPE,
            cause=(-1,),
            idem=f"intent:{decision.action_id}",
            recipe=_recipe_ref(decision.plan.recipe),
            digest=decision.digest,
            trace=undecided.trace,
            line_generation=decision.line_generation,
        )

    def _policy(self, holding: Holding, undecided: Undecided) -> Policy:
        used = self._fold.usage(self._source.clock())
        quotas = {
            name: attrs.evolve(quota, used=used.get(name, 0))
            for name, quota in holding.quotas.items()
        }
        return Policy(
            tenant=self._handle,
            tenant_state=holding.tenant.state,
            is_refusing=self._fold.state is GovernorState.REFUSING,
            entitlement=holding.entitlement,
            role="service",
            requested_by=undecided.received.principal,
            latch=self._latch,
            quotas=quotas,
            monitor=self._monitor,
        )

    def _state_step(self, decision: Decision) -> dict[str, Json]:
        """Say which edge the decision is, also where it keeps the state."""
        event: GovernorEvent | None = None
        if decision.answer == "act":
            event = GovernorEvent.PERMITTED
        elif decision.code == "recurrence":
            event = GovernorEvent.RECURRED
        elif decision.code == "entitlement_missing":
            event = GovernorEvent.ENTITLEMENT_LOST
        elif decision.diagnosis.outcome in (Outcome.LIKELY, Outcome.INCONCLUSIVE):
            event = GovernorEvent.UNCERTAIN
        state = self._fold.state
        recipe = decision.diagnosis.recipe
        return {
            "from": state.value,
            "settled": self._fold.has_settled,
            "event": None if event is None else event.value,
            "to": (state if event is None else step(state, event)).value,
            "recovery_s": 0 if recipe is None else recipe.diagnose.recovery_s,
        }

    def _decide_anew(self, entries: tuple[Entry, ...]) -> None:
        """Take back a decision whose intent came too late for the line."""
        stale = [e.line_generation for e in entries if e.line_generation is not None]
        self._stale_generation = max(self._stale_generation, *stale)
        pending = self._pending
        if pending is not None and (pending.undecided.seq,) == entries[0].cause:
            self._pending = None  # its facts may have aged meanwhile
        for act in self._fold.acts.values():
            if act.asked == "roll_back":
                act.asked = ""

    # Acts

    def _advance(self, act: OpenAct) -> None:
        """Take an act one step on, if its next step is due and not asked for yet."""
        if act.rollback_result is not None:
            self._close_rollback(act)
        elif act.verification == "ineffective" and act.rollback_seq is None:
            self._roll_back(act)
        elif act.result == "done" and act.verification is None and act.asked == "":
            self._want_verification(act)

    def _want_verification(self, act: OpenAct) -> None:
        recipe = self._recipe_of(act)
        assert act.ended_at is not None
        assert recipe.verify is not None
        now = self._source.clock()
        wait_s = (act.ended_at - now).total_seconds() + recipe.verify.after_s
        if wait_s > 0:
            self._wait(act, wait_s)
            return
        act.asked = "verify"
        requests = verification_facts(act.signal, recipe, now)
        token = ("verify", act.intent_seq)
        if requests:
            self._executor.cast(WantFacts(self.ref, token, requests, anew=True))
        else:
            self.ref.cast(FactsRead(token, {}))

    def _verify(self, intent_seq: int, facts: dict[str, Fact]) -> None:
        act = self._fold.acts.get(intent_seq)
        if act is None or act.verification is not None:
            return
        assert act.ended_at is not None
        now = self._source.clock()
        result = judge_act(
            act.signal, self._recipe_of(act), facts, self._fold.history, act.ended_at, now
        )
        if result == "pending":
            self._wait(act, LOOK_AGAIN_S)
            return
        emit("act.verified", tenant=self._handle, action_id=act.action_id, result=result)
        errors = [f"{fact.key}: {fact.error}" for fact in facts.values() if fact.error]
        assert act.outcome_seq is not None
        self._append(
            "verified",
            VERIFIED_TYPE,
            verified_payload(act.action_id, result, detail="; ".join(errors)),
            cause=act.outcome_seq,
            idem=f"verified:{act.intent_seq}",
        )

    def _wait(self, act: OpenAct, wait_s: float) -> None:
        """Come back to an act later, and not with every message until then."""
        act.asked = "wait"
        self.send_after(wait_s, ("due", act.intent_seq))

    def _roll_back(self, act: OpenAct) -> None:
        is_stopped = self._latch.is_tripped(self._handle, act.recipe_id, act.plan.resource)
        is_stale = self._latch.generation <= self._stale_generation
        if act.asked == "roll_back" or is_stopped or is_stale:
            return
        act.asked = "roll_back"
        plan = attrs.evolve(act.plan, calls=act.plan.rollback, rollback=())
        payload: dict[str, Json] = {
            "action_id": act.action_id,
            "digest": act.digest,
            "recipe": dict(plan.recipe),
            "fingerprint": plan.fingerprint,
            "resource": plan.resource,
            "plan": plan.record(),
            "rolls_back": act.intent_seq,
        }
        assert act.verified_seq is not None
        entry = Entry(
            kind="intent",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=INTENT_TYPE,
            cause=(act.verified_seq,),
            idem=f"intent:{act.action_id}:roll_back",
            recipe=_recipe_ref(plan.recipe),
            ref=act.intent_seq,
            line_generation=self._latch.generation,
        )
        self._writer.cast(AppendLater(self.ref, (entry,)))

    def _close_rollback(self, act: OpenAct) -> None:
        if act.asked == "rolled_back":
            return
        act.asked = "rolled_back"
        result = "rolled_back" if act.rollback_result == "done" else "rollback_failed"
        assert act.rollback_outcome_seq is not None
        emit("act.rolled_back", tenant=self._handle, action_id=act.action_id, result=result)
        self._append(
            "rolled_back",
            ROLLED_BACK_TYPE,
            rolled_back_payload(act.action_id, result),
            cause=act.rollback_outcome_seq,
            idem=f"rolled_back:{act.intent_seq}",
            ref=act.intent_seq,
        )

    def _append(
        self,
        kind: str,
        payload_type: str,
        payload: bytes,
        *,
        cause: int,
        idem: str,
        ref: int | None = None,
    ) -> None:
        entry = Entry(
            kind=kind,
            actor=self.path,
            payload=payload,
            payload_type=payload_type,
            cause=(cause,),
            idem=idem,
            ref=ref,
        )
        self._writer.cast(AppendLater(self.ref, (entry,)))

    def _recipe_of(self, act: OpenAct) -> Recipe:
        """Find the recipe, its waits for verification under the operator's cap."""
        recipe = self._recipes.get(act.recipe_id)
        if recipe is None or recipe.verify is None:
            raise LookupError(f"recipe {act.recipe_id} of act {act.action_id} is not loaded")
        verify = attrs.evolve(
            recipe.verify,
            after_s=min(recipe.verify.after_s, int(self._cap_s)),
            until_s=min(recipe.verify.until_s, int(self._cap_s)),
            settle_s=min(recipe.verify.settle_s, int(self._cap_s)),
        )
        return attrs.evolve(recipe, verify=verify)


def _recipe_ref(row: object) -> RecipeRef:
    ref = cast("dict[str, str]", row)
    return RecipeRef(id=ref["id"], version=ref["version"], digest=ref["digest"])
