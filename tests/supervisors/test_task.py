from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    CallingSelf,
    ChildRefused,
    InvalidInput,
    StartFailed,
    TaskFailed,
    TaskTimedOut,
    Unstoppable,
    WouldDeadlock,
)
from autonomics.runtime import (
    IGNORE,
    ActorRef,
    Crash,
    Down,
    Killed,
    Normal,
    ReplyTo,
    Shutdown,
    Stop,
    Worker,
)
from autonomics.supervisors import (
    ChildCounts,
    Failed,
    Returned,
    Task,
    TaskEnded,
    TaskSupervisor,
    TimedOut,
    await_task,
    count_children,
    shutdown_task,
    start_child,
    start_task,
    terminate_child,
    which_children,
    yield_task,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def pool(stage: Stage, **flags: Any) -> ActorRef:
    return await stage.runtime.start(lambda: TaskSupervisor(**flags), name="tasks")


async def start(stage: Stage, name: str = "a", actor: Any = None) -> ActorRef:
    script = stage.script(name)
    script.actor = actor
    return await stage.runtime.start(script, name=name)


def run(do: Any) -> Ask:
    """Have the actor run an async function without arguments."""

    async def answer(_: ScriptedActor, __: ReplyTo) -> object:
        value: object = await do()
        return value

    return Ask(answer)


async def nap(seconds: float, value: str = "slept") -> str:
    await trio.sleep(seconds)
    return value


async def fail(seconds: float, error: BaseException) -> str:
    await trio.sleep(seconds)
    raise error


async def stick(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


def ends(stage: Stage) -> list[TaskEnded[Any]]:
    return [message for message in stage.log if isinstance(message, TaskEnded)]


async def test_the_crash_of_an_unlinked_task_is_one_message_to_who_asked_for_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TSK-01."""
    tasks, caller = await pool(stage), await start(stage)
    error = ValueError("boom")

    async def do() -> object:
        task = await start_task(tasks, fail, 0.1, error, notify=True)
        monitor = task.ref.monitor()
        return task, monitor

    task, monitor = await caller.call(run(do))
    await trio.sleep(1)
    assert caller.is_alive()
    assert ends(stage) == [TaskEnded(task, Failed(Crash(error)))]
    downs = [message for message in stage.log if isinstance(message, Down)]
    assert downs == [Down(task.ref, Crash(error))]
    assert downs[0].monitor is monitor
    assert await which_children(tasks) == ()


async def test_a_result_is_returned_and_can_be_asked_for_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage)
    task = await start_task(tasks, nap, 0.1, "done")
    assert repr(task) == "<Task tasks/nap-1 running>"
    assert not task.is_ended
    value: str = await await_task(task)
    assert value == "done"
    assert task.is_ended
    assert repr(task) == "<Task tasks/nap-1 ended>"
    assert not task.ref.is_alive()
    assert await await_task(task, 0) == "done"
    assert await yield_task(task, 0) == Returned("done")
    assert await shutdown_task(task) == Returned("done")
    assert await task.ref.wait_down() == Normal()
    assert await which_children(tasks) == ()


async def test_an_error_is_the_cause_of_what_the_waiter_gets(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, error = await pool(stage), ValueError("boom")
    task = await start_task(tasks, fail, 0.1, error)
    with pytest.raises(TaskFailed, match="tasks/fail-1 ended without a result: Crash") as failure:
        await await_task(task)
    assert failure.value.reason == Crash(error)
    assert failure.value.__cause__ is error
    killed = await start_task(tasks, nap, 9)
    killed.ref.kill("enough")
    with pytest.raises(TaskFailed, match="enough") as failure:
        await await_task(killed)
    assert failure.value.reason == Killed("enough")
    assert failure.value.__cause__ is None


async def test_a_result_that_came_too_late_is_dropped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TSK-03."""
    tasks, caller = await pool(stage), await start(stage)

    async def do() -> object:
        task = await start_task(tasks, nap, 0.1, notify=True)
        with pytest.raises(TaskTimedOut, match=r"tasks/nap-1 gave no result in 0.01 s") as failure:
            await await_task(task, 0.01)
        assert failure.value.reason == TimedOut(0.01)
        return task

    task: Any = await caller.call(run(do))
    await trio.sleep(0.2)
    assert task.is_ended
    assert [message for message in stage.log if not isinstance(message, str)] == []
    for ask in (await_task, yield_task):
        with pytest.raises(InvalidInput, match="one whose result was not dropped"):
            await ask(task)


async def test_a_task_that_has_not_ended_can_be_asked_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage)
    task = await start_task(tasks, nap, 0.1)
    assert await yield_task(task, 0.05) is None
    assert await yield_task(task, 0) is None
    with trio.move_on_after(0.01):
        await await_task(task, math.inf)
    assert await yield_task(task, 1) == Returned("slept")


@pytest.mark.parametrize("end", ["kill", "stop", "crash", "finish"])
async def test_the_end_of_the_caller_ends_its_linked_task_and_no_other(
    autojump_clock: MockClock, stage: Stage, end: str
) -> None:
    """TSK-04."""
    tasks, caller = await pool(stage), await start(stage)

    async def do() -> object:
        linked = await start_task(tasks, nap, 5, linked=True)
        return linked, await start_task(tasks, nap, 5, "lived on")

    linked, unlinked = await caller.call(run(do))
    if end == "kill":
        caller.kill()
    elif end == "stop":
        await caller.stop()
    else:
        caller.cast(RuntimeError("died") if end == "crash" else Stop())
    await wait_all_tasks_blocked()
    assert await linked.ref.wait_down() == Killed("its owner a ended")
    assert [child.ref for child in await which_children(tasks)] == [unlinked.ref]
    assert await await_task(unlinked, 10) == "lived on"


@pytest.mark.parametrize("error", [ValueError("boom"), None])
async def test_the_end_of_a_linked_task_ends_its_caller_with_the_same_reason(
    autojump_clock: MockClock, stage: Stage, error: Any
) -> None:
    tasks, caller = await pool(stage), await start(stage)

    async def do() -> object:
        return await start_task(tasks, nap, 5, linked=True) if error is None else await crash()

    async def crash() -> object:
        return await start_task(tasks, fail, 1, error, linked=True)

    task = await caller.call(run(do))
    if error is None:
        task.ref.kill("enough")
    reason = await caller.wait_down()
    assert reason == (Killed("enough") if error is None else Crash(error))
    assert stage.log[-1] == f"term:a:{'killed' if error is None else 'died'}"


async def test_a_linked_task_that_returns_leaves_its_caller_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, caller = await pool(stage), await start(stage)
    linked: list[Task[str]] = []

    async def do() -> object:
        linked.append(await start_task(tasks, nap, 1, linked=True))
        linked.append(await start_task(tasks, fail, 1, ValueError("boom"), linked=True))
        assert await shutdown_task(linked[1]) is None
        return await await_task(linked[0])

    assert await caller.call(run(do)) == "slept"
    assert caller.is_alive()
    assert caller.incarnation.traces == {}
    await caller.stop()
    assert await yield_task(linked[0]) == Returned("slept")


async def test_a_zombie_starts_no_linked_task(autojump_clock: MockClock, stage: Stage) -> None:
    tasks = await pool(stage)
    failures: list[object] = []

    class Stuck(ScriptedActor):
        async def terminate(self, reason: object) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                try:
                    await start_task(tasks, nap, 1, linked=True)
                except StartFailed as failure:
                    failures.append(failure.reason)

    caller = await start(stage, "a", Stuck)
    with pytest.raises(Unstoppable):
        await caller.stop(grace_s=0.1)
    await trio.sleep(10)
    assert failures == [IGNORE]
    assert await which_children(tasks) == ()


async def test_a_task_can_be_shut_down(autojump_clock: MockClock, stage: Stage) -> None:
    tasks = await pool(stage)
    task = await start_task(tasks, nap, 9)
    began = trio.current_time()
    assert await shutdown_task(task) is None
    assert trio.current_time() == began
    assert await yield_task(task) == Failed(Shutdown())
    brutal = await start_task(tasks, nap, 9)
    assert await shutdown_task(brutal, grace_s=0) is None
    assert await yield_task(brutal) == Failed(Killed("brutal kill"))

    async def bad() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("bad")

    failing = await start_task(tasks, bad)
    await wait_all_tasks_blocked()
    outcome = await shutdown_task(failing)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.reason, Crash)
    assert await shutdown_task(failing) == outcome


