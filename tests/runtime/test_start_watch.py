"""One timer watches all starts: each init has its own deadline all the same."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import StartFailed
from autonomics.runtime import InitTimedOut
from autonomics.testing.stage import Stage


@pytest.mark.parametrize("deadlines", [(3.0, 5.0, 4.0), (5.0, 3.0, 4.0), (3.0, 3.0, 3.0)])
async def test_each_of_many_starts_is_given_up_at_its_own_deadline(
    autojump_clock: MockClock, stage: Stage, deadlines: tuple[float, ...]
) -> None:
    gave_up: dict[int, float] = {}

    async def start(number: int, deadline_s: float) -> None:
        await trio.sleep(number)
        with pytest.raises(StartFailed) as failed:
            await stage.runtime.start(
                stage.script(str(number), inits=(60.0,)), init_deadline_s=deadline_s
            )
        assert failed.value.reason == InitTimedOut(deadline_s)
        gave_up[number] = trio.current_time()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number, deadline_s in enumerate(deadlines):
            nursery.start_soon(start, number, deadline_s)
    for number, deadline_s in enumerate(deadlines):
        assert gave_up[number] == pytest.approx(began + number + deadline_s)
    assert stage.runtime.statistics().timers == 0


async def test_a_start_begun_beside_another_that_came_up_is_still_watched(
    autojump_clock: MockClock, stage: Stage
) -> None:
    await stage.runtime.start(stage.script("quick"), init_deadline_s=5.0)
    await trio.sleep(4)
    began = trio.current_time()
    with pytest.raises(StartFailed):
        await stage.runtime.start(stage.script("slow", inits=(60.0,)), init_deadline_s=5.0)
    assert trio.current_time() == pytest.approx(began + 5)


async def test_a_start_under_way_counts_as_a_timer_and_one_that_is_over_does_not(
    autojump_clock: MockClock, stage: Stage
) -> None:
    async with trio.open_nursery() as nursery:
        for number, deadline_s in enumerate((5.0, 4.0)):
            script = stage.script(str(number), inits=(float(number + 1),))
            start = partial(stage.runtime.start, script, init_deadline_s=deadline_s)
            nursery.start_soon(start)
        await wait_all_tasks_blocked()
        assert stage.runtime.statistics().timers == 2
        await trio.sleep(1.5)
        assert stage.runtime.statistics().timers == 1
    assert stage.runtime.statistics().timers == 0
    await trio.sleep(10)
    assert stage.runtime.statistics().timers == 0
