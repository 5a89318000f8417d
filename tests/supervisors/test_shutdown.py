from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar, get_args

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ChildRefused, StartFailed, Unstoppable
from autonomics.runtime import (
    Crash,
    ExitReason,
    InitTimedOut,
    Killed,
    Normal,
    Refuse,
    Shutdown,
    Stop,
    Worker,
    open_runtime,
)
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    Restart,
    Supervisor,
    delete_child,
    restart_child,
    snapshot,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.supervisors.request import WhichChildren
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage


async def test_a_child_may_use_its_grace(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-D01."""
    root = await stage.supervise(stage.child("a", ending=0.1, grace_s=1))
    a, began = stage.at("s/a"), trio.current_time()
    await terminate_child(root, "a")
    assert 0.1 <= trio.current_time() - began < 0.6
    assert await a.wait_down() == Shutdown()


async def test_a_child_that_exceeds_its_grace_is_killed(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-D02."""
    root = await stage.supervise(stage.child("a", ending=5, grace_s=0.2))
    a, began = stage.at("s/a"), trio.current_time()
    await terminate_child(root, "a")
    assert 0.2 <= trio.current_time() - began < 0.9
    reason = await a.wait_down()
    assert reason == Killed("grace exceeded")
    assert "term_done:a" not in stage.log
    report = {"path": "s", "child": "a", "reason": reason}
    assert ("child.stopped_badly", report) in events


async def test_a_brutal_kill_runs_no_terminate_and_is_no_error(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-D03."""
    root = await stage.supervise(stage.child("a", grace_s=0))
    a = stage.at("s/a")
    await terminate_child(root, "a")
    assert await a.wait_down() == Killed("brutal kill")
    assert "term:a:killed" not in stage.log
    assert "child.stopped_badly" not in dict(events)


async def test_an_infinite_grace_is_waited_for(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-D04."""
    root = await stage.supervise(stage.child("a", ending=0.7, grace_s=float("inf")))
    began = trio.current_time()
    assert await root.stop() == Shutdown()
    assert trio.current_time() - began >= 0.7
    assert stage.log[-1] == "term_done:a"


async def test_static_children_stop_one_after_the_other(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D06: the first half; dynamic children in test_dynamic."""
    root = await stage.supervise(stage.child("a", ending=0.3), stage.child("b", ending=0.3))
    began = trio.current_time()
    await root.stop()
    assert trio.current_time() - began >= 0.6


async def test_a_killed_supervisor_takes_its_children_along(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D11: who wants no clean-up is cancelled instead."""

    class Heedless(ScriptedActor):
        traps: ClassVar[bool] = False

    root = await stage.supervise(stage.child("a", ending=0.5), stage.child("b"))
    stage.scripts["b"].actor = Heedless
    await terminate_child(root, "b")
    await restart_child(root, "b")
    refs = [stage.at("s/a"), stage.at("s/b")]
    stage.log.clear()
    root.kill("by the operator")
    assert await root.wait_down() == Killed("by the operator")
    assert stage.log == ["term:a:killed", "term_done:a"]
    assert [await ref.wait_down() for ref in refs] == [Killed("by the operator")] * 2
    assert stage.runtime.living() == ()


async def test_a_whole_tree_stops_depth_first_from_right_to_left(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D13."""
    root = await stage.supervise(
        stage.child("a"),
        stage.sub("s1", stage.child("b1"), stage.child("b2")),
        stage.child("m"),
        stage.sub("s2", stage.child("c1"), stage.child("c2")),
    )
    stage.log.clear()
    await root.stop()
    assert stage.log == [f"term:{id_}:shutdown" for id_ in ("c2", "c1", "m", "b2", "b1", "a")]
    assert stage.runtime.statistics().dead_letters == 0  # an end that was asked for is no news


async def test_bad_ends_of_children_do_not_change_the_supervisors_own(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D14."""
    root = await stage.supervise(
        stage.child("a", ending=3, grace_s=0.05), stage.child("b", ending=ValueError("odd"))
    )
    assert await root.stop() == Shutdown()


ENDS: dict[str, tuple[Any, ExitReason]] = {
    "normal": (Stop(Normal()), Normal()),
    "shutdown": (Stop(Shutdown()), Shutdown()),
    "shutdown_x": (Stop(Shutdown("x")), Shutdown("x")),
    "other": (RuntimeError("died"), Crash(RuntimeError("died"))),
}


def expect_report(restart: str, end: str) -> bool:
    return end == "other" or (restart == "permanent" and end != "shutdown")


@pytest.mark.parametrize("order", ["static", "dynamic"])
async def test_children_that_end_by_themselves_while_their_supervisor_stops(
    autojump_clock: MockClock, stage: Stage, events: list[Event], order: str
) -> None:
    """SUP-D17: each keeps its reason; what OTP calls a shutdown error is reported."""
    kinds = {f"{restart}_{end}": (restart, end) for restart in get_args(Restart) for end in ENDS}
    root = await stage.runtime.start(
        lambda: Supervisor([]) if order == "static" else DynamicSupervisor(), name="s"
    )
    refs = {
        id_: await start_child(root, stage.child(id_, restart=restart))
        for id_, (restart, _) in kinds.items()
    }
    await start_child(root, stage.child("z", ending=1.0))
    events.clear()

    async def end_all() -> None:
        await trio.sleep(0.5)
        for id_, (_, end) in kinds.items():
            refs[id_].cast(ENDS[end][0])

    async with trio.open_nursery() as nursery:
        if order == "dynamic":  # all are asked at once: let them come first
            await end_all()
        else:
            nursery.start_soon(end_all)
        assert await root.stop() == Shutdown()
    for id_, (_, end) in kinds.items():
        reason = await refs[id_].wait_down()
        assert repr(reason) == repr(ENDS[end][1])
    exited = {fields["child"] for event, fields in events if event == "child.exited"}
    reported = [fields["child"] for event, fields in events if event == "child.stopped_badly"]
    assert exited == set(kinds)
    assert sorted(map(str, reported)) == sorted(
        id_ for id_, (restart, end) in kinds.items() if expect_report(restart, end)
    )
    assert not any(fields["restarts"] for event, fields in events if event == "child.exited")
    assert "actor.started" not in dict(events)
    assert stage.runtime.living() == ()


async def test_a_grace_on_a_supervisor_leaves_no_grandchild_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D16: the finite grace does not count."""
    sub = stage.sub("sub", stage.child("x", ending=0.4), spec={"grace_s": 0.1})
    root = await stage.supervise(sub)
    x, began = stage.at("s/sub/x"), trio.current_time()
    await terminate_child(root, "sub")
    assert trio.current_time() - began >= 0.4
    assert not x.is_alive()
    assert stage.log[-1] == "term_done:x"


async def test_an_outer_cancellation_still_stops_in_reverse_order(
    autojump_clock: MockClock,
) -> None:
    """TRI-05: plain trio would reach all three at once."""
    log: list[str] = []
    began = trio.current_time()
    with trio.CancelScope() as outer:
        async with open_runtime() as runtime:
            stage = Stage(runtime, log)
            await stage.supervise(*(stage.child(id_, ending=0.1) for id_ in "012"))
            log.clear()
            outer.cancel()
            await trio.sleep_forever()
    assert trio.current_time() - began == pytest.approx(0.3, abs=0.01)
    assert log == [
        *("term:2:shutdown", "term_done:2"),
        *("term:1:shutdown", "term_done:1"),
        *("term:0:shutdown", "term_done:0"),
    ]


class Stubborn(Worker):
    """Swallows Cancelled until it is let go; one that is free from the start behaves."""

    def __init__(self, free: list[bool]) -> None:
        self.free = free

    async def run(self, started: Callable[[], None]) -> None:
        started()
        if self.free:
            await trio.sleep_forever()
        while not self.free:
            try:
                await trio.sleep(0.01)
            except trio.Cancelled:
                # Behind a shield, or this loop would spin without ever letting the clock jump.
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01)


async def test_a_child_that_swallows_cancelled_becomes_a_zombie_and_the_others_go_on(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """TRI-06."""
    free: list[bool] = []
    spec = ChildSpec(id="z", start=lambda: Stubborn(free), grace_s=0.2, confirm_s=0.1)
    root = await stage.supervise(stage.child("a"), spec)
    began = trio.current_time()
    with pytest.raises(Unstoppable, match="s/z"):
        await terminate_child(root, "z")
    assert trio.current_time() - began == pytest.approx(0.3, abs=0.01)
    assert ("actor.zombie", {"path": "s/z"}) in events
    assert stage.runtime.statistics().zombies == 1
    assert await stage.at("s/a").call(Ask(1)) == 1
    for act in (restart_child, delete_child):
        with pytest.raises(ChildRefused) as refusal:
            await act(root, "z")
        assert refusal.value.rule == "zombie"
    with pytest.raises(ChildRefused, match="already_started"):
        await start_child(root, spec)
    assert (await snapshot(root)).children[1].state == "zombie"
    free.append(True)
    await trio.sleep(1)
    assert stage.runtime.statistics().zombies == 0
    assert [child.state for child in await which_children(root)] == ["running", "stopped"]
    await restart_child(root, "z")


async def test_a_crash_beside_a_zombie_starts_no_second_one_until_the_first_has_ended(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-06: the restart of the group waits for the zombie."""
    free: list[bool] = []
    spec = ChildSpec(id="z", start=lambda: Stubborn(free), grace_s=0.2, confirm_s=0.1)
    root = await stage.supervise(stage.child("a"), spec, stage.child("c"), strategy="one_for_all")
    await stage.crash("s/a")
    await trio.sleep(5)
    assert {c.id: c.state for c in await which_children(root)} == {
        "a": "running",
        "z": "zombie",
        "c": "waiting",
    }
    free.append(True)
    await trio.sleep(5)
    assert {child.state for child in await which_children(root)} == {"running"}


async def test_a_spec_may_allow_a_second_incarnation_beside_a_zombie(
    autojump_clock: MockClock, stage: Stage
) -> None:
    free: list[bool] = []
    spec = ChildSpec(
        id="z", start=lambda: Stubborn(free), grace_s=0, confirm_s=0.1, beside_zombie=True, name="z"
    )
    root = await stage.supervise(stage.child("a"), spec, strategy="one_for_all")
    await stage.crash("s/a")
    await trio.sleep(1)
    assert [child.state for child in await which_children(root)] == ["running", "running"]
    assert sum(ref.path == "s/z" for ref in stage.runtime.living()) == 2
    free.append(True)
    await trio.sleep(1)
    assert sum(ref.path == "s/z" for ref in stage.runtime.living()) == 0 or root.is_alive()
    assert stage.runtime.statistics().zombies == 0


async def test_a_zombie_that_was_temporary_is_forgotten_when_it_ends(
    autojump_clock: MockClock, stage: Stage
) -> None:
    free: list[bool] = []
    spec = ChildSpec(
        id="z", start=lambda: Stubborn(free), restart="temporary", grace_s=0, confirm_s=0.1
    )
    root = await stage.supervise(spec)
    with pytest.raises(Unstoppable):
        await terminate_child(root, "z")
    free.append(True)
    await trio.sleep(1)
    assert await which_children(root) == ()


async def test_a_zombie_does_not_hold_up_the_parent_of_its_supervisor(
    autojump_clock: MockClock, stage: Stage
) -> None:
    free: list[bool] = []
    z = ChildSpec(id="z", start=lambda: Stubborn(free), grace_s=0.2, confirm_s=0.1)
    root = await stage.supervise(stage.child("a"), stage.sub("sub", z))
    began = trio.current_time()
    with pytest.raises(Unstoppable):
        await root.stop()
    assert trio.current_time() - began == pytest.approx(0.3, abs=0.05)
    assert stage.log[-1] == "term:a:shutdown"
    assert stage.runtime.statistics().zombies == 3
    free.append(True)
    assert await root.wait_down() == Shutdown()


async def test_an_unkillable_child_does_not_hang_the_api(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-21."""

    class Shielded(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.6)

    root = await stage.supervise(ChildSpec(id="z", start=Shielded, grace_s=0, confirm_s=0.1))
    began = trio.current_time()
    with pytest.raises(Unstoppable):
        await terminate_child(root, "z")
    assert trio.current_time() - began == pytest.approx(0.1, abs=0.01)
    await which_children(root)
    with pytest.raises(Unstoppable):
        await root.stop()
    await root.wait_down()
    assert trio.current_time() - began == pytest.approx(0.6, abs=0.01)


async def test_a_stop_cuts_the_init_of_a_starting_child_short(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-12: within its grace, and nothing is left."""
    began = trio.current_time()
    slow = stage.child("slow", inits=[60.0], init_deadline_s=100, grace_s=0.5)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(StartFailed) as failure:
                await stage.supervise(stage.child("a"), stage.sub("sub", slow))
            assert failure.value.reason == Shutdown()

        await trio.sleep(0.1)
        await stage.at("s").stop()
    assert trio.current_time() - began == pytest.approx(0.6, abs=0.01)
    assert stage.log[-1] == "term:a:shutdown"
    assert stage.runtime.living() == ()


async def test_a_supervisor_killed_while_a_child_starts_leaves_nothing_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-12."""
    root = await stage.supervise()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(Exception, match="ended before it replied"):
                await start_child(root, stage.child("slow", inits=[60.0], init_deadline_s=99))

        await wait_all_tasks_blocked()
        root.kill()
        await root.wait_down()
    assert stage.runtime.living() == ()


async def test_the_starter_of_a_root_may_give_up(autojump_clock: MockClock, stage: Stage) -> None:
    with trio.move_on_after(1):
        await stage.supervise(stage.child("slow", inits=[60.0], init_deadline_s=99))
    await wait_all_tasks_blocked()
    assert stage.runtime.living() == ()


async def test_a_child_that_crashes_during_the_shutdown_is_not_started_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-13: not even up to its first await."""
    root = await stage.supervise(stage.child("a"), stage.child("b", ending=1.0))
    stage.log.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.stop)
        await trio.sleep(0.5)
        await stage.crash("s/a")
    assert stage.log == ["term:b:shutdown", "term:a:died", "term_done:b"]


async def test_a_bug_in_the_supervisor_stops_the_children_in_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-30: then the parent sees the crash."""
    error = ZeroDivisionError()

    class Faulty(Supervisor):
        async def handle_cast(self, message: object) -> Stop | None:
            raise error

    children = [stage.child(id_, ending=0.1) for id_ in "ab"]
    root = await stage.runtime.start(lambda: Faulty(children), name="s")
    stage.log.clear()
    root.cast("anything")
    assert await root.wait_down() == Crash(error)
    assert stage.log == ["term:b:shutdown", "term_done:b", "term:a:shutdown", "term_done:a"]


async def test_a_killed_supervisor_waits_no_longer_than_it_may(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-30: behind the overall deadline all are cancelled at once."""
    children = [stage.child(id_, ending=500, grace_s=float("inf")) for id_ in "ab"]
    root = await stage.supervise(*children, finish_within_s=3.0)
    began = trio.current_time()
    root.kill()
    await root.wait_down()
    assert trio.current_time() - began == pytest.approx(3, abs=0.1)
    assert stage.runtime.living() == ()


async def test_a_stop_waits_for_a_child_that_ignores_the_deadline_of_its_init(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-21: a start that can't be undone leaves a zombie, not a hang."""

    class Deaf(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(9)

    root = await stage.supervise()
    spec = ChildSpec(id="deaf", start=Deaf, init_deadline_s=0.5, confirm_s=0.1)
    with pytest.raises(StartFailed) as failure:
        await start_child(root, spec)
    assert failure.value.reason == InitTimedOut(0.5)
    (info,) = await which_children(root)
    assert info.state == "zombie"
    await trio.sleep(10)
    (info,) = await which_children(root)
    assert info.state == "stopped"


async def test_a_failed_restart_that_leaves_a_zombie_waits_for_its_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    free: list[bool] = []

    class Later(Stubborn):
        starts = 0

        async def run(self, started: Callable[[], None]) -> None:
            Later.starts += 1
            if Later.starts != 2:
                started()
                await trio.sleep_forever()
            await super().run(lambda: None)

    spec = ChildSpec(id="z", start=lambda: Later(free), init_deadline_s=0.5, confirm_s=0.1)
    root = await stage.supervise(spec)
    stage.at("s/z").kill()
    await trio.sleep(5)
    assert [child.state for child in await which_children(root)] == ["zombie"]
    free.append(True)
    await trio.sleep(1)
    assert [child.state for child in await which_children(root)] == ["running"]
    assert Later.starts == 3


async def test_a_supervisor_refuses_children_while_the_runtime_stops(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(stage.child("a", ending=1.0))
    refused: list[object] = []

    async def start_late() -> None:
        try:
            await stage.runtime.start(stage.script("late"))
        except StartFailed as failure:
            refused.append(failure.reason)

    await start_child(root, stage.child("b", ending=start_late))
    await stage.runtime.stop(5)
    assert refused == [Shutdown("stopping")]


async def test_work_in_a_thread_that_can_not_be_cancelled_ends_with_the_thread() -> None:
    """TRI-08, in real time: no virtual clock beside a thread."""
    release = threading.Event()

    class Threaded(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.to_thread.run_sync(release.wait)

    async with open_runtime() as runtime:
        ref = await runtime.start(Threaded, name="t", confirm_s=0.05)
        with pytest.raises(Unstoppable):
            await ref.stop(grace_s=0)
        release.set()
        assert await ref.wait_down() == Killed("brutal kill")


async def test_a_call_to_a_stopping_supervisor_ends_with_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(stage.child("a", ending=1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.stop)
        await trio.sleep(0.5)
        with pytest.raises(Exception, match="ended before it replied") as died:
            await root.call(WhichChildren(), 60)
        assert died.value.reason == Shutdown()  # type: ignore[attr-defined]


async def test_init_of_a_supervisor_refuses_when_its_first_child_does(
    autojump_clock: MockClock, stage: Stage
) -> None:
    with pytest.raises(StartFailed):
        await stage.supervise(stage.child("a", inits=[Refuse("no")]), name="x")
    assert stage.runtime.whereis("x") is None


async def test_a_child_that_was_asked_to_stop_while_starting_may_finish_its_init(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-12: then nothing behind it is started."""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(StartFailed):
                await stage.supervise(stage.child("a", inits=[0.5]), stage.child("b"))

        await trio.sleep(0.1)
        assert await stage.at("s").stop() == Shutdown()
    assert stage.log == ["init:a", "up:a", "term:a:shutdown"]


async def test_a_temporary_zombie_does_not_hold_up_a_group_and_is_never_restarted(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T05, TRI-06."""
    free: list[bool] = []
    spec = ChildSpec(
        id="z", start=lambda: Stubborn(free), restart="temporary", grace_s=0, confirm_s=0.1
    )
    root = await stage.supervise(stage.child("a"), spec, stage.child("c"), strategy="one_for_all")
    await stage.crash("s/a")
    await trio.sleep(1)
    states = {child.id: child.state for child in await which_children(root)}
    assert states == {"a": "running", "z": "zombie", "c": "running"}
    free.append(True)
    await trio.sleep(1)
    assert [child.id for child in await which_children(root)] == ["a", "c"]
