from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput
from autonomics.runtime import (
    ActorRef,
    Address,
    Crash,
    Down,
    Monitor,
    NoProcess,
    Normal,
    ReplyTo,
    Shutdown,
    Stop,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def start(stage: Stage, name: str = "a") -> ActorRef:
    return await stage.runtime.start(stage.script(name), name=name)


async def watch(watcher: ActorRef, target: Address, tag: object = None) -> Monitor:
    async def do(_: ScriptedActor, __: ReplyTo) -> object:
        return target.monitor(tag)

    monitor: Monitor = await watcher.call(Ask(do))
    return monitor


def downs(stage: Stage) -> list[Down]:
    return [message for message in stage.log if isinstance(message, Down)]


@pytest.mark.parametrize("end", [Normal(), Shutdown(), Shutdown("x"), ValueError("boom")])
async def test_down_carries_the_exit_reason_exactly_once(
    autojump_clock: MockClock, stage: Stage, end: Any
) -> None:
    """LNK-01."""
    watcher, a = await start(stage, "w"), await start(stage)
    await watch(watcher, a, "tag")
    a.cast(end if isinstance(end, Exception) else Stop(end))
    await wait_all_tasks_blocked()
    reason = Crash(end) if isinstance(end, Exception) else end
    assert downs(stage) == [Down(a, reason, "tag")]
    assert await a.wait_down() == reason


async def test_monitoring_the_dead_is_answered_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """LNK-02."""
    watcher, a = await start(stage, "w"), await start(stage)
    await a.stop()
    nobody = stage.runtime.named("nobody")
    first, second = await watch(watcher, a), await watch(watcher, nobody)
    await wait_all_tasks_blocked()
    assert downs(stage) == [Down(a, NoProcess()), Down(nobody, NoProcess())]
    first.cancel()
    second.cancel()


async def test_every_monitor_has_its_own_down(autojump_clock: MockClock, stage: Stage) -> None:
    """LNK-03."""
    watcher, a = await start(stage, "w"), await start(stage)
    first, second, third = [await watch(watcher, a, n) for n in range(3)]
    first.cancel()
    await a.stop()
    await wait_all_tasks_blocked()
    assert [down.monitor for down in downs(stage)] == [second, third]
    assert [down.tag for down in downs(stage)] == [1, 2]


@pytest.mark.parametrize(("flush", "left"), [(True, 0), (False, 1)])
async def test_a_cancelled_monitor_may_take_its_down_back(
    autojump_clock: MockClock, stage: Stage, flush: Any, left: Any
) -> None:
    """LNK-04."""
    watcher, a, b = [await start(stage, name) for name in "wab"]

    async def do(actor: ScriptedActor, _: ReplyTo) -> object:
        actor.ref.cast("noise")
        monitor, other = a.monitor("a"), b.monitor("b")
        await a.stop()
        await b.stop()
        monitor.cancel(flush=flush)
        monitor.cancel(flush=flush)
        other.cancel()
        return None

    await watcher.call(Ask(do))
    await wait_all_tasks_blocked()
    assert [down.tag for down in downs(stage)] == ["a"] * left + ["b"]


async def test_what_was_sent_before_death_arrives_before_down(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """LNK-11."""
    watcher, p = await start(stage, "w"), await start(stage, "p")
    await watch(watcher, p)
    stage.log.clear()

    async def send_all(_: ScriptedActor) -> Stop:
        for n in range(1, 51):
            watcher.cast(n)
        return Stop(Shutdown("fin"))

    p.cast(send_all)
    await wait_all_tasks_blocked()
    assert stage.log == ["term:p:shutdown", *range(1, 51), Down(p, Shutdown("fin"))]


async def test_a_name_is_free_when_down_arrives(autojump_clock: MockClock, stage: Stage) -> None:
    """LNK-12."""
    found: list[object] = []

    class Looker(ScriptedActor):
        async def handle_info(self, message: object) -> Stop | None:
            found.append(self.runtime.whereis("nmx"))
            return None

    script = stage.script("w")
    script.actor = Looker
    watcher = await stage.runtime.start(script)
    for _ in range(200):
        p = await start(stage, "nmx")
        await watch(watcher, p)
        p.cast(Stop())
        await wait_all_tasks_blocked()
    assert found == [None] * 200


async def test_a_dead_watcher_is_forgotten(autojump_clock: MockClock, stage: Stage) -> None:
    watcher, a = await start(stage, "w"), await start(stage)
    await watch(watcher, stage.runtime.named("a"))
    await watcher.stop()
    await a.stop()
    assert stage.runtime.statistics().dead_letters == 0


async def test_outside_of_an_actor_one_waits_instead(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)
    with pytest.raises(InvalidInput, match="await wait_down"):
        a.monitor()
    async with trio.open_nursery() as nursery:
        reasons: list[Any] = []

        @nursery.start_soon
        async def _() -> None:
            reasons.append(await stage.runtime.named("a").wait_down())

        await wait_all_tasks_blocked()
        a.cast(Stop(Shutdown("x")))
    assert reasons == [Shutdown("x")]
