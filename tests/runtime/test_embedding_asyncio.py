"""The runtime as a guest of asyncio; real loops, no virtual clock."""
# ruff: noqa: PT012 - what raises is the end of a block, so the block stands inside

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from autonomics.errors import (
    ActorDied,
    CallTimedOut,
    NoSuchActor,
    Overloaded,
    RuntimeUnusable,
    TaskFailed,
)
from autonomics.runtime import (
    Actor,
    AsyncioBridge,
    Call,
    Crash,
    Killed,
    MailboxSpec,
    ReplyTo,
    Runtime,
    Setup,
    Shutdown,
    Stop,
    Worker,
    current_trace,
    open_in_asyncio,
    open_runtime,
    run_in_host,
    tracing,
)
from autonomics.supervisors import ChildSpec, Supervisor


@attrs.frozen
class Do(Call[Any]):
    """Run this in the actor."""

    what: Callable[[], Awaitable[object]]


class Doer(Actor):
    """Does what it is told; notes its ordered end."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Do)
        return await message.what()

    async def handle_cast(self, message: object) -> Stop | None:
        self.log.append(f"cast:{message}")
        if isinstance(message, Exception):
            raise message
        return message if isinstance(message, Stop) else None

    async def terminate(self, reason: object) -> None:
        self.log.append("terminate")


class Small(Doer):
    mailbox = MailboxSpec(capacity=1)


def make_setup(log: list[str], kind: type[Doer] = Doer, *, grace_s: float = 5) -> Setup:
    async def setup(runtime: Runtime) -> None:
        spec = ChildSpec(id="doer", start=lambda: kind(log), name="doer", grace_s=grace_s)
        await runtime.start(lambda: Supervisor([spec], max_restarts=1), id="root")

    return setup


async def fail() -> object:
    raise LookupError("in the actor")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test in asyncio; nothing of it is left afterwards."""

    async def checked() -> None:
        await asyncio.wait_for(main(), 30)
        assert not trio.lowlevel.in_trio_run()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    asyncio.run(checked(), debug=True)


def test_a_call_brings_the_reply() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            ref = bridge.runtime.whereis("doer")
            assert ref is not None
            for address in ("doer", ref, bridge.runtime.named("doer")):
                assert await bridge.call(address, Do(answer)) == 7

    run(main)


async def answer() -> object:
    await trio.lowlevel.checkpoint()
    return 7


def test_what_an_actor_does_not_take_is_a_type_error() -> None:
    """To mypy, which reports an ignore that nothing needs; and the actor crashes of it."""

    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            doer = bridge.runtime.named("doer", Doer)
            assert await bridge.call(doer, Do(answer)) == 7
            with pytest.raises(ActorDied):
                await bridge.call(doer, "do")  # type: ignore[call-overload]

    run(main)


def test_many_tasks_call_at_once() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            calls = [bridge.call("doer", Do(answer)) for _ in range(100)]
            assert await asyncio.gather(*calls) == [7] * 100

    run(main)


def test_an_error_keeps_its_cause_and_its_traceback() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([], grace_s=0)) as bridge:
            with pytest.raises(ActorDied) as caught:
                await bridge.call("doer", Do(fail))
            assert isinstance(caught.value.reason, Crash)
            assert caught.value.__cause__ is caught.value.reason.error
            assert "in fail" in "".join(traceback.format_exception(caught.value))
            with pytest.raises(LookupError) as raised:
                await bridge.run(fail)
            assert "in fail" in "".join(traceback.format_exception(raised.value))
            with pytest.raises(NoSuchActor):
                await bridge.call("nobody", Do(answer))
            await bridge.run(bridge.runtime.await_name, "doer")
            with pytest.raises(CallTimedOut):
                await bridge.call("doer", Do(trio.sleep_forever), 0)
            raise KeyError("of the host")

    with pytest.raises(KeyError):
        run(main)


def test_a_cast_arrives_or_is_refused() -> None:
    log: list[str] = []

    async def main() -> None:
        async with open_in_asyncio(make_setup(log, Small)) as bridge:
            bridge.cast("doer", "one")
            with pytest.raises(Overloaded):
                for _ in range(3):
                    bridge.cast("doer", "more")
            await bridge.run(trio.testing.wait_all_tasks_blocked)

    run(main)
    assert log[0] == "cast:one"


