"""The runtime in a thread of a synchronous program; real threads, processes and forks."""
# ruff: noqa: PT012 - what raises is the end of a block, so the block stands inside

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from autonomics.errors import (
    ActorDied,
    CallTimedOut,
    InvalidInput,
    NoSuchActor,
    Overloaded,
    RuntimeUnusable,
)
from autonomics.runtime import (
    Actor,
    Call,
    Crash,
    Killed,
    MailboxSpec,
    ReplyTo,
    Runtime,
    Setup,
    Stop,
    ThreadPortal,
    current_trace,
    open_in_thread,
    run_in_host,
    tracing,
)
from autonomics.runtime.embedding import HostedTree
from autonomics.supervisors import ChildSpec, Supervisor


@attrs.frozen
class Do(Call[Any]):
    """Run this in the actor."""

    what: Callable[[], Awaitable[object]]


class Doer(Actor):
    """Does what it is told; notes its ordered end."""

    mailbox = MailboxSpec(capacity=100)

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.done = 0

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Do)
        return await message.what()

    async def handle_cast(self, message: object) -> Stop | None:
        if isinstance(message, Exception):
            raise message
        self.log.append(f"cast:{message}")
        return None

    async def terminate(self, reason: object) -> None:
        self.log.append("terminate")


def make_setup(log: list[str], kind: type[Doer] = Doer, *, grace_s: float = 60) -> Setup:
    async def setup(runtime: Runtime) -> None:
        spec = ChildSpec(id="doer", start=lambda: kind(log), name="doer", grace_s=grace_s)
        await runtime.start(lambda: Supervisor([spec], max_restarts=1), id="root")

    return setup


async def lone(runtime: Runtime) -> None:
    await runtime.start(lambda: Doer([]), name="doer")


async def answer() -> object:
    await trio.lowlevel.checkpoint()
    return 7


async def fail() -> object:
    raise LookupError("in the actor")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Generator[None]:
    yield
    assert "autonomics" not in {thread.name for thread in threading.enumerate()}


def test_a_call_brings_the_reply_and_a_cast_arrives() -> None:
    log: list[str] = []
    with open_in_thread(make_setup(log)) as portal:
        assert portal.call("doer", Do(answer)) == 7
        portal.cast("doer", "one")
        assert portal.call(portal.runtime.named("doer"), Do(answer)) == 7
    assert log == ["cast:one", "terminate"]


def test_what_an_actor_does_not_take_is_a_type_error() -> None:
    """To mypy, which reports an ignore that nothing needs; and the actor crashes of it."""
    with open_in_thread(make_setup([])) as portal:
        doer = portal.runtime.named("doer", Doer)
        assert portal.call(doer, Do(answer)) == 7
        with pytest.raises(ActorDied):
            portal.call(doer, "do")  # type: ignore[call-overload]


def test_twenty_threads_call_at_once() -> None:
    barrier = threading.Barrier(20)

    def call(portal: ThreadPortal) -> object:
        barrier.wait()
        return [portal.call("doer", Do(answer)) for _ in range(10)]

    with open_in_thread(make_setup([])) as portal, ThreadPoolExecutor(20) as pool:
        assert list(pool.map(call, [portal] * 20)) == [[7] * 10] * 20


def test_an_error_keeps_its_cause_and_its_traceback() -> None:
    with open_in_thread(make_setup([], grace_s=0)) as portal:
        with pytest.raises(ActorDied) as caught:
            portal.call("doer", Do(fail))
        assert isinstance(caught.value.reason, Crash)
        assert caught.value.__cause__ is caught.value.reason.error
        assert "in fail" in "".join(traceback.format_exception(caught.value))
        with pytest.raises(LookupError) as raised:
            portal.run(fail)
        assert "in fail" in "".join(traceback.format_exception(raised.value))
        with pytest.raises(NoSuchActor):
            portal.call("nobody", Do(answer))
        portal.run(portal.runtime.await_name, "doer")
        with pytest.raises(CallTimedOut):
            portal.call("doer", Do(trio.sleep_forever), 0)
        with pytest.raises(Overloaded):
            for number in range(102):
                portal.cast("doer", number)


