from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ChildRefused, InvalidInput, NoSuchActor, WouldDeadlock
from autonomics.runtime import ActorRef, Crash, Killed, ReplyTo
from autonomics.supervisors import (
    Failed,
    Returned,
    StreamResult,
    TaskSupervisor,
    TimedOut,
    count_children,
    open_task_stream,
    which_children,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage, open_stage


async def pool(stage: Stage, **flags: Any) -> ActorRef:
    return await stage.runtime.start(lambda: TaskSupervisor(**flags), name="tasks")


class Jobs:
    """Sleeps as long as each item says, and counts how many do so at a time."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0
        self.taken = 0
        self.begun: list[float] = []

    def items(self, *seconds: float) -> Iterator[float]:
        for item in seconds:
            self.taken += 1
            yield item

    async def nap(self, seconds: float) -> float:
        self.begun.append(seconds)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1
        return seconds * 10


@pytest.mark.parametrize(
    ("ordered", "order"), [(True, [3, 1, 2.5, 1, 5]), (False, [1, 1, 2.5, 3, 5])]
)
async def test_results_come_in_the_order_of_the_items_or_of_their_ends(
    autojump_clock: MockClock, stage: Stage, ordered: Any, order: list[float]
) -> None:
    tasks, jobs = await pool(stage), Jobs()
    stream = open_task_stream(
        tasks, jobs.nap, [3, 1, 2.5, 1, 5], max_concurrency=3, ordered=ordered, timeout_s=99
    )
    async with stream as results:
        found = [result async for result in results]
    assert stage.runtime.statistics().timers == 0
    assert found == [StreamResult(item, Returned(item * 10)) for item in order]
    assert jobs.peak == 3
    assert await which_children(tasks) == ()


async def test_items_are_taken_when_there_is_need(autojump_clock: MockClock, stage: Stage) -> None:
    """Back-pressure: a slow consumer is not overrun with results."""
    tasks, jobs = await pool(stage), Jobs()
    source = jobs.items(*[0.1] * 10)
    async with open_task_stream(tasks, jobs.nap, source, max_concurrency=3) as results:
        assert jobs.taken == 0
        for taken in range(1, 4):
            await anext(results)
            await trio.sleep(10)
            assert jobs.taken == taken + 2
            assert (await count_children(tasks)).specs == 0
    assert jobs.taken == 5


async def test_what_fails_or_takes_too_long_is_a_result_like_any_other(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, error = await pool(stage), ValueError("boom")
    ended: list[str] = []

    async def do(item: str) -> str:
        if item == "bad":
            raise error
        if item == "slow":
            try:
                await trio.sleep(9)
            finally:
                ended.append(item)
        if item == "stuck":
            with trio.CancelScope(shield=True):
                await trio.sleep(9)
        return item

    items = ["good", "bad", "slow", "stuck", "last"]
    stream = open_task_stream(tasks, do, items, max_concurrency=5, timeout_s=1)
    began = trio.current_time()
    async with stream as results:
        outcomes = {result.item: result.outcome async for result in results}
        assert trio.current_time() == began + 1
    assert outcomes == {
        "good": Returned("good"),
        "bad": Failed(Crash(error)),
        "slow": Failed(TimedOut(1)),
        "stuck": Failed(TimedOut(1)),
        "last": Returned("last"),
    }
    assert list(outcomes) == items
    assert ended == ["slow"]
    await trio.sleep(10)
    assert await which_children(tasks) == ()
    assert stage.runtime.statistics().timers == 0


async def test_a_consumer_that_leaves_takes_all_tasks_with_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-20: breaking out of the loop under a timeout."""
    tasks, jobs = await pool(stage), Jobs()
    with trio.move_on_after(1):
        async with open_task_stream(tasks, jobs.nap, [0.1, 9, 9, 9], max_concurrency=3) as results:
            async for result in results:
                assert result.outcome == Returned(1)
                break
        assert jobs.running == 0
        async with open_task_stream(tasks, jobs.nap, [9, 9], max_concurrency=3) as results:
            async for _ in results:
                pass
    assert trio.current_time() == 1
    assert jobs.running == 0
    assert await which_children(tasks) == ()
    assert sorted(jobs.begun) == [0.1, 9, 9, 9, 9]


async def test_an_error_of_the_block_leaves_as_it_is(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, jobs = await pool(stage), Jobs()

    async def consume() -> None:
        async with open_task_stream(tasks, jobs.nap, [0.1, 9], max_concurrency=2) as results:
            async for result in results:
                raise KeyError(result.item)

    with pytest.raises(KeyError, match=r"0\.1"):
        await consume()
    assert jobs.running == 0


async def test_the_death_of_the_consumer_ends_its_stream(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, jobs = await pool(stage), Jobs()
    consumer = await stage.runtime.start(stage.script("c"), name="c")

    async def consume(_: ScriptedActor) -> None:
        async with open_task_stream(tasks, jobs.nap, [9, 9], max_concurrency=2) as results:
            await anext(results)

    consumer.cast(consume)
    await wait_all_tasks_blocked()
    assert jobs.running == 2
    consumer.kill()
    assert await consumer.wait_down() == Killed()
    assert jobs.running == 0
    assert await which_children(tasks) == ()


async def test_an_error_of_the_items_or_of_the_pool_is_the_consumers(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, jobs = await pool(stage, max_children=1), Jobs()

    def items() -> Iterator[float]:
        yield 1
        raise KeyError("no more")

    async with open_task_stream(tasks, jobs.nap, items(), max_concurrency=1) as results:
        assert await anext(results) == StreamResult(1, Returned(10))
        with pytest.raises(KeyError, match="no more"):
            await anext(results)
    source = jobs.items(9, 1, 2, 3)
    async with open_task_stream(tasks, jobs.nap, source, max_concurrency=2) as results:
        for _ in range(2):
            with pytest.raises(ChildRefused, match="max_children"):
                await anext(results)
    assert jobs.taken == 3
    async with open_task_stream(tasks, jobs.nap, [9.0, 1, 2], max_concurrency=2) as results:
        await tasks.stop()
        with pytest.raises(NoSuchActor):
            await anext(results)


async def test_a_step_that_is_cancelled_loses_no_item(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, jobs = await pool(stage), Jobs()
    found: list[float] = []
    items = [1.0, 2.0, 3.0, 4.0]
    async with open_task_stream(tasks, jobs.nap, items, max_concurrency=2) as results:
        for steps in range(200):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                        for _ in range(steps % 5):
                            await trio.lowlevel.checkpoint()
                        if steps % 7 == 6:
                            await trio.sleep(1.5)
                        scope.cancel()

                    nursery.start_soon(cancel)
                    try:
                        found.append((await anext(results)).item)
                    except StopAsyncIteration:
                        break
                    finally:
                        scope.cancel()
    assert found == items
    assert jobs.begun == items


async def test_leaving_in_the_middle_of_a_start_leaves_no_task(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks, jobs = await pool(stage), Jobs()

    async def consume() -> None:
        async with open_task_stream(tasks, jobs.nap, [9, 9], max_concurrency=2) as results:
            await anext(results)

    for steps in range(80):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            for _ in range(steps % 8):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert jobs.running == 0
        assert await which_children(tasks) == ()


async def test_a_task_that_calls_the_consumer_it_is_awaited_by_is_told_so(
    autojump_clock: MockClock, stage: Stage
) -> None:
    tasks = await pool(stage)
    consumer = await stage.runtime.start(stage.script("c"), name="c")

    async def call_back(_: int) -> object:
        await trio.lowlevel.checkpoint()
        return await consumer.call(Ask(1), 1)

    async def consume(_: ScriptedActor, __: ReplyTo) -> object:
        async with open_task_stream(tasks, call_back, [1], max_concurrency=1) as results:
            return [result.outcome async for result in results]

    ((outcome),) = await consumer.call(Ask(consume))
    assert isinstance(outcome.reason.error, WouldDeadlock)


async def test_bad_bounds_are_refused(autojump_clock: MockClock, stage: Stage) -> None:
    tasks, jobs = await pool(stage), Jobs()
    for bad in (0, True, 1.5):
        with pytest.raises(InvalidInput, match="max_concurrency to be an integer of at least 1"):
            async with open_task_stream(tasks, jobs.nap, [1], max_concurrency=bad):  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
                pass
    with pytest.raises(InvalidInput, match="timeout_s"):
        async with open_task_stream(tasks, jobs.nap, [1], max_concurrency=1, timeout_s=-1):
            pass


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0]), max_size=12),
    st.integers(1, 5),
    st.booleans(),
)
def test_every_item_has_one_result_and_no_more_run_than_may(
    seconds: list[float],
    max_concurrency: int,
    ordered: Any,
) -> None:
    async def main() -> None:
        jobs = Jobs()
        async with open_stage() as stage:
            tasks = await pool(stage)
            stream = open_task_stream(
                tasks,
                jobs.nap,
                seconds,
                max_concurrency=max_concurrency,
                ordered=ordered,
                timeout_s=5 if max_concurrency % 2 else math.inf,
            )
            async with stream as results:
                found = [result async for result in results]

            def late(item: float) -> bool:
                return item > 5 and max_concurrency % 2 == 1

            wanted = [
                StreamResult(item, Failed(TimedOut(5)) if late(item) else Returned(item * 10))
                for item in seconds
            ]
            if ordered:
                assert found == wanted
            else:
                assert sorted(found, key=repr) == sorted(wanted, key=repr)
            assert jobs.peak <= max_concurrency
            assert sorted(jobs.begun) == sorted(seconds)

    trio.run(main, clock=MockClock(autojump_threshold=0))