def test_a_cancelled_task_cancels_what_it_waits_for() -> None:
    log: list[str] = []

    async def main() -> None:
        waiting, go = asyncio.Event(), asyncio.Event()

        async def wait_and_tidy() -> None:
            try:
                waiting.set()
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await run_in_host(go.wait)
                log.append("tidied")

        async with open_in_asyncio(make_setup([])) as bridge:
            task = asyncio.create_task(bridge.run(wait_and_tidy))
            await waiting.wait()
            for _ in range(2):  # the second does not hurry it
                task.cancel()
                await bridge.run(trio.testing.wait_all_tasks_blocked)
            assert not task.done()
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert log == ["tidied"]

    run(main)


def test_what_goes_wrong_while_a_cancelled_function_tidies_is_its_cause() -> None:
    async def main() -> None:
        waiting = asyncio.Event()

        async def wait_and_fail() -> None:
            waiting.set()
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("while tidying")

        async with open_in_asyncio(make_setup([])) as bridge:
            task = asyncio.create_task(bridge.run(wait_and_fail))
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert "while tidying" in repr(caught.value.__cause__)

    run(main)


def test_a_task_that_is_cancelled_at_the_very_end_does_not_wait() -> None:
    async def main() -> None:
        async def cancel_it() -> None:
            task.cancel()

        async with open_in_asyncio(make_setup([])) as bridge:
            task = asyncio.create_task(bridge.run(cancel_it))
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


def test_a_timeout_of_the_host_ends_a_call() -> None:
    async def main() -> None:
        async def pass_the_time() -> None:
            timeout.reschedule(0)
            await trio.sleep_forever()

        async with open_in_asyncio(make_setup([], grace_s=0)) as bridge:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as timeout:
                    await bridge.call("doer", Do(pass_the_time))

    run(main)


def test_what_still_waits_when_the_tree_is_stopped_hears_of_it() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            call = asyncio.create_task(bridge.call("doer", Do(trio.sleep_forever), 60))
            wait = asyncio.create_task(bridge.run(trio.sleep_forever))
            await bridge.run(trio.testing.wait_all_tasks_blocked)
            bridge.runtime.named("doer").resolve().kill()
            with pytest.raises(ActorDied) as caught:
                await call
            assert isinstance(caught.value.reason, Killed)
        with pytest.raises(RuntimeUnusable, match="closed"):
            await wait
        with pytest.raises(RuntimeUnusable, match="closed"):
            await bridge.call("doer", Do(answer))
        with pytest.raises(RuntimeUnusable, match="closed"):
            bridge.cast("doer", 1)

    run(main)


def test_leaving_the_block_by_a_cancellation_stops_the_tree_in_order() -> None:
    log: list[str] = []

    async def main() -> None:
        inside = asyncio.Event()

        async def host() -> None:
            async with open_in_asyncio(make_setup(log)):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(host())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
    assert log == ["terminate"]


class Slow(Doer):
    """Would take for ever to end."""

    async def terminate(self, reason: object) -> None:
        self.log.append("terminate")
        await trio.sleep_forever()


def test_a_cancellation_during_the_stop_makes_it_short() -> None:
    log: list[str] = []

    async def setup(runtime: Runtime) -> None:
        await runtime.start(lambda: Slow(log), name="doer", grace_s=1000)

    async def main() -> None:
        leaving = asyncio.Event()

        async def host() -> None:
            async with open_in_asyncio(setup):
                leaving.set()

        task = asyncio.create_task(host())
        await leaving.wait()
        while not log:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_a_setup_that_fails_raises_in_the_host_and_leaves_nothing() -> None:
    log: list[str] = []

    async def setup(runtime: Runtime) -> None:
        await make_setup(log)(runtime)
        raise LookupError("no such thing")

    async def main() -> None:
        with pytest.raises(LookupError, match="no such thing"):
            async with open_in_asyncio(setup):
                pytest.fail("the block ran")
        assert log == ["terminate"]

    run(main)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10])
def test_a_start_is_cancelled_with_the_host_at_any_moment(steps: int, times: int) -> None:
    async def setup(_: Runtime) -> None:
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep_forever()

    async def host(bridge: AsyncioBridge) -> None:
        async with bridge:
            pytest.fail("the block ran")

    async def main() -> None:
        bridge = open_in_asyncio(setup)
        task = asyncio.create_task(host(bridge))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeUnusable):
            bridge.cast("doer", 1)

    run(main)


def test_a_root_that_gives_up_cancels_the_block_and_comes_out_of_it() -> None:
    async def main() -> None:
        with pytest.raises(ActorDied, match="restart_intensity") as caught:
            async with open_in_asyncio(make_setup([])) as bridge:
                for _ in range(2):
                    await bridge.run(bridge.runtime.await_name, "doer")
                    bridge.cast("doer", ValueError("again"))
                    await bridge.run(trio.testing.wait_all_tasks_blocked)
                await asyncio.Event().wait()
        assert caught.value.reason == Shutdown("restart_intensity")
        # The cancellation was its own, and nothing of it is left.
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await asyncio.sleep(0)

    run(main)