def test_what_still_waits_when_the_tree_is_stopped_hears_of_it() -> None:
    with ThreadPoolExecutor(2) as pool:
        with open_in_thread(make_setup([], grace_s=0)) as portal:
            waits = pool.submit(portal.run, trio.sleep_forever)
            call = pool.submit(portal.call, "doer", Do(trio.sleep_forever), 60)
            while portal.runtime.named("doer").resolve().statistics().handled < 1:
                portal.run(trio.testing.wait_all_tasks_blocked)
        with pytest.raises(RuntimeUnusable, match="closed"):
            waits.result(30)
        with pytest.raises(ActorDied):
            call.result(30)
    with pytest.raises(RuntimeUnusable, match="closed"):
        portal.call("doer", Do(answer))
    with pytest.raises(RuntimeUnusable, match="closed"):
        portal.cast("doer", 1)


def is_usable(_: HostedTree) -> None:
    """Say so of every tree."""


def test_a_call_that_loses_the_race_with_the_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_in_thread(make_setup([])) as portal:
        pass

    # The tree was open when it was asked, and closed when the call set out.
    monkeypatch.setattr(HostedTree, "check_usable", is_usable)
    with pytest.raises(RuntimeUnusable, match="closed"):
        portal.call("doer", Do(answer))


def test_a_setup_that_fails_raises_in_the_host_and_leaves_nothing() -> None:
    log: list[str] = []

    async def setup(runtime: Runtime) -> None:
        await make_setup(log)(runtime)
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"), open_in_thread(setup):
        pytest.fail("the block ran")
    assert log == ["terminate"]


def test_an_error_of_the_block_comes_out_behind_an_ordered_stop() -> None:
    log: list[str] = []
    with pytest.raises(KeyError), open_in_thread(make_setup(log)):
        raise KeyError("of the host")
    assert log == ["terminate"]


def test_a_root_that_dies_comes_out_of_calls_and_of_the_block() -> None:
    with pytest.raises(ActorDied) as caught, open_in_thread(lone) as portal:
        portal.cast("doer", ValueError("mine"))
        for thread in threading.enumerate():
            if thread.name == "autonomics":
                thread.join()
        with pytest.raises(ActorDied, match="mine"):
            portal.call("doer", Do(answer))
    assert str(caught.value.__cause__) == "mine"


@attrs.frozen
class Odd:
    """Looks like a plain function."""

    function: Callable[[], object]

    def __call__(self) -> object:
        return self.function()


def test_an_actor_runs_a_function_of_the_host_in_another_thread() -> None:
    def work(number: int) -> str:
        assert threading.current_thread().name != "autonomics"
        return f"{number} {current_trace()} {portal.call('other', Do(answer))}"

    async def coroutine() -> None:
        raise AssertionError

    with open_in_thread(make_setup([])) as portal:

        async def start_other() -> None:
            await portal.runtime.start(lambda: Doer([]), name="other")

        portal.run(start_other)
        with tracing("t1"):
            assert portal.call("doer", Do(lambda: run_in_host(work, 3))) == "3 t1 7"
        assert portal.run(run_in_host, work, 4) == "4 None 7"
        for function in (coroutine, Odd(coroutine)):
            with pytest.raises(InvalidInput, match="a plain function"):
                portal.run(run_in_host, function)


def test_a_killed_actor_waits_for_the_hosts_function() -> None:
    go, begun, log = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        go.wait(30)
        log.append("worked")

    with open_in_thread(make_setup([])) as portal, ThreadPoolExecutor(1) as pool:
        doer = portal.runtime.named("doer").resolve()
        call = pool.submit(portal.call, doer, Do(lambda: run_in_host(work)))
        begun.wait(30)

        async def kill() -> None:
            doer.kill()

        portal.run(kill)
        assert not log
        go.set()
        assert isinstance(portal.run(doer.wait_down), Killed)
        assert log == ["worked"]
        assert call.result(30) is None  # trio had no moment to cancel it in


