"""Random senders at a mailbox, against a model that keeps everything in plain lists.

The model knows no deque, no limit and no flag: it looks through its lists each time. The actor
handles one message for each `take`, so between two steps it is busy with one or has none.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import wait_all_tasks_blocked

from autonomics.errors import ActorDied, CallTimedOut, NoSuchActor, Overloaded
from autonomics.runtime import (
    Actor,
    ActorRef,
    Call,
    MailboxSpec,
    ReplyTo,
    Request,
    Shedding,
    open_runtime,
    send_request,
)
from autonomics.testing.schedule import SteppedRun
from autonomics.testing.stage import Event, recording

Kind = Literal["cast", "patient", "call", "request", "info"]
TICK_S = 3 / 8
"""No number of these is a whole number of seconds below three, as the deadlines are."""
DEADLINES_S = (1.0, 2.0, math.inf)
POLICIES: list[MailboxSpec] = [
    MailboxSpec(capacity, on_full)
    for capacity in (1, 4)
    for on_full in ("refuse", "drop_oldest", "drop_newest", "block")
] + [
    MailboxSpec(3, Shedding(1, 2)),
    MailboxSpec(6, Shedding(3, 4)),
    MailboxSpec(9, Shedding(4, 7)),
    MailboxSpec(3, "block"),
]
MAIL: st.SearchStrategy[tuple[Kind, float]] = st.tuples(
    st.sampled_from(("cast", "cast", "patient", "call", "request", "info")),
    st.sampled_from(DEADLINES_S),
)
OUTCOMES: dict[type[BaseException], str] = {
    Overloaded: "overloaded",
    CallTimedOut: "timed out",
    ActorDied: "died",
    NoSuchActor: "no room before the end",
    trio.Cancelled: "cancelled",
}


@attrs.frozen
class Send(Call[int]):
    number: int


class Place:
    """The real thing: an actor with a valve, and its senders."""

    def __init__(self, actor: ActorRef, nursery: trio.Nursery, events: list[Event]) -> None:
        self.actor = actor
        self.events = events
        self.outcomes: dict[int, str] = {}
        self.scopes: dict[int, trio.CancelScope] = {}
        self.requests: dict[int, Request[int]] = {}
        self._nursery = nursery

    async def send(self, number: int, kind: Kind, timeout_s: float) -> None:
        if kind == "info":
            self.actor.incarnation.inform(number)
        elif kind == "cast":
            try:
                self.actor.cast(number)
                self.outcomes[number] = "sent"
            except Overloaded:
                self.outcomes[number] = "overloaded"
        else:
            self.scopes[number] = trio.CancelScope()
            self._nursery.start_soon(self._wait, number, kind, timeout_s)
        await wait_all_tasks_blocked()

    async def _wait(self, number: int, kind: Kind, timeout_s: float) -> None:
        with self.scopes[number]:
            try:
                if kind == "patient":
                    await self.actor.cast_when_room(number, timeout_s)
                    self.outcomes[number] = "sent"
                elif kind == "call":
                    assert await self.actor.call(Send(number), timeout_s) == number
                    self.outcomes[number] = "answered"
                else:
                    assert await send_request(self.actor, Send(number)).receive(timeout_s) == number
                    self.outcomes[number] = "answered"
            except tuple(OUTCOMES) as error:
                self.outcomes[number] = OUTCOMES[type(error)]
                if isinstance(error, trio.Cancelled):
                    raise


class Gate:
    """How many messages the actor may be done with."""

    def __init__(self) -> None:
        self.passes = trio.Semaphore(0)
        self.handled: list[int] = []


def open_place(spec: MailboxSpec, gate: Gate) -> Callable[[], Any]:
    class Slow(Actor):
        mailbox: ClassVar[MailboxSpec] = spec

        async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> int:
            assert isinstance(message, Send)
            await self.note(message.number)
            return message.number

        async def handle_cast(self, message: Any) -> None:
            await self.note(message)

        async def handle_info(self, message: Any) -> None:
            await self.note(message)

        async def note(self, number: int) -> None:
            gate.handled.append(number)
            await gate.passes.acquire()

    @asynccontextmanager
    async def place() -> AsyncGenerator[Place]:
        with recording(f"mailbox model {id(gate)}") as events:
            async with open_runtime() as runtime, trio.open_nursery() as nursery:
                actor = await runtime.start(Slow, name="slow", grace_s=0)
                await wait_all_tasks_blocked()
                yield Place(actor, nursery, events)
                actor.kill()
                nursery.cancel_scope.cancel()

    return place


@attrs.define
class Mail:
    """One message; `deadline_s` is when its sender gives up."""

    number: int
    kind: Kind
    deadline_s: float
    came_s: float = math.nan
    not_before_s: float = math.nan
    """When the actor last looked without seeing it."""


class Model:
    """What should come of it all."""

    def __init__(self, spec: MailboxSpec) -> None:
        self.spec = spec
        self.now_s = 0.0
        self.queue: list[Mail] = []
        self.door: list[Mail] = []
        self.in_hand: Mail | None = None
        self.handled: list[int] = []
        self.outcomes: dict[int, str] = {}
        self.pending: dict[int, Mail] = {}
        self.refused = self.dropped = self.peak = self.bursts = self.flushed = 0
        self.is_dropping = self.is_overloaded = False
        self.looked_s = 0.0
        self.is_blurred = False
        """Something was taken out from behind the oldest: its age is said to be at most more."""

    @property
    def users(self) -> list[Mail]:
        return [mail for mail in self.queue if mail.kind != "info"]

    @property
    def room(self) -> int:
        on_full = self.spec.on_full
        return on_full.wait_at if isinstance(on_full, Shedding) else self.spec.capacity

    @property
    def policy(self) -> str:
        if isinstance(self.spec.on_full, Shedding):
            return "drop_newest" if self.is_dropping else "let in"
        return self.spec.on_full

    def send(self, number: int, kind: Kind, timeout_s: float) -> None:
        mail = Mail(number, kind, self.now_s + timeout_s)
        if kind not in ("cast", "info"):
            self.pending[number] = mail
        is_full = len(self.users) >= self.room or bool(self.door) or self.is_dropping
        if kind == "info" or not is_full:
            self.let_in(mail)
        elif self.policy == "let in":
            if kind in ("patient", "call"):
                self.note_overload()
                self.door.append(mail)
            else:
                if len(self.users) >= self.spec.capacity:
                    self.flush()
                self.let_in(mail)
        else:
            self.note_overload()
            self.turn_away(mail)

    def turn_away(self, mail: Mail) -> None:
        match self.policy:
            case "block" if mail.kind != "cast":
                self.door.append(mail)
            case "drop_oldest":
                oldest = self.users[0]
                self.is_blurred |= oldest is not self.queue[0]
                self.queue.remove(oldest)
                self.dropped += 1
                self.settle(oldest, "overloaded")
                self.let_in(mail)
            case "drop_newest" if mail.kind in ("cast", "patient"):
                self.dropped += 1
                self.outcomes[mail.number] = "sent"
                self.pending.pop(mail.number, None)
            case _:
                self.refused += 1
                self.settle(mail, "overloaded")

    def settle(self, mail: Mail, outcome: str) -> None:
        """End the wait of its sender, if there is one."""
        if mail.kind != "cast" or outcome != "overloaded":
            if self.pending.pop(mail.number, None) is not None:
                self.outcomes[mail.number] = outcome
        elif mail.number not in self.outcomes:
            self.outcomes[mail.number] = outcome

    def let_in(self, mail: Mail) -> None:
        mail.came_s, mail.not_before_s = self.now_s, self.looked_s
        self.queue.append(mail)
        if mail.kind == "cast":
            self.outcomes[mail.number] = "sent"
        elif mail.kind == "patient":
            self.settle(mail, "sent")
        self.peak = max(self.peak, len(self.users))
        if self.in_hand is None:
            mail.not_before_s = self.looked_s = self.now_s
            self.take()

    def take(self) -> None:
        """Be done with what is in hand, and take the next."""
        if self.in_hand is not None and self.in_hand.kind in ("call", "request"):
            self.settle(self.in_hand, "answered")
        self.in_hand = self.queue.pop(0) if self.queue else None
        if self.in_hand is None:
            return
        self.handled.append(self.in_hand.number)
        if self.in_hand.kind != "info":
            self.relieve()

    def relieve(self) -> None:
        on_full, depth = self.spec.on_full, len(self.users)
        if isinstance(on_full, Shedding):
            if depth >= on_full.drop_at and not self.is_dropping:
                self.is_dropping, self.is_overloaded = True, False
            elif depth < on_full.wait_at:
                self.is_dropping = False
        if depth > self.room // 2:
            return
        self.is_overloaded = False
        while self.door and len(self.users) < self.room:
            self.let_in(self.door.pop(0))

    def flush(self) -> None:
        flushed = self.users
        self.queue = [mail for mail in self.queue if mail.kind == "info"]
        for mail in flushed:
            self.settle(mail, "overloaded")
        self.dropped += len(flushed)
        self.flushed += 1
        if self.queue:
            self.is_blurred = True
        else:
            self.looked_s = self.now_s
        self.relieve()

    def note_overload(self) -> None:
        self.bursts += not self.is_overloaded
        self.is_overloaded = True

    def give_up(self, mail: Mail, outcome: str) -> None:
        self.settle(mail, outcome)
        self.door = [other for other in self.door if other is not mail]

    def sleep(self) -> None:
        self.now_s += TICK_S
        for mail in tuple(self.pending.values()):
            if mail.deadline_s <= self.now_s:
                self.give_up(mail, "timed out")


class MailboxMachine(RuleBasedStateMachine):
    @initialize(spec=st.sampled_from(POLICIES), seed=st.integers(0, 2**32))
    def start(self, spec: MailboxSpec, seed: int) -> None:
        self.open(spec, seed)

    def open(self, spec: MailboxSpec, seed: int) -> None:
        self.number = 0
        self.gate = Gate()
        self.run = SteppedRun[Place](open_place(spec, self.gate), seed)
        self.model = Model(spec)

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.run.close()

    def do(self, step: Callable[[Place], Awaitable[Any]]) -> Any:
        return self.run.step(step)

    # Several at once and some taken: one by one, few runs would come to a full mailbox.
    @rule(mail=st.lists(MAIL, max_size=8), takes=st.integers(0, 6))
    def send_and_take(self, mail: list[tuple[Kind, float]], takes: int) -> None:
        async def send(place: Place) -> None:
            for number, (kind, timeout_s) in enumerate(mail, self.number + 1):
                await place.send(number, kind, timeout_s)

        async def take(_: Place) -> None:
            self.gate.passes.release()
            await wait_all_tasks_blocked()

        self.do(send)
        for number, (kind, timeout_s) in enumerate(mail, self.number + 1):
            self.model.send(number, kind, timeout_s)
        self.number += len(mail)
        for _ in range(takes):
            self.agrees()
            if self.model.in_hand is not None:
                self.do(take)
                self.model.take()

    @rule()
    def sleep(self) -> None:
        async def step(_: Place) -> None:
            await trio.sleep(TICK_S)
            await wait_all_tasks_blocked()

        self.do(step)
        self.model.sleep()

    @rule()
    def look(self) -> None:
        async def step(place: Place) -> None:
            place.actor.incarnation.mailbox.look()

        self.do(step)
        self.model.looked_s = self.model.now_s

    @precondition(lambda self: self.model.pending)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.pending)))

        async def step(place: Place) -> None:
            place.scopes[number].cancel()
            await wait_all_tasks_blocked()

        self.do(step)
        self.model.give_up(self.model.pending[number], "cancelled")

    @precondition(lambda self: self.number > 5)
    @rule()
    def end(self) -> None:
        """Everybody who waits hears of the end; nothing else is handled."""

        async def step(place: Place) -> dict[int, str]:
            place.actor.kill()
            await wait_all_tasks_blocked()
            assert place.actor.statistics().waiting_senders == 0
            return dict(place.outcomes)

        outcomes = self.do(step)
        at_the_door = {mail.number for mail in self.model.door}
        for number in self.model.pending:
            ended = "no room before the end" if number in at_the_door else "died"
            self.model.outcomes[number] = ended
        assert outcomes == self.model.outcomes
        assert self.gate.handled == self.model.handled
        self.run.close()
        self.open(self.model.spec, self.number)

    @invariant()
    def agrees(self) -> None:
        async def step(place: Place) -> Any:
            return place.actor.statistics(), dict(place.outcomes), list(place.events)

        statistics, outcomes, events = self.do(step)
        model = self.model
        assert outcomes == model.outcomes
        assert self.gate.handled == model.handled
        assert statistics.depth == len(model.users)
        assert statistics.peak == model.peak <= model.spec.capacity
        assert statistics.handled == len(model.handled)
        assert statistics.refused == model.refused
        assert statistics.dropped == model.dropped
        assert statistics.waiting_senders == len(model.door)
        names = [name for name, _ in events]
        assert names.count("actor.overloaded") == model.bursts
        assert names.count("actor.flushed") == model.flushed
        if not model.queue:
            assert statistics.oldest_age_s == 0
        else:
            oldest = model.queue[0]
            assert statistics.oldest_age_s >= model.now_s - oldest.came_s
            if not model.is_blurred:
                assert statistics.oldest_age_s == model.now_s - oldest.not_before_s


TestMailboxMachine = MailboxMachine.TestCase
TestMailboxMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
