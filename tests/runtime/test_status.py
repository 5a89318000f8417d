"""The status of one actor: read beside it, so nothing that it does can hide it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import NoSuchActor
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    ActorRef,
    ActorStatus,
    AddHandler,
    Call,
    Continue,
    Crash,
    EventHandler,
    EventManager,
    Go,
    Groups,
    InHand,
    Initial,
    Notify,
    ReplyTo,
    Shutdown,
    StateEvent,
    StateMachine,
    Stop,
    UniqueRegistry,
    Worker,
    install_hook,
    open_runtime,
    status,
    suspend,
)
from autonomics.runtime.host import RootLimits
from autonomics.runtime.incarnation import launch
from autonomics.supervisors import ChildSpec, Supervisor
from autonomics.telemetry import listening
from autonomics.testing.stage import Stage


@attrs.frozen
class Wait(Call[str]):
    """Wait for the gate, then answer."""


WAIT = Wait()  # one for all, as many a message that carries nothing


@attrs.frozen
class Secret:
    word: str


class Gated(Actor):
    """Handles everything behind a gate, and shows nothing but how many it has let through."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.passed = 0

    async def init(self) -> Continue | None:
        return None

    async def pass_gate(self) -> None:
        await self.gate.wait()
        self.passed += 1

    async def handle_continue(self, message: object) -> None:
        await self.pass_gate()

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        await self.pass_gate()
        return "through"

    async def handle_cast(self, message: object) -> None:
        await self.pass_gate()

    async def handle_info(self, message: object) -> None:
        await self.pass_gate()

    def describe(self) -> object:
        return {"passed": self.passed}


class Asking(Worker):
    """Calls another actor and waits as long as it takes."""

    def __init__(self, callee: ActorRef) -> None:
        self._callee = callee

    async def run(self, started: Callable[[], None]) -> None:
        started()
        await self._callee.call(WAIT, timeout_s=3600)


def functions(seen: ActorStatus) -> list[str]:
    return [line.rpartition(" ")[2] for line in seen.stack]


