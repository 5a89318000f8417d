from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import Normal, Shutdown, Stop, is_clean
from autonomics.supervisors import start_child, which_children
from autonomics.testing.scripted import Ask
from autonomics.testing.stage import Stage

ENDS: dict[str, Any] = {
    "normal": Stop(Normal()),
    "shutdown": Stop(Shutdown()),
    "shutdown(x)": Stop(Shutdown("x")),
    "died": RuntimeError("died"),
    "killed": None,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_the_restart_type_and_the_reason_decide_together(
    autojump_clock: MockClock, stage: Stage, restart: Any, end: Any
) -> None:
    """SUP-R01: the matrix, and that only real restarts spend the budget."""
    root = await stage.supervise(stage.child("a", restart=restart), max_restarts=1)
    first = stage.at("s/a")
    if ENDS[end] is None:
        first.kill()
    else:
        first.cast(ENDS[end])
    reason = await first.wait_down()
    await wait_all_tasks_blocked()
    restarts = restart == "permanent" or (restart == "transient" and not is_clean(reason))
    children = {child.id: child.ref for child in await which_children(root)}
    if restarts:
        assert children == {"a": stage.at("s/a")}
        assert children["a"] is not first
    else:
        assert children == ({"a": None} if restart == "transient" else {})
    await start_child(root, stage.child("probe"))
    await stage.crash("s/probe")
    assert root.is_alive() is not restarts


async def test_state_and_queued_messages_do_not_survive_a_restart(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-R02."""
    await stage.supervise(stage.child("a"))
    first = stage.at("s/a")
    assert await first.call(Ask("state of the first")) == "state of the first"
    first.cast(RuntimeError("died"))
    for message in ("m1", "m2", "m3"):
        first.cast(message)
    await wait_all_tasks_blocked()
    assert stage.at("s/a") is not first
    assert stage.log == ["init:a", "up:a", "term:a:died", "init:a", "up:a"]
    assert stage.runtime.statistics().dead_letters == 3
