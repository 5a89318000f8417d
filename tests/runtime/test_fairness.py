"""Nobody waits behind another actor's mail for longer than a stated number of its messages.

All of it is counted and nothing timed. A reply needs two turns of other tasks: one until the callee
has it, one until the caller has the answer. Trio runs each task that is ready once a round, in
random order, so a busy one comes at most three times between a call and its reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import Overloaded
from autonomics.runtime import (
    POSTPONE,
    Actor,
    ActorRef,
    Answer,
    Call,
    CallEvent,
    EnterAnswer,
    Go,
    Initial,
    Insert,
    InternalEvent,
    Keep,
    MailboxSpec,
    Repeat,
    Reply,
    ReplyTo,
    Runtime,
    SetTimeout,
    StateEvent,
    StateMachine,
    TimeoutEvent,
    open_runtime,
    send_request,
)
from autonomics.runtime.actor import BATCH, FEW, SHORT_BATCH
from autonomics.runtime.host import REDUCTIONS
from autonomics.runtime.state_machine import BURST
from autonomics.runtime.timer import BURST as TIMER_BURST

MILLION = 1_000_000
TURNS = 3
"""Turns that a busy task may have between a call and its reply."""
ROOMY = MailboxSpec(capacity=MILLION)


@attrs.frozen
class Ask(Call[str]):
    what: str = "?"


@attrs.frozen
class Feed:
    """Have an actor send to this one, for ever."""

    ref: ActorRef


class Count:
    """How many messages the busy ones have handled."""

    def __init__(self) -> None:
        self.handled = 0


class Busy(Actor):
    mailbox: ClassVar[MailboxSpec] = ROOMY

    def __init__(self, count: Count) -> None:
        self.count = count

    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> str:
        self.count.handled += 1
        return "busy"

    def handle_cast(self, message: object) -> None:
        self.count.handled += 1
        if isinstance(message, Feed):
            message.ref.cast(message)

    def handle_info(self, message: object) -> None:
        self.count.handled += 1


class BusyAsync(Actor):
    """The same with handlers that could wait but don't."""

    mailbox: ClassVar[MailboxSpec] = ROOMY

    def __init__(self, count: Count) -> None:
        self.count = count

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> str:
        self.count.handled += 1
        return "busy"

    async def handle_cast(self, message: object) -> None:
        self.count.handled += 1


class Other(Actor):
    """Whose reply is waited for."""

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> str:
        return "other"


class OtherPlain(Actor):
    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> str:
        return "other"


async def longest_wait(runtime: Runtime, count: Count, other: type[Actor] = Other) -> int:
    """Call 100 times, and count what the busy ones handle during each call."""
    ref = await runtime.start(other)
    await trio.lowlevel.checkpoint()
    longest = 0
    for _ in range(100):
        before = count.handled
        assert await ref.call(Ask()) == "other"
        longest = max(longest, count.handled - before)
    return longest


Fill = Callable[[Runtime, ActorRef], object]


def cast_a_million(_: Runtime, busy: ActorRef) -> None:
    for _n in range(MILLION):
        busy.cast("mail")