async def lone(runtime: Runtime) -> None:
    await runtime.start(lambda: Doer([]), name="doer")


def test_a_root_that_crashes_is_the_cause() -> None:
    async def main() -> None:
        with pytest.raises(ActorDied) as caught:
            async with open_in_asyncio(lone) as bridge:
                bridge.cast("doer", ValueError("mine"))
                await asyncio.Event().wait()
        assert str(caught.value.__cause__) == "mine"

    run(main)


def test_a_block_that_swallows_the_cancellation_is_told_at_its_end() -> None:
    async def main() -> None:
        with pytest.raises(ActorDied):
            async with open_in_asyncio(lone) as bridge:
                bridge.cast("doer", ValueError("mine"))
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        await asyncio.sleep(0)

    run(main)


def test_an_error_of_the_block_wins_and_notes_how_the_tree_ended() -> None:
    async def main() -> None:
        with pytest.raises(KeyError) as caught:
            async with open_in_asyncio(lone) as bridge:
                bridge.cast("doer", ValueError("mine"))
                try:
                    await asyncio.Event().wait()
                finally:
                    raise KeyError("of the host")
        assert "mine" in caught.value.__notes__[0]

    run(main)


def test_a_cancellation_from_elsewhere_is_not_swallowed_with_the_trees() -> None:
    async def main() -> None:
        async def host() -> None:
            async with open_in_asyncio(lone) as bridge:
                bridge.cast("doer", ValueError("mine"))
                try:
                    await asyncio.Event().wait()
                finally:
                    task.cancel()

        task = asyncio.create_task(host())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_a_root_may_finish_or_be_stopped_by_its_host() -> None:
    class Brief(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.lowlevel.checkpoint()

    async def setup(runtime: Runtime) -> None:
        await lone(runtime)
        await runtime.start(Brief, id="brief")

    async def main() -> None:
        async with open_in_asyncio(setup) as bridge:
            doer = bridge.runtime.named("doer").resolve()
            await bridge.run(doer.stop)
            await bridge.run(trio.testing.wait_all_tasks_blocked)
            assert not bridge.runtime.roots()
            assert await bridge.run(answer) == 7

    run(main)


def test_a_root_that_dies_while_the_rest_is_set_up_ends_the_tree() -> None:
    class Brief(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            raise ValueError("too soon")

    async def setup(runtime: Runtime) -> None:
        await runtime.start(Brief, id="brief")
        await trio.sleep_forever()

    async def main() -> None:
        with pytest.raises(ActorDied, match="brief, a root of the tree, ended") as caught:
            async with open_in_asyncio(setup):
                pytest.fail("it was set up")
        assert isinstance(caught.value.__cause__, ValueError)

    run(main)


def test_an_interrupted_runtime_says_so() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeUnusable, match="interrupted: a test"):
            async with open_in_asyncio(lone) as bridge:
                bridge.runtime.interrupt("a test")
                await asyncio.Event().wait()

    run(main)


def test_an_actor_awaits_a_coroutine_of_the_host() -> None:
    async def work(number: int) -> str:
        await asyncio.sleep(0)
        assert not trio.lowlevel.in_trio_task()
        return f"{number} {current_trace()}"

    def plain(number: int) -> str:
        return f"plain {number}"

    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            with tracing("t1"):
                assert await bridge.call("doer", Do(lambda: run_in_host(work, 3))) == "3 t1"
            assert await bridge.call("doer", Do(lambda: run_in_host(plain, 3))) == "plain 3"
            assert await bridge.run(run_in_host, plain, 4) == "plain 4"

    run(main)


def test_an_error_of_the_host_crashes_the_actor_with_its_traceback() -> None:
    async def failing_host() -> None:
        raise LookupError("of the host")

    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            with pytest.raises(ActorDied) as caught:
                await bridge.call("doer", Do(lambda: run_in_host(failing_host)))
            assert isinstance(caught.value.reason, Crash)
            shown = "".join(traceback.format_exception(caught.value.reason.error))
            assert "in failing_host" in shown

    run(main)


@pytest.mark.parametrize("ends_by", ["cancel", "result", "error"])
def test_a_killed_actor_cancels_the_hosts_task_and_waits_for_it(ends_by: str) -> None:
    log: list[str] = []

    async def main() -> None:
        started = asyncio.Event()

        async def work() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                log.append("host tidied")
                if ends_by == "cancel":
                    raise
                if ends_by == "error":
                    raise LookupError("while tidying") from None

        async with open_in_asyncio(make_setup([])) as bridge:
            doer = bridge.runtime.named("doer").resolve()
            call = asyncio.create_task(bridge.call(doer, Do(lambda: run_in_host(work))))
            await started.wait()
            doer.kill()
            reason = await bridge.run(doer.wait_down)
            assert log == ["host tidied"]
            if ends_by == "error":
                assert isinstance(reason, Crash)
                assert isinstance(reason.error, LookupError)
            else:
                assert isinstance(reason, Killed)
            with pytest.raises(ActorDied):
                await call

    run(main)


def test_a_task_that_the_host_cancels_fails_for_the_actor() -> None:
    async def main() -> None:
        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        async with open_in_asyncio(make_setup([])) as bridge:
            with pytest.raises(ActorDied) as caught:
                await bridge.call("doer", Do(lambda: run_in_host(work)))
            assert isinstance(caught.value.reason, Crash)
            assert isinstance(caught.value.reason.error, TaskFailed)

    run(main)


def test_a_host_that_calls_back_does_not_count_as_the_actor() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([], grace_s=0)) as bridge:
            other = await bridge.run(bridge.runtime.start, lambda: Doer([]))

            async def call_back(timeout_s: float) -> object:
                return await bridge.call(other, Do(answer), timeout_s)

            assert await bridge.call("doer", Do(lambda: run_in_host(call_back, 60))) == 7
            with pytest.raises(ActorDied) as caught:
                await bridge.call(other, Do(lambda: run_in_host(call_back, 0)))
            assert isinstance(caught.value.reason, Crash)
            assert isinstance(caught.value.reason.error, CallTimedOut)

    run(main)


