"""The executor: carries out durable intents within their bounds, and ends each in one outcome.

It follows the tenant's log, so an act begins only once its intent is durable. Attempts run as
children of their own: the executor holds the bounds, an attempt may be killed. An intent that the
executor finds without an outcome when it starts may have taken effect already, so it is read back
and never carried out again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import ClassVar

import attrs

from autonomics.actors.attempt import Act, AttemptEnded, FactsRead, LookBack, ReadFacts
from autonomics.actors.line import LineChanged, WatchLine
from autonomics.actors.source import Source
from autonomics.actors.writer_message import AppendLater, Follow, More, Page
from autonomics.errors import StartFailed
from autonomics.gates import Latch
from autonomics.receipts.entry import Entry
from autonomics.receipts.leaf import RecipeRef
from autonomics.receipts.log import Receipt
from autonomics.recipes.effector import Effector, Fact, FactReader, FactRequest
from autonomics.recipes.record import ActResult, Intent, outcome_payload, parse_intent
from autonomics.runtime import (
    Actor,
    ActorRef,
    Address,
    Continue,
    Down,
    MailboxSpec,
    TakesCast,
    Worker,
)
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.telemetry import declare, emit

OUTCOME_TYPE = "autonomics.outcome/1"
MAX_ACTS = 4
KEPT_FACTS = 256

declare(
    "act.started",
    "An attempt at a durable intent began.",
    tenant="handle",
    action_id="governed action",
    recipe="id of the recipe",
    resource="what it changes",
)
declare(
    "act.ended",
    "An act has its one outcome.",
    tenant="handle",
    action_id="governed action",
    result="done, failed, timed_out, killed or unknown",
    detail="what there is to say",
)


@attrs.frozen
class WantFacts:
    """The governor's cast: read these, and cast `FactsRead` to `asker`.

    `anew` refuses facts read before: a verification must not see the world as it was.
    """

    asker: Address[TakesCast[FactsRead]]
    token: object
    requests: tuple[FactRequest, ...]
    anew: bool = False


@attrs.frozen
class _Reading:
    """Tag of the monitor on a reading of facts."""

    token: object


@attrs.define
class _Open:
    seq: int
    intent: Intent
    recipe: RecipeRef
    attempts: int = 0
    is_read_back: bool = False


class Executor(Actor):
    """Bounds acts, reads facts, writes outcomes."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000)

    def __init__(
        self,
        handle: str,
        *,
        writer: Address[TakesCast[AppendLater | Follow | More]],
        watchdog: Address[TakesCast[WatchLine]],
        attempts: Address[DynamicSupervisor],
        effector: Effector,
        reader: FactReader,
        source: Source,
    ) -> None:
        self._handle = handle
        self._writer = writer
        self._watchdog = watchdog
        self._attempts = attempts
        self._effector = effector
        self._reader = reader
        self._source = source
        self._latch = Latch.unreadable()
        self._open: dict[str, _Open] = {}
        self._queue: deque[str] = deque()
        self._running: dict[str, ActorRef] = {}
        self._asked: dict[object, WantFacts] = {}
        self._facts: dict[str, Fact] = {}
        self._is_caught_up = False

    async def init(self) -> Continue:
        """End the attempts of an executor that died: their acts will be read back."""
        for child in await which_children(self._attempts):
            if child.ref is not None:
                await terminate_child(self._attempts, child.ref)
        return Continue("follow")

    async def handle_continue(self, message: object) -> None:
        """Follow the log and the line."""
        self._watchdog.cast(WatchLine(self.ref))
        self._writer.cast(Follow(self.ref))

    def describe(self) -> object:
        """Show what is open."""
        return {"open": len(self._open), "running": len(self._running)}

    async def handle_cast(
        self, message: Page | LineChanged | WantFacts | FactsRead | AttemptEnded
    ) -> None:
        """Take a page, a change of the line, a wish for facts, or an attempt's report."""
        match message:
            case Page(receipts, caught_up):
                await self._fold(receipts)
                if caught_up and not self._is_caught_up:
                    self._is_caught_up = True
                    await self._look_back_at_all()
                self._writer.cast(More(self.ref))
            case LineChanged(latch):
                self._latch = latch
            case WantFacts():
                await self._read(message)
            case FactsRead(token, facts):
                self._keep(facts)
                self._answer_facts(token, facts)
            case AttemptEnded(key, result, detail):
                await self._end(key, result, detail)
            case _:
                raise TypeError(f"expected a page of the log, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Read back what an attempt was at that died."""
        match message:
            case Down(tag=("act", str(key)), reason=reason):
                self._running.pop(key, None)
                if key in self._open:
                    await self._look_back(self._open[key], f"the attempt ended: {reason}")
                await self._start_next()
            case Down(tag=_Reading(token), reason=reason):
                self._give_up_facts(token, f"reading was cut off: {reason}")
            case _:
                pass

    # Acts

    async def _fold(self, receipts: tuple[Receipt, ...]) -> None:
        for receipt in receipts:
            leaf = receipt.fields
            if leaf.kind == "intent" and receipt.payload is not None and leaf.recipe is not None:
                intent = parse_intent(receipt.payload)
                self._open[_key(receipt.seq)] = _Open(receipt.seq, intent, leaf.recipe)
                if self._is_caught_up:
                    self._queue.append(_key(receipt.seq))
            elif leaf.kind == "outcome":
                for seq in leaf.cause:
                    self._open.pop(_key(seq), None)
        await self._start_next()

    async def _look_back_at_all(self) -> None:
        for act in list(self._open.values()):
            await self._look_back(act, "the executor was restarted")

    async def _start_next(self) -> None:
        while self._queue and len(self._running) < MAX_ACTS:
            key = self._queue.popleft()
            act = self._open.get(key)
            if act is not None:
                await self._begin(key, act)

    async def _begin(self, key: str, act: _Open) -> None:
        plan = act.intent.plan
        if self._latch.is_tripped(self._handle, act.recipe.id, plan.resource):
            await self._end(key, "failed", "the line was stopped before the act began")
            return
        act.attempts += 1
        emit(
            "act.started",
            tenant=self._handle,
            action_id=act.intent.action_id,
            recipe=act.recipe.id,
            resource=plan.resource,
        )
        report_to = self.ref
        await self._run(key, lambda: Act(key, plan.calls, self._effector, report_to))

    async def _look_back(self, act: _Open, why: str) -> None:
        key = _key(act.seq)
        if act.is_read_back:
            # Reading back was itself cut off: there is nothing more that we could do to know.
            await self._end(key, "unknown", f"{why}; reading back was cut off")
            return
        act.is_read_back = True
        calls, report_to = act.intent.plan.calls, self.ref
        await self._run(key, lambda: LookBack(key, calls, self._effector, report_to, why))

    async def _run(self, key: str, start: Callable[[], Worker]) -> None:
        spec = ChildSpec(id=key, start=start, restart="temporary", grace_s=0.0)
        try:
            ref = await start_child(self._attempts, spec)
        except StartFailed as error:
            await self._end(key, "failed", f"the attempt did not start: {error.reason}")
            return
        self._running[key] = ref
        ref.monitor(("act", key))

    async def _end(self, key: str, result: ActResult, detail: str) -> None:
        act = self._open.pop(key, None)
        if act is None:
            return
        emit(
            "act.ended",
            tenant=self._handle,
            action_id=act.intent.action_id,
            result=result,
            detail=detail,
        )
        payload = outcome_payload(
            act.intent.action_id,
            result,
            detail=detail,
            calls_done=len(act.intent.plan.calls) if result == "done" else 0,
            attempts=max(1, act.attempts),
        )
        entry = Entry(
            kind="outcome",
            actor=self.path,
            payload=payload,
            payload_type=OUTCOME_TYPE,
            cause=(act.seq,),
            idem=f"outcome:{act.seq}",
            recipe=act.recipe,
        )
        self._writer.cast(AppendLater(self.ref, (entry,)))

    # Facts

    async def _read(self, want: WantFacts) -> None:
        now = self._source.clock()
        known = {
            request.key: self._facts[request.key]
            for request in want.requests
            if request.key in self._facts
            and self._facts[request.key].is_fresh(now, request.max_age_s)
        }
        if not want.anew and len(known) == len(want.requests):
            want.asker.cast(FactsRead(want.token, known))
            return
        self._asked[want.token] = want
        reader, report_to, clock = self._reader, self.ref, self._source.clock
        spec = ChildSpec(
            id=f"facts-{want.token}",
            start=lambda: ReadFacts(want.token, want.requests, reader, report_to, clock),
            restart="temporary",
            grace_s=0.0,
        )
        try:
            ref = await start_child(self._attempts, spec)
        except StartFailed as error:
            self._give_up_facts(want.token, f"reading did not start: {error.reason}")
        else:
            ref.monitor(_Reading(want.token))

    def _keep(self, facts: Mapping[str, Fact]) -> None:
        self._facts.update(facts)
        while len(self._facts) > KEPT_FACTS:
            del self._facts[next(iter(self._facts))]

    def _answer_facts(self, token: object, facts: Mapping[str, Fact]) -> None:
        want = self._asked.pop(token, None)
        if want is not None:
            want.asker.cast(FactsRead(token, facts))

    def _give_up_facts(self, token: object, why: str) -> None:
        want = self._asked.get(token)
        if want is not None:
            now = self._source.clock()
            lost = {
                request.key: Fact(key=request.key, read_at=now, error=why)
                for request in want.requests
            }
            self._answer_facts(token, lost)


def _key(seq: int) -> str:
    return f"act-{seq}"
