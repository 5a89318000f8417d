from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import NoSuchActor
from autonomics.runtime import Actor, Crash, Killed, Worker
from autonomics.supervisors import ChildSpec, snapshot, terminate_child
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage
from autonomics.testing.tree import kill, start_tree


async def test_a_snapshot_shows_a_busy_tree_without_waiting(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(
        stage.child("a", name="alpha"),
        stage.sub("sub", stage.child("b"), max_restarts=7),
        stage.child("h", held=True),
    )
    await terminate_child(root, "h")
    await stage.crash("s/a")

    async def be_busy(_: ScriptedActor) -> None:
        await trio.sleep(60)

    busy = stage.at("s/sub/b")
    busy.cast(be_busy)
    await wait_all_tasks_blocked()
    busy.cast(1)
    busy.cast(2)
    began = trio.current_time()
    tree = await snapshot(root)
    assert trio.current_time() == began
    assert (tree.id, tree.path, tree.kind, tree.state) == ("s", "s", "supervisor", "running")
    a, sub, h = tree.children
    assert (a.path, a.name, a.restarts, type(a.last_exit)) == ("s/a", "alpha", 1, Crash)
    assert (sub.kind, sub.restarts_left) == ("supervisor", 7)
    assert (sub.children[0].path, sub.children[0].mailbox_depth) == ("s/sub/b", 2)
    assert (h.state, h.is_held, h.children) == ("stopped", True, ())
    assert tree.restarts_left == 2


async def test_a_name_can_be_looked_at_too(autojump_clock: MockClock, stage: Stage) -> None:
    await stage.supervise(stage.child("a"))
    assert (await snapshot(stage.runtime.named("s"))).children[0].id == "a"
    with pytest.raises(NoSuchActor):
        await snapshot(stage.runtime.named("nobody"))


async def test_detail_is_what_the_actor_describes_and_a_failing_describe_harms_nobody(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Open(Actor):
        def describe(self) -> object:
            return {"open": 3}

    class Shy(Actor):
        def describe(self) -> object:
            raise ValueError("no")

    root = await stage.supervise(
        ChildSpec(id="open", start=Open), ChildSpec(id="shy", start=Shy), stage.child("mute")
    )
    details = [child.detail for child in (await snapshot(root)).children]
    assert details == [{"open": 3}, "describe failed: ValueError('no')", None]


async def test_a_worker_is_shown_as_one(autojump_clock: MockClock, stage: Stage) -> None:
    class Idle(Worker):
        async def run(self, started: object) -> None:
            assert callable(started)
            started()
            await trio.sleep_forever()

    root = await stage.supervise(ChildSpec(id="w", start=Idle))
    assert (await snapshot(root)).children[0].kind == "worker"


async def test_the_test_kit_starts_a_tree_and_kills_in_it(autojump_clock: MockClock) -> None:
    from autonomics.testing.scripted import Script

    script = Script("a")
    async with start_tree([ChildSpec(id="a", start=script)], max_restarts=1) as tree:
        first = tree.child("a")
        assert await kill(first) == Killed("killed by the test")
        await wait_all_tasks_blocked()
        assert tree.child("a") is not first
        assert await tree.child("a").call(Ask(1)) == 1
        assert (await tree.snapshot()).children[0].restarts == 1
    assert script.log[-1] == "term:a:shutdown"
