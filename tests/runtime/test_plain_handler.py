"""Actors whose handlers are plain functions: answered at once, with nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, cast

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, CallTimedOut, InvalidInput, Overloaded
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    Call,
    Continue,
    Crash,
    ExitReason,
    MailboxSpec,
    Normal,
    ReplyTo,
    Runtime,
    Shutdown,
    Stop,
    current_trace,
    open_runtime,
    tracing,
)
from autonomics.supervisors import ChildSpec, Supervisor

MARK: ContextVar[str] = ContextVar("mark", default="nobody's")


@attrs.frozen
class Say(Call[Any]):
    what: object


class Plain(Actor):
    """Answers with what it is asked, does what it is told, and writes down both."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=64)

    def __init__(self, log: list[object] | None = None) -> None:
        self.log: list[object] = [] if log is None else log

    def handle_continue(self, message: object) -> None:
        self.log.append(message)

    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Say)
        self.log.append(message.what)
        return message.what(self, reply_to) if callable(message.what) else message.what

    def handle_cast(self, message: object) -> Stop | None:
        self.log.append(message)
        return message if isinstance(message, Stop) else None

    def handle_info(self, message: object) -> Stop | None:
        self.log.append(message)
        return message if isinstance(message, Stop) else None


def stop_with(stop: Stop) -> Callable[[Plain, ReplyTo], Stop]:
    return lambda actor, reply_to: stop


class Tidy(Plain):
    """Says how it ends, which takes a while."""

    async def init(self) -> Continue:
        return Continue("first")

    async def terminate(self, reason: ExitReason) -> None:
        await trio.sleep(0.1)
        self.log.append(reason)


class Awaiting(Plain):
    """The same with an async handler."""

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        return super().handle_call(message, reply_to)


async def test_an_idle_actor_answers_without_a_task_switch(autojump_clock: MockClock) -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        nursery.start_soon(other)
        assert [await plain.call(Say(n)) for n in range(8)] == list(range(8))
        assert turns == []
        assert plain.statistics().handled == 8


async def test_callers_let_others_run_after_a_number_of_answers(autojump_clock: MockClock) -> None:
    """Counted, not timed: trio shuffles each round, so two budgets of 32 may come together."""
    answers: list[str] = []

    async def ask(who: str) -> None:
        for _ in range(200):
            await plain.call(Say(who))
            answers.append(who)

    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            for who in ("a", "b"):
                nursery.start_soon(ask, who)
    runs = "".join(answers)
    assert "a" * 65 not in runs.rstrip("a")
    assert "b" * 65 not in runs.rstrip("b")


async def test_a_sender_that_never_waits_lets_others_run(autojump_clock: MockClock) -> None:
    sent: list[str] = []

    class Wide(Plain):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000, on_full="block")

    async def send(who: str) -> None:
        for _ in range(200):
            await plain.cast_when_room(who)
            sent.append(who)

    async with open_runtime() as runtime:
        plain = await runtime.start(Wide)
        async with trio.open_nursery() as nursery:
            for who in ("a", "b"):
                nursery.start_soon(send, who)
    runs = "".join(sent)
    assert "a" * 65 not in runs.rstrip("a")
    assert "b" * 65 not in runs.rstrip("b")


async def test_nobody_is_overtaken(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        log: list[object] = []
        plain = await runtime.start(lambda: Plain(log))
        await wait_all_tasks_blocked()
        for n in range(3):
            plain.cast(n)
        assert await plain.call(Say("last")) == "last"
        assert log == [0, 1, 2, "last"]


async def test_it_runs_in_the_actors_own_context(autojump_clock: MockClock) -> None:
    def mark(_: Plain, __: ReplyTo) -> str:
        before = MARK.get()
        MARK.set("the actor's")
        return before

    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        MARK.set("the caller's")
        assert await plain.call(Say(mark)) == "nobody's"
        assert await plain.call(Say(mark)) == "the actor's"
        assert MARK.get() == "the caller's"


async def test_what_it_raises_is_its_own_end(autojump_clock: MockClock) -> None:
    def crash(_: Plain, __: ReplyTo) -> object:
        raise ValueError("crash")

    log: list[object] = []
    async with open_runtime() as runtime:
        child = ChildSpec(id="plain", name="plain", start=lambda: Tidy(log))
        await runtime.start(lambda: Supervisor([child]))
        plain = runtime.named("plain")
        first = plain.resolve()
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied) as died:
            await plain.call(Say(crash))
        assert isinstance(died.value.reason, Crash)
        assert str(died.value.reason.error) == "crash"
        frames = died.value.reason.error.__traceback__
        names: list[str] = []
        while frames is not None:
            names.append(frames.tb_frame.f_code.co_name)
            frames = frames.tb_next
        assert "crash" in names
        assert died.value.reason in log
        await wait_all_tasks_blocked()
        assert await plain.call(Say("again")) == "again"
        assert plain.resolve() is not first


