"""A restart in the dying child's last step, where its supervisor sleeps over an empty inbox."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import IGNORE, Killed
from autonomics.supervisors import (
    DynamicSupervisor,
    delete_child,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.testing.scripted import ScriptedActor
from autonomics.testing.stage import Event, Stage


async def states(supervisor: Any) -> dict[str, str]:
    return {child.id: child.state for child in await which_children(supervisor)}


async def test_the_successor_has_the_name_as_soon_as_anybody_hears_of_the_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    await stage.supervise(stage.child("a", name="a"))
    first = stage.runtime.named("a").resolve()
    await wait_all_tasks_blocked()
    first.cast(RuntimeError("died"))
    await first.wait_down()
    second = stage.runtime.whereis("a")
    assert second is not None
    assert second is not first


async def test_a_slow_init_does_not_keep_the_supervisor_from_answering(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S15, for a restart; a first start holds it up, see test_start."""
    s = await stage.supervise(stage.child("a", inits=(None, 2.0)))
    await stage.crash("s/a")
    began = trio.current_time()
    assert await states(s) == {"a": "starting"}
    assert trio.current_time() == began
    await trio.sleep(3)
    assert await states(s) == {"a": "running"}


async def test_an_init_that_fails_is_tried_again_within_the_budget(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    s = await stage.supervise(
        stage.child("a", inits=(None, ValueError("nope"), ValueError("nope"), None)),
        max_restarts=3,
    )
    await stage.crash("s/a")
    assert await states(s) == {"a": "running"}
    names = [name for name, fields in events if fields.get("child") == "a"]
    assert names == [
        *("child.exited", "child.start_failed", "child.start_failed", "child.restarted")
    ]
    await stage.crash("s/a")
    await s.wait_down()  # the fourth restart is one too many


async def test_a_factory_that_fails_is_tried_again_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    script = stage.script("a")
    tries: list[int] = []

    def start() -> Any:
        tries.append(1)
        if len(tries) == 2:
            raise ValueError("no actor today")
        return script()

    spec = stage.child("b")
    object.__setattr__(spec, "start", start)
    s = await stage.supervise(spec)
    await stage.crash("s/b")
    assert len(tries) == 3
    assert await states(s) == {"b": "running"}


async def test_an_init_that_takes_too_long_is_cancelled_and_tried_again(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    s = await stage.supervise(stage.child("a", inits=(None, 60.0, None), init_deadline_s=1.0))
    await stage.crash("s/a")
    await trio.sleep(1.5)
    assert await states(s) == {"a": "running"}
    assert "child.start_failed" in [name for name, _ in events]


async def test_an_init_that_ignores_ends_the_restart(
    autojump_clock: MockClock, stage: Stage
) -> None:
    s = await stage.supervise(stage.child("a", inits=(None, IGNORE)))
    await stage.crash("s/a")
    assert await states(s) == {"a": "stopped"}


@pytest.mark.parametrize("how", ["terminate", "stop"])
async def test_who_is_still_starting_can_be_stopped(
    autojump_clock: MockClock, stage: Stage, how: str
) -> None:
    s = await stage.supervise(stage.child("a", inits=(None, 2.0, None)))
    await stage.crash("s/a")
    if how == "terminate":
        await terminate_child(s, "a")
        assert await states(s) == {"a": "stopped"}
        await restart_child(s, "a")
        await terminate_child(s, "a")
        await delete_child(s, "a")
        assert await states(s) == {}
    await s.stop()
    assert stage.runtime.statistics().actors == 0


async def test_a_stop_that_comes_first_leaves_nothing_to_be_told(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """The start that failed is answered by whoever stopped it, not tried again."""
    s = await stage.supervise(stage.child("a", inits=(None, 60.0, None), grace_s=0.5))
    await stage.crash("s/a")
    await terminate_child(s, "a")
    assert await states(s) == {"a": "stopped"}
    await trio.sleep(120)
    assert stage.scripts["a"].starts == 2


async def test_a_pool_restarts_its_children_so_too(autojump_clock: MockClock, stage: Stage) -> None:
    pool = await stage.runtime.start(DynamicSupervisor, name="pool")
    first = await start_child(pool, stage.child("a", inits=(None, ValueError("nope"), None)))
    first.kill()
    assert isinstance(await first.wait_down(), Killed)
    await wait_all_tasks_blocked()
    (child,) = await which_children(pool)
    assert child.state == "running"
    assert stage.scripts["a"].starts == 3


@pytest.mark.parametrize("a_init", [ValueError("nope"), 1.5], ids=["failed", "late"])
async def test_news_of_a_start_may_come_late(
    autojump_clock: MockClock, stage: Stage, a_init: Any
) -> None:
    """While another child's init holds the supervisor, the start ends and is even taken back."""

    class Slowly(ScriptedActor):
        async def init(self) -> Any:
            if self.script.starts == 2:
                await trio.sleep(1)
            return await super().init()

    s = await stage.supervise(stage.child("a", inits=(None, a_init, None), init_deadline_s=2.0))
    stage.scripts["a"].actor = Slowly
    await stage.crash("s/a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start_child, s, stage.child("b", inits=(4.0,)))
        await trio.sleep(0.5)
        if isinstance(a_init, Exception):
            nursery.start_soon(terminate_child, s, "a")
    await wait_all_tasks_blocked()
    expected = "stopped" if isinstance(a_init, Exception) else "running"
    assert await states(s) == {"a": expected, "b": "running"}
    assert stage.scripts["a"].starts == 2
