from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import Refuse, Shutdown, resume, suspend
from autonomics.supervisors import restart_child, snapshot, terminate_child, which_children
from autonomics.testing.stage import Event, Stage, recording


async def test_intensity_zero_gives_up_at_the_first_crash(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I01."""
    root = await stage.supervise(*map(stage.child, "abd"), max_restarts=0)
    stage.log.clear()
    await stage.crash("s/b")
    assert await root.wait_down() == Shutdown("restart_intensity")
    assert stage.log == ["term:b:died", "term:d:shutdown", "term:a:shutdown"]


async def test_the_limit_is_more_than_and_not_at_least(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I02."""
    root = await stage.supervise(stage.child("a"), max_restarts=3, within_s=60)
    for _ in range(3):
        await stage.crash("s/a")
    assert root.is_alive()
    assert stage.log.count("init:a") == 4
    with recording() as events:
        await stage.crash("s/a")
    assert not root.is_alive()
    assert stage.log.count("init:a") == 4
    gave_up = {"path": "s", "child": "a", "rule": "restart_intensity", "used": 4, "limit": 3}
    assert ("supervisor.gave_up", gave_up) in events


@pytest.mark.parametrize(("later_s", "survives"), [(10.0, False), (10.25, True)])
async def test_the_window_edge_is_inclusive(
    autojump_clock: MockClock, stage: Stage, later_s: Any, survives: Any
) -> None:
    """SUP-I03: a restart exactly as old as the window still counts."""
    root = await stage.supervise(stage.child("a"), max_restarts=1, within_s=10)
    # Whole numbers and quarters: the sum of a clock's reading and these is exact.
    await trio.sleep_until(float(int(trio.current_time()) + 1))
    first = trio.current_time()
    await stage.crash("s/a")
    await trio.sleep_until(first + later_s)
    await stage.crash("s/a")
    assert root.is_alive() is survives


async def test_spaced_crashes_never_escalate(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-I04."""
    root = await stage.supervise(stage.child("a"), max_restarts=1, within_s=1)
    for _ in range(3):
        await stage.crash("s/a")
        await trio.sleep(2.1)
    assert root.is_alive()


async def test_the_window_forgets_restarts_one_by_one(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I05."""
    root = await stage.supervise(stage.child("a"), max_restarts=2, within_s=3)
    began = trio.current_time()
    for at_s in (0.0, 2.5, 4.5):
        await trio.sleep_until(began + at_s)
        await stage.crash("s/a")
    assert root.is_alive()
    await trio.sleep_until(began + 5)
    await stage.crash("s/a")
    assert not root.is_alive()


async def test_failed_attempts_spend_the_budget_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I06."""
    root = await stage.supervise(
        stage.child("a", inits=[None, Refuse("nope")]), stage.child("b"), max_restarts=3
    )
    stage.log.clear()
    await stage.crash("s/a")
    assert await root.wait_down() == Shutdown("restart_intensity")
    assert stage.log.count("init:a") == 3
    terminations = [line for line in stage.log if line.startswith("term")]
    assert terminations == ["term:a:died", "term:b:shutdown"]


async def test_the_budget_belongs_to_the_supervisor_and_not_to_the_child(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I08."""
    root = await stage.supervise(stage.child("a"), stage.child("b"), max_restarts=1)
    await stage.crash("s/a")
    assert root.is_alive()
    await stage.crash("s/b")
    assert not root.is_alive()


async def test_simultaneous_crashes_under_one_for_all_cost_one(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I09."""
    root = await stage.supervise(
        stage.child("a"), stage.child("b"), strategy="one_for_all", max_restarts=1
    )
    await suspend(root)
    await stage.crash("s/a", "s/b")
    assert stage.find("s/a") is stage.find("s/b") is None
    await resume(root)
    await wait_all_tasks_blocked()
    assert {child.state for child in await which_children(root)} == {"running"}
    assert (await snapshot(root)).restarts_left == 0


async def test_simultaneous_crashes_under_one_for_one_cost_two(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I10."""
    root = await stage.supervise(stage.child("a"), stage.child("b"), max_restarts=1)
    await suspend(root)
    await stage.crash("s/a", "s/b")
    assert root.is_alive()
    await resume(root)
    assert await root.wait_down() == Shutdown("restart_intensity")


async def test_a_transient_supervisor_that_gives_up_is_not_restarted(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-I12: giving up is a clean end; the event is for the operator."""
    sub = stage.sub("sub", stage.child("x"), max_restarts=0, spec={"restart": "transient"})
    root = await stage.supervise(sub)
    await stage.crash("s/sub/x")
    assert root.is_alive()
    (sub_node,) = (await snapshot(root)).children
    assert (sub_node.state, sub_node.last_exit) == ("stopped", Shutdown("restart_intensity"))
    assert [fields["path"] for event, fields in events if event == "supervisor.gave_up"] == [
        "s/sub"
    ]


async def test_what_an_operator_does_is_free(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-I13."""
    root = await stage.supervise(stage.child("a"), max_restarts=0)
    for _ in range(5):
        await terminate_child(root, "a")
        await restart_child(root, "a")
    assert stage.at("s/a").is_alive()


async def test_a_restart_is_immediate(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-I14."""
    await stage.supervise(stage.child("a"), max_restarts=50)
    began = trio.current_time()
    for _ in range(50):
        await stage.crash("s/a")
    assert stage.scripts["a"].starts == 51
    assert trio.current_time() == began


async def test_a_pause_between_restarts_grows_and_does_not_block_the_supervisor(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I14, TRI-25: spacing is a delayed retry."""
    spec = stage.child("a", inits=[None, Refuse("no"), Refuse("no"), None], spacing_s=1.0)
    root = await stage.supervise(spec, max_restarts=9)
    began = trio.current_time()
    await stage.crash("s/a")
    (info,) = await which_children(root)
    assert info.state == "restarting"
    assert trio.current_time() == began
    while stage.find("s/a") is None:
        await trio.sleep(0.5)
    assert trio.current_time() - began == pytest.approx(1 + 2 + 4, abs=0.6)


async def test_the_pause_is_capped_and_starts_over_once_the_child_has_proved_itself(
    autojump_clock: MockClock, stage: Stage
) -> None:
    spec = stage.child("a", spacing_s=1.0, spacing_most_s=2.0)
    await stage.supervise(spec, max_restarts=99)
    pauses: list[float] = []
    for lives_s in (0.0, 0.0, 0.0, 2.5):
        await trio.sleep(lives_s)
        began = trio.current_time()
        await stage.crash("s/a")
        while stage.find("s/a") is None:
            await trio.sleep(0.25)
        pauses.append(trio.current_time() - began)
    assert pauses == pytest.approx([1, 2, 2, 1], abs=0.3)


async def test_a_child_without_budget_is_started_for_ever(
    autojump_clock: MockClock, stage: Stage
) -> None:
    spec = stage.child("a", inits=[None, Refuse("no")], spacing_s=1.0, spends_budget=False)
    root = await stage.supervise(spec, max_restarts=0)
    await stage.crash("s/a")
    await trio.sleep(300)
    assert root.is_alive()
    assert stage.scripts["a"].starts > 10


async def test_slow_failing_restarts_end_by_the_guard_on_failures_in_a_row(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-I15: the window alone never fills."""

    root = await stage.supervise(
        stage.child("a", inits=[None, 1.1], init_deadline_s=1.05), max_restarts=2, within_s=1
    )
    began = trio.current_time()
    await stage.crash("s/a")
    assert await root.wait_down() == Shutdown("failed_starts")
    assert stage.scripts["a"].starts == 1 + 3
    assert trio.current_time() - began < 7
    (fields,) = [fields for event, fields in events if event == "supervisor.gave_up"]
    assert (fields["rule"], fields["used"], fields["limit"]) == ("failed_starts", 3, 2)


async def test_a_crash_and_a_failed_attempt_share_the_budget(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-I16."""
    root = await stage.supervise(stage.child("a", inits=[None, Refuse("no"), None]), max_restarts=2)
    await stage.crash("s/a")
    assert stage.at("s/a").is_alive()
    await stage.crash("s/a")
    assert not root.is_alive()
