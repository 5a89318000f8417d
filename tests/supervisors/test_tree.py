from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import NoSuchActor
from autonomics.runtime import Actor, Crash, Killed, Refuse, Shutdown, Worker
from autonomics.supervisors import ChildSpec, snapshot, terminate_child
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage
from autonomics.testing.tree import kill, start_tree


async def test_a_snapshot_shows_a_busy_tree_without_waiting(
    autojump_clock: MockClock, stage: Stage
) -> None:
    b = stage.child("b")
    specs = (
        stage.child("a", name="alpha"),
        stage.sub("sub", b, max_restarts=7),
        stage.child("h", held=True),
    )
    root = await stage.supervise(*specs)
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
    assert tree.spec is None
    assert [child.spec for child in tree.children] == list(specs)
    assert sub.children[0].spec == b


async def test_a_snapshot_shows_the_states_between_two_lives(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, Refuse("no")], spacing_s=60.0),
        stage.child("c"),
        strategy="rest_for_one",
    )
    await stage.crash("s/b")
    a, b, c = (await snapshot(root)).children
    assert (a.state, a.last_exit, a.restarts) == ("running", None, 0)
    assert (b.state, type(b.last_exit), b.restarts) == ("restarting", Crash, 0)
    assert (c.state, c.last_exit, c.restarts) == ("waiting", Shutdown(), 0)
    assert (b.mailbox_depth, b.detail, b.kind) == (0, None, "actor")


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
