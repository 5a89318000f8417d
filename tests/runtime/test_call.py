from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    ActorDied,
    CallFailed,
    CallingSelf,
    CallTimedOut,
    InvalidInput,
    NoSuchActor,
    WouldDeadlock,
)
from autonomics.runtime import (
    IGNORE,
    NO_REPLY,
    Actor,
    ActorRef,
    Call,
    Crash,
    Normal,
    ReplyTo,
    Stop,
    Worker,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage

Do = Callable[[ScriptedActor, ReplyTo], Awaitable[object]]


async def start(stage: Stage, name: str = "a", **script: object) -> ActorRef:
    return await stage.runtime.start(stage.script(name, **script), name=name)  # type: ignore[arg-type]


def sleep(seconds: float, value: object = "slept") -> Ask:
    async def do(_: ScriptedActor, __: ReplyTo) -> object:
        await trio.sleep(seconds)
        return value

    return Ask(do)


def answer(value: object) -> Ask:
    async def do(_: ScriptedActor, __: ReplyTo) -> object:
        return value

    return Ask(do)


async def test_a_call_returns_the_reply(autojump_clock: MockClock, stage: Stage) -> None:
    """GEN-01."""
    a = await start(stage)
    assert await a.call(Ask("pong")) == "pong"
    assert await stage.runtime.named("a").call(Ask("pong"), math.inf) == "pong"


async def test_the_type_of_the_reply_is_the_messages(
    autojump_clock: MockClock, stage: Stage
) -> None:
    @attrs.frozen
    class GetCount(Call[int]): ...

    class Counter(Actor):
        async def handle_call(self, message: object, reply_to: ReplyTo) -> object:
            assert isinstance(message, GetCount)
            return 7

    ref = await stage.runtime.start(Counter)
    count: int = await ref.call(GetCount())
    assert count == 7


async def test_a_call_that_times_out_harms_nobody_and_its_late_reply_vanishes(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-02, TRI-23."""
    a, began = await start(stage), trio.current_time()
    with pytest.raises(CallTimedOut, match=r"a gave no reply to Ask in 0.05 s"):
        await a.call(sleep(0.2), timeout_s=0.05)
    assert 0.05 <= trio.current_time() - began < 0.15
    assert stage.runtime.statistics().late_replies == 0
    await trio.sleep(0.3)
    assert stage.runtime.statistics().late_replies == 1
    assert await a.call(Ask("pong")) == "pong"


async def test_talking_to_the_dead(autojump_clock: MockClock, stage: Stage) -> None:
    """GEN-03."""
    a, b = await start(stage), await start(stage, "b")
    await a.stop()
    nobody, began = stage.runtime.named("nobody"), trio.current_time()
    with pytest.raises(NoSuchActor, match="a is not alive"):
        await a.call(Ask("pong"))
    with pytest.raises(NoSuchActor, match="nobody has the name 'nobody'"):
        await nobody.call(Ask("pong"))
    stage.runtime.named("b").cast("to the living")
    a.cast("dropped")
    nobody.cast("dropped")
    stage.runtime.send_after(0, a, "dropped")
    assert trio.current_time() - began < 0.05
    await trio.sleep(0.01)
    assert stage.runtime.statistics().dead_letters == 3
    assert not nobody.is_alive()
    assert stage.runtime.named("b").is_alive()
    assert stage.log[-1] == "to the living"
    assert stage.runtime.named("b").resolve() is b


async def test_a_crash_during_a_call_reaches_the_caller_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-04."""
    error, a = ValueError("crash"), await start(stage)

    async def crash(_: ScriptedActor, __: ReplyTo) -> object:
        await trio.sleep(0.1)
        raise error

    began = trio.current_time()
    with pytest.raises(ActorDied, match="ended before it replied") as died:
        await a.call(Ask(crash), timeout_s=5)
    assert died.value.reason == Crash(error)
    assert died.value.__cause__ is error
    assert trio.current_time() - began < 0.5


async def test_a_stop_without_reply_reaches_the_caller_as_its_reason(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-05."""
    a = await start(stage)
    with pytest.raises(ActorDied) as died:
        await a.call(answer(Stop(Normal())))
    assert died.value.reason == Normal()


async def test_a_stop_with_reply_terminates_first_then_replies_then_is_down(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-06."""
    a = await start(stage, ending=0.15)
    watcher = await start(stage, "w")
    await watch(watcher, a)
    began = trio.current_time()
    assert await a.call(answer(Stop(reply="bye"))) == "bye"
    assert trio.current_time() - began >= 0.15
    await wait_all_tasks_blocked()
    assert [(m.ref, m.reason) for m in stage.log if not isinstance(m, str)] == [(a, Normal())]


async def test_the_reply_of_a_stop_is_sent_even_if_terminate_raises(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-07, GEN-20: and the exit reason is what terminate raised."""
    error = ValueError("worse")
    a = await start(stage, ending=error)
    assert await a.call(answer(Stop(reply="bye"))) == "bye"
    assert await a.wait_down() == Crash(error)


async def test_a_reply_may_come_from_another_actor(autojump_clock: MockClock, stage: Stage) -> None:
    """GEN-08."""
    a, helper = await start(stage), await start(stage, "helper")

    async def defer(_: ScriptedActor, reply_to: ReplyTo) -> object:
        async def reply_later(_: ScriptedActor) -> None:
            await trio.sleep(0.05)
            assert reply_to.is_wanted
            reply_to.reply("later")
            assert not reply_to.is_wanted
            reply_to.reply("twice")

        helper.cast(reply_later)
        return NO_REPLY

    got: list[object] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            got.append(await a.call(Ask(defer)))

        await trio.sleep(0.01)
        assert await a.call(Ask("pong")) == "pong"
        assert got == []
    assert got == ["later"]
    await wait_all_tasks_blocked()
    assert stage.runtime.statistics().late_replies == 1


async def test_a_reply_may_be_an_error_that_does_not_harm_the_callee(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)

    async def fail(_: ScriptedActor, reply_to: ReplyTo) -> object:
        reply_to.fail(KeyError("no such thing"))
        return NO_REPLY

    with pytest.raises(KeyError, match="no such thing"):
        await a.call(Ask(fail))
    assert a.is_alive()


async def test_an_actor_that_calls_itself_is_told_so(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-09."""
    a, seen = await start(stage), list[object]()

    async def call_self(actor: ScriptedActor, _: ReplyTo) -> object:
        with pytest.raises(CallingSelf):
            await actor.ref.call(Ask(1))
        with pytest.raises(CallingSelf):
            await actor.ref.stop()
        seen.append(actor.path)
        return "fine"

    assert await a.call(Ask(call_self)) == "fine"
    assert seen == ["a"]


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_a_cycle_of_calls_fails_where_it_would_close(
    autojump_clock: MockClock, stage: Stage, length: int
) -> None:
    """GEN-10."""
    ring = [await start(stage, f"a{n}") for n in range(length)]

    def pass_on(n: int) -> Ask:
        async def do(_: ScriptedActor, __: ReplyTo) -> object:
            if n < length:
                return await ring[n % length].call(pass_on(n + 1), timeout_s=1)
            with pytest.raises(WouldDeadlock, match=r"a\d would wait for itself") as caught:
                await ring[0].call(Ask(1), timeout_s=0.2)
            return caught.value

        return Ask(do)

    began = trio.current_time()
    refused: Any = await ring[0].call(pass_on(1))
    assert trio.current_time() == began
    way = [ref.path for ref in ring]
    assert refused.cycle == (way[-1], *way)
    assert str(refused).endswith(" -> ".join((way[-1], *way)))
    assert [await ref.call(Ask(1)) for ref in ring] == [1] * length


async def test_who_has_the_answer_waits_for_nobody(autojump_clock: MockClock, stage: Stage) -> None:
    """Right after its call, in the same handler: the other may call back."""
    a, b = [await start(stage, name) for name in "ab"]
    answered, waits_for = trio.Event(), ["not looked at"]

    async def ask(actor: ScriptedActor, __: ReplyTo) -> object:
        await b.call(Ask(1))
        waits_for[:] = [other.path for other in actor.incarnation.waits_for]
        answered.set()
        await trio.sleep(1)
        return "asked"

    async def ask_back(_: ScriptedActor, __: ReplyTo) -> object:
        return await a.call(Ask(2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.call, Ask(ask))
        await answered.wait()
        assert await b.call(Ask(ask_back)) == 2
    assert waits_for == []
    assert not a.incarnation.pending
    assert not b.incarnation.pending


async def test_waiting_for_a_waiting_actor_is_no_cycle(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-10: the search through the map ends, and finds nothing."""
    q, b, c = [await start(stage, name) for name in "qbc"]

    async def ask_c_twice(_: ScriptedActor, __: ReplyTo) -> object:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call, sleep(0.1))
            nursery.start_soon(c.call, sleep(0.1))
        return "twice"

    async def ask_b(_: ScriptedActor, __: ReplyTo) -> object:
        answer_of_b: object = await b.call(Ask("fine"))
        return answer_of_b

    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.call, Ask(ask_c_twice))
        await wait_all_tasks_blocked()
        assert await q.call(Ask(ask_b)) == "fine"


async def test_a_deferred_reply_is_no_reason_to_cry_deadlock(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-10: somebody else may answer A, so B may call it."""
    a, b = await start(stage), await start(stage, "b")
    tokens: list[ReplyTo] = []

    async def defer(_: ScriptedActor, reply_to: ReplyTo) -> object:
        tokens.append(reply_to)
        return NO_REPLY

    async def ask_b(_: ScriptedActor, __: ReplyTo) -> object:
        return await b.call(Ask(defer))

    async def ask_a(_: ScriptedActor, __: ReplyTo) -> object:
        return await a.call(Ask("after"))

    got: list[object] = []

    async def call(ref: ActorRef, message: Ask) -> None:
        got.append(await ref.call(message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, a, Ask(ask_b))
        await wait_all_tasks_blocked()
        nursery.start_soon(call, b, Ask(ask_a))
        await wait_all_tasks_blocked()
        tokens[0].reply("deferred")
    assert sorted(got) == ["after", "deferred"]  # type: ignore[type-var]


async def test_casts_and_calls_of_one_sender_keep_their_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-11."""
    a = await start(stage)
    for n in range(100):
        a.cast(n)

    async def last(actor: ScriptedActor, _: ReplyTo) -> object:
        return actor.log[-1]

    assert await a.call(Ask(last)) == 99


@pytest.mark.parametrize("bad", [IGNORE])
async def test_a_control_value_is_no_reply(
    autojump_clock: MockClock, stage: Stage, bad: Any
) -> None:
    """GEN-21."""
    a = await start(stage)
    with pytest.raises(ActorDied, match="the return value of handle_call"):
        await a.call(answer(bad))


async def test_a_callback_that_returns_nonsense_crashes_the_actor_and_fails_its_callers(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-21."""

    class Odd(ScriptedActor):
        async def handle_cast(self, message: object) -> Stop | None:
            return "zzz"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    script = stage.script("odd")
    script.actor = Odd
    odd = await stage.runtime.start(script)
    odd.cast(1)
    with pytest.raises(ActorDied) as died:
        await odd.call(Ask(1))
    reason = died.value.reason
    assert isinstance(reason, Crash)
    assert isinstance(reason.error, InvalidInput)
    assert str(reason.error) == (
        "expected the return value of handle_cast to be None or Stop, got 'zzz'"
    )


async def test_a_call_queued_behind_the_end_fails_with_its_reason(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-28."""
    a = await start(stage)

    async def be_busy(_: ScriptedActor) -> None:
        await trio.sleep(0.1)

    a.cast(be_busy)
    a.cast(Stop(Normal()))
    began = trio.current_time()
    with pytest.raises(ActorDied) as died:
        await a.call(Ask("pong"))
    assert died.value.reason == Normal()
    assert trio.current_time() - began >= 0.08


async def test_the_request_of_a_dead_caller_is_still_carried_out(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-29."""
    a, q = await start(stage), await start(stage, "q")

    async def run(actor: ScriptedActor, _: ReplyTo) -> object:
        await trio.sleep(0.05)
        actor.log.append("ran")
        return None

    async def ask(_: ScriptedActor) -> None:
        await a.call(Ask(run))

    q.cast(ask)
    await trio.sleep(0.01)
    q.kill()
    await q.wait_down()
    await trio.sleep(0.1)
    assert stage.log[-1] == "ran"
    assert a.is_alive()
    assert stage.runtime.statistics().late_replies == 1


async def test_a_worker_answers_no_calls_and_takes_no_casts(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Idle(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.sleep_forever()

    await stage.runtime.start(Idle, name="w")
    worker = stage.at("w")
    with pytest.raises(CallFailed, match="w is a worker"):
        await worker.call(Ask(1))
    worker.cast("lost")
    assert stage.runtime.statistics().dead_letters == 1


async def test_an_actor_without_handlers_crashes_on_what_it_can_not_handle(
    autojump_clock: MockClock, stage: Stage
) -> None:
    for send in ("call", "cast"):
        ref = await stage.runtime.start(Actor)
        if send == "cast":
            ref.cast(1)
        else:
            with pytest.raises(ActorDied):
                await ref.call(Ask(1))
        reason = await ref.wait_down()
        assert isinstance(reason, Crash)
        assert isinstance(reason.error, NotImplementedError)


async def test_a_cancelled_caller_leaves_nothing_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)
    with trio.move_on_after(0.1):
        await a.call(sleep(9), timeout_s=99)
    assert stage.runtime.statistics().timers == 0


async def watch(watcher: ActorRef, target: ActorRef, tag: object = None) -> None:
    async def do(actor: ScriptedActor, _: ReplyTo) -> object:
        target.monitor(tag)
        return None

    await watcher.call(Ask(do))
