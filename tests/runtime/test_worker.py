from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import StartFailed
from autonomics.runtime import (
    Behaviour,
    Crash,
    Killed,
    NeverStarted,
    Normal,
    Runtime,
    Shutdown,
    Worker,
    open_runtime,
)
from autonomics.runtime.reason import iter_leaves
from autonomics.supervisors import ChildSpec, terminate_child
from autonomics.testing.stage import Event, Stage

Body = Callable[[Callable[[], None]], Awaitable[None]]


def make(run: Body, request_stop: Callable[[], Awaitable[None]] | None = None) -> Worker:
    """Make a Worker of one or two async functions."""

    class Made(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            await run(started)

        async def request_stop(self) -> None:
            await (request_stop or super().request_stop)()

    return Made()


async def fail(error: Exception, delay_s: float = 0) -> None:
    if delay_s:
        await trio.sleep(delay_s)
    raise error


async def test_a_worker_that_returns_has_ended_normally(
    autojump_clock: MockClock, stage: Stage
) -> None:
    async def run(started: Callable[[], None]) -> None:
        started()
        started()
        with trio.move_on_after(1):
            await trio.sleep_forever()

    ref = await stage.runtime.start(lambda: make(run))
    assert await ref.wait_down() == Normal()


async def test_errors_of_inner_nurseries_arrive_flat(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-02."""
    one, two = ValueError("one"), KeyError("two")

    async def one_task(started: Callable[[], None]) -> None:
        started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, one)
            await trio.sleep_forever()

    async def two_tasks(started: Callable[[], None]) -> None:
        started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, one)
            nursery.start_soon(fail, two)

    async def nested(started: Callable[[], None]) -> None:
        started()
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(fail, one)
            outer.start_soon(trio.sleep_forever)

    for run in (one_task, nested):
        reason = await (await stage.runtime.start(partial(make, run))).wait_down()
        assert reason == Crash(one)
        assert one.__traceback__ is not None
    reason = await (await stage.runtime.start(lambda: make(two_tasks))).wait_down()
    assert isinstance(reason, Crash)
    assert set(iter_leaves(reason.error)) == {one, two}


async def test_the_start_handshake(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """TRI-11."""
    error = ValueError("no")

    async def raise_before(_: Callable[[], None]) -> None:
        raise error

    async def never(_: Callable[[], None]) -> None:
        await trio.sleep(0.1)

    async def raise_after(started: Callable[[], None]) -> None:
        started()
        await fail(error, 0.1)

    for run, reason in [(raise_before, Crash(error)), (never, NeverStarted())]:
        with pytest.raises(StartFailed) as failure:
            await stage.supervise(ChildSpec(id="w", start=partial(make, run)))
        assert failure.value.reason.info.reason == reason  # type: ignore[attr-defined]
        assert "child.exited" not in dict(events)
    await stage.supervise(ChildSpec(id="w", start=lambda: make(raise_after), restart="temporary"))
    ref = stage.at("s/w")
    assert await ref.wait_down() == Crash(error)
    await trio.sleep(0.1)
    assert [f["reason"] for event, f in events if event == "child.exited"] == [Crash(error)]


async def swallow(started: Callable[[], None]) -> None:
    started()
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return


async def clean_up_badly(started: Callable[[], None]) -> None:
    started()
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("clean-up")


async def clean_up_badly_inside(started: Callable[[], None]) -> None:
    async def inner() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clean-up")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(inner)
        nursery.start_soon(trio.sleep_forever)
        started()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (swallow, "shutdown"),
        (clean_up_badly, "clean-up"),
        (clean_up_badly_inside, "clean-up"),
    ],
)
async def test_a_cancelled_child_is_told_from_a_crashed_one(
    autojump_clock: MockClock, stage: Stage, events: list[Event], run: Any, reason: Any
) -> None:
    """TRI-03: no restart in any case, and a report only of what went wrong."""
    starts: list[int] = []

    def factory() -> Behaviour:
        starts.append(1)
        return make(run)

    root = await stage.supervise(ChildSpec(id="w", start=factory))
    ref = stage.at("s/w")
    await terminate_child(root, "w")
    ended = await ref.wait_down()
    reports = [fields["reason"] for event, fields in events if event == "child.stopped_badly"]
    if reason == "shutdown":
        assert ended == Shutdown()
        assert reports == []
    else:
        assert isinstance(ended, Crash)
        assert str(ended.error) == reason
        assert reports == [ended]
    assert len(starts) == 1


async def test_a_crash_hidden_by_a_cancelled_clean_up_is_recovered(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """TRI-10."""
    error = RuntimeError("hidden")

    async def run(started: Callable[[], None]) -> None:
        started()
        try:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise error from None
        finally:
            await trio.sleep(1)

    ref = await stage.runtime.start(lambda: make(run), name="w")
    assert await ref.stop() == Shutdown()
    assert ("actor.masked_error", {"path": "w", "error": error}) in events


async def test_a_worker_that_calls_sys_exit_has_crashed(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-17."""

    async def run(started: Callable[[], None]) -> None:
        started()
        raise SystemExit(3)

    ref = await stage.runtime.start(lambda: make(run))
    reason = await ref.wait_down()
    assert isinstance(reason, Crash)
    assert isinstance(reason.error, SystemExit)
    assert stage.runtime.interrupted_by is None


class Server(Worker):
    """A stand-in for an HTTP server: told to stop, it finishes the requests that it has."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.trigger = trio.Event()
        self.requests: trio.Nursery

    async def run(self, started: Callable[[], None]) -> None:
        async with trio.open_nursery() as self.requests:
            started()
            await self.trigger.wait()
        self.log.append("after_serving")

    async def request_stop(self) -> None:
        self.trigger.set()

    async def serve_one(self) -> None:
        await trio.sleep(0.5)
        self.log.append("200")


async def serve(runtime: Runtime, log: list[str]) -> Worker:
    server = Server(log)
    await runtime.start(lambda: server, name="http")
    server.requests.start_soon(server.serve_one)
    return server


async def test_a_server_that_is_asked_finishes_its_request(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-28."""
    server = await serve(stage.runtime, stage.log)
    assert await server.ref.stop() == Shutdown()
    assert stage.log == ["200", "after_serving"]


async def test_a_server_that_is_cancelled_cuts_it(autojump_clock: MockClock, stage: Stage) -> None:
    """TRI-28: why there is a stop hook."""
    server = await serve(stage.runtime, stage.log)
    server.ref.kill()
    assert await server.ref.wait_down() == Killed()
    assert stage.log == []


async def test_a_stop_hook_that_fails_is_the_workers_crash(
    autojump_clock: MockClock, stage: Stage
) -> None:
    error = OSError("no")

    async def raise_error() -> None:
        raise error

    async def run(started: Callable[[], None]) -> None:
        started()
        await trio.sleep_forever()

    ref = await stage.runtime.start(lambda: make(run, raise_error))
    assert await ref.stop() == Crash(error)


async def test_a_behaviour_says_what_it_needs(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(StartFailed):
            await runtime.start(Worker)

        class Bare(Behaviour):
            kind = "worker"

        with pytest.raises(StartFailed):
            await runtime.start(Bare)