async def test_it_may_stop_with_a_reply_that_comes_after_its_terminate(
    autojump_clock: MockClock,
) -> None:
    log: list[object] = []
    async with open_runtime() as runtime:
        plain = await runtime.start(lambda: Tidy(log))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert await plain.call(Say(stop_with(Stop(reply="bye")))) == "bye"
        assert trio.current_time() - began >= 0.1
        assert await plain.wait_down() == Normal()
        assert log[0] == "first"
        assert log[-1] == Normal()


async def test_it_may_stop_without_a_reply(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied) as died:
            await plain.call(Say(stop_with(Stop(Shutdown("enough")))))
        assert died.value.reason == Shutdown("enough")


async def test_casts_and_infos_may_stop_it(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        for send in ("cast", "info"):
            plain = await runtime.start(Plain)
            stop = Stop(Shutdown(send))
            if send == "cast":
                plain.cast(stop)
            else:
                runtime.send_after(0, plain, stop)
            assert await plain.wait_down() == Shutdown(send)


async def test_its_reply_may_come_later(autojump_clock: MockClock) -> None:
    kept: list[ReplyTo] = []

    def keep(_: Plain, reply_to: ReplyTo) -> object:
        kept.append(reply_to)
        return NO_REPLY

    got: list[object] = []
    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                got.append(await plain.call(Say(keep)))

            await wait_all_tasks_blocked()
            assert kept[0].is_wanted
            assert kept[0].deadline_s == trio.current_time() + 5.0
            kept[0].reply("later")
        assert got == ["later"]
        with pytest.raises(CallTimedOut, match="gave no reply to Say in 0.5 s"):
            await plain.call(Say(keep), timeout_s=0.5)
        assert not kept[1].is_wanted
        kept[1].reply("too late")
        assert runtime.statistics().late_replies == 1


async def test_it_may_reply_before_it_returns(autojump_clock: MockClock) -> None:
    def reply_first(then: object) -> Say:
        def answer(_: Plain, reply_to: ReplyTo) -> object:
            reply_to.reply("first")
            if isinstance(then, Exception):
                raise then
            return then

        return Say(answer)

    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        assert await plain.call(reply_first(NO_REPLY)) == "first"
        assert await plain.call(reply_first("second")) == "first"
        assert runtime.statistics().late_replies == 1
        assert await plain.call(reply_first(ValueError("and then"))) == "first"
        assert isinstance(await plain.wait_down(), Crash)


async def test_an_error_for_the_caller_does_not_harm_it(autojump_clock: MockClock) -> None:
    def refuse(_: Plain, reply_to: ReplyTo) -> object:
        reply_to.fail(InvalidInput("not that"))
        return NO_REPLY

    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        with pytest.raises(InvalidInput, match="not that"):
            await plain.call(Say(refuse))
        assert await plain.call(Say("alive")) == "alive"


@pytest.mark.parametrize("answer", [Continue("what"), "coroutine"], ids=["continue", "coroutine"])
async def test_an_answer_that_makes_no_sense_is_a_crash(
    autojump_clock: MockClock, answer: object
) -> None:
    async def forgotten() -> None: ...

    def reply(_: Plain, __: ReplyTo) -> object:
        return forgotten() if answer == "coroutine" else answer

    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied) as died:
            await plain.call(Say(reply))
        assert isinstance(died.value.reason, Crash)
        assert "the return value of handle_call" in str(died.value.reason.error)
        assert ("async def" in str(died.value.reason.error)) == (answer == "coroutine")


async def test_a_handler_may_write_to_itself_and_may_kill_itself(autojump_clock: MockClock) -> None:
    def write(actor: Plain, _: ReplyTo) -> str:
        actor.ref.cast("to myself")
        return "written"

    def kill(actor: Plain, _: ReplyTo) -> str:
        actor.ref.kill()
        return "last words"

    log: list[object] = []
    async with open_runtime() as runtime:
        plain = await runtime.start(lambda: Plain(log))
        await wait_all_tasks_blocked()
        assert await plain.call(Say(write)) == "written"
        await wait_all_tasks_blocked()
        assert log[1:] == ["to myself"]
        assert await plain.call(Say(kill)) == "last words"
        await wait_all_tasks_blocked()
        assert not plain.is_alive()


async def test_who_comes_between_a_crash_and_its_end_is_told_of_the_end(
    autojump_clock: MockClock,
) -> None:
    def crash(_: Plain, __: ReplyTo) -> object:
        raise ValueError("crash")

    ends: list[ExitReason] = []
    async with open_runtime() as runtime:
        plain = await runtime.start(Tidy)
        await wait_all_tasks_blocked()

        async def ask(what: object) -> None:
            with pytest.raises(ActorDied) as died:
                await plain.call(Say(what))
            ends.append(cast("ExitReason", died.value.reason))

        async with trio.open_nursery() as nursery:
            for what in (crash, "after it"):
                nursery.start_soon(ask, what)
                await wait_all_tasks_blocked()
    assert [str(end.error) for end in ends if isinstance(end, Crash)] == ["crash", "crash"]