async def test_a_task_that_will_not_end_is_a_zombie_and_has_failed(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage)
    task = await start_task(tasks, stick, 9)
    await wait_all_tasks_blocked()
    with pytest.raises(Unstoppable):
        await shutdown_task(task, grace_s=0.1)
    assert await yield_task(task) == Failed(Killed("grace exceeded"))
    await trio.sleep(10)
    assert await yield_task(task) == Failed(Killed("grace exceeded"))
    assert await which_children(tasks) == ()


async def test_tasks_end_with_their_supervisor(autojump_clock: MockClock, stage: Stage) -> None:
    tasks, caller = await pool(stage), await start(stage)
    first = await start_task(tasks, nap, 9)
    await caller.call(run(lambda: start_task(tasks, nap, 9, linked=True)))
    await tasks.stop()
    assert await yield_task(first) == Failed(Shutdown())
    assert await caller.wait_down() == Shutdown()


async def test_tasks_are_children_that_only_a_task_supervisor_starts(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage, max_children=2)
    first = await start_task(tasks, nap, 9)
    second = await start_task(tasks, nap, 9)
    assert [child.id for child in await which_children(tasks)] == ["nap-1", "nap-2"]
    assert await count_children(tasks) == ChildCounts(2, 2, 0, 2)
    with pytest.raises(ChildRefused, match="max_children"):
        await start_task(tasks, nap, 9)
    with pytest.raises(ChildRefused) as refusal:
        await start_child(tasks, stage.child("c"))
    assert refusal.value.rule == "tasks"
    await terminate_child(tasks, first.ref)
    assert await yield_task(first) == Failed(Shutdown())
    assert not second.is_ended
    assert repr(Task[int](None, linked=False, notify=False)) == "<Task that has not begun>"
    other = await stage.supervise()
    with pytest.raises(InvalidInput, match="a child request"):
        await start_task(other, nap, 1)