def test_the_runtimes_own_thread_is_sent_away() -> None:
    async def call() -> None:
        portal.call("doer", Do(answer))

    async def close() -> None:
        portal.__exit__(None, None, None)

    with open_in_thread(make_setup([])) as portal:
        for function in (call, close):
            with pytest.raises(RuntimeUnusable, match="own thread"):
                portal.run(function)


def test_a_portal_is_of_use_from_the_end_of_its_setup_on_and_only_once() -> None:
    def call() -> object:
        return portal.call("doer", Do(answer))

    async def setup(runtime: Runtime) -> None:
        await make_setup([])(runtime)
        with pytest.raises(RuntimeUnusable, match="is starting"):
            await run_in_host(call)

    portal = open_in_thread(setup)
    with pytest.raises(RuntimeUnusable, match="is unopened"):
        call()
    with portal:
        assert call() == 7
        with pytest.raises(RuntimeUnusable, match="opened once"):
            portal.__enter__()
        assert call() == 7
    with pytest.raises(RuntimeUnusable, match="is closed"):
        call()


def test_a_trio_program_may_close_a_portal_of_another_thread() -> None:
    log: list[str] = []

    async def main() -> None:
        with open_in_thread(make_setup(log)) as portal:
            assert portal.call("doer", Do(answer)) == 7

    trio.run(main)
    assert log == ["terminate"]


REQUEST: ContextVar[str] = ContextVar("request", default="none")


def test_the_context_of_a_call_goes_with_its_function_alone() -> None:
    """A portal may be opened on first use, within a request that must not be kept with it."""

    async def read() -> object:
        return REQUEST.get()

    def read_in_host() -> object:
        return REQUEST.get()

    def request() -> None:
        REQUEST.set("of the first request")
        with open_in_thread(make_setup([])) as portal:
            REQUEST.set("of the caller")
            assert portal.run(read) == "of the caller"
            assert portal.call("doer", Do(read)) == "none"
            assert portal.run(run_in_host, read_in_host) == "none"

    copy_context().run(request)


def test_a_function_with_tasks_of_its_own_hears_of_the_end_too() -> None:
    waiting = threading.Event()

    async def wait_twice() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            waiting.set()
            await trio.sleep_forever()

    with ThreadPoolExecutor(1) as pool:
        with open_in_thread(make_setup([])) as portal:
            wait = pool.submit(portal.run, wait_twice)
            waiting.wait(30)
        with pytest.raises(RuntimeUnusable, match="closed"):
            wait.result(30)


@pytest.mark.parametrize("is_asked_before", [True, False])
def test_a_call_that_sets_out_during_the_stop_says_so(
    monkeypatch: pytest.MonkeyPatch, *, is_asked_before: bool
) -> None:
    stopping, tried = threading.Event(), threading.Event()

    class Slow(Doer):
        async def terminate(self, reason: object) -> None:
            stopping.set()
            await trio.to_thread.run_sync(tried.wait, 30)

    def try_it() -> None:
        stopping.wait(30)
        if is_asked_before:  # the tree was open when the call asked, and not when it arrived
            monkeypatch.setattr(HostedTree, "check_usable", is_usable)
        try:
            portal.call("doer", Do(answer))
        finally:
            tried.set()

    with ThreadPoolExecutor(1) as pool:
        with open_in_thread(make_setup([], Slow)) as portal:
            call = pool.submit(try_it)
        with pytest.raises(RuntimeUnusable, match="closed"):
            call.result(30)


