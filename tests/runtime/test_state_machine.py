"""The cases FSM-* of OTP's gen_statem, and what a state machine shares with every actor."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, CallTimedOut, InvalidInput, Overloaded, StartFailed
from autonomics.runtime import (
    IGNORE,
    POSTPONE,
    Action,
    ActorRef,
    AlreadyStarted,
    Answer,
    Call,
    CallEvent,
    CancelTimeout,
    CastEvent,
    Crash,
    Down,
    EnterAnswer,
    ExitReason,
    Go,
    Ignore,
    InfoEvent,
    Initial,
    InitTimedOut,
    Insert,
    InternalEvent,
    Keep,
    Killed,
    MachineStatus,
    MailboxSpec,
    Normal,
    Refuse,
    Repeat,
    Reply,
    ReplyTo,
    SetTimeout,
    Shutdown,
    StateEvent,
    StateMachine,
    Stop,
    StopAndReply,
    Timeout,
    TimeoutEvent,
    UpdateTimeout,
)
from autonomics.runtime.callback import settle
from autonomics.runtime.state_machine import BURST
from autonomics.testing.stage import Event as Emitted
from autonomics.testing.stage import Stage


class At(Enum):
    A = auto()
    B = auto()
    C = auto()


A, B, C = At.A, At.B, At.C

Rule = Any
"""An answer, an exception, or a function from event and data to one of them; maybe async."""
Rules = dict[tuple[At, str], Rule]


@attrs.frozen
class Ask(Call[Any]):
    word: str


def word_of(event: StateEvent) -> str:
    """What a log says of an event."""
    match event:
        case CallEvent(Ask(word)):
            return word
        case CastEvent(word) | InternalEvent(word):
            return str(word)
        case TimeoutEvent(Timeout() as timer, content):
            return f"{timer.value}={content}"
        case TimeoutEvent(timer, content):
            return f"{timer}={content}"
        case InfoEvent(message):
            return f"info {message}"
        case _:
            raise AssertionError(event)


class Scripted(StateMachine[At, int]):
    """Logs `state:word` and answers by its rules; what has none is kept. `enters` makes it log
    enter calls and answer them by state."""

    states = At

    def __init__(
        self,
        log: list[str],
        rules: Rules | None = None,
        *,
        enters: Mapping[At, Rule] | None = None,
        first: tuple[Action, ...] = (),
        begins: Rule = None,
        ending: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.log = log
        self.rules = rules or {}
        self.enters = enters
        self.first = first
        self.begins = begins
        self.ending = ending

    async def begin(self) -> Initial[At, int] | Ignore | Refuse:
        if self.begins is not None:
            answer: Any = await follow(self.begins)
            return answer  # type: ignore[no-any-return]
        return Initial(A, *self.first, data=0)

    async def handle_event(self, event: StateEvent, state: At, data: int) -> Answer[At, int]:
        assert (state, data) == (self.state, self.data)
        word = word_of(event)
        self.log.append(f"{state.name}:{word}")
        rule = self.rules.get((state, word), Keep())
        answer: Any = await follow(rule, event, data)
        return answer  # type: ignore[no-any-return]

    async def enter(self, state: At, previous: At, data: int) -> EnterAnswer[int]:
        if self.enters is None:
            return Keep()
        self.log.append(f"{state.name}:enter from {previous.name}")
        answer: Any = await follow(self.enters.get(state, Keep()), state, data)
        return answer  # type: ignore[no-any-return]

    async def terminate(self, reason: ExitReason) -> None:
        self.log.append(f"term {self.state.name} {self.data}: {type(reason).__name__}")
        if self.ending is not None:
            await self.ending()


async def follow(rule: Rule, *given: object) -> object:
    if isinstance(rule, Exception):
        raise rule
    if not callable(rule):
        return rule
    answered: object = rule(*given)
    return await settle(answered)


def note_time(times: list[float]) -> Callable[[StateEvent, int], Keep[int]]:
    """Rule: note the time."""

    def note(_: StateEvent, __: int) -> Keep[int]:
        times.append(trio.current_time())
        return Keep()

    return note


def to_caller(value: object) -> Callable[[CallEvent, int], object]:
    """Rule: reply."""
    return lambda event, _: Keep(Reply(event.reply_to, value))


@attrs.define
class Bench:
    """Starts one machine and reads its log."""

    stage: Stage
    log: list[str] = attrs.field(factory=list[str])

    async def start(self, *given: Any, name: str = "m", **named: Any) -> ActorRef:
        return await self.stage.runtime.start(
            lambda: Scripted(self.log, *given, **named), name=name
        )

    async def run(self, *given: Any, words: str = "", **named: Any) -> ActorRef:
        ref = await self.start(*given, **named)
        for word in words.split():
            ref.cast(word)
        await wait_all_tasks_blocked()
        return ref


@pytest.fixture
def bench(stage: Stage) -> Bench:
    return Bench(stage)


# Enter calls


async def test_the_first_state_is_entered_before_any_event(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-01."""
    await bench.run(enters={}, words="x")
    assert bench.log == ["A:enter from A", "A:x"]