async def test_a_start_that_is_cancelled_leaves_no_task(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage)
    begun: list[str] = []

    async def note() -> None:
        begun.append("task")
        await trio.sleep_forever()

    handles: list[Task[None]] = []

    async def begin() -> None:
        handles.append(await start_task(tasks, note))

    for steps in range(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert len(begun) == len(handles) == (await count_children(tasks)).specs
    assert handles


async def test_waiting_for_a_task_that_calls_back_is_a_deadlock_that_is_told(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, caller = await pool(stage), await start(stage)

    async def call_back() -> object:
        return await caller.call(Ask("pong"))

    async def wait() -> object:
        return await await_task(await start_task(tasks, call_back))

    async def do_not_wait() -> object:
        return await start_task(tasks, call_back)

    with pytest.raises(Exception, match="ended before it replied") as died:
        await caller.call(run(wait))
    reason: Any = died.value
    assert isinstance(reason.reason.error.reason.error, WouldDeadlock)
    caller = await start(stage, "b")
    task: Any = await caller.call(run(do_not_wait))
    assert await await_task(task) == "pong"
    own: list[Task[Any]] = []

    async def wait_for_itself() -> None:
        await trio.lowlevel.checkpoint()
        with pytest.raises(CallingSelf):
            await await_task(own[0])

    own.append(await start_task(tasks, wait_for_itself))
    assert await await_task(own[0]) is None


async def test_who_can_be_linked_and_who_notified(autojump_clock: MockClock, stage: Stage) -> None:
    tasks = await pool(stage)
    errors: list[str] = []

    class Starter(Worker):
        async def run(self, started: Any) -> None:
            try:
                await start_task(tasks, nap, 1, notify=True)
            except InvalidInput as error:
                errors.append(str(error))
            self.task = await start_task(tasks, fail, 1, ValueError("boom"), linked=True)
            started()
            await trio.sleep_forever()

    with pytest.raises(InvalidInput, match="linked to an actor only"):
        await start_task(tasks, nap, 1, linked=True)
    with pytest.raises(InvalidInput, match="only an actor can be notified"):
        await start_task(tasks, nap, 1, notify=True)
    worker = await stage.runtime.start(Starter)
    assert errors == ["only an actor can be notified; elsewhere use await_task"]
    assert isinstance(await worker.wait_down(), Crash)


async def test_a_notified_actor_gets_the_result_as_a_message(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, caller = await pool(stage), await start(stage)
    task: Any = await caller.call(run(lambda: start_task(tasks, nap, 1, notify=True)))
    await trio.sleep(2)
    assert ends(stage) == [TaskEnded(task, Returned("slept"))]
    await caller.call(run(lambda: start_task(tasks, nap, 1, notify=True)))
    await caller.stop()
    await trio.sleep(2)
    assert stage.runtime.statistics().dead_letters == 0


async def test_what_is_no_function_has_a_name_too(autojump_clock: MockClock, stage: Stage) -> None:
    class Job:
        async def __call__(self) -> int:
            return 1

    tasks = await pool(stage)
    task = await start_task(tasks, Job())
    assert task.ref.path == "tasks/Job-1"
    assert await await_task(task) == 1
