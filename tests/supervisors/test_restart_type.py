from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.runtime import Normal, ReplyTo, Shutdown, Stop, is_clean
from autonomics.supervisors import start_child, which_children
from autonomics.testing.scripted import Ask, ScriptedActor
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

    async def write(actor: ScriptedActor) -> None:
        actor.state = 5  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    async def read(actor: ScriptedActor, _: ReplyTo) -> object:
        return getattr(actor, "state", None)

    async def be_busy(_: ScriptedActor) -> None:
        await trio.sleep(0.06)

    first.cast(write)
    assert await first.call(Ask(read)) == 5
    first.cast(be_busy)
    first.cast(RuntimeError("died"))
    for message in ("m1", "m2", "m3"):
        first.cast(message)
    await trio.sleep(0.1)
    assert stage.at("s/a") is not first
    assert await stage.at("s/a").call(Ask(read)) is None
    assert stage.log == ["init:a", "up:a", "term:a:died", "init:a", "up:a"]
    assert stage.runtime.statistics().dead_letters == 3
