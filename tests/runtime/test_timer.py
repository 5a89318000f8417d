from __future__ import annotations

import math
import weakref
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput
from autonomics.runtime import ActorRef, Timer
from autonomics.runtime.timer import TimerQueue
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def start(stage: Stage, name: str = "a") -> ActorRef:
    return await stage.runtime.start(stage.script(name), name=name)


async def test_a_delayed_message_is_never_early_and_can_be_taken_back(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TMR-01."""
    times: list[float] = []

    class Punctual(ScriptedActor):
        async def handle_info(self, message: object) -> None:
            times.append(trio.current_time())

    script = stage.script("a")
    script.actor = Punctual
    a = await stage.runtime.start(script)
    began = trio.current_time()

    async def arm(actor: ScriptedActor) -> None:
        actor.send_after(0.1, "tick")
        late = actor.send_after(1, "never")
        assert late.cancel() == pytest.approx(1)
        assert late.cancel() is None

    a.cast(arm)
    await trio.sleep(5)
    (at,) = times
    assert at - began >= 0.1
    assert at - began == pytest.approx(0.1)


async def test_timers_of_the_dead_are_harmless(autojump_clock: MockClock, stage: Stage) -> None:
    """TMR-03."""
    p = await start(stage, "p")
    after = stage.runtime.send_after(1, p, "after")
    every = stage.runtime.send_every(0.5, p, "every")
    await trio.sleep(1.2)
    assert stage.log[2:] == ["every", "after", "every"] or stage.log[2:] == [
        *("every", "every", "after")
    ]
    await p.stop()
    assert after.cancel() is None
    assert every.cancel() is None
    assert stage.runtime.statistics().timers == 0
    to_the_dead = stage.runtime.send_after(1, p, "dropped")
    stage.runtime.send_every(1, p, "dropped")
    await trio.sleep(5)
    assert to_the_dead.cancel() is None
    assert stage.runtime.statistics().dead_letters == 2


async def test_an_interval_ends_when_cancelled(autojump_clock: MockClock, stage: Stage) -> None:
    a = await start(stage)
    stage.log.clear()

    async def arm(actor: ScriptedActor, _: object) -> object:
        return actor.send_every(1.0, "tick")

    timer: Timer = await a.call(Ask(arm))
    await trio.sleep(3.5)
    assert timer.cancel() == pytest.approx(0.5)
    await trio.sleep(5)
    assert stage.log == ["tick"] * 3


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
async def test_a_delay_is_a_number_of_seconds(
    autojump_clock: MockClock, stage: Stage, bad: Any
) -> None:
    a = await start(stage)
    with pytest.raises(InvalidInput, match="delay_s"):
        stage.runtime.send_after(bad, a, 1)
    with pytest.raises(InvalidInput, match="interval_s"):
        stage.runtime.send_every(0 if bad == -1 else bad, a, 1)


async def test_cancelled_timers_are_swept_out(autojump_clock: MockClock) -> None:
    queue = TimerQueue(trio.current_time)
    fired: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        timers = [queue.set(n, partial(fired.append, n)) for n in range(1, 301)]
        for timer in timers[:250]:
            timer.cancel()
        assert len(queue) == 50
        await trio.sleep(275.5)
        assert fired == list(range(251, 276))
        assert len(queue) == 25
        nursery.cancel_scope.cancel()


def test_what_is_cancelled_is_not_kept_until_its_time() -> None:
    """Almost every call sets a timeout and takes it back."""
    queue = TimerQueue(trio.current_time)

    class Payload:
        def fire(self) -> None:
            pass

    async def main() -> None:
        kept: list[weakref.ref[Payload]] = []
        longest = [queue.set(3600, Payload().fire) for _ in range(100)]
        for _ in range(1_000):
            payload = Payload()
            kept.append(weakref.ref(payload))
            queue.set(3600, payload.fire).cancel()
            del payload
        alive = sum(payload() is not None for payload in kept)
        assert alive <= 100 + 1  # never more of them than of those that are set
        assert len(queue) == 100
        assert all(timer.is_set for timer in longest)

    trio.run(main)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=120))
def test_timers_fire_in_order_and_cancelled_ones_never(plan: list[tuple[int, bool]]) -> None:
    fired: list[tuple[int, int]] = []
    clock = MockClock(autojump_threshold=0)

    async def main() -> None:
        queue = TimerQueue(trio.current_time)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run)
            await wait_all_tasks_blocked()
            for number, (delay_s, is_cancelled) in enumerate(plan):
                timer = queue.set(delay_s, partial(fired.append, (delay_s, number)))
                if is_cancelled:
                    timer.cancel()
            kept = sum(not is_cancelled for _, is_cancelled in plan)
            assert len(queue) == kept
            await trio.sleep(21)
            assert len(queue) == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert fired == sorted((delay, n) for n, (delay, is_off) in enumerate(plan) if not is_off)
