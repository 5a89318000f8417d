from __future__ import annotations

from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, InvalidInput, StartFailed
from autonomics.runtime import (
    IGNORE,
    Actor,
    ActorRef,
    AlreadyStarted,
    Continue,
    Crash,
    InitTimedOut,
    Killed,
    Normal,
    Refuse,
    ReplyTo,
    Shutdown,
    Stop,
    open_runtime,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage


async def start(stage: Stage, name: str = "a", **script: Any) -> ActorRef:
    return await stage.runtime.start(stage.script(name, **script), name=name)


def terminations(stage: Stage) -> list[str]:
    return [line for line in stage.log if isinstance(line, str) and line.startswith("term")]


async def log_step(actor: ScriptedActor) -> None:
    await trio.sleep(0.3)
    actor.log.append("continue")


async def test_the_continue_step_runs_before_anything_in_the_mailbox(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-12."""
    a = await start(stage, inits=[Continue(log_step)])
    a.cast(1)
    a.cast(2)
    await trio.sleep(1)
    assert stage.log[2:] == ["continue", 1, 2]


async def test_start_returns_before_the_continue_step(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-14."""
    began = trio.current_time()
    await start(stage, inits=[Continue(log_step)])
    assert trio.current_time() - began < 0.2


async def test_a_continue_step_may_stop_the_actor(autojump_clock: MockClock, stage: Stage) -> None:
    a = await start(stage, inits=[Continue(Stop(Shutdown("done")))])
    assert await a.wait_down() == Shutdown("done")


async def test_init_must_answer_what_it_may(autojump_clock: MockClock, stage: Stage) -> None:
    class Odd(Actor):
        async def init(self) -> None:
            return 3  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    with pytest.raises(StartFailed, match="the return value of init"):
        await stage.runtime.start(Odd)

    class Forgetful(Actor):
        async def init(self) -> Continue:
            return Continue("step")

    ref = await stage.runtime.start(Forgetful)
    assert isinstance(await ref.wait_down(), Crash)


BANG = ValueError("bang")


class Deaf(ScriptedActor):
    traps: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("end", "traps", "log", "reason"),
    [
        ("cast", True, ["term:a:normal"], Normal()),
        ("raise", True, ["term:a:died"], Crash(BANG)),
        ("stop", False, [], Shutdown()),
        ("kill", True, [], Killed()),
        ("stop", True, ["term:a:shutdown"], Shutdown()),
        ("stop(why)", True, ["term:a:shutdown"], Shutdown("why")),
    ],
)
async def test_when_terminate_runs(
    autojump_clock: MockClock, stage: Stage, end: Any, traps: Any, log: Any, reason: Any
) -> None:
    """GEN-15, SUP-D05."""
    script = stage.script("a")
    script.actor = None if traps else Deaf
    a = await stage.runtime.start(script)
    match end:
        case "cast":
            a.cast(Stop(Normal()))
        case "raise":
            a.cast(BANG)
        case "kill":
            a.kill()
            a.kill()
        case "stop(why)":
            await a.stop(Shutdown("why"))
        case _:
            await a.stop()
    assert await a.wait_down() == reason
    assert terminations(stage) == log
    a.kill()
    assert await a.stop() == reason


async def test_a_kill_during_terminate_cuts_it(autojump_clock: MockClock, stage: Stage) -> None:
    a = await start(stage, ending=9)
    a.cast(Stop())
    await trio.sleep(0.1)
    a.kill("enough")
    assert await a.wait_down() == Killed("enough")


async def test_a_killed_actor_that_never_waits_runs_no_terminate(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)

    async def kill_itself(actor: ScriptedActor) -> Stop:
        actor.ref.kill()
        return Stop()

    a.cast(kill_itself)
    assert await a.wait_down() == Killed()
    assert terminations(stage) == []


async def test_a_terminate_that_never_ends_is_cut_when_nobody_holds_the_watch(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    began = trio.current_time()
    a = await stage.runtime.start(stage.script("a", ending=999), name="a", grace_s=2)
    a.cast(Stop())
    assert await a.wait_down() == Normal()
    assert trio.current_time() - began == pytest.approx(2)
    assert ("actor.terminate_cut", {"path": "a", "within_s": 2}) in events


async def test_an_init_that_takes_too_long_is_cancelled(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-22."""
    began = trio.current_time()
    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(stage.script("a", inits=[1.0]), name="a", init_deadline_s=0.1)
    assert failure.value.reason == InitTimedOut(0.1)
    assert trio.current_time() - began == pytest.approx(0.1)
    assert "up:a" not in stage.log
    assert stage.runtime.living() == ()


async def test_an_init_that_refuses_leaves_nothing(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """GEN-23."""
    with pytest.raises(StartFailed) as failure:
        await start(stage, "nm9", inits=[Refuse("nope")])
    assert failure.value.reason == "nope"
    assert stage.runtime.whereis("nm9") is None
    assert events == []


@pytest.mark.parametrize(("answer", "reason"), [(IGNORE, IGNORE), (Refuse("quiet"), "quiet")])
async def test_an_init_may_ignore_or_refuse_without_a_report(
    autojump_clock: MockClock, stage: Stage, events: list[Event], answer: Any, reason: Any
) -> None:
    """GEN-24."""
    with pytest.raises(StartFailed) as failure:
        await start(stage, inits=[answer])
    assert failure.value.reason == reason
    assert events == []
    await start(stage)


async def test_a_name_is_taken_once_and_free_afterwards(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-25."""
    a = await start(stage, "nm9")
    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(stage.script("b"), name="nm9", id="b")
    assert failure.value.reason == AlreadyStarted("nm9", "nm9")
    assert "init:b" not in stage.log
    await a.stop()
    assert stage.runtime.whereis("nm9") is None
    with pytest.raises(InvalidInput, match="expected name"):
        await stage.runtime.start(stage.script("c"), name="")


async def test_a_crash_never_leaves_the_wrapper(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """TRI-01."""
    root = await stage.supervise(stage.child("a"), stage.child("b"))
    a = stage.at("s/a")
    await stage.crash("s/b")
    assert stage.at("s/a") is a
    assert root.is_alive()
    exits = [fields["child"] for event, fields in events if event == "child.exited"]
    assert exits == ["b"]


REQUEST: ContextVar[str] = ContextVar("REQUEST", default="base")


async def test_context_variables_of_a_request_do_not_leak_into_a_restart(
    autojump_clock: MockClock,
) -> None:
    """TRI-15."""
    seen: list[str] = []

    class Reader(ScriptedActor):
        async def init(self) -> None:
            seen.append(REQUEST.get())

    async with open_runtime() as runtime:
        stage = Stage(runtime)
        spec = stage.child("a")
        stage.scripts["a"].actor = Reader
        REQUEST.set("request-42")
        await stage.supervise(spec)
        await stage.crash("s/a")
    assert seen == ["base", "base"]


async def test_the_news_of_an_end_can_not_be_cut_short(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-22: it is spread without an await, whatever cancels the actor."""
    a, watcher = await start(stage), await start(stage, "w")

    async def watch(_: ScriptedActor, __: ReplyTo) -> object:
        return a.monitor()

    async def shield(_: ScriptedActor) -> None:
        try:
            await trio.sleep_forever()
        finally:
            a.kill("again")

    await watcher.call(Ask(watch))
    a.cast(shield)
    a.cast("unread")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(ActorDied):
                await a.call(Ask(1))

        await wait_all_tasks_blocked()
        a.kill("first")
    assert stage.runtime.whereis("a") is None
    assert [m.reason for m in stage.log if not isinstance(m, str)] == [Killed("again")]


async def test_a_cancelled_actor_can_read_why(autojump_clock: MockClock, stage: Stage) -> None:
    """TRI-27."""
    a = await start(stage)
    caught: list[trio.Cancelled] = []

    async def note(_: ScriptedActor) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
            raise

    a.cast(note)
    await wait_all_tasks_blocked()
    a.kill("by the operator")
    await a.wait_down()
    assert (caught[0].source, caught[0].reason) == ("explicit", "a: by the operator")


async def test_a_stop_request_waits_for_the_running_handler(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)

    async def be_busy(actor: ScriptedActor) -> None:
        await trio.sleep(1)
        actor.log.append("done")

    a.cast(be_busy)
    await wait_all_tasks_blocked()
    await a.stop()
    assert stage.log[2:] == ["done", "term:a:shutdown"]


async def test_an_actor_stopped_while_starting_stops_right_after_its_init(
    autojump_clock: MockClock, stage: Stage
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            await start(stage, inits=[0.5])

        await trio.sleep(0.1)
        assert await stage.at("a").stop() == Shutdown()
    assert stage.log == ["init:a", "up:a", "term:a:shutdown"]


async def test_an_actor_may_start_another(autojump_clock: MockClock, stage: Stage) -> None:
    a = await start(stage)

    async def start_other(actor: ScriptedActor, _: ReplyTo) -> object:
        return await actor.runtime.start(stage.script("b", inits=[0.1]), id="b")

    b: ActorRef = await a.call(Ask(start_other))
    assert (b.path, b.name, repr(b)) == ("b", None, "<ActorRef b running>")
    assert [ref.path for ref in stage.runtime.roots()] == ["a", "b"]
