"""A blocked loop is reported while it stands still; real threads, so no virtual clock here.

What blocks waits for the report itself, so no test depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Mapping
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import InvalidInput
from autonomics.runtime import (
    Actor,
    Call,
    ReplyTo,
    Runtime,
    Worker,
    open_in_asyncio,
    open_in_thread,
    open_runtime,
)
from autonomics.runtime.watchdog import Watchdog, open_watchdog
from autonomics.telemetry import listening

SOON_S = 0.1
LONG_S = 0.6
NEVER_S = 60.0


class Reports:
    """What the watchdog has said, and ways to stand still until it has."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[str] = set()
        self._stir = threading.Condition()

    def listen(self, event: str, fields: Mapping[str, object]) -> None:
        if event in ("runtime.blocked", "runtime.unblocked"):
            with self._stir:
                self.said.append((event, dict(fields)))
                self.threads.add(threading.current_thread().name)
                self._stir.notify_all()

    def find(self, event: str, task: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if (name, fields["task"]) == (event, task)]

    def blocked(self, task: str, where: str = " Reports.") -> list[dict[str, Any]]:
        """List the reports of a block there; on a loaded machine any step may seem to be one."""
        found = self.find("runtime.blocked", task)
        return [fields for fields in found if where in "".join(fields["stack"])]

    def block(self, task: str, reports: int = 1) -> None:
        with self._stir:
            assert self._stir.wait_for(lambda: len(self.blocked(task)) >= reports, NEVER_S)

    def spin(self, task: str) -> None:
        end_s = time.monotonic() + NEVER_S
        while not self.blocked(task):
            assert time.monotonic() < end_s

    async def until_unblocked(self, task: str) -> dict[str, Any]:
        with trio.fail_after(NEVER_S):
            while not self.find("runtime.unblocked", task):
                await trio.sleep(0.001)
        return self.find("runtime.unblocked", task)[0]


@pytest.fixture
def reports() -> Generator[Reports]:
    said = Reports()
    with listening("reports", said.listen):
        yield said


@attrs.frozen
class Do(Call[None]):
    deed: Callable[[], None]


class Doer(Actor):
    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> None:
        assert isinstance(message, Do)
        await trio.lowlevel.checkpoint()
        message.deed()


class PlainDoer(Actor):
    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> None:
        assert isinstance(message, Do)
        message.deed()


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "autonomics-watchdog"]


async def test_who_blocks_the_loop_is_named_while_it_blocks_and_again_when_it_has_ended(
    reports: Reports,
) -> None:
    """TRI-07."""
    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        doer = await runtime.start(Doer, name="doer")
        await doer.call(Do(lambda: reports.block("doer")), timeout_s=NEVER_S)
        unblocked = await reports.until_unblocked("doer")
    blocked = reports.blocked("doer")[0]
    assert blocked["path"] == "doer"
    assert blocked["message_type"] == "Do"
    assert blocked["for_s"] >= SOON_S / 2
    # From the handler inwards: the frames of the runtime say nothing.
    assert blocked["stack"][0].startswith(f"{__file__}:")
    assert blocked["stack"][0].endswith(" Doer.handle_call")
    assert blocked["stack"][2].endswith(" Reports.block")
    assert blocked["stack"][-1].endswith(" Condition.wait")
    assert unblocked["path"] == "doer"
    assert unblocked["for_s"] > blocked["for_s"]
    assert reports.threads == {"autonomics-watchdog"}


