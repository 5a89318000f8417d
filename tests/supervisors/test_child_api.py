from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    ChildRefused,
    InvalidInput,
    InvalidSpec,
    NoSuchActor,
    StartFailed,
    WouldDeadlock,
)
from autonomics.runtime import IGNORE, ActorRef, AlreadyStarted, Call, Crash
from autonomics.supervisors import (
    ChildSpec,
    count_children,
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    terminate_child,
    which_child,
    which_children,
)
from autonomics.testing.scripted import Script, ScriptedActor
from autonomics.testing.stage import Event, Stage


async def ids(root: Any) -> list[str]:
    return [child.id for child in await which_children(root)]


async def test_a_started_child_goes_behind_the_others(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-A01."""
    root = await stage.supervise(stage.child("a"), stage.child("b"))
    await start_child(root, stage.child("d"))
    assert await ids(root) == ["a", "b", "d"]
    stage.log.clear()
    await root.stop()
    assert stage.log == ["term:d:shutdown", "term:b:shutdown", "term:a:shutdown"]


async def test_terminating_a_child_keeps_its_spec_and_may_be_repeated(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-A04."""
    root = await stage.supervise(stage.child("a"), stage.child("b"), max_restarts=0)
    a, b = stage.at("s/a"), stage.at("s/b")
    stage.log.clear()
    await terminate_child(root, "a")
    assert stage.log == ["term:a:shutdown"]
    assert not a.is_alive()
    await terminate_child(root, "a")
    await trio.sleep(0.05)
    infos = {child.id: child for child in await which_children(root)}
    assert infos["a"].ref is None
    assert infos["b"].ref is b
    for unknown in ("q", b):
        with pytest.raises(ChildRefused) as refusal:
            await terminate_child(root, unknown)
        assert refusal.value.rule == "not_found"
    assert b.is_alive()


async def test_restarting_a_child_keeps_its_place(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-A06."""
    root = await stage.supervise(*map(stage.child, "abd"), strategy="rest_for_one", max_restarts=0)
    for id_, rule in [("b", "running"), ("q", "not_found")]:
        with pytest.raises(ChildRefused) as refusal:
            await restart_child(root, id_)
        assert refusal.value.rule == rule
    before = stage.at("s/a"), stage.at("s/b"), stage.at("s/d")
    await terminate_child(root, "b")
    ref = await restart_child(root, "b")
    assert ref is stage.at("s/b")
    assert ref is not before[1]
    assert (stage.at("s/a"), stage.at("s/d")) == (before[0], before[2])
    assert await ids(root) == ["a", "b", "d"]


async def test_only_a_stopped_child_can_be_deleted(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-A08."""
    root = await stage.supervise(stage.child("a"))
    for id_, rule in [("a", "running"), ("q", "not_found")]:
        with pytest.raises(ChildRefused) as refusal:
            await delete_child(root, id_)
        assert refusal.value.rule == rule
    await terminate_child(root, "a")
    await delete_child(root, "a")
    assert await ids(root) == []
    assert (await start_child(root, stage.child("a"))).is_alive()


async def test_asking_a_supervisor_that_is_not_there_fails_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-A09."""
    began = trio.current_time()
    with pytest.raises(NoSuchActor):
        await which_children(stage.runtime.named("nobody"))
    assert trio.current_time() == began


async def test_a_child_that_calls_its_supervisor_during_init_fails_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-A11."""

    class Caller(ScriptedActor):
        async def init(self) -> Any:
            await which_children(self.runtime.named("s"))

    root = await stage.supervise()
    began = trio.current_time()
    with pytest.raises(StartFailed) as failure:
        await start_child(root, ChildSpec(id="x", start=Script("x", actor=Caller)))
    assert isinstance(failure.value.reason, Crash)
    assert isinstance(failure.value.reason.error, WouldDeadlock)
    assert trio.current_time() == began
    assert await ids(root) == []


async def test_a_child_that_calls_its_supervisor_while_it_is_stopped_fails_at_once(
    autojump_clock: MockClock, stage: Stage
) -> None:
    async def call_up() -> None:
        await which_children(stage.runtime.named("s"))

    root = await stage.supervise(stage.child("a", ending=call_up))
    began = trio.current_time()
    a = stage.at("s/a")
    await terminate_child(root, "a")
    assert trio.current_time() == began
    reason = await a.wait_down()
    assert isinstance(reason, Crash)
    assert isinstance(reason.error, WouldDeadlock)


async def test_stray_messages_do_not_harm_a_supervisor(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-A12."""
    root = await stage.supervise(stage.child("a"))
    root.cast("zzz")
    stage.runtime.send_after(0, root, b"zzz")
    await trio.sleep(0.01)
    stray = [fields for event, fields in events if event == "actor.unexpected_message"]
    assert stray == [
        {"path": "s", "message_type": "str"},
        {"path": "s", "message_type": "bytes"},
    ]

    @attrs.frozen
    class Strange(Call[int]): ...

    with pytest.raises(InvalidInput, match="a call to a supervisor"):
        await root.call(Strange())
    assert stage.at("s/a").is_alive()


async def test_a_spec_can_be_read_back_with_its_defaults(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-A13."""
    spec = ChildSpec(id="a", start=stage.script("a"))
    root = await stage.supervise(spec)
    assert await get_childspec(root, "a") == spec
    assert await get_childspec(root, stage.at("s/a")) == spec
    read = attrs.asdict(await get_childspec(root, "a"), recurse=False)
    assert read == {
        "id": "a",
        "start": spec.start,
        "restart": "permanent",
        "grace_s": 5.0,
        "init_deadline_s": 5.0,
        "confirm_s": 1.0,
        "name": None,
        "significant": False,
        "held": False,
        "spacing_s": 0.0,
        "spacing_most_s": 30.0,
        "spends_budget": True,
        "beside_zombie": False,
    }
    for key in ("a", stage.at("s/a")):
        info = await which_child(root, key)
        assert (info.id, info.ref, info.kind) == ("a", stage.at("s/a"), "actor")
    for ask in (get_childspec, which_child):
        with pytest.raises(ChildRefused) as refusal:
            await ask(root, "q")
        assert refusal.value.rule == "not_found"


async def test_a_child_that_fails_to_start_is_not_kept(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise()
    with pytest.raises(StartFailed):
        await start_child(root, stage.child("a", inits=[ValueError("no")]))
    assert await ids(root) == []


async def test_starting_a_known_child_again_is_refused(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(stage.child("a"))
    with pytest.raises(ChildRefused, match="already_started"):
        await start_child(root, stage.child("a"))
    await terminate_child(root, "a")
    with pytest.raises(ChildRefused, match="already_present"):
        await start_child(root, stage.child("a"))


async def test_what_init_ignored_is_kept_unless_temporary(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S09."""
    root = await stage.supervise()
    for id_, restart in [("x", "temporary"), ("y", "permanent")]:
        with pytest.raises(StartFailed) as failure:
            await start_child(root, stage.child(id_, restart=restart, inits=[IGNORE]))
        assert failure.value.reason == IGNORE
    assert await ids(root) == ["y"]


async def test_a_significant_child_is_refused_where_nothing_could_follow(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-X10: a permanent one can't even be written down."""
    root = await stage.supervise()
    other = await stage.supervise(auto_shutdown="any_significant", name="other")
    spec = stage.child("a", restart="transient", significant=True)
    with pytest.raises(InvalidSpec, match="auto_shutdown is 'never'"):
        await start_child(root, spec)
    with pytest.raises(InvalidSpec, match="it is permanent and never ends for good"):
        await start_child(other, stage.child("a", restart="permanent", significant=True))
    assert stage.log == []
    assert root.is_alive()
    assert other.is_alive()


async def test_two_children_can_not_have_one_name(autojump_clock: MockClock, stage: Stage) -> None:
    """REG-11."""
    with pytest.raises(StartFailed, match="AlreadyStarted"):
        await stage.supervise(stage.child("a", name="rn2"), stage.child("b", name="rn2"))
    assert stage.runtime.whereis("rn2") is None
    root = await stage.supervise(stage.child("a", name="rn2"))
    with pytest.raises(StartFailed) as failure:
        await start_child(root, stage.child("b", name="rn2"))
    assert failure.value.reason == AlreadyStarted("rn2", "s/a")
    assert await ids(root) == ["a"]


async def test_a_fixed_name_finds_each_new_incarnation(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-10."""
    await stage.supervise(stage.child("a", name="rn"))
    seen: set[ActorRef | None] = set()
    for _ in range(3):
        ref = stage.runtime.whereis("rn")
        assert ref is not None
        assert ref is stage.at("s/a")
        seen.add(ref)
        ref.kill()
        await wait_all_tasks_blocked()
    assert len(seen) == 3
    assert stage.runtime.whereis("rn") not in seen


async def test_children_are_counted_by_kind(autojump_clock: MockClock, stage: Stage) -> None:
    root = await stage.supervise(stage.child("a"), stage.sub("sub"), stage.child("c"))
    await terminate_child(root, "c")
    counts = await count_children(root)
    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (3, 2, 1, 2)
