from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ChildRefused
from autonomics.runtime import IGNORE, Crash, Normal, Refuse, Shutdown, Stop
from autonomics.supervisors import (
    count_children,
    delete_child,
    restart_child,
    snapshot,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.testing.stage import Event, Stage


async def test_one_for_all_stops_in_reverse_and_starts_in_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T02."""
    await stage.supervise(*map(stage.child, "abd"), strategy="one_for_all")
    stage.log.clear()
    await stage.crash("s/b")
    assert stage.log == [
        *("term:b:died", "term:d:shutdown", "term:a:shutdown"),
        *("init:a", "up:a", "init:b", "up:b", "init:d", "up:d"),
    ]


async def test_rest_for_one_restarts_who_stands_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T03."""
    await stage.supervise(*map(stage.child, "abde"), strategy="rest_for_one")
    a = stage.at("s/a")
    stage.log.clear()
    await stage.crash("s/b")
    assert stage.log == [
        *("term:b:died", "term:e:shutdown", "term:d:shutdown"),
        *("init:b", "up:b", "init:d", "up:d", "init:e", "up:e"),
    ]
    assert stage.at("s/a") is a


async def test_rest_for_one_at_both_ends(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-T04."""
    await stage.supervise(*map(stage.child, "ab"), strategy="rest_for_one")
    a = stage.at("s/a")
    stage.log.clear()
    await stage.crash("s/b")
    assert stage.log == ["term:b:died", "init:b", "up:b"]
    assert stage.at("s/a") is a
    stage.log.clear()
    await stage.crash("s/a")
    assert stage.log == ["term:a:died", "term:b:shutdown", "init:a", "up:a", "init:b", "up:b"]


async def test_a_group_restart_removes_temporary_bystanders(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T05."""
    temporary = stage.child("t", restart="temporary")
    root = await stage.supervise(
        stage.child("a"), temporary, stage.child("b"), strategy="one_for_all"
    )
    stage.log.clear()
    await stage.crash("s/a")
    assert stage.log == [
        *("term:a:died", "term:b:shutdown", "term:t:shutdown"),
        *("init:a", "up:a", "init:b", "up:b"),
    ]
    assert [child.id for child in await which_children(root)] == ["a", "b"]


async def test_a_temporary_child_in_front_of_the_crash_lives_on(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T05."""
    root = await stage.supervise(
        stage.child("t0", restart="temporary"),
        stage.child("a"),
        stage.child("t1", restart="temporary"),
        stage.child("b"),
        strategy="rest_for_one",
    )
    before = stage.at("s/t0")
    await stage.crash("s/a")
    assert [child.id for child in await which_children(root)] == ["t0", "a", "b"]
    assert stage.at("s/t0") is before


async def test_the_crash_of_a_temporary_child_restarts_nobody(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T06."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("t", restart="temporary"),
        stage.child("b"),
        strategy="one_for_all",
    )
    refs = stage.at("s/a"), stage.at("s/b")
    await stage.crash("s/t")
    assert (stage.at("s/a"), stage.at("s/b")) == refs
    assert [child.id for child in await which_children(root)] == ["a", "b"]


async def test_a_group_restart_revives_the_finished_and_the_stopped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T07."""
    root = await stage.supervise(
        stage.child("a"), stage.child("tr", restart="transient"), strategy="one_for_all"
    )
    stage.at("s/tr").cast(Stop(Normal()))
    await wait_all_tasks_blocked()
    assert stage.find("s/tr") is None
    await stage.crash("s/a")
    assert stage.at("s/tr").is_alive()
    await terminate_child(root, "tr")
    await stage.crash("s/a")
    assert stage.at("s/tr").is_alive()


async def test_one_for_one_leaves_the_finished_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T07."""
    await stage.supervise(stage.child("a"), stage.child("tr", restart="transient"))
    stage.at("s/tr").cast(Stop(Normal()))
    await stage.crash("s/a")
    assert stage.find("s/tr") is None


async def test_a_held_child_stays_stopped_until_it_is_restarted_by_name(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T07: the way out of reviving."""
    root = await stage.supervise(
        stage.child("a"), stage.child("h", held=True), strategy="one_for_all"
    )
    await terminate_child(root, "h")
    await stage.crash("s/a")
    assert stage.find("s/h") is None
    await restart_child(root, "h")
    await stage.crash("s/a")
    assert stage.at("s/h").is_alive()
    await stage.crash("s/h")
    assert stage.at("s/h").is_alive()


async def test_one_for_all_starts_over_when_another_child_fails_to_come_back(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T08."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, Refuse("nope"), None]),
        stage.child("d"),
        strategy="one_for_all",
        max_restarts=2,
    )
    stage.log.clear()
    await stage.crash("s/a")
    assert stage.log == [
        *("term:a:died", "term:d:shutdown", "term:b:shutdown"),
        *("init:a", "up:a", "init:b"),
        *("term:a:shutdown", "init:a", "up:a", "init:b", "up:b", "init:d", "up:d"),
    ]
    assert root.is_alive()
    await stage.crash("s/a")
    assert not root.is_alive()  # two were counted


async def test_rest_for_one_goes_on_at_the_child_that_fails_to_come_back(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T09."""
    await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, Refuse("nope"), None]),
        stage.child("d"),
        strategy="rest_for_one",
    )
    stage.log.clear()
    await stage.crash("s/a")
    assert stage.log == [
        *("term:a:died", "term:d:shutdown", "term:b:shutdown"),
        *("init:a", "up:a", "init:b", "init:b", "up:b", "init:d", "up:d"),
    ]


async def test_the_api_is_served_between_restart_attempts(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T10."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, 9.0], init_deadline_s=0.1),
        max_restarts=1000,
    )
    await stage.crash("s/b")
    await trio.sleep(0.03)
    began = trio.current_time()
    await which_children(root)
    assert trio.current_time() - began < 0.25
    assert stage.scripts["b"].starts > 1


async def test_a_child_in_the_restarting_state(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-T11."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, 9.0], init_deadline_s=0.01),
        stage.child("d"),
        strategy="rest_for_one",
        max_restarts=100_000,
    )
    await stage.crash("s/b")
    await trio.sleep(0.02)
    states = {child.id: child.state for child in await which_children(root)}
    assert states == {"a": "running", "b": "restarting", "d": "waiting"}
    counts = await count_children(root)
    assert (counts.specs, counts.active, counts.workers) == (3, 1, 3)
    refusals: list[tuple[Callable[[], Awaitable[object]], str]] = [
        (lambda: restart_child(root, "b"), "restarting"),
        (lambda: delete_child(root, "b"), "restarting"),
        (lambda: start_child(root, stage.child("b")), "already_present"),
    ]
    for refused, rule in refusals:
        with pytest.raises(ChildRefused) as refusal:
            await refused()
        assert refusal.value.rule == rule
    await terminate_child(root, "b")
    starts = stage.log.count("init:b")
    await trio.sleep(0.05)
    assert stage.log.count("init:b") == starts
    assert [child.ref is None for child in await which_children(root)] == [False, True, True]
    await delete_child(root, "b")
    await restart_child(root, "d")


async def test_a_stop_during_a_restart_loop_is_prompt(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T12."""
    root = await stage.supervise(
        stage.child("a"),
        stage.child("b", inits=[None, 9.0], init_deadline_s=0.2, grace_s=0.1),
        max_restarts=1_000_000,
    )
    await stage.crash("s/b")
    await trio.sleep(0.03)
    began = trio.current_time()
    assert await root.stop() == Shutdown()
    assert trio.current_time() - began < 0.5


async def test_a_stop_ends_a_loop_of_attempts_that_fail_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T12."""
    root = await stage.supervise(
        stage.child("b", inits=[None, Refuse("no")]), max_restarts=1_000_000
    )
    stage.at("s/b").cast(RuntimeError("died"))
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    assert stage.scripts["b"].starts > 2
    began = trio.current_time()
    assert await root.stop() == Shutdown()
    assert trio.current_time() == began


async def test_a_child_that_ignores_its_restart_stays_stopped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T13."""
    root = await stage.supervise(stage.child("a", inits=[None, IGNORE]), stage.child("b"))
    await stage.crash("s/a")
    (a, _) = await which_children(root)
    assert (a.ref, a.state) == (None, "stopped")
    await trio.sleep(60)
    assert stage.scripts["a"].starts == 2
    assert root.is_alive()


async def test_a_sibling_that_ends_badly_while_the_group_stops_is_only_reported(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-T14."""
    error = ValueError("other")
    root = await stage.supervise(
        stage.child("a", ending=error), stage.child("b"), strategy="one_for_all", max_restarts=1
    )
    await stage.crash("s/b")
    assert {child.state for child in await which_children(root)} == {"running"}
    reports = [fields for event, fields in events if event == "child.stopped_badly"]
    assert [(fields["child"], fields["reason"]) for fields in reports] == [("a", Crash(error))]
    assert [fields["child"] for event, fields in events if event == "child.exited"] == ["b"]
    assert (await snapshot(root)).restarts_left == 0


async def test_the_crash_of_a_freshly_restarted_sibling_counts_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-T15."""
    root = await stage.supervise(*map(stage.child, "ab"), strategy="one_for_all", max_restarts=2)
    await stage.crash("s/a")
    await stage.crash("s/b")
    assert root.is_alive()
    await stage.crash("s/a")
    assert not root.is_alive()


async def test_a_group_with_a_pause_is_down_during_the_pause(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(
        stage.child("a", spacing_s=1.0), stage.child("b"), strategy="rest_for_one"
    )
    await stage.crash("s/a")
    assert stage.find("s/b") is None
    await trio.sleep(1.5)
    assert {child.state for child in await which_children(root)} == {"running"}


async def test_a_stop_between_two_members_of_a_group_leaves_the_rest_down(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(
        stage.child("a", inits=[None, 0.5]), stage.child("b"), strategy="one_for_all"
    )
    await stage.crash("s/a")
    assert stage.scripts["a"].starts == 2
    assert await root.stop() == Shutdown()
    assert stage.scripts["b"].starts == 1