async def test_a_keyboard_interrupt_in_it_stops_the_tree(autojump_clock: MockClock) -> None:
    def interrupt(_: Plain, __: ReplyTo) -> object:
        raise KeyboardInterrupt

    async def run() -> None:
        async with open_runtime() as runtime:
            plain = await runtime.start(Plain)
            await wait_all_tasks_blocked()
            await plain.call(Say(interrupt))
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await run()


async def test_a_full_mailbox_is_full_for_it_too(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        plain = await runtime.start(Plain)
        for n in range(64):
            plain.cast(n)
        with pytest.raises(Overloaded):
            await plain.call(Say("one more"))


@given(st.lists(st.sampled_from(["cast", "call", "later", "rest"]), max_size=40))
@settings(deadline=None)
def test_plain_and_async_handlers_can_not_be_told_apart(steps: list[str]) -> None:
    """Replies, order and counters are the same, whatever is sent in whichever order."""

    async def play(kind: type[Plain]) -> tuple[list[object], list[object], int]:
        log: list[object] = []
        replies: list[object] = []
        waiting: list[ReplyTo] = []

        def keep(_: Plain, reply_to: ReplyTo) -> object:
            waiting.append(reply_to)
            return NO_REPLY

        async def call(what: object) -> None:
            replies.append(await actor.call(Say(what)))

        async with open_runtime() as runtime:
            actor = await runtime.start(lambda: kind(log))
            async with trio.open_nursery() as nursery:
                for n, step in enumerate(steps):
                    if step == "cast":
                        actor.cast(n)
                    elif step == "call":
                        await call(n)
                    elif step == "later":
                        nursery.start_soon(call, keep)
                        await wait_all_tasks_blocked()
                        waiting.pop().reply(n)
                        await wait_all_tasks_blocked()
                    else:
                        await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            handled = actor.statistics().handled
        shown: list[object] = ["later" if callable(entry) else entry for entry in log]
        return shown, replies, handled

    assert trio.run(play, Plain) == trio.run(play, Awaiting)


@pytest.mark.parametrize("kind", [Plain, Awaiting])
async def test_a_message_takes_its_trace_along(
    autojump_clock: MockClock, kind: type[Plain]
) -> None:
    def look(*_: object) -> object:
        return current_trace()

    class Relay(Actor):
        async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
            own = current_trace()
            with tracing("inner"):
                inner = await actor.call(Say(look))
            return own, inner, current_trace()

    async with open_runtime() as runtime:
        actor = await runtime.start(kind)
        relay = await runtime.start(Relay)
        await wait_all_tasks_blocked()
        assert current_trace() is None
        with tracing("outer"):
            assert await actor.call(Say(look)) == "outer"
            assert await relay.call(Say("go")) == ("outer", "inner", "outer")
            assert current_trace() == "outer"
        assert await actor.call(Say(look)) is None


async def test_the_age_of_the_oldest_message(autojump_clock: MockClock) -> None:
    released = trio.Event()

    class Slow(Actor):
        async def handle_cast(self, message: object) -> None:
            if message == "wait":
                await released.wait()

    async def ages(runtime: Runtime) -> list[float]:
        slow = await runtime.start(Slow)
        await wait_all_tasks_blocked()
        found = [slow.statistics().oldest_age_s]
        slow.cast("wait")
        await trio.sleep(10)
        found.append(slow.statistics().oldest_age_s)
        for _ in range(100):
            slow.cast("next")
        await trio.sleep(7)
        found.append(slow.statistics().oldest_age_s)
        released.set()
        await wait_all_tasks_blocked()
        found.append(slow.statistics().oldest_age_s)
        return found

    async with open_runtime() as runtime:
        # The second message came 7 s ago, and the actor last looked 17 s ago: so much at most.
        assert await ages(runtime) == pytest.approx([0.0, 0.0, 17.0, 0.0])


async def test_senders_that_wait_for_room_come_in_together_and_in_order(
    autojump_clock: MockClock,
) -> None:
    log: list[object] = []
    held = trio.Event()

    class Narrow(Actor):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=4, on_full="block")

        async def handle_cast(self, message: object) -> None:
            if message == "hold":
                await held.wait()
            log.append(message)

    async with open_runtime() as runtime:
        narrow = await runtime.start(Narrow)
        await wait_all_tasks_blocked()
        narrow.cast("hold")
        await wait_all_tasks_blocked()
        for n in range(4):
            narrow.cast(n)
        async with trio.open_nursery() as nursery:
            for n in range(4, 10):
                nursery.start_soon(narrow.cast_when_room, n)
                await wait_all_tasks_blocked()
            # No room for a newcomer as long as somebody waits, or it would overtake them.
            with pytest.raises(Overloaded):
                narrow.cast("newcomer")
            assert narrow.statistics().waiting_senders == 6
            held.set()
    assert log == ["hold", *range(10)]