async def test_an_idle_actor_waits_for_mail_and_has_nothing_in_hand(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref = await stage.runtime.start(Gated, id="a", name="gated")
    await trio.sleep(7)
    seen = status(ref)
    assert (seen.path, seen.name, seen.kind, seen.type) == ("a", "gated", "actor", "Gated")
    assert (seen.state, seen.stop_asked, seen.exit_reason) == ("running", None, None)
    assert seen.age_s == pytest.approx(7, abs=0.1)
    assert seen.in_hand is None
    assert seen.mailbox.depth == seen.pending_replies == 0
    assert (seen.waits_for, seen.monitors, seen.monitored_by, seen.links) == ((), (), (), ())
    assert (seen.timers, seen.keys, seen.is_suspended) == ((), (), False)
    assert seen.detail == {"passed": 0}
    # All of it is the runtime's, so nothing is left out.
    assert functions(seen)[:2] == ["Incarnation.run", "Actor._serve"]
    assert status(stage.runtime.named("gated")) == attrs.evolve(seen, age_s=status(ref).age_s)


async def test_a_busy_actor_shows_its_message_who_waits_for_it_and_where_it_stands(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref = await stage.runtime.start(Gated, name="gated")
    asking = await stage.runtime.start(lambda: Asking(ref), name="asking")
    await wait_all_tasks_blocked()
    await stage.runtime.start(lambda: Asking(ref), name="another")
    await wait_all_tasks_blocked()
    ref.cast(Secret("not shown"))
    ref.cast(Secret("not shown"))
    seen = status(ref)
    assert seen.in_hand == InHand("call", "Wait", "asking")
    assert seen.pending_replies == 2
    assert seen.mailbox.depth == 3
    assert functions(seen)[:2] == ["Gated.handle_call", "Gated.pass_gate"]
    assert seen.stack[0].startswith(f"{__file__}:")
    assert "not shown" not in repr(seen)
    assert status(asking).waits_for == ("gated",)
    assert functions(status(asking))[0] == "Asking.run"


async def test_a_message_that_nobody_waits_for_has_no_client(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref, other = await stage.runtime.start(Gated), await stage.runtime.start(Gated)
    ref.cast(Secret("x"))
    stage.runtime.send_after(0, other, Secret("x"))
    await wait_all_tasks_blocked()
    assert status(ref).in_hand == InHand("cast", "Secret", None)
    assert status(other).in_hand == InHand("info", "Secret", None)


async def test_a_continue_step_is_in_hand_too(autojump_clock: MockClock, stage: Stage) -> None:
    class Later(Gated):
        async def init(self) -> Continue:
            return Continue(Secret("x"))

    ref = await stage.runtime.start(Later)
    await wait_all_tasks_blocked()
    assert status(ref).in_hand == InHand("continue", "Secret", None)


async def test_between_two_messages_of_a_flood_there_is_none_in_hand(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """After 32 messages an actor lets others run, with the last of them done."""

    class Quick(Actor):
        handled = 0

        def handle_cast(self, message: object) -> None:
            self.handled += 1

    ref = await stage.runtime.start(Quick)
    for _ in range(100):
        ref.cast("x")
    with trio.fail_after(10):
        while not status(ref).mailbox.handled:
            await trio.lowlevel.checkpoint()
    assert 0 < status(ref).mailbox.depth < 100
    assert status(ref).in_hand is None


async def test_what_an_actor_shows_of_its_messages_is_up_to_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Open(Gated):
        def describe_message(self, message: object) -> object:
            assert isinstance(message, Secret)
            return message.word[0]

    class Broken(Gated):
        def describe_message(self, message: object) -> object:
            raise ValueError("mine")

        def describe(self) -> object:
            raise LookupError("mine too")

    for actor, shown in ((Open, "w"), (Broken, "describe_message failed: ValueError('mine')")):
        ref = await stage.runtime.start(actor)
        ref.cast(Secret("word"))
        await wait_all_tasks_blocked()
        assert status(ref).in_hand == InHand("cast", shown, None)
    assert status(ref).detail == "describe failed: LookupError('mine too')"


async def test_a_call_whose_messages_are_traced_keeps_its_client(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref = await stage.runtime.start(Gated)
    await install_hook(ref, "look", lambda _: None)
    await stage.runtime.start(lambda: Asking(ref), name="asking")
    await wait_all_tasks_blocked()
    await stage.runtime.start(lambda: Asking(ref), name="another")
    await wait_all_tasks_blocked()
    assert status(ref).in_hand == InHand("call", "Wait", "asking")


async def test_a_client_that_is_no_actor_has_no_path(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    ref = await stage.runtime.start(Gated)
    nursery.start_soon(ref.call, Wait(), 3600)
    await wait_all_tasks_blocked()
    assert status(ref).in_hand == InHand("call", "Wait", None)
    assert status(ref).pending_replies == 1
    nursery.cancel_scope.cancel()


async def test_a_suspended_actor_says_so(autojump_clock: MockClock, stage: Stage) -> None:
    ref = await stage.runtime.start(Gated)
    await suspend(ref)
    ref.cast("x")
    await wait_all_tasks_blocked()
    assert status(ref).is_suspended
    assert status(ref).in_hand is None
    assert status(ref).mailbox.depth == 1


async def test_what_an_actor_has_elsewhere_is_listed(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry: UniqueRegistry[None] = UniqueRegistry(stage.runtime)
    groups = Groups()

    class Social(Gated):
        async def init(self) -> None:
            other.monitor()
            self.link(other)
            self.send_after(20, "late")
            self.send_every(10, "soon")
            registry.register(("a", "key"), None)
            groups.join("group")

    other = await stage.runtime.start(Gated, name="other")
    ref = await stage.runtime.start(Social, name="social")
    seen, seen_other = status(ref), status(other)
    assert (seen.monitors, seen_other.monitored_by) == (("other",), ("social",))
    assert (seen.links, seen_other.links) == (("other",), ("social",))
    assert seen.timers == pytest.approx((10, 20), abs=0.1)
    assert seen.keys == (("a", "key"), "group")


async def test_an_actor_that_looks_at_itself_sees_the_stack_it_runs_on(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Mirror(Actor):
        async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
            return self.look()

        def look(self) -> ActorStatus:
            return status(self.ref)

    class PlainMirror(Mirror):
        def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> Any:
            return self.look()

    for mirror, names in (
        (Mirror, ["Mirror.handle_call", "Mirror.look"]),
        # Here it runs on the stack of its caller, which is this test.
        (PlainMirror, ["PlainMirror.handle_call", "Mirror.look"]),
    ):
        seen: Any = await (await stage.runtime.start(mirror)).call(Wait())
        prefix = len("test_an_actor_that_looks_at_itself_sees_the_stack_it_runs_on.<locals>.")
        assert [name[prefix:] for name in functions(seen)] == names
        assert seen.in_hand == InHand("call", "Wait", None)


async def test_an_actor_that_starts_waits_in_its_init(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Slow(Actor):
        async def init(self) -> None:
            await trio.sleep(3)

    runtime, limits = stage.runtime, RootLimits(1, 1, 1)
    ref = launch(
        runtime, runtime.nursery, Slow, path="slow", name=None, owner=runtime, limits=limits
    ).ref
    # Its task is there, and has not had a step yet.
    assert status(ref).state == "starting"
    assert status(ref).stack == ()
    await wait_all_tasks_blocked()
    assert functions(status(ref))[0].endswith("Slow.init")
    ref.kill()


async def test_the_dead_have_a_reason_and_no_stack(autojump_clock: MockClock, stage: Stage) -> None:
    ref = await stage.runtime.start(stage.script("a"), name="a")
    error = RuntimeError("mine")
    ref.cast(error)
    await ref.wait_down()
    seen = status(ref)
    assert (seen.state, seen.age_s, seen.stack, seen.in_hand) == ("dead", None, (), None)
    assert seen.exit_reason == Crash(error)
    with pytest.raises(NoSuchActor):
        status(stage.runtime.named("a"))


async def test_a_zombie_and_its_successor_are_told_apart(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Deaf(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            with trio.CancelScope(shield=True):
                await self.hang()

        async def hang(self) -> None:
            await trio.sleep(100)

    class Heir(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.sleep_forever()

    first = await stage.runtime.start(Deaf, id="w")
    with pytest.raises(Exception, match="zombie"):
        await first.stop(grace_s=1)
    second = await stage.runtime.start(Heir, id="w")
    assert status(first).state == "zombie"
    assert status(first).stop_asked == Shutdown()
    assert [name.rpartition(".")[2] for name in functions(status(first))][:2] == ["run", "hang"]
    assert status(second).state == "running"
    assert functions(status(second))[0].endswith("Heir.run")


async def test_a_supervisor_and_its_children_deep_in_the_tree_are_found(
    autojump_clock: MockClock, stage: Stage
) -> None:
    gated = ChildSpec(id="gated", start=Gated)
    inner = ChildSpec(id="inner", start=lambda: Supervisor([gated]))
    root = await stage.runtime.start(lambda: Supervisor([inner]), name="root")
    ref = stage.at("root/inner/gated")
    ref.cast("x")
    await wait_all_tasks_blocked()
    assert status(root).kind == "supervisor"
    assert "Parent.live" in functions(status(root))
    assert status(ref).in_hand == InHand("cast", "str", None)
    assert functions(status(ref))[0] == "Gated.handle_cast"


async def test_a_supervisor_that_waits_for_a_child_says_for_which(
    autojump_clock: MockClock, stage: Stage, nursery: trio.Nursery
) -> None:
    root = await stage.supervise(stage.child("a", ending=50, grace_s=100))
    nursery.start_soon(root.stop)
    await wait_all_tasks_blocked()
    assert status(root).waits_for == ("s/a",)
    assert status(root).state == status(stage.at("s/a")).state == "stopping"


async def test_state_machines_and_event_managers_show_what_they_describe(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Door(StateMachine[str, int]):
        states = str

        async def begin(self) -> Initial[str, int]:
            return Initial("closed", data=0)

        async def handle_event(self, event: StateEvent, state: str, data: int) -> Go[str, int]:
            await trio.sleep(10)
            return Go("open", data=data + 1)

        def show(self, state: str, data: int) -> object:
            return state

    class Slow(EventHandler):
        async def handle_event(self, event: object) -> None:
            await trio.sleep(10)

    door = await stage.runtime.start(Door)
    door.cast("push")
    manager = await stage.runtime.start(EventManager)
    await manager.call(AddHandler("slow", Slow()))
    manager.cast(Notify("x"))
    await wait_all_tasks_blocked()
    assert getattr(status(door).detail, "shown", None) == "closed"
    assert status(door).in_hand == InHand("cast", "str", None)
    assert functions(status(door))[0].endswith("Door.handle_event")
    assert status(manager).detail == ("slow",)
    assert status(manager).in_hand == InHand("cast", "Notify", None)


async def test_a_message_with_a_deferred_reply_is_not_in_hand_but_pending(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Deferring(Actor):
        async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
            await trio.lowlevel.checkpoint()
            return NO_REPLY

    ref = await stage.runtime.start(Deferring)
    await stage.runtime.start(lambda: Asking(ref))
    await wait_all_tasks_blocked()
    assert status(ref).in_hand is None
    assert status(ref).pending_replies == 1


async def test_an_actor_in_its_terminate_has_no_message_in_hand(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Leaving(Actor):
        async def handle_cast(self, message: object) -> Stop:
            await trio.lowlevel.checkpoint()
            return Stop()

        async def terminate(self, reason: object) -> None:
            await trio.sleep(1)

    ref = await stage.runtime.start(Leaving)
    ref.cast("x")
    await wait_all_tasks_blocked()
    assert functions(status(ref))[0].endswith("Leaving.terminate")
    assert status(ref).in_hand is None


async def test_who_blocks_the_loop_is_seen_from_the_thread_that_noticed() -> None:
    """A real clock, as everywhere with threads."""
    seen: list[ActorStatus] = []
    ended = threading.Event()

    def listen(event: str, fields: Mapping[str, object]) -> None:
        if event == "runtime.blocked" and fields["path"] == "blocker":
            seen.append(status(runtime.named("blocker")))
            ended.set()

    class Blocker(Actor):
        async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
            return self.block()

        def block(self) -> str:
            assert ended.wait(60)
            return "over"

    with listening("looker", listen):
        async with open_runtime(blocked_after_s=0.1) as runtime:
            ref = await runtime.start(Blocker, name="blocker")
            assert await ref.call(Wait(), timeout_s=60) == "over"
    assert seen[0].in_hand == InHand("call", "Wait", None)
    assert [name.rpartition(".")[2] for name in functions(seen[0])[:2]] == ["handle_call", "block"]


async def test_the_stack_keeps_its_innermost_thirty_lines(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Deep(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await self.sink(100)

        async def sink(self, depth: int) -> None:
            if depth:
                await self.sink(depth - 1)
            else:
                await trio.sleep_forever()

    seen = status(await stage.runtime.start(Deep))
    assert len(seen.stack) == 30
    assert functions(seen)[-2] == "wait_task_rescheduled"