async def test_nothing_else_runs_and_no_timeout_fires_before_the_block_has_ended(
    reports: Reports,
) -> None:
    """TRI-07: the heartbeat stands still, and the deadline around the block comes too late."""
    beats = 0

    class Heart(Actor):
        async def init(self) -> None:
            self.send_every(0.001, "beat")

        async def handle_info(self, message: object) -> None:
            nonlocal beats
            beats += 1

    class Blocker(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            with trio.move_on_after(0.001) as patience:
                before = beats
                reports.block("blocker")
                assert beats == before
                assert not patience.cancel_called
                await trio.sleep_forever()
            assert patience.cancelled_caught

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        await runtime.start(Heart, name="heart")
        blocker = await runtime.start(Blocker, name="blocker")
        await blocker.wait_down()
        with trio.fail_after(NEVER_S):
            while not beats:
                await trio.sleep(0.001)
    assert reports.blocked("blocker")[0]["path"] == "blocker"


async def test_a_tight_loop_is_named_too(reports: Reports) -> None:
    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        doer = await runtime.start(Doer, name="doer")
        await doer.call(Do(lambda: reports.spin("doer")), timeout_s=NEVER_S)
    assert " Reports.spin" in "".join(reports.blocked("doer")[0]["stack"])


async def test_a_call_that_keeps_the_interpreter_is_named_when_it_returns(
    reports: Reports,
) -> None:
    # Each in a step of its own, with an idle loop before, and twice as long as the last.
    class Matcher(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            for length in range(16, 30):
                await trio.sleep(SOON_S)
                re.match(r"(a+)+$", "a" * length + "b")
                await trio.sleep(SOON_S)
                if reports.blocked("matcher", "Matcher.run"):
                    return

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        matcher = await runtime.start(Matcher, name="matcher")
        await matcher.wait_down()
        await reports.until_unblocked("matcher")
    (first, *_) = reports.blocked("matcher", "Matcher.run")
    assert first["for_s"] >= SOON_S / 2
    assert first["stack"][0].endswith("Matcher.run")


async def test_a_plain_handler_on_its_callers_stack_is_the_one_that_blocks(
    reports: Reports,
) -> None:
    class Asker(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await doer.call(Do(lambda: reports.block("asker")))

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        doer = await runtime.start(PlainDoer, name="doer")
        asker = await runtime.start(Asker, name="asker")
        await asker.wait_down()
    blocked = reports.blocked("asker")[0]
    assert blocked["path"] == "doer"
    assert blocked["message_type"] == "Do"
    assert blocked["stack"][0].endswith(" PlainDoer.handle_call")


async def test_an_actor_that_blocks_in_its_init_or_in_a_task_of_its_own_is_named(
    reports: Reports,
) -> None:
    class Initial(Actor):
        async def init(self) -> None:
            reports.block("initial")

    class Many(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.block, name="one of many")

        async def block(self) -> None:
            reports.block("one of many")

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        await runtime.start(Initial, name="initial")
        many = await runtime.start(Many, name="many")
        await many.wait_down()
    initial, inner = reports.blocked("initial")[0], reports.blocked("one of many")[0]
    assert (initial["path"], initial["message_type"]) == ("initial", None)
    assert (inner["path"], inner["message_type"]) == ("many", None)
    assert inner["stack"][0].endswith(".block")


async def test_a_block_outside_of_every_actor_has_a_task_and_no_path(reports: Reports) -> None:
    own = trio.lowlevel.current_task().name
    async with open_runtime(blocked_after_s=SOON_S):
        reports.block(own)
    assert reports.blocked(own)[0]["path"] is None


async def test_code_that_is_in_no_task_is_called_host(reports: Reports) -> None:
    """A signal handler, which runs in the middle of whatever the loop does."""

    def block(_: int, __: object) -> None:
        reports.block("host")

    earlier = signal.signal(signal.SIGUSR1, block)
    try:
        async with open_runtime(blocked_after_s=SOON_S):
            pid = os.getpid()
            threading.Timer(SOON_S, lambda: os.kill(pid, signal.SIGUSR1)).start()
            await reports.until_unblocked("host")
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert reports.blocked("host")[0]["path"] is None
    assert "Reports.block" in "".join(reports.blocked("host")[0]["stack"])


def test_in_asyncio_an_actor_and_the_host_are_told_apart(reports: Reports) -> None:
    async def start(runtime: Runtime) -> None:
        await runtime.start(Doer, name="doer")

    async def serve() -> None:
        async with open_in_asyncio(start, blocked_after_s=SOON_S) as bridge:
            await bridge.call("doer", Do(lambda: reports.block("doer")), timeout_s=NEVER_S)
            reports.block("host")
            await bridge.run(reports.until_unblocked, "host")

    asyncio.run(serve())
    assert reports.blocked("doer")[0]["path"] == "doer"
    assert reports.blocked("host")[0]["path"] is None
    assert "Reports.block" in "".join(reports.blocked("host")[0]["stack"])
    assert not watchdogs()


def test_in_a_thread_of_its_own_the_runtime_is_watched_too(reports: Reports) -> None:
    async def start(runtime: Runtime) -> None:
        await runtime.start(Doer, name="doer")

    with open_in_thread(start, blocked_after_s=SOON_S) as portal:
        portal.call("doer", Do(lambda: reports.block("doer")), timeout_s=NEVER_S)
    assert reports.blocked("doer")[0]["path"] == "doer"
    assert not watchdogs()


async def test_a_long_block_is_reported_again_each_time_its_length_has_doubled(
    reports: Reports,
) -> None:
    async with open_runtime(blocked_after_s=0.02) as runtime:
        doer = await runtime.start(Doer, name="doer")
        await doer.call(Do(lambda: reports.block("doer", reports=4)), timeout_s=NEVER_S)
        await reports.until_unblocked("doer")
    lengths = [fields["for_s"] for fields in reports.blocked("doer")]
    assert all(later >= 2 * earlier for earlier, later in pairwise(lengths))
    assert len(reports.find("runtime.unblocked", "doer")) == 1


async def test_the_stack_is_bounded_and_its_innermost_frames_are_kept(reports: Reports) -> None:
    def sink(depth: int) -> None:
        if depth:
            sink(depth - 1)
        else:
            reports.block("doer")

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        doer = await runtime.start(Doer, name="doer")
        await doer.call(Do(lambda: sink(100)), timeout_s=NEVER_S)
    stack = reports.blocked("doer")[0]["stack"]
    assert len(stack) == 30
    assert stack[-1].endswith(" Condition.wait")


async def test_many_short_steps_block_nobody_however_long_a_turn_of_the_loop_takes(
    reports: Reports,
) -> None:
    """Each turn takes longer than the limit, each step far less; nobody is to blame."""

    async def work() -> None:
        for _ in range(2):
            end_s = time.perf_counter() + LONG_S / 20
            while time.perf_counter() < end_s:
                pass
            await trio.lowlevel.checkpoint()

    async with open_runtime(blocked_after_s=LONG_S), trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(work)
    assert not reports.said


async def test_two_long_steps_in_a_row_are_two_blocks(reports: Reports) -> None:
    """The second is at work before the loop has answered."""

    async def block(name: str) -> None:
        reports.block(name)

    async with open_runtime(blocked_after_s=SOON_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block, "first", name="first")
            nursery.start_soon(block, "second", name="second")
        await reports.until_unblocked("first")
        await reports.until_unblocked("second")
    paired = [(event, fields["task"]) for event, fields in reports.said]
    for name in ("first", "second"):
        end = paired.index(("runtime.unblocked", name))
        assert set(paired[:end][-1:]) == {("runtime.blocked", name)}


async def test_a_loop_that_is_idle_for_long_is_not_blocked(reports: Reports) -> None:
    async with open_runtime(blocked_after_s=LONG_S):
        await trio.sleep(2 * LONG_S)
    assert not reports.said


async def test_the_thread_ends_with_the_runtime_and_the_last_block_is_said_to_have_ended(
    reports: Reports,
) -> None:
    class Late(Actor):
        async def terminate(self, reason: object) -> None:
            reports.block("late")

    async with open_runtime(blocked_after_s=SOON_S) as runtime:
        assert len(watchdogs()) == 1
        assert watchdogs()[0].daemon
        await runtime.start(Late, name="late")
    assert not watchdogs()
    assert [event for event, _ in reports.said][-1] == "runtime.unblocked"


async def test_a_runtime_has_no_watchdog_unless_asked() -> None:
    async with open_runtime():
        assert not watchdogs()


@pytest.mark.parametrize("bad", [0, -1, 0.001, math.inf, math.nan])
async def test_a_limit_that_makes_no_sense_is_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match=r"expected blocked_after_s to be .*, got "):
        async with open_runtime(blocked_after_s=bad):
            raise AssertionError("it must not open")


async def test_a_virtual_clock_is_not_held_up(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with open_runtime(blocked_after_s=0.01):
        for _ in range(100):
            await trio.sleep(3600)
    assert trio.current_time() - began == pytest.approx(360_000)


def test_the_thread_of_a_loop_that_has_ended_without_closing_it_ends_too() -> None:
    opened: list[Watchdog] = []

    async def forget() -> None:
        watchdog = Watchdog(0.01)
        watchdog.start()
        opened.append(watchdog)

    loop = threading.Thread(target=trio.run, args=(forget,))
    loop.start()
    loop.join()
    for thread in watchdogs():
        thread.join(NEVER_S)
    assert not watchdogs()
    opened[0].close()


def run_program(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=NEVER_S,
    )
    return done.stdout


async def test_in_a_forked_process_there_is_no_thread_to_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watchdog = Watchdog(SOON_S)
    watchdog.start()
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)
        watchdog.close()
    assert watchdogs()
    watchdog.close()
    assert not watchdogs()


def test_a_forked_process_leaves_the_block_at_once() -> None:
    """In a program of its own: a test runner with threads should not fork."""
    program = """
        import os, sys
        import trio
        from autonomics.runtime.watchdog import open_watchdog

        async def main():
            async with open_watchdog(0.02):
                child = os.fork()
                if child:
                    assert os.waitpid(child, 0)[1] == 0
            print("child" if child == 0 else "parent", flush=True)
            if child == 0:
                os._exit(0)

        trio.run(main)
    """
    assert run_program(program) == "child\nparent\n"


def test_a_program_that_ends_within_the_block_is_not_held_up() -> None:
    program = """
        import threading, trio
        from autonomics.runtime import open_runtime

        opened = threading.Event()

        async def live():
            async with open_runtime(blocked_after_s=0.02):
                opened.set()
                await trio.sleep_forever()

        threading.Thread(target=trio.run, args=(live,), daemon=True).start()
        opened.wait()
        print("over")
    """
    assert run_program(program) == "over\n"


def test_without_a_clock_of_the_threads_work_the_rest_still_holds(
    monkeypatch: pytest.MonkeyPatch, reports: Reports
) -> None:
    monkeypatch.delattr(time, "pthread_getcpuclockid")

    async def main() -> None:
        async with open_watchdog(SOON_S):
            reports.block(trio.lowlevel.current_task().name)

    trio.run(main)
    assert len(reports.said) >= 2