def test_a_trio_program_is_its_own_host() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await make_setup([])(runtime)
            doer = runtime.named("doer")
            assert await doer.call(Do(lambda: run_in_host(answer))) == 7
            assert await doer.call(Do(lambda: run_in_host(len, "abc"))) == 3

    trio.run(main)


def test_another_thread_is_sent_away() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            caught: list[RuntimeUnusable] = []

            def cast() -> None:
                with pytest.raises(RuntimeUnusable, match="another loop or thread") as c:
                    bridge.cast("doer", 1)
                caught.append(c.value)

            thread = threading.Thread(target=cast)
            thread.start()
            await asyncio.to_thread(thread.join)
            assert caught

    run(main)


def test_another_loop_is_sent_away() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:

            async def call() -> None:
                with pytest.raises(RuntimeUnusable, match="another loop or thread"):
                    await bridge.call("doer", Do(answer))

            await asyncio.to_thread(asyncio.run, call())

    run(main)


def test_an_actor_is_sent_away() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            with pytest.raises(RuntimeUnusable, match="got one from an actor"):
                await bridge.run(bridge.call, "doer", Do(answer))

    run(main)


def test_a_bridge_is_of_use_from_the_end_of_its_setup_on_and_only_once() -> None:
    async def main() -> None:
        async def call() -> None:
            await bridge.call("doer", Do(answer))

        async def setup(_: Runtime) -> None:
            with pytest.raises(RuntimeUnusable, match="is starting"):
                await run_in_host(call)

        bridge = open_in_asyncio(setup)
        with pytest.raises(RuntimeUnusable, match="is unopened"):
            await call()
        with pytest.raises(RuntimeUnusable, match="is unopened"):
            _ = bridge.runtime
        async with bridge:
            assert await bridge.run(answer) == 7
        with pytest.raises(RuntimeUnusable, match="is closed"):
            await call()
        with pytest.raises(RuntimeUnusable, match="opened once"):
            async with bridge:
                pytest.fail("the block ran")

    run(main)


REQUEST: ContextVar[str] = ContextVar("request", default="none")


def test_the_context_of_a_task_goes_with_its_function_and_not_with_actors() -> None:
    async def read() -> object:
        return REQUEST.get()

    async def main() -> None:
        REQUEST.set("of the opener")
        async with open_in_asyncio(make_setup([])) as bridge:
            REQUEST.set("of the caller")
            assert await bridge.run(read) == "of the caller"
            assert await bridge.call("doer", Do(read)) == "of the opener"
            assert await bridge.call("doer", Do(lambda: run_in_host(read))) == "of the opener"

    run(main)


def test_a_function_with_tasks_of_its_own_hears_of_the_end_too() -> None:
    async def wait_twice() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            wait = asyncio.create_task(bridge.run(wait_twice))
            await bridge.run(trio.testing.wait_all_tasks_blocked)
        with pytest.raises(RuntimeUnusable, match="closed"):
            await wait

    run(main)


