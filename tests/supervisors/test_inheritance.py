"""A restart in the dying child's last step goes on in its task; of that life nothing is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from itertools import pairwise
from operator import attrgetter
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import ActorRef, Crash, Killed, inheritance
from autonomics.supervisors import terminate_child, which_children
from autonomics.testing.scripted import ScriptedActor
from autonomics.testing.stage import Event, Stage

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")

Do = Callable[[ScriptedActor], Awaitable[object]]


class Traced(ScriptedActor):
    """Notes at each init in which task and context it runs."""

    async def init(self) -> Any:
        self.log.append((trio.lowlevel.current_task(), TENANT.get()))
        return await super().init()


def inits(stage: Stage) -> list[tuple[trio.lowlevel.Task, str]]:
    return [entry for entry in stage.log if isinstance(entry, tuple)]


async def supervise(stage: Stage, **flags: Any) -> ActorRef:
    """Start a supervisor of one traced child, which may be restarted very often."""
    supervisor = await stage.supervise(stage.child("a", name="a", **flags), max_restarts=10_000)
    stage.scripts["a"].actor = Traced
    await wait_all_tasks_blocked()
    await stage.crash("s/a")  # the first one was made before the class was set
    return supervisor


async def crash_after(stage: Stage, do: Do) -> tuple[trio.lowlevel.Task, trio.lowlevel.Task]:
    """Have the child do something and crash; the tasks of this life and the next."""

    async def die(actor: ScriptedActor) -> None:
        await do(actor)
        raise RuntimeError("died")

    stage.at("s/a").cast(die)
    await trio.sleep(2)
    tasks = [task for task, _ in inits(stage)]
    return tasks[-2], tasks[-1]


async def nothing(actor: ScriptedActor) -> None:
    pass


async def test_the_successor_has_the_task_but_neither_context_nor_state(
    autojump_clock: MockClock, stage: Stage
) -> None:
    await supervise(stage)

    async def mark(actor: ScriptedActor) -> None:
        TENANT.set("acme")
        await trio.sleep(1)
        assert TENANT.get() == "acme"

    before, after = await crash_after(stage, mark)
    assert before is after
    assert after.name == "s/a"
    assert [tenant for _, tenant in inits(stage)] == ["nobody", "nobody"]
    assert stage.at("s/a") is not None
    seen: list[Any] = []

    async def look(actor: ScriptedActor) -> None:
        seen.extend((TENANT.get(), actor.ref))

    stage.at("s/a").cast(look)
    await wait_all_tasks_blocked()
    assert seen == ["nobody", stage.at("s/a")]


async def test_a_held_lock_is_broken_by_a_crash(autojump_clock: MockClock, stage: Stage) -> None:
    """As trio does at the end of a task; who waits for the lock must not wait for ever."""
    await supervise(stage)
    lock = trio.Lock()

    async def hold(actor: ScriptedActor) -> None:
        await lock.acquire()

    before, after = await crash_after(stage, hold)
    assert before is not after
    with trio.fail_after(1), pytest.raises(trio.BrokenResourceError):
        await lock.acquire()


@pytest.mark.parametrize("kind", ["scope", "nursery"])
async def test_what_a_life_leaves_open_goes_to_no_other(
    autojump_clock: MockClock, stage: Stage, kind: str
) -> None:
    """Trio reports it at the end of the task, which ends the supervisor: its own has to judge."""
    left: Any = trio.CancelScope() if kind == "scope" else trio.open_nursery()

    outer = await stage.supervise(stage.sub("s", stage.child("a")), name="outer", max_restarts=9)
    stage.scripts["a"].actor = Traced
    await stage.crash("outer/s/a")

    async def die(actor: ScriptedActor) -> None:
        if kind == "scope":
            left.__enter__()
        else:
            await left.__aenter__()
        raise RuntimeError("died")

    stage.at("outer/s/a").cast(die)
    await trio.sleep(100)
    (s,) = await which_children(outer)
    assert (s.id, s.state) == ("s", "running")
    tasks = [task for task, _ in inits(stage)]
    assert len(set(tasks)) == len(tasks)
    await stage.crash("outer/s/a")
    assert stage.at("outer/s/a").is_alive()


async def test_after_a_cancel_there_is_a_new_task(autojump_clock: MockClock, stage: Stage) -> None:
    await supervise(stage)
    await crash_after(stage, nothing)
    stage.at("s/a").kill()
    await wait_all_tasks_blocked()
    tasks = [task for task, _ in inits(stage)]
    assert tasks[0] is tasks[1] is not tasks[2]
    before, after = await crash_after(stage, nothing)
    assert before is tasks[2]
    assert before is after


async def test_what_is_done_to_the_dead_does_not_reach_the_successor(
    autojump_clock: MockClock, stage: Stage
) -> None:
    await supervise(stage)
    old = stage.at("s/a")
    await crash_after(stage, nothing)
    new = stage.at("s/a")
    old.kill()
    assert isinstance(await old.stop(), Crash)
    await trio.sleep(1)
    assert new.is_alive()
    new.kill("meant")
    assert await new.wait_down() == Killed("meant")


@pytest.mark.parametrize("how", ["kill", "stop", "terminate"])
async def test_a_successor_can_be_ended_before_its_first_step(
    autojump_clock: MockClock, stage: Stage, how: str
) -> None:
    supervisor = await supervise(stage)
    old = stage.at("s/a")
    ended: list[object] = []

    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await old.wait_down()
            new = stage.runtime.whereis("a")
            assert new is not None
            assert new is not old
            if how == "kill":
                new.kill()
                ended.append(await new.wait_down())
            elif how == "stop":
                ended.append(await new.stop())
            else:
                await terminate_child(supervisor, "a")
                ended.append(await new.wait_down())

        nursery.start_soon(end)
        await wait_all_tasks_blocked()
        await stage.crash("s/a")
    assert len(ended) == 1
    (child,) = await which_children(supervisor)
    assert child.state == ("stopped" if how == "terminate" else "running")
    await supervisor.stop()
    assert stage.runtime.statistics().actors == 0


async def test_a_child_that_crashes_at_each_start_lets_the_others_run(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Brief(ScriptedActor):
        async def init(self) -> Any:
            self.incarnation.ref.cast(RuntimeError("at once"))
            return None

    supervisor = await stage.supervise(stage.child("a"), max_restarts=500)
    stage.scripts["a"].actor = Brief
    stage.at("s/a").cast(RuntimeError("died"))
    starts: list[int] = []
    while stage.scripts["a"].starts < 400:
        await trio.lowlevel.checkpoint()
        starts.append(stage.scripts["a"].starts)
    most = max(after - before for before, after in pairwise(starts))
    assert most <= 2  # a few of its steps between two of anybody else's
    await supervisor.wait_down()


async def test_the_dead_are_forgotten(autojump_clock: MockClock, stage: Stage) -> None:
    await supervise(stage)
    kept = stage.at("s/a")  # the ref of one that is dead keeps none that came after it
    lives: list[weakref.ref[Any]] = []
    for _ in range(5):
        await crash_after(stage, nothing)
        lives.append(weakref.ref(stage.at("s/a").incarnation))
    stage.log.clear()
    gc.collect()
    # The last but one is what the child's last exit shows.
    assert [life() is not None for life in lives[:-2]] == [False] * 3
    assert not kept.is_alive()


async def test_an_error_that_is_kept_shows_where_it_came_from_and_keeps_nobody(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    await supervise(stage)
    old = stage.at("s/a")
    await crash_after(stage, nothing)
    reason = await old.wait_down()
    assert isinstance(reason, Crash)
    frames: list[Any] = []
    trace = reason.error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert frames[-1].f_code.co_name == "die"
    assert "run" not in [frame.f_code.co_name for frame in frames]


@pytest.mark.parametrize("without", ["_HOLDERS", "_cancel_status"])
async def test_where_trio_does_not_show_it_nothing_is_inherited(
    autojump_clock: MockClock, stage: Stage, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "_HOLDERS":
        monkeypatch.setattr(inheritance, "_HOLDERS", None)
    else:
        monkeypatch.setattr(inheritance, "_find_innermost", attrgetter("has_another_name"))
    await supervise(stage)
    before, after = await crash_after(stage, nothing)
    assert before is not after
