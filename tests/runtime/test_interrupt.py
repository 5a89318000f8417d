from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import StartFailed
from autonomics.runtime import ActorRef, Crash, Shutdown, Worker, open_runtime
from autonomics.testing.scripted import ScriptedActor
from autonomics.testing.stage import Stage, recording


async def test_a_keyboard_interrupt_in_a_child_stops_the_tree_and_restarts_nobody(
    autojump_clock: MockClock,
) -> None:
    """TRI-16."""
    log: list[str] = []

    async def raise_signal(_: ScriptedActor) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()

    actors: list[ActorRef] = []

    async def run() -> None:
        async with open_runtime() as runtime:
            stage = Stage(runtime, log)
            await stage.supervise(*map(stage.child, "abc"))
            actors.append(stage.at("s/b"))
            log.clear()
            actors[0].cast(raise_signal)
            await trio.sleep_forever()

    with recording() as events, pytest.raises(KeyboardInterrupt):
        await run()
    assert log == ["term:c:shutdown", "term:a:shutdown"]
    assert await actors[0].wait_down() == Shutdown("interrupted")
    assert ("runtime.interrupted", {"cause": "KeyboardInterrupt"}) in events


async def test_an_interrupted_runtime_starts_nothing(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        runtime.interrupt("a test")
        runtime.interrupt("twice")
        with pytest.raises(StartFailed):
            await runtime.start(Stage(runtime).script("a"))
    assert runtime.interrupted_by == "a test"


async def test_an_error_in_the_block_comes_out_as_itself_behind_an_ordered_stop(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    async def run() -> None:
        async with open_runtime() as runtime:
            stage = Stage(runtime, log)
            await stage.supervise(stage.child("a"))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await run()
    assert log[-1] == "term:a:shutdown"


async def test_a_tree_that_does_not_stop_in_time_is_cancelled_at_once(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    began = trio.current_time()
    with recording() as events:
        async with open_runtime(stop_within_s=3) as runtime:
            stage = Stage(runtime, log)
            for id_ in "ab":
                await stage.supervise(
                    stage.child(id_, ending=999, grace_s=float("inf")), name=id_, finish_within_s=0
                )
    assert trio.current_time() - began == pytest.approx(3, abs=0.1)
    overdue = {"paths": ("a", "a/a", "b", "b/b"), "within_s": 3}
    assert ("runtime.stop_overdue", overdue) in events


async def test_a_zombie_holds_the_runtime_open_but_not_its_stop(autojump_clock: MockClock) -> None:
    class Deaf(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            with trio.CancelScope(shield=True):
                await trio.sleep(30)

    log: list[str] = []
    began = trio.current_time()
    async with open_runtime() as runtime:
        stage = Stage(runtime, log)
        await stage.supervise(stage.child("a"), name="first")
        await runtime.start(Deaf, name="deaf", grace_s=1, confirm_s=1)
    assert log[-1] == "term:a:shutdown"
    assert trio.current_time() - began == pytest.approx(30, abs=0.1)


async def test_system_exit_in_an_actor_is_its_crash(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-17."""
    a = await stage.runtime.start(stage.script("a"))
    a.cast(SystemExit(3))
    reason = await a.wait_down()
    assert isinstance(reason, Crash)
    assert isinstance(reason.error, SystemExit)
    assert stage.log[-1] == "term:a:died"


PROGRAM = """
    import sys
    import trio
    from autonomics.runtime import Actor, Worker, open_runtime
    from autonomics.supervisors import ChildSpec, Supervisor

    class Stuck(Worker):
        async def run(self, started):
            started()
            with trio.CancelScope(shield={shield}):
                await trio.sleep(60)

    class Tidy(Actor):
        async def terminate(self, reason):
            print("tidy", flush=True)

    async def main():
        children = [ChildSpec(id="tidy", start=Tidy), ChildSpec(id="stuck", start=Stuck)]
        async with open_runtime(with_signals=True) as runtime:
            await runtime.start(lambda: Supervisor(children), name="root")
            print("ready", flush=True)
            await trio.sleep_forever()

    trio.run(main)
"""


def run_program(shield: bool) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM.format(shield=shield))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


def test_a_signal_stops_the_tree_in_order_and_ends_the_process_as_interrupted() -> None:
    """TRI-16: exit 130, which a shell shows for a process that SIGINT ended."""
    with run_program(shield=False) as program:
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
    assert out == "tidy\n"
    assert "KeyboardInterrupt" in err
    assert program.returncode in (-signal.SIGINT, 130)


def test_a_second_signal_ends_a_stuck_process_and_says_what_is_stuck() -> None:
    """TRI-18: one child shields itself without end."""
    with run_program(shield=True) as program:
        program.send_signal(signal.SIGTERM)
        # The first signal was taken once the ordered stop is under way: `stuck` has 5 s of grace.
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(timeout=0.5)
        program.send_signal(signal.SIGTERM)
        _, err = program.communicate(timeout=30)
    assert program.returncode == 128 + signal.SIGTERM
    assert "second signal, giving up on these:\n  root\n" in err
    assert "  root/stuck\n" in err


def run_to_its_end(program: str, *numbers: signal.Signals) -> tuple[str, str, int]:
    """Run a program, send it signals once it is ready, and wait for it."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for number in numbers:
                process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return out, err, process.returncode


SPINNING = """
    import trio
    from autonomics.runtime import Actor, open_runtime
    from autonomics.supervisors import ChildSpec, Supervisor

    class Tidy(Actor):
        async def init(self):
            if is_up:
                print("started again", flush=True)

        async def terminate(self, reason):
            print("tidy", flush=True)

    class Spinning(Tidy):
        async def handle_cast(self, message):
            print("ready", flush=True)
            while True:
                pass

    is_up = []

    async def main():
        children = [ChildSpec(id="tidy", start=Tidy), ChildSpec(id="spinning", start=Spinning)]
        async with open_runtime({how}) as runtime:
            await runtime.start(lambda: Supervisor(children), name="root")
            is_up.append(True)
            for ref in runtime.living():
                if ref.path == "root/spinning":
                    ref.cast("spin")
            await trio.sleep_forever()

    trio.run(main)
"""


def test_an_interrupt_breaks_a_tight_loop_and_the_tree_stops_in_order() -> None:
    """TRI-16, TR-19: without a receiver, trio raises it in whoever runs; nobody starts again."""
    out, err, code = run_to_its_end(SPINNING.format(how=""), signal.SIGINT)
    assert out == "tidy\n"  # not of the one that was interrupted
    assert "KeyboardInterrupt" in err
    assert code in (-signal.SIGINT, 130)


def test_a_second_signal_ends_a_process_whose_loop_never_hears_of_the_first() -> None:
    """TRI-18, TRI-07: one child blocks the loop, which is what takes a first signal."""
    # Two of them, for the system may deliver two of a kind as one.
    numbers = (signal.SIGINT, signal.SIGTERM)
    out, err, code = run_to_its_end(SPINNING.format(how="with_signals=True"), *numbers)
    assert out == ""
    assert "giving up on these:\n  root\n" in err
    assert "the loop has not heard of the first, for it stands here:\n" in err
    assert err.rstrip().endswith("Spinning.handle_cast")
    assert code == 128 + signal.SIGTERM


def test_with_a_receiver_no_child_sees_an_interrupt() -> None:
    """TRI-16: it sees a stop request, whatever it is at."""
    program = """
        import trio
        from autonomics.runtime import Worker, open_runtime

        class Curious(Worker):
            async def run(self, started):
                started()
                print("ready", flush=True)
                try:
                    while True:
                        await trio.lowlevel.checkpoint()
                except BaseException as error:
                    print(type(error).__name__, flush=True)
                    raise

        async def main():
            async with open_runtime(with_signals=True) as runtime:
                await runtime.start(Curious)
                await trio.sleep_forever()

        trio.run(main)
    """
    out, _, code = run_to_its_end(program, signal.SIGINT)
    assert out == "Cancelled\n"
    assert code in (-signal.SIGINT, 130)


def test_system_exit_in_an_actor_does_not_end_the_process_and_in_the_block_says_how() -> None:
    """TRI-17."""
    program = """
        import sys, trio
        from autonomics.runtime import Actor, open_runtime
        from autonomics.supervisors import ChildSpec, Supervisor

        class Leaving(Actor):
            async def handle_cast(self, message):
                sys.exit(3)

        async def main():
            async with open_runtime() as runtime:
                spec = ChildSpec(id="leaving", name="leaving", start=Leaving)
                await runtime.start(lambda: Supervisor([spec]))
                first = runtime.whereis("leaving")
                first.cast("go")
                print("ready", await first.wait_down(), flush=True)
                assert await runtime.await_name("leaving") is not first
                sys.exit(4)

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.stdout == "ready Crash(error=SystemExit(3))\n"
    assert done.stderr == ""
    assert done.returncode == 4


async def test_sigterm_ends_the_block_without_an_error(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_runtime(with_signals=True) as runtime:
        stage = Stage(runtime, log)
        await stage.supervise(stage.child("a"))
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()
    assert runtime.interrupted_by == "SIGTERM"
    assert log[-1] == "term:a:shutdown"
