from __future__ import annotations

from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import ActorRef, Normal, Shutdown, Stop
from autonomics.supervisors import snapshot, terminate_child, which_children
from autonomics.testing.stage import Stage


async def finish(ref: ActorRef) -> None:
    ref.cast(Stop(Normal()))
    await ref.wait_down()
    await wait_all_tasks_blocked()


async def test_the_normal_end_of_one_significant_child_ends_the_supervisor(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X01."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", restart="transient", significant=True),
        stage.child("d"),
        auto_shutdown="any_significant",
    )
    stage.log.clear()
    await finish(stage.at("s/b"))
    assert await root.wait_down() == Shutdown("auto_shutdown")
    assert stage.log == ["term:b:normal", "term:d:shutdown", "term:a:shutdown"]


async def test_the_crash_of_a_transient_significant_child_is_a_restart(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X02."""
    root = await stage.supervise(
        stage.child("b", restart="transient", significant=True), auto_shutdown="any_significant"
    )
    await stage.crash("s/b")
    assert stage.at("s/b").is_alive()
    assert root.is_alive()


async def test_all_significant_waits_for_the_last_one(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X04."""
    root = await stage.supervise(
        stage.child("a", restart="transient", significant=True),
        stage.child("b", restart="temporary", significant=True),
        stage.child("d", restart="transient"),
        auto_shutdown="all_significant",
    )
    await finish(stage.at("s/d"))
    await finish(stage.at("s/a"))
    assert root.is_alive()
    await finish(stage.at("s/b"))
    assert not root.is_alive()


async def test_an_operators_stop_never_triggers_it(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-X05."""
    root = await stage.supervise(
        stage.child("a", restart="transient", significant=True),
        stage.child("b", restart="temporary", significant=True),
        auto_shutdown="any_significant",
    )
    await terminate_child(root, "a")
    await terminate_child(root, "b")
    await wait_all_tasks_blocked()
    assert root.is_alive()
    assert [child.id for child in await which_children(root)] == ["a"]


async def test_a_group_restart_never_triggers_it(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-X06."""
    root = await stage.supervise(
        stage.child("a", restart="transient", significant=True),
        stage.child("b"),
        stage.child("d", restart="temporary", significant=True),
        strategy="one_for_all",
        auto_shutdown="any_significant",
    )
    await stage.crash("s/b")
    assert root.is_alive()
    assert [child.id for child in await which_children(root)] == ["a", "b"]


async def test_it_climbs_through_significant_supervisors(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X08."""
    sub = stage.sub(
        "sub",
        stage.child("x", restart="transient", significant=True),
        auto_shutdown="any_significant",
        spec={"restart": "transient", "significant": True},
    )
    root = await stage.supervise(stage.child("a"), sub, auto_shutdown="any_significant")
    inner = stage.at("s/sub")
    await finish(stage.at("s/sub/x"))
    assert await inner.wait_down() == Shutdown("auto_shutdown")
    assert await root.wait_down() == Shutdown("auto_shutdown")


async def test_a_permanent_supervisor_that_ends_itself_is_started_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X09."""
    sub = stage.sub(
        "sub",
        stage.child("x", restart="transient", significant=True),
        auto_shutdown="any_significant",
    )
    root = await stage.supervise(sub, max_restarts=2)
    for left in (1, 0):
        first = stage.at("s/sub")
        await finish(stage.at("s/sub/x"))
        assert await first.wait_down() == Shutdown("auto_shutdown")
        assert stage.at("s/sub") is not first
        assert stage.at("s/sub/x").is_alive()
        assert (await snapshot(root)).restarts_left == left
    await finish(stage.at("s/sub/x"))
    assert await root.wait_down() == Shutdown("restart_intensity")