def cast_some(_: Runtime, busy: ActorRef) -> None:
    for _n in range(MILLION // 50):
        busy.cast("mail")


def inform(_: Runtime, busy: ActorRef) -> None:
    for _n in range(MILLION // 50):
        busy.incarnation.inform("info")


def request(_: Runtime, busy: ActorRef) -> None:
    for _n in range(MILLION // 50):
        send_request(busy, Ask())


def feed_itself(_: Runtime, busy: ActorRef) -> None:
    for _n in range(10):
        busy.cast(Feed(busy))


@pytest.mark.parametrize(
    ("kind", "fill"),
    [
        (Busy, cast_a_million),
        (BusyAsync, cast_some),
        (Busy, inform),
        (Busy, request),
        (BusyAsync, request),
        (Busy, feed_itself),
    ],
    ids=lambda part: part.__name__,
)
@pytest.mark.parametrize("other", [Other, OtherPlain])
async def test_a_million_messages_delay_a_reply_by_three_batches(
    autojump_clock: MockClock, kind: Callable[[Count], Actor], fill: Fill, other: type[Actor]
) -> None:
    count = Count()
    async with open_runtime() as runtime:
        busy = await runtime.start(lambda: kind(count))
        fill(runtime, busy)
        longest = await longest_wait(runtime, count, other)
        assert longest <= TURNS * BATCH
        # It was busy all the while, or this would show nothing.
        assert count.handled >= BATCH
        assert busy.incarnation.mailbox.queue
        busy.kill()


async def test_ten_of_them_delay_it_ten_times_as_much(autojump_clock: MockClock) -> None:
    count = Count()
    async with open_runtime() as runtime:
        crowd = [await runtime.start(lambda: Busy(count)) for _ in range(10)]
        for busy in crowd:
            inform(runtime, busy)
        longest = await longest_wait(runtime, count)
        assert 5 * SHORT_BATCH < longest <= 10 * TURNS * BATCH
        for busy in crowd:
            busy.kill()


@pytest.mark.parametrize("busy", [1, FEW // 2 + 1, 5 * FEW])
async def test_where_more_than_a_few_are_busy_turns_are_shorter(
    autojump_clock: MockClock, busy: int
) -> None:
    count = Count()
    turns = 10
    async with open_runtime() as runtime:
        for ref in [await runtime.start(lambda: Busy(count)) for _ in range(busy)]:
            for _ in range(turns * BATCH):
                ref.cast(None)
        rounds = 0
        while count.handled < busy * turns * BATCH:
            await trio.lowlevel.checkpoint()
            rounds += 1
    if busy <= FEW:
        assert turns <= rounds <= turns + 2
    else:
        # Nearly twice as many, for nearly all are half as long.
        assert 1.5 * turns < rounds <= turns * BATCH // SHORT_BATCH + 2


async def test_calls_answered_on_their_callers_stack_delay_it_no_more(
    autojump_clock: MockClock,
) -> None:
    """The caller's budget; the actor that answers is never switched to."""
    count = Count()

    async def ask_for_ever(busy: ActorRef) -> None:
        while True:
            await busy.call(Ask())

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        busy = await runtime.start(lambda: Busy(count))
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ask_for_ever, busy)
        assert await longest_wait(runtime, count) <= 3 * TURNS * REDUCTIONS
        assert await longest_wait(runtime, count, OtherPlain) <= 3 * TURNS * REDUCTIONS
        assert count.handled > 100 * REDUCTIONS
        nursery.cancel_scope.cancel()


async def test_senders_that_wait_only_for_room_delay_it_no_more(
    autojump_clock: MockClock,
) -> None:
    sent = Count()

    async def send_for_ever(busy: ActorRef) -> None:
        while True:
            await busy.cast_when_room("mail")
            sent.handled += 1

    class Blocking(Busy):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=MILLION, on_full="block")

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        busy = await runtime.start(lambda: Blocking(Count()))
        for _ in range(3):
            nursery.start_soon(send_for_ever, busy)
        assert await longest_wait(runtime, sent) <= 3 * TURNS * REDUCTIONS
        assert sent.handled > 100 * REDUCTIONS
        nursery.cancel_scope.cancel()


async def test_a_handler_that_only_sends_is_stopped_by_the_bound_of_the_mailbox(
    autojump_clock: MockClock,
) -> None:
    """A plain function can't be interrupted in Python: what stops it is the receiver's capacity."""
    sent = Count()

    class Flooding(Actor):
        def handle_cast(self, message: object) -> None:
            assert isinstance(message, Feed)
            try:
                while True:
                    message.ref.cast("flood")
                    sent.handled += 1
            except Overloaded:
                self.ref.cast(message)

    class Sink(Busy):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10)

    async with open_runtime() as runtime:
        sink = await runtime.start(lambda: Sink(Count()))
        flooding = await runtime.start(Flooding)
        flooding.cast(Feed(sink))
        longest = await longest_wait(runtime, sent)
        # One handler may send as much as there is room for, and a round empties the mailbox.
        assert 0 < longest <= TURNS * 10
        flooding.kill()


async def test_timers_that_are_due_together_delay_it_no_more(autojump_clock: MockClock) -> None:
    fired = Count()
    timers = 20_000

    class Timer:
        """Not an actor's: counted when it fires, not when its message is read."""

        is_open = True

        def fire(self) -> None:
            fired.handled += 1

    async with open_runtime() as runtime:
        for _ in range(timers):
            runtime.timers.add(trio.current_time() + 1, Timer())
        ref = await runtime.start(Other)
        longest = 0
        while fired.handled < timers:
            before = fired.handled
            if before == 0:
                await trio.sleep(1)
            await ref.call(Ask())
            longest = max(longest, fired.handled - max(before, 1))
        assert TIMER_BURST <= longest <= TURNS * TIMER_BURST


class Machine(StateMachine[str, int]):
    """Counts its events and entries; each cast leads to fifteen events of its own."""

    mailbox: ClassVar[MailboxSpec] = ROOMY
    states = ("first", "second")

    def __init__(self, count: Count) -> None:
        self.count = count

    def begin(self) -> Initial[str, int]:
        return Initial("first", data=0)

    def handle_event(self, event: StateEvent, state: str, data: int) -> Answer[str, int]:
        self.count.handled += 1
        match event:
            case CallEvent(_, to):
                return Keep(Reply(to, "busy"))
            case InternalEvent() | TimeoutEvent():
                return Keep()
            case _:
                return Keep(*[Insert(InternalEvent("own"))] * (BURST - 1))


class Postponing(Machine):
    """Postpones all in the first state, and takes all of it together in the second."""

    def handle_event(self, event: StateEvent, state: str, data: int) -> Answer[str, int]:
        self.count.handled += 1
        if state == "first":
            return Go("second") if isinstance(event, CallEvent) else Keep(POSTPONE)
        return Keep()


class DueAtOnce(Machine):
    """Sets a timeout of no length with each event, for ever."""

    def handle_event(self, event: StateEvent, state: str, data: int) -> Answer[str, int]:
        self.count.handled += 1
        return Keep(SetTimeout("again", 0))


class EnteringAgain(Machine):
    """Enters its state for ever."""

    def enter(self, state: str, previous: str, data: int) -> EnterAnswer[int]:
        self.count.handled += 1
        return Repeat()


async def feed_casts(machine: ActorRef) -> None:
    for _ in range(MILLION // 20):
        machine.cast("mail")


async def feed_and_turn(machine: ActorRef) -> None:
    for _ in range(MILLION // 20):
        machine.cast("postponed")
    await wait_all_tasks_blocked()
    send_request(machine, Ask("turn"))


async def feed_one(machine: ActorRef) -> None:
    machine.cast("one")


async def feed_nothing(machine: ActorRef) -> None:
    pass


@pytest.mark.parametrize(
    ("kind", "feed"),
    [
        (Machine, feed_casts),
        (Postponing, feed_and_turn),
        (DueAtOnce, feed_one),
        (EnteringAgain, feed_nothing),
    ],
)
async def test_a_state_machine_delays_it_by_its_mail_and_its_own_events(
    autojump_clock: MockClock,
    kind: Callable[[Count], Machine],
    feed: Callable[[ActorRef], Awaitable[None]],
) -> None:
    count = Count()
    async with open_runtime() as runtime:
        machine = await runtime.start(lambda: kind(count))
        await feed(machine)
        longest = await longest_wait(runtime, count)
        assert BURST <= longest <= TURNS * (BATCH + BURST)
        machine.kill()