def test_a_loop_that_ends_stops_a_tree_that_nobody_has_closed() -> None:
    log: list[str] = []

    async def main() -> None:
        bridge = open_in_asyncio(make_setup(log))
        await bridge.__aenter__()
        assert await bridge.call("doer", Do(answer)) == 7

    asyncio.run(main())
    assert log == ["terminate"]
    assert not trio.lowlevel.in_trio_run()


def test_an_interrupt_of_a_bare_loop_stops_the_tree_and_comes_out() -> None:
    """In a program of its own: there trio, not asyncio, has the handler of SIGINT."""
    program = """
        import asyncio, signal, trio
        from autonomics.runtime import Worker, open_in_asyncio

        class Interrupted(Worker):
            async def run(self, started):
                started()
                try:
                    signal.raise_signal(signal.SIGINT)
                    await trio.sleep_forever()
                finally:
                    print("ended")

        async def setup(runtime):
            await runtime.start(Interrupted)

        async def main():
            async with open_in_asyncio(setup):
                await asyncio.Event().wait()

        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        except KeyboardInterrupt:
            print("interrupted")
        loop.close()
        """
    assert run_program(program) == "ended\ninterrupted\n"


def test_a_breakdown_of_trio_leaves_no_task_waiting() -> None:
    """In a program of its own: what trio was running is left where it stood."""
    program = """
        import asyncio, os, trio
        from autonomics.errors import RuntimeUnusable
        from autonomics.runtime import open_in_asyncio

        async def setup(runtime):
            pass

        def fail(_):
            raise LookupError

        async def break_down():
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.lowlevel.wait_task_rescheduled(fail)

        async def main():
            try:
                async with open_in_asyncio(setup) as bridge:
                    try:
                        await bridge.run(break_down)
                    except RuntimeUnusable as error:
                        print(error)
                    await asyncio.Event().wait()
            except trio.TrioInternalError:
                print("broken", flush=True)
            os._exit(0)

        asyncio.run(main())
        """
    said = "expected the runtime to be open, got one that is closed"
    assert run_program(program) == f"{said}\nbroken\n"


def run_program(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_process_is_sent_away_and_leaves_the_block_at_once() -> None:
    """In a program of its own. The child does not end asyncio: it has its parent's epoll."""
    program = """
        import asyncio, os
        from autonomics.errors import RuntimeUnusable
        from autonomics.runtime import Worker, open_in_asyncio

        async def setup(runtime):
            pass

        async def serve():
            return "served"

        async def main():
            async with open_in_asyncio(setup) as bridge:
                child = os.fork()
                if child:
                    print(os.waitpid(child, 0)[1], await bridge.run(serve))
                    return
                try:
                    await bridge.run(serve)
                except RuntimeUnusable as error:
                    print("after the fork" in str(error))
            print("left", flush=True)
            os._exit(0)

        asyncio.run(main())
        """
    assert run_program(program).splitlines() == ["True", "left", "0 served"]


def test_the_process_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            with monkeypatch.context() as forked:
                forked.setattr(os, "getpid", lambda: -1)
                with pytest.raises(RuntimeUnusable, match="after the fork, in process -1"):
                    bridge.cast("doer", 1)
                await bridge.__aexit__(None, None, None)
            assert await bridge.call("doer", Do(answer)) == 7

    run(main)


def test_one_loop_has_one_runtime_at_a_time() -> None:
    async def main() -> None:
        async with open_in_asyncio(make_setup([])):
            with pytest.raises(RuntimeUnusable, match="one runtime per thread"):
                async with open_in_asyncio(make_setup([])):
                    pytest.fail("the block ran")
        async with open_in_asyncio(make_setup([])) as bridge:
            assert await bridge.call("doer", Do(answer)) == 7

    run(main)


def test_the_block_may_be_left_by_another_task() -> None:
    async def main() -> None:
        bridge: AsyncioBridge = open_in_asyncio(lone)
        await asyncio.create_task(bridge.__aenter__())
        bridge.cast("doer", ValueError("mine"))
        with pytest.raises(ActorDied):
            while True:
                await bridge.run(trio.lowlevel.checkpoint)
        with pytest.raises(ActorDied):
            await asyncio.create_task(bridge.__aexit__(None, None, None))

    run(main)


@pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed here"
)
def test_the_runtime_is_a_guest_of_uvloop_too() -> None:
    uvloop: Any = importlib.import_module("uvloop")

    async def main() -> None:
        async with open_in_asyncio(make_setup([])) as bridge:
            assert await bridge.call("doer", Do(answer)) == 7
            with pytest.raises(ActorDied):
                await bridge.call("doer", Do(fail))

    uvloop.run(main())
