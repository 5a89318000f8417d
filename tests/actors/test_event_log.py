"""Events of other threads reach the log at once, and never end it for good; real threads here."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import trio

from autonomics.actors.event_log import LISTENER, EventLog
from autonomics.runtime import open_runtime
from autonomics.supervisors import ChildSpec, Supervisor
from autonomics.telemetry import emit, unsubscribe


def tell(cause: str) -> None:
    emit("runtime.interrupted", cause=cause)


async def until_told(log: EventLogSpy, cause: str) -> None:
    with trio.fail_after(60):
        while cause not in [told for told, _ in log.written]:
            await trio.sleep(0.001)


class EventLogSpy:
    """Keeps each cause and the thread that wrote it; refuses one as often as it is told to."""

    def __init__(self, refuse: str = "", times: int = 0) -> None:
        self.written: list[tuple[object, int]] = []
        self._refuse = refuse
        self._times = times

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        if event != "runtime.interrupted":
            return
        if fields["cause"] == self._refuse and self._times:
            self._times -= 1
            raise OSError("no space left")
        self.written.append((fields["cause"], threading.get_ident()))


async def test_an_event_of_another_thread_is_written_in_that_thread() -> None:
    spy = EventLogSpy()
    home = threading.get_ident()
    async with open_runtime() as runtime:
        await runtime.start(lambda: EventLog(spy.write))
        await trio.to_thread.run_sync(tell, "there")
        assert spy.written[0][0] == "there"
        assert spy.written[0][1] != home
        tell("here")
        await until_told(spy, "here")
    assert spy.written[1] == ("here", home)


async def test_a_log_that_can_not_write_in_another_thread_crashes_and_comes_back() -> None:
    spy = EventLogSpy(refuse="lost", times=2)
    async with open_runtime() as runtime:
        child = ChildSpec(id="log", name="log", start=lambda: EventLog(spy.write))
        await runtime.start(lambda: Supervisor([child]))
        first = runtime.named("log").resolve()
        await trio.to_thread.run_sync(tell, "lost")
        await first.wait_down()
        await runtime.await_name("log")
        await trio.to_thread.run_sync(tell, "after")
    assert [cause for cause, _ in spy.written] == ["after"]


async def test_a_thread_that_tells_after_the_loop_has_ended_harms_nobody() -> None:
    """The listener of a log that was killed is still there, and its loop is not."""
    spy = EventLogSpy(refuse="late", times=1)

    async def live() -> None:
        async with open_runtime() as runtime:
            await runtime.start(lambda: EventLog(spy.write), grace_s=0)

    await trio.to_thread.run_sync(trio.run, live)
    try:
        tell("late")
        tell("later")
    finally:
        assert unsubscribe(LISTENER)
    assert [cause for cause, _ in spy.written] == ["later"]
