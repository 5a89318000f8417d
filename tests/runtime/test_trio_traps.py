"""Traps of trio that a runtime has to keep its actors out of; section 8 of the reference."""

from __future__ import annotations

import ast
import contextvars
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, StartFailed
from autonomics.runtime import (
    Actor,
    Call,
    Crash,
    ExitReason,
    Killed,
    Normal,
    ReplyTo,
    Shutdown,
    Worker,
    open_runtime,
)
from autonomics.supervisors import ChildSpec, Supervisor
from autonomics.testing.scripted import Ask
from autonomics.testing.stage import Event, Stage, recording

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    path
    for folder in ("src", "examples", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


# Order


async def test_children_start_one_after_the_other_whatever_order_tasks_run_in(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-14, TR-14: tasks of a nursery run in any order, so a start awaits the one before."""
    orders: set[tuple[str, ...]] = set()

    async def note(order: list[str], name: str) -> None:
        order.append(name)

    for round_ in range(200):
        order: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, order, "a")
            nursery.start_soon(note, order, "b")
        orders.add(tuple(order))
        stage.log.clear()
        await stage.supervise(*map(stage.child, "abc"), name=f"s{round_}")
        assert stage.log == ["init:a", "up:a", "init:b", "up:b", "init:c", "up:c"]
    assert orders == {("a", "b"), ("b", "a")}


# Cancellation


async def test_a_deadline_of_its_own_that_a_child_overruns_is_a_normal_end(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """TRI-03, TR-34: the Cancelled of an inner scope is nobody's stop request."""

    class Hasty(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            with trio.move_on_after(1):
                await trio.sleep_forever()

    await stage.supervise(ChildSpec(id="w", start=Hasty, restart="transient"))
    ref = stage.at("s/w")
    assert await ref.wait_down() == Normal()
    await wait_all_tasks_blocked()
    exits = [fields for event, fields in events if event == "child.exited"]
    assert [(fields["reason"], fields["restarts"]) for fields in exits] == [(Normal(), False)]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_child_that_swallows_cancelled_and_goes_on_has_its_grace_and_no_more(
    times: int, autojump_clock: MockClock, stage: Stage
) -> None:
    """TR-03: each checkpoint in a cancelled scope raises again, so it has to be let through."""

    class Denying(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            for _ in range(times):
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    continue

    ref = await stage.runtime.start(Denying, id="w", confirm_s=1)
    began = trio.current_time()
    assert await ref.stop(grace_s=0) == Killed("brutal kill")
    assert trio.current_time() == began


async def test_a_clean_up_may_await_under_a_stop_and_not_under_a_kill(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TR-08: a stop request is no cancellation, so `terminate` has its grace."""
    done: list[ExitReason] = []

    class Tidy(Actor):
        async def terminate(self, reason: ExitReason) -> None:
            await trio.sleep(1)
            done.append(reason)

    asked, killed = await stage.runtime.start(Tidy), await stage.runtime.start(Tidy)
    await asked.stop(grace_s=2)
    killed.kill()
    await killed.wait_down()
    assert done == [Shutdown()]


async def test_a_thread_that_may_be_abandoned_frees_its_child_at_once_and_goes_on(
    stage: Stage,
) -> None:
    """TRI-08, TR-07: the side effect still happens, and the limiter's token is taken until then."""
    release, done = threading.Event(), threading.Event()
    limiter = trio.CapacityLimiter(1)

    def work() -> None:
        release.wait()
        done.set()

    class Threaded(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)

    ref = await stage.runtime.start(Threaded)
    await wait_all_tasks_blocked()
    assert await ref.stop(grace_s=0) == Killed("brutal kill")
    assert limiter.borrowed_tokens == 1
    assert not done.is_set()
    release.set()
    assert await trio.to_thread.run_sync(done.wait, 60)
    with trio.fail_after(60):
        await limiter.acquire()


async def test_a_thread_that_asks_whether_it_is_cancelled_ends_with_its_child(
    stage: Stage,
) -> None:
    """TRI-08, TR-07."""
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while True:
                began.set()
                trio.from_thread.check_cancelled()
        finally:
            done.set()

    class Threaded(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.to_thread.run_sync(work)

    ref = await stage.runtime.start(Threaded, confirm_s=60)
    await trio.to_thread.run_sync(began.wait, 60)
    assert await ref.stop(grace_s=0) == Killed("brutal kill")
    assert done.is_set()


# Nothing starts where it could not be looked after


async def test_a_runtime_whose_block_has_ended_starts_nobody(autojump_clock: MockClock) -> None:
    """TR-29: raw trio would run it up to its first checkpoint, or raise a bare RuntimeError."""
    log: list[str] = []
    async with open_runtime() as runtime:
        pass
    with pytest.raises(StartFailed, match="the runtime stops"):
        await runtime.start(Stage(runtime, log).script("late"))
    assert log == []


async def test_a_storm_of_restarts_leaves_every_other_task_its_turns(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-25: without any spacing; counted, for a clock would only tell how fast the machine is."""
    starts: list[int] = []
    between: list[int] = []

    class Doomed(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            starts.append(1)
            started()
            raise RuntimeError("at once")

    spec = ChildSpec(id="doomed", start=Doomed)
    root = await stage.runtime.start(
        lambda: Supervisor([spec, stage.child("other")], max_restarts=1_000_000, within_s=1)
    )
    while len(starts) < 300:
        before = len(starts)
        await trio.lowlevel.checkpoint()
        between.append(len(starts) - before)
    assert max(between) <= 2
    assert await stage.at(f"{root.path}/other").call(Ask("here")) == "here"


async def test_a_message_from_a_foreign_thread_is_refused_and_does_no_harm(
    stage: Stage,
) -> None:
    """Section 8, trio#2398: a task can't be woken from there; a portal or a token can."""
    ref = await stage.runtime.start(stage.script("a"), name="a")
    await wait_all_tasks_blocked()

    def send() -> None:
        with pytest.raises(RuntimeError, match="async context"):
            ref.cast("from a thread")

    # A context of its own, or trio would take the thread for one of its own workers.
    thread = threading.Thread(target=contextvars.Context().run, args=(send,))
    thread.start()
    thread.join()
    assert ref.statistics().depth == 0
    ref.cast("from here")
    await wait_all_tasks_blocked()
    assert stage.log[-1] == "from here"


# KeyboardInterrupt


@attrs.frozen
class Raise(Call[None]):
    error: BaseException


class PlainRaiser(Actor):
    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> None:
        assert isinstance(message, Raise)
        raise message.error


class FailingInit(Actor):
    error: BaseException = KeyboardInterrupt()

    async def init(self) -> None:
        raise self.error


class FailingTerminate(Actor):
    async def terminate(self, reason: ExitReason) -> None:
        raise KeyboardInterrupt


class Mixed(Worker):
    """An error of one task of its nursery, and the interrupt in another."""

    async def run(self, started: Callable[[], None]) -> None:
        started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fail, ValueError("beside it"))
            nursery.start_soon(self.fail, KeyboardInterrupt())

    async def fail(self, error: BaseException) -> None:
        raise error


class FailingSupervisor(Supervisor):
    async def handle_cast(self, message: object) -> None:
        raise KeyboardInterrupt


async def call_plain(stage: Stage) -> None:
    ref = await stage.runtime.start(PlainRaiser)
    with pytest.raises(ActorDied):
        await ref.call(Raise(KeyboardInterrupt()))


async def start_failing(stage: Stage) -> None:
    with pytest.raises(StartFailed):
        await stage.runtime.start(FailingInit)


async def stop_failing(stage: Stage) -> None:
    await (await stage.runtime.start(FailingTerminate)).stop()


async def start_mixed(stage: Stage) -> None:
    await stage.runtime.start(Mixed)


async def hurt_supervisor(stage: Stage) -> None:
    (await stage.runtime.start(lambda: FailingSupervisor([stage.child("below")]), name="f")).cast(1)


@pytest.mark.parametrize(
    "meet", [call_plain, start_failing, stop_failing, start_mixed, hurt_supervisor]
)
async def test_an_interrupt_stops_the_tree_in_order_wherever_it_is_raised(
    meet: Callable[[Stage], Any], autojump_clock: MockClock
) -> None:
    """TRI-16, TR-19, p03: and nobody is started again because of it."""
    log: list[str] = []

    async def live() -> None:
        async with open_runtime() as runtime:
            stage = Stage(runtime, log)
            await stage.supervise(*map(stage.child, "abc"))
            log.clear()
            await meet(stage)
            await trio.sleep_forever()

    with recording() as events, pytest.raises(KeyboardInterrupt):
        await live()
    ends = [line for line in log if line in {f"term:{id_}:shutdown" for id_ in "abc"}]
    assert ends == ["term:c:shutdown", "term:b:shutdown", "term:a:shutdown"]
    assert "child.restarted" not in dict(events)
    assert ("runtime.interrupted", {"cause": "KeyboardInterrupt"}) in events


# SystemExit


async def test_system_exit_in_an_init_fails_that_start_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-17."""

    class Leaving(FailingInit):
        error = SystemExit(3)

    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(Leaving)
    assert failure.value.reason == Crash(Leaving.error)
    assert stage.runtime.interrupted_by is None


async def test_system_exit_on_a_callers_stack_is_the_callees_crash(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-17: the caller hears that the callee died, and lives."""
    error = SystemExit(3)
    await stage.supervise(ChildSpec(id="p", start=PlainRaiser))
    ref = stage.at("s/p")
    with pytest.raises(ActorDied) as died:
        await ref.call(Raise(error))
    assert died.value.reason == Crash(error)
    await wait_all_tasks_blocked()
    assert stage.at("s/p") is not ref


async def test_system_exit_in_the_block_comes_out_behind_an_ordered_stop(
    autojump_clock: MockClock,
) -> None:
    """TRI-17: raw trio would wrap it in a group, and the process would end with status 1."""
    log: list[str] = []

    async def live() -> None:
        async with open_runtime() as runtime:
            await Stage(runtime, log).supervise(Stage(runtime, log).child("a"))
            raise SystemExit(3)

    with pytest.raises(SystemExit) as left:
        await live()
    assert left.value.code == 3
    assert log[-1] == "term:a:shutdown"


# Virtual time


async def test_virtual_time_runs_on_beside_a_thread(autojump_clock: MockClock) -> None:
    """TRI-26, TR-32: why a test with a thread has a real clock."""
    release = threading.Event()

    async def let_go() -> None:
        await trio.sleep(100)
        release.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        with trio.move_on_after(50) as patience:
            await trio.to_thread.run_sync(release.wait)
        assert trio.current_time() >= 100
        assert patience.cancel_called  # though the thread took no time at all


def test_no_test_has_both_a_thread_and_a_virtual_clock() -> None:
    """TRI-26."""
    sources = {path.name: path.read_text("utf-8") for path in sorted(ROOT.glob("tests/**/*.py"))}
    found = [
        (name, function.name)
        for name, source in sources.items()
        if "autojump_clock" in source and "to_thread" in source
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.AsyncFunctionDef)
        and any(argument.arg == "autojump_clock" for argument in function.args.args)
        and any(_name(node) == "to_thread" for node in ast.walk(function))
    ]
    assert found == [(Path(__file__).name, "test_virtual_time_runs_on_beside_a_thread")]


# System tasks


def test_a_system_task_that_crashes_takes_everything_with_it() -> None:
    """TRI-19, TR-20: so no code of a user may run in one."""
    others: list[str] = []

    async def fail() -> None:
        raise ValueError("mine")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(fail)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            others.append("cancelled")
            raise

    with pytest.raises(trio.TrioInternalError):
        trio.run(main)
    assert others == ["cancelled"]


def test_nothing_shipped_spawns_a_system_task() -> None:
    """TRI-19."""
    assert [path for path in SHIPPED if "spawn_system_task" in path.read_text("utf-8")] == []


# Async generators


OPENS_A_SCOPE = frozenset(
    ("open_nursery", "CancelScope", "move_on_after", "move_on_at", "fail_after", "fail_at")
)
MAY_YIELD = frozenset(("asynccontextmanager", "as_safe_channel"))


def find_unsafe_yields(source: str) -> list[int]:
    """List the lines where an async generator yields within a `with` block.

    flake8-async's ASYNC101 and ASYNC119, of which ruff has but the second, in preview. A generator
    that is left in the middle is closed at any time and in any task, so a nursery or a scope in it
    would end there. `asynccontextmanager` and `as_safe_channel` see to it that it is not.
    """
    return [
        inner.lineno
        for function in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(function, ast.AsyncFunctionDef)
        and not any(_name(decorator) in MAY_YIELD for decorator in function.decorator_list)
        for block in _own(function)
        if isinstance(block, ast.AsyncWith)
        or (
            isinstance(block, ast.With)
            and any(_name(item.context_expr) in OPENS_A_SCOPE for item in block.items)
        )
        for inner in _own(block)
        if isinstance(inner, ast.Yield)
    ]


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is below a node, but not within functions defined there."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _name(node: ast.AST) -> str:
    """Return the last part of the name that is called or stands there."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("async def f():\n  async with trio.open_nursery() as n:\n    yield 1", [3]),
        ("async def f():\n  with trio.move_on_after(1):\n    for x in y:\n      yield x", [4]),
        ("async def f():\n  with fail_after(1) as s, open(p):\n    yield 1", [3]),
        ("class A:\n  async def f(self):\n    async with open_it():\n      await (yield 1)", [4]),
        ("@asynccontextmanager\nasync def f():\n  async with trio.open_nursery():\n    yield", []),
        ("@trio.as_safe_channel\nasync def f():\n  with trio.move_on_after(1):\n    yield 1", []),
        ("async def f():\n  with trio.move_on_after(1):\n    await g()\n  yield 1", []),
        ("async def f():\n  with open(p) as lines:\n    yield 1", []),
        ("def f():\n  with trio.CancelScope():\n    yield 1", []),
        ("async def f():\n  async with x:\n    def g():\n      yield 1\n    g()", []),
    ],
)
def test_the_check_finds_a_yield_within_a_scope_and_nothing_else(
    source: str, lines: list[int]
) -> None:
    assert find_unsafe_yields(source) == lines


def test_no_async_generator_holds_a_nursery_or_a_scope() -> None:
    """TRI-20, p06."""
    sources = {path: path.read_text("utf-8") for path in SHIPPED}
    found = {
        str(path.relative_to(ROOT)): find_unsafe_yields(source)
        for path, source in sources.items()
        if "yield" in source
    }
    assert len(found) > 20
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_such_a_generator_that_is_left_in_the_middle_loses_the_whole_run() -> None:
    """TRI-20, p06: what the check above is for; in a program of its own, for it leaves debris."""
    program = """
        import trio

        async def numbers():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield 1

        async def main():
            with trio.move_on_after(0.01):
                async for _ in numbers():
                    break
                await trio.sleep_forever()

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "TrioInternalError" in done.stderr