async def test_only_a_real_change_or_a_repeat_is_entered(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-02."""
    rules: Rules = {
        (A, "same"): Go(A),
        (A, "keep"): Keep(),
        (A, "again"): Repeat(),
        (A, "b"): Go(B),
    }
    await bench.run(rules, enters={}, words="same keep again b")
    assert bench.log == [
        *("A:enter from A", "A:same", "A:keep", "A:again", "A:enter from A"),
        *("A:b", "B:enter from A"),
    ]


# Postponing


async def test_postponed_events_come_back_first_and_in_order(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-03."""
    rules: Rules = {(A, "p1"): Keep(POSTPONE), (A, "p2"): Keep(POSTPONE), (A, "go"): Go(B)}
    await bench.run(rules, words="p1 p2 go p3")
    assert bench.log == ["A:p1", "A:p2", "A:go", "B:p1", "B:p2", "B:p3"]


async def test_without_a_change_of_state_nothing_is_retried(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-04."""
    rules: Rules = {
        (A, "p1"): Keep(POSTPONE),
        (A, "data"): Keep(data=1),
        (A, "same"): Go(A),
        (A, "again"): Repeat(),
    }
    await bench.run(rules, words="p1 data same again")
    assert bench.log == ["A:p1", "A:data", "A:same", "A:again"]


async def test_inserted_then_retried_then_queued_events(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-05."""
    inserted = Insert(InternalEvent("i1")), Insert(CastEvent("i2"))
    rules: Rules = {
        (A, "p1"): Keep(POSTPONE),
        (A, "p2"): Keep(POSTPONE),
        (A, "go"): Go(B, *inserted),
    }
    await bench.run(rules, words="p1 p2 go q")
    assert bench.log == ["A:p1", "A:p2", "A:go", "B:i1", "B:i2", "B:p1", "B:p2", "B:q"]


async def test_an_event_that_changes_the_state_may_be_postponed_too(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-06."""
    rules: Rules = {
        (A, "p1"): Keep(POSTPONE),
        (A, "p2"): Keep(POSTPONE),
        (A, "go"): Go(B),
        (B, "p1"): Go(C, POSTPONE),
    }
    await bench.run(rules, words="p1 p2 go")
    assert bench.log == ["A:p1", "A:p2", "A:go", "B:p1", "C:p1", "C:p2"]


async def test_an_inserted_or_a_timeout_event_may_be_postponed(
    autojump_clock: MockClock, bench: Bench
) -> None:
    rules: Rules = {
        (A, "x"): Keep(Insert(InternalEvent("i")), SetTimeout("t", 0)),
        (A, "i"): Keep(POSTPONE),
        (A, "t=None"): Keep(POSTPONE),
        (A, "go"): Go(B),
    }
    await bench.run(rules, words="x go")
    assert bench.log == ["A:x", "A:i", "A:t=None", "A:go", "B:i", "B:t=None"]


async def test_a_call_too_many_to_postpone_is_refused(
    autojump_clock: MockClock, bench: Bench, events: list[Emitted]
) -> None:
    class Narrow(Scripted):
        mailbox = MailboxSpec(capacity=2)

    late = Keep(POSTPONE)
    rules: Rules = {
        **{(A, word): late for word in ("p1", "p2", "p3", "ask", "info down")},
        (A, "go"): Go(B),
        (B, "back"): Go(A),
    }
    ref = await bench.stage.runtime.start(lambda: Narrow(bench.log, rules), name="narrow")
    for word in ("p1", "p2"):
        ref.cast(word)
    await wait_all_tasks_blocked()
    bench.stage.runtime.send_after(0, ref, "down")
    with pytest.raises(Overloaded, match=r"postponed as much as it may \(limit=2\)"):
        await ref.call(Ask("ask"))
    ref.cast("p3")
    await wait_all_tasks_blocked()
    status = ref.incarnation.behaviour.describe()
    assert status == MachineStatus(shown=None, postponed=3, timeouts=0, refused=2)
    full = [fields for name, fields in events if name == "state_machine.postponed_full"]
    assert full == [{"path": "narrow", "capacity": 2}]
    bench.log.clear()
    ref.cast("go")
    await wait_all_tasks_blocked()
    assert bench.log == ["A:go", "B:p1", "B:p2", "B:info down"]
    for word in ("back", "p1"):
        ref.cast(word)
    await wait_all_tasks_blocked()
    ref.cast("p2")
    ref.cast("p3")
    await wait_all_tasks_blocked()
    assert len([name for name, _ in events if name == "state_machine.postponed_full"]) == 2
    status = ref.incarnation.behaviour.describe()
    assert status == MachineStatus(shown=None, postponed=2, timeouts=0, refused=3)


# Timeouts


def after(delay_s: float, content: object = None, timer: Any = Timeout.STATE) -> SetTimeout:
    return SetTimeout(timer, delay_s, content)


async def test_a_change_of_state_cancels_the_state_timeout(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-07: and one that is set by the change belongs to the new state."""
    rules: Rules = {
        (A, "go"): Go(B),
        (B, "go"): Go(C, after(0.05, "c")),
        (A, "arm"): Keep(after(0.1, "a")),
    }
    ref = await bench.run(rules, words="arm go")
    await trio.sleep(1)
    assert bench.log == ["A:arm", "A:go"]
    ref.cast("go")
    await trio.sleep(1)
    assert bench.log[2:] == ["B:go", "C:state=c"]


async def test_the_same_state_again_does_not_reset_its_timeout(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-08."""
    times: list[float] = []
    rules: Rules = {
        (A, "same"): Go(A),
        (A, "state=None"): note_time(times),
    }
    began = trio.current_time()
    ref = await bench.run(rules, first=(after(0.08),))
    await trio.sleep(0.05)
    ref.cast("same")
    await trio.sleep(1)
    (at,) = times
    assert at - began >= 0.08
    assert at - began == pytest.approx(0.08)


async def test_any_event_cancels_the_event_timeout(autojump_clock: MockClock, bench: Bench) -> None:
    """FSM-09."""
    ref = await bench.run({(A, "arm"): Keep(after(0.06, timer=Timeout.EVENT))}, words="arm")
    await trio.sleep(0.02)
    ref.cast("any")
    await trio.sleep(0.1)
    assert bench.log == ["A:arm", "A:any"]
    ref.cast("arm")
    await trio.sleep(0.1)
    assert bench.log[2:] == ["A:arm", "A:event=None"]


async def test_named_timeouts_survive_changes_of_state(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-10."""
    both = after(0.06, timer="t1"), after(0.06, timer="t2")
    rules: Rules = {(A, "go"): Go(B, *both), (B, "go"): Go(C, CancelTimeout("t2"))}
    await bench.run(rules, words="go go")
    await trio.sleep(0.12)
    assert bench.log == ["A:go", "B:go", "C:t1=None"]


async def test_a_timeout_is_replaced_updated_and_cancelled(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-11."""
    t = "t"
    rules: Rules = {
        (A, "arm"): Keep(after(0.1, "first", t)),
        (A, "longer"): Keep(after(0.2, "second", t)),
        (A, "update"): Keep(UpdateTimeout(t, "updated")),
        (A, "cancel"): Keep(CancelTimeout(t)),
        (A, "never"): Keep(after(math.inf, timer=t)),
    }
    ref = await bench.run(rules, words="arm")
    await trio.sleep(0.05)
    ref.cast("longer")
    await trio.sleep(0.1)
    ref.cast("update")
    await trio.sleep(0.09)
    assert bench.log == ["A:arm", "A:longer", "A:update"]
    await trio.sleep(0.02)
    assert bench.log[3:] == ["A:t=updated"]
    bench.log.clear()
    for word in ("arm", "cancel", "cancel", "arm", "never"):
        ref.cast(word)
    await trio.sleep(1)
    assert bench.log == ["A:arm", "A:cancel", "A:cancel", "A:arm", "A:never"]


async def test_an_update_of_what_is_not_set_comes_at_once(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-11."""
    await bench.run({(A, "x"): Keep(UpdateTimeout("t", "now"))}, words="x y")
    assert bench.log == ["A:x", "A:t=now", "A:y"]


async def test_the_last_action_of_a_timer_counts(autojump_clock: MockClock, bench: Bench) -> None:
    """FSM-11: as on OTP, where the event timeout of 0 below is cancelled by the inserted event."""
    event = Timeout.EVENT
    twice = after(0, "s0"), after(0, timer=event), after(0, "n0", "n"), after(0, "s1")
    rules: Rules = {
        (A, "x"): Repeat(*twice, Insert(InternalEvent("i"))),
        (A, "y"): Keep(after(0, "e", event)),
    }
    await bench.run(rules, words="x y z")
    assert bench.log == ["A:x", "A:i", "A:n=n0", "A:state=s1", "A:y", "A:event=e", "A:z"]


async def test_a_delay_of_zero_comes_after_own_events_and_before_mail(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-12."""
    rules: Rules = {
        (A, "p"): Keep(POSTPONE),
        (A, "go"): Go(B, after(0), after(0, timer="t"), Insert(InternalEvent("i"))),
        (B, "state=None"): Keep(Insert(InternalEvent("j"))),
    }
    await bench.run(rules, words="p go mail")
    assert bench.log == ["A:p", "A:go", "B:i", "B:p", "B:state=None", "B:j", "B:t=None", "B:mail"]


async def test_a_change_of_state_cancels_a_state_timeout_that_is_due(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-12."""
    rules: Rules = {(A, "x"): Keep(after(0), Insert(InternalEvent("go"))), (A, "go"): Go(B)}
    await bench.run(rules, words="x y")
    assert bench.log == ["A:x", "A:go", "B:y"]


async def test_a_timeout_that_was_cancelled_never_comes(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Also if its message was in the mailbox when it was cancelled; and that is no event either."""

    async def be_busy(_: StateEvent, __: int) -> Keep[int]:
        await trio.sleep(0.2)
        quiet = after(0.5, timer=Timeout.EVENT)
        return Keep(CancelTimeout("t"), after(1, "new", "u"), quiet)

    rules: Rules = {
        (A, "arm"): Keep(after(0.1, timer="t"), after(0.1, "old", "u")),
        (A, "busy"): be_busy,
    }
    ref = await bench.run(rules, words="arm busy")
    await trio.sleep(0.25)
    assert ref.statistics().handled == 4
    await trio.sleep(2)
    assert bench.log == ["A:arm", "A:busy", "A:event=None", "A:u=new"]


async def test_timeouts_fire_in_order_and_never_early(
    autojump_clock: MockClock, bench: Bench
) -> None:
    times: list[float] = []
    began = trio.current_time()
    delays = 0.3, 0.1, 0.2, 0.1
    first = [after(delay_s, timer=str(n)) for n, delay_s in enumerate(delays)]
    rules: Rules = {(A, f"{n}=None"): note_time(times) for n in range(4)}
    await bench.run(rules, first=tuple(first))
    await trio.sleep(1)
    assert bench.log == ["A:1=None", "A:3=None", "A:2=None", "A:0=None"]
    assert all(at - began >= delay_s for at, delay_s in zip(times, sorted(delays), strict=True))


async def test_a_timeout_per_event_leaves_nothing_behind(
    autojump_clock: MockClock, bench: Bench
) -> None:
    ref = await bench.run({(A, "x"): Keep(after(60, timer=Timeout.EVENT))}, words="x " * 50)
    assert bench.stage.runtime.statistics().timers == 1
    assert len(ref.incarnation.timers) == 1
    await ref.stop()
    assert bench.stage.runtime.statistics().timers == 0


@pytest.mark.parametrize("bad", [-1, math.nan])
def test_a_delay_is_no_negative_number(bad: float) -> None:
    with pytest.raises(InvalidInput, match="expected delay_s to be a number of seconds"):
        SetTimeout("t", bad)


@pytest.mark.parametrize("action", [SetTimeout, UpdateTimeout, CancelTimeout])
def test_a_timer_is_hashable(action: Any) -> None:
    with pytest.raises(InvalidInput, match="expected timer to be hashable"):
        action(*([], 1)[: 1 if action is CancelTimeout else 2])


# Replies


async def test_a_call_may_be_answered_in_a_later_state(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-13, and GEN-08: meanwhile other events are handled."""
    kept: list[ReplyTo] = []

    def ask(event: CallEvent, _: int) -> Go[At, int]:
        kept.append(event.reply_to)
        return Go(B)

    def answer_ask(_: StateEvent, __: int) -> Keep[int]:
        return Keep(Reply(kept[0], "done"))

    rules: Rules = {(A, "ask"): ask, (B, "answer"): answer_ask}
    ref = await bench.run(rules)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await trio.sleep(0.05)
            assert kept[0].is_wanted
            ref.cast("answer")

        nursery.start_soon(answer)
        assert await ref.call(Ask("ask")) == "done"


async def test_a_postponed_call_is_answered_once_the_state_opens(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-14."""
    rules: Rules = {(A, "q"): Keep(POSTPONE), (A, "unlock"): Go(B), (B, "q"): to_caller("yes")}
    ref = await bench.run(rules)
    bench.stage.runtime.send_after(0.05, ref, "unlock")
    rules[A, "info unlock"] = Go(B)
    began = trio.current_time()
    assert await ref.call(Ask("q")) == "yes"
    assert trio.current_time() - began >= 0.05


async def test_stop_and_reply_answers_before_terminate(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-15: as on OTP; an earlier caller may be answered too."""
    kept: list[ReplyTo] = []

    def both(event: CallEvent, _: int) -> StopAndReply[int]:
        replies = Reply(event.reply_to, "bye"), Reply(kept[0], "you too")
        return StopAndReply(*replies, reason=Shutdown("done"), data=7)

    def keep(event: CallEvent, _: int) -> Keep[int]:
        kept.append(event.reply_to)
        return Keep()

    async def take_long() -> None:
        await trio.sleep(0.5)
        bench.log.append("terminated")

    ref = await bench.run({(A, "first"): keep, (A, "bye"): both}, ending=take_long)
    answers: list[object] = []
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def ask(word: str) -> None:
            answers.append(await ref.call(Ask(word)))

        nursery.start_soon(ask, "first")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, "bye")
    assert sorted(map(str, answers)) == ["bye", "you too"]
    assert trio.current_time() == began
    assert await ref.wait_down() == Shutdown("done")
    assert bench.log[2:] == ["term A 7: Shutdown", "terminated"]


# Enter calls, inserted events, the beginning


async def test_enter_runs_before_inserted_and_queued_events(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-17."""
    rules: Rules = {(A, "go"): Go(B, Insert(InternalEvent("i")))}
    await bench.run(rules, enters={}, words="go after_")
    assert bench.log == [
        *("A:enter from A", "A:go", "B:enter from A", "B:i", "B:after_"),
    ]


async def test_the_actions_of_the_beginning_come_before_mail(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """FSM-18."""
    first = Insert(InternalEvent("boot")), after(0, "t")
    ref = await bench.start(first=first, enters={})
    ref.cast("x")
    await wait_all_tasks_blocked()
    assert bench.log == ["A:enter from A", "A:boot", "A:state=t", "A:x"]


async def test_every_kind_of_event_may_be_inserted(autojump_clock: MockClock, bench: Bench) -> None:
    """FSM-18."""

    def again(event: CallEvent, _: int) -> Keep[int]:
        asked = CallEvent(Ask("inner"), event.reply_to)
        inserted: tuple[StateEvent, ...] = InfoEvent("n"), TimeoutEvent("t"), CastEvent("c"), asked
        return Keep(*(Insert(each) for each in inserted))

    ref = await bench.run({(A, "outer"): again, (A, "inner"): to_caller("deep")})
    assert await ref.call(Ask("outer")) == "deep"
    assert bench.log == ["A:outer", "A:info n", "A:t=None", "A:c", "A:inner"]


async def test_enter_sets_timeouts_replies_and_replaces_the_data(
    autojump_clock: MockClock, bench: Bench
) -> None:
    kept: list[ReplyTo] = []

    def ask(event: CallEvent, _: int) -> Go[At, int]:
        kept.append(event.reply_to)
        return Go(B, after(0.1, "event's"), data=1)

    def enter_b(_: At, data: int) -> Keep[int]:
        return Keep(Reply(kept[0], f"entered with {data}"), after(0.2, "enter's"), data=data + 1)

    ref = await bench.run({(A, "ask"): ask}, enters={B: enter_b})
    assert await ref.call(Ask("ask")) == "entered with 1"
    await trio.sleep(1)
    assert bench.log[1:] == ["A:ask", "B:enter from A", "B:state=enter's"]
    await ref.stop()
    assert bench.log[-1] == "term B 2: Shutdown"


async def test_enter_may_be_repeated(autojump_clock: MockClock, bench: Bench) -> None:
    """Measured on OTP: the previous state stays the one that was left."""

    def enter_b(_: At, data: int) -> Keep[int] | Repeat[int]:
        return Repeat(data=data + 1) if data < 2 else Keep()

    ref = await bench.run({(A, "go"): Go(B)}, enters={B: enter_b}, words="go")
    assert bench.log[2:] == ["B:enter from A"] * 3
    await ref.stop()
    assert bench.log[-1] == "term B 2: Shutdown"


async def test_enter_may_stop(autojump_clock: MockClock, bench: Bench) -> None:
    ref = await bench.run({(A, "go"): Go(B)}, enters={B: Stop(Shutdown("b"))}, words="go x")
    assert await ref.wait_down() == Shutdown("b")
    assert bench.log[-2:] == ["B:enter from A", "term B 0: Shutdown"]
    first = await bench.run(enters={A: StopAndReply()}, name="n")
    assert await first.wait_down() == Normal()


# Mistakes

ODD: Any = "x"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("zzz", "expected the return value of handle_event to be Go, Keep, Repeat, Stop or"),
        (None, "got None"),
        (Go("d"), r"expected the state of Scripted to be one of \[<At.A: 1>.*, got 'd'"),
        (Go([]), r"the state of Scripted .*, got \[\]"),
        (Keep(ODD), "expected an action of handle_event to be one of Reply, Postpone, Insert"),
        (Keep(Insert(ODD)), "expected an inserted event to be a StateEvent, got 'x'"),
        (Stop(reply=1), "Stop without reply, or StopAndReply"),
        (StopAndReply(ODD), "expected what StopAndReply is given to be a Reply, got 'x'"),
    ],
)
async def test_a_bad_answer_crashes_the_machine_with_one_clear_error(
    autojump_clock: MockClock, bench: Bench, answer: Any, text: str
) -> None:
    """FSM-19, and GEN-21: the caller hears of it too."""
    ref = await bench.run({(A, "bad"): answer})
    with pytest.raises(ActorDied) as caught:
        await ref.call(Ask("bad"))
    assert isinstance(caught.value.reason, Crash)
    error = caught.value.reason.error
    assert isinstance(error, InvalidInput)
    with pytest.raises(InvalidInput, match=text):
        raise error
    assert bench.log[-1] == "term A 0: Crash"


def test_a_reply_goes_to_a_caller() -> None:
    with pytest.raises(InvalidInput, match="expected the receiver of a Reply to be the reply_to"):
        Reply(ODD, 1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Go(C), "expected the return value of enter to be Keep, Repeat, Stop or StopAndReply"),
        (None, "the return value of enter"),
        (Keep(POSTPONE), "expected an action of enter to be one of Reply, SetTimeout"),
        (Keep(Insert(InternalEvent("x"))), "an action of enter"),
    ],
)
async def test_enter_neither_goes_elsewhere_nor_postpones_nor_inserts(
    autojump_clock: MockClock, bench: Bench, answer: Any, text: str
) -> None:
    """FSM-19."""
    ref = await bench.run({(A, "go"): Go(B)}, enters={B: answer}, words="go")
    reason = await ref.wait_down()
    assert isinstance(reason, Crash)
    with pytest.raises(InvalidInput, match=text):
        raise reason.error
    assert bench.log[-1] == "term B 0: Crash"


async def test_begin_may_not_postpone_and_names_a_declared_state(
    autojump_clock: MockClock, bench: Bench
) -> None:
    ref = await bench.run(first=(POSTPONE,))
    reason = await ref.wait_down()
    assert isinstance(reason, Crash)
    assert "an action of begin" in str(reason.error)
    for begins, text in (
        (Initial("d", data=0), "the state of Scripted"),
        ("zzz", "expected the return value of begin to be Initial, IGNORE or Refuse"),
    ):
        with pytest.raises(StartFailed, match=text):
            await bench.start(begins=begins, name="n")


async def test_what_a_machine_leaves_out_is_named() -> None:
    class Empty(StateMachine[At, None]):
        states = At

    with pytest.raises(NotImplementedError, match="Empty does not say how to begin"):
        Empty().begin()
    with pytest.raises(NotImplementedError, match="Empty has no handle_event"):
        Empty().handle_event(CastEvent(1), A, None)


@attrs.frozen
class Trying:
    attempt: int


@attrs.frozen
class Done:
    pass


@pytest.mark.parametrize(
    ("states", "state", "is_declared"),
    [
        (Trying | Done, Trying(1), True),
        (Trying | Done, "x", False),
        (Trying, Trying(1), True),
        (Trying, Done(), False),
        ({"open", "shut"}, "open", True),
        (("open", "shut"), "opne", False),
        (("open", "shut"), ["open"], False),
    ],
)
async def test_states_are_a_type_or_a_collection(
    autojump_clock: MockClock, bench: Bench, states: Any, state: Any, is_declared: bool
) -> None:
    class Plain(StateMachine[Any, None]):
        def begin(self) -> Initial[Any, None]:
            return Initial(state, data=None)

    Plain.states = states
    if is_declared:
        await bench.stage.runtime.start(Plain)
    else:
        with pytest.raises(StartFailed, match="expected the state of Plain to be"):
            await bench.stage.runtime.start(Plain)


# What it shares with every actor


async def test_plain_functions_are_fine(autojump_clock: MockClock, bench: Bench) -> None:
    class Counter(StateMachine[str, int]):
        states = ("on", "off")

        def begin(self) -> Initial[str, int]:
            return Initial("off", data=0)

        def handle_event(self, event: StateEvent, state: str, data: int) -> Answer[str, int]:
            match state, event:
                case "off", CastEvent():
                    return Go("on")
                case _, CallEvent(reply_to=caller):
                    return Keep(Reply(caller, (state, data)))
                case _:
                    return Go("off")

        def enter(self, state: str, previous: str, data: int) -> Keep[int]:
            return Keep(data=data + 1)

        def show(self, state: str, data: int) -> object:
            return state

    ref = await bench.stage.runtime.start(Counter)
    ref.cast("push")
    assert await ref.call(Ask("?")) == ("on", 2)
    assert ref.incarnation.behaviour.describe() == MachineStatus(
        shown="on", postponed=0, timeouts=0, refused=0
    )


async def test_state_and_data_are_shown_by_its_own_word_only(
    autojump_clock: MockClock, bench: Bench
) -> None:
    secret = Go(B, after(60, "secret"), data=42)
    ref = await bench.run({(A, "go"): secret, (B, "p"): Keep(POSTPONE)}, words="go p")
    shown = ref.incarnation.behaviour.describe()
    assert shown == MachineStatus(shown=None, postponed=1, timeouts=1, refused=0)
    assert Scripted([]).describe() is None


async def test_the_starter_goes_on_before_the_first_state_is_entered(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """GEN-12, GEN-14."""

    async def slow(_: At, __: int) -> Keep[int]:
        await trio.sleep(0.3)
        return Keep()

    began = trio.current_time()
    ref = await bench.start(enters={A: slow})
    assert trio.current_time() - began < 0.2
    ref.cast("x")
    await trio.sleep(1)
    assert bench.log == ["A:enter from A", "A:x"]


async def test_a_machine_may_decline_to_start(autojump_clock: MockClock, bench: Bench) -> None:
    """GEN-22, GEN-23, GEN-24, GEN-25."""
    runtime = bench.stage.runtime
    with pytest.raises(StartFailed) as refused:
        await bench.start(begins=Refuse("nope"))
    assert refused.value.reason == "nope"
    with pytest.raises(StartFailed) as ignored:
        await bench.start(begins=IGNORE)
    assert ignored.value.reason == IGNORE

    async def sleep() -> None:
        await trio.sleep(1)

    with pytest.raises(StartFailed) as late:
        await runtime.start(lambda: Scripted([], begins=sleep), name="m", init_deadline_s=0.1)
    assert late.value.reason == InitTimedOut(0.1)
    assert runtime.whereis("m") is None
    await bench.start()
    with pytest.raises(StartFailed) as taken:
        await bench.start(begins=ValueError("never run"))
    assert taken.value.reason == AlreadyStarted("m", "m")


async def test_calls_fail_with_the_end_of_the_machine(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """GEN-02, GEN-04, GEN-05, GEN-28: a postponed call too."""
    rules: Rules = {
        (A, "crash"): ValueError("bang"),
        (A, "stop"): Stop(Shutdown("s")),
        (A, "p"): Keep(POSTPONE),
    }
    ref = await bench.run(rules)
    with pytest.raises(ActorDied) as crashed:
        await ref.call(Ask("crash"))
    assert isinstance(crashed.value.reason, Crash)
    assert isinstance(crashed.value.reason.error, ValueError)
    ref = await bench.run(rules)
    with pytest.raises(CallTimedOut):
        await ref.call(Ask("p"), timeout_s=0.05)
    async with trio.open_nursery() as nursery:

        async def ask(word: str) -> None:
            with pytest.raises(ActorDied) as died:
                await ref.call(Ask(word))
            assert died.value.reason == Shutdown("s")

        nursery.start_soon(ask, "p")
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, "stop")


async def test_the_answer_to_a_caller_who_gave_up_is_dropped(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """GEN-02, GEN-29."""
    rules: Rules = {(A, "p"): Keep(POSTPONE), (A, "go"): Go(B), (B, "p"): to_caller("late")}
    ref = await bench.run(rules)
    with pytest.raises(CallTimedOut):
        await ref.call(Ask("p"), timeout_s=0.05)
    ref.cast("go")
    await wait_all_tasks_blocked()
    assert bench.log == ["A:p", "A:go", "B:p"]
    assert bench.stage.runtime.statistics().late_replies == 1


async def test_when_terminate_runs(autojump_clock: MockClock, bench: Bench) -> None:
    """GEN-15, GEN-20."""
    ref = await bench.run({(A, "stop"): Stop()}, words="stop")
    assert await ref.wait_down() == Normal()
    ref = await bench.run({(A, "bang"): ValueError("bang")}, words="bang")
    assert isinstance(await ref.wait_down(), Crash)
    ref = await bench.run()
    await ref.stop(Shutdown("why"))
    ref = await bench.run()
    ref.kill()
    assert isinstance(await ref.wait_down(), Killed)
    lines = [line for line in bench.log if line.startswith("term")]
    assert lines == ["term A 0: Normal", "term A 0: Crash", "term A 0: Shutdown"]

    async def fail() -> None:
        raise RuntimeError("worse")

    ref = await bench.run({(A, "stop"): Stop()}, words="stop", ending=fail)
    reason = await ref.wait_down()
    assert isinstance(reason, Crash)
    assert str(reason.error) == "worse"


async def test_a_machine_gets_the_downs_of_others_as_info(
    autojump_clock: MockClock, bench: Bench
) -> None:
    other = await bench.run(name="other")

    def watch(_: StateEvent, __: int) -> Keep[int]:
        other.monitor("tag")
        return Keep()

    seen: list[StateEvent] = []

    class Watching(Scripted):
        async def handle_event(self, event: StateEvent, state: At, data: int) -> Answer[At, int]:
            if isinstance(event, InfoEvent):
                seen.append(event)
            return await super().handle_event(event, state, data)

    ref = await bench.stage.runtime.start(lambda: Watching([], {(A, "watch"): watch}))
    ref.cast("watch")
    await wait_all_tasks_blocked()
    await other.stop()
    await wait_all_tasks_blocked()
    assert seen == [InfoEvent(Down(other, Shutdown(), "tag"))]


async def test_a_stop_comes_between_any_two_events(autojump_clock: MockClock, bench: Bench) -> None:
    """Even of a machine that feeds itself for ever, which starves nobody either."""
    others: list[int] = []

    async def other() -> None:
        while not others or others[-1] < 5:
            others.append(len(others))
            await trio.lowlevel.checkpoint()

    ref = await bench.start({(A, "x"): Keep(Insert(InternalEvent("x")))})
    ref.cast("x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
    assert 1 < len(bench.log) <= 8 * BURST
    assert await ref.stop() == Shutdown()
    assert bench.log[-1] == "term A 0: Shutdown"
    assert set(bench.log[:-1]) == {"A:x"}