def test_a_breakdown_of_trio_leaves_no_thread_waiting() -> None:
    """In a program of its own: what trio was running is left where it stood."""
    program = """
        import os, trio
        from autonomics.errors import RuntimeUnusable
        from autonomics.runtime import open_in_thread

        async def setup(runtime):
            pass

        def fail(_):
            raise LookupError

        async def break_down():
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.lowlevel.wait_task_rescheduled(fail)

        try:
            with open_in_thread(setup) as portal:
                try:
                    portal.run(break_down)
                except RuntimeUnusable as error:
                    print(error)
        except trio.TrioInternalError:
            print("broken", flush=True)
        os._exit(0)
        """
    said = "expected the runtime to be open, got one that is closed"
    assert run_program(program) == f"{said}\nbroken\n"


def test_a_forked_process_gets_one_clear_error_and_leaves_the_block_at_once() -> None:
    """In a program of its own: a test runner with threads should not fork."""
    program = """
        import os
        from autonomics.errors import RuntimeUnusable
        from autonomics.runtime import Worker, open_in_thread

        async def setup(runtime):
            pass

        async def nothing():
            return "served"

        unopened = open_in_thread(setup)
        with open_in_thread(setup) as portal:
            child = os.fork()
            if child:
                print("child", os.waitpid(child, 0)[1], portal.run(nothing))
            else:
                for use in (lambda: portal.run(nothing), portal.__enter__):
                    try:
                        use()
                    except RuntimeUnusable as error:
                        print("after the fork" in str(error))
                with unopened as its_own:
                    print(its_own.run(nothing), flush=True)
        """
    assert run_program(program).splitlines() == ["True", "True", "served", "child 0 served"]


def test_the_process_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = open_in_thread(make_setup([]))
    with portal:
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: -1)
            with pytest.raises(RuntimeUnusable, match="after the fork, in process -1"):
                portal.call("doer", Do(answer))
            portal.__exit__(None, None, None)
        assert portal.call("doer", Do(answer)) == 7


def run_program(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupt_main() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(params=[KeyboardInterrupt, SystemExit, TimeoutError])
def interrupt(request: pytest.FixtureRequest) -> Generator[type[BaseException]]:
    """What a signal raises: gunicorn ends its workers by SystemExit, others have their own."""

    def raise_it(_number: int, _frame: object) -> None:
        raise request.param

    earlier = signal.signal(signal.SIGINT, raise_it)
    yield request.param
    signal.signal(signal.SIGINT, earlier)


def test_an_interrupt_in_the_block_stops_the_tree_in_order(interrupt: type[BaseException]) -> None:
    log: list[str] = []
    with pytest.raises(interrupt), open_in_thread(make_setup(log)):
        signal.raise_signal(signal.SIGINT)
    assert log == ["terminate"]


def test_an_interrupt_cancels_the_call_that_waits(interrupt: type[BaseException]) -> None:
    log: list[str] = []

    async def wait() -> None:
        try:
            interrupt_main()
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    with pytest.raises(interrupt), open_in_thread(make_setup([])) as portal:
        try:
            portal.run(wait)
        finally:
            portal.run(trio.testing.wait_all_tasks_blocked)
            assert log == ["cancelled"]


def test_an_interrupt_during_the_start_stops_what_has_started(
    interrupt: type[BaseException],
) -> None:
    log: list[str] = []

    async def setup(runtime: Runtime) -> None:
        await make_setup(log)(runtime)
        interrupt_main()
        await trio.sleep_forever()

    with pytest.raises(interrupt), open_in_thread(setup):
        pytest.fail("the block ran")
    assert log == ["terminate"]


def test_an_interrupt_during_the_stop_makes_it_short(interrupt: type[BaseException]) -> None:
    class Slow(Doer):
        async def terminate(self, reason: object) -> None:
            interrupt_main()
            await trio.sleep_forever()

    async def setup(runtime: Runtime) -> None:
        await runtime.start(lambda: Slow([]), name="doer", grace_s=1000)

    with pytest.raises(interrupt), open_in_thread(setup):
        pass
