"""System commands, hooks, and what a crash reports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import CallFailed, CallingSelf, CallTimedOut, InvalidInput, NoSuchActor
from autonomics.runtime import (
    DONE,
    NO_REPLY,
    Actor,
    ActorRef,
    Call,
    Continue,
    CrashReport,
    Go,
    HookEvent,
    HookLog,
    Initial,
    Keep,
    MailboxSpec,
    Normal,
    ReplyTo,
    Shutdown,
    StateEvent,
    StateMachine,
    Stop,
    Worker,
    get_state,
    install_hook,
    open_runtime,
    remove_hook,
    remove_hooks,
    replace_state,
    resume,
    suspend,
)
from autonomics.supervisors import start_child
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage


@attrs.frozen
class Get(Call[int]):
    pass


@attrs.frozen
class Later(Call[int]):
    pass


class Holder(Actor):
    """Holds a number; `PlainRegister` answers on its caller's stack, `Register` never."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=2)

    def __init__(self) -> None:
        self.value = 0
        self.asked_later: ReplyTo | None = None

    async def handle_cast(self, message: object) -> Stop | None:
        if isinstance(message, Exception):
            raise message
        assert isinstance(message, int)
        self.value = message
        if self.asked_later is not None:
            self.asked_later.reply(message)
        return None

    def describe(self) -> object:
        return {"value": self.value}

    def describe_message(self, message: object) -> object:
        return message if isinstance(message, int) else type(message).__name__


class Register(Holder):
    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        if isinstance(message, Later):
            self.asked_later = reply_to
            return NO_REPLY
        return self.value


class PlainRegister(Holder):
    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        return self.value


BOTH = pytest.mark.parametrize("register", [Register, PlainRegister])


@BOTH
async def test_a_suspended_actor_handles_no_mail_but_system_commands(
    autojump_clock: MockClock, stage: Stage, register: type[Holder]
) -> None:
    """SYS-01."""
    a = await stage.runtime.start(register, name="a")
    await suspend(a)
    await suspend(a)
    with pytest.raises(CallTimedOut):
        await a.call(Get(), timeout_s=0.05)
    a.cast(7)
    assert await get_state(a) == {"value": 0}
    await resume(a)
    await resume(stage.runtime.named("a"))
    assert await a.call(Get()) == 7
    assert await get_state(a) == {"value": 7}


@BOTH
async def test_a_suspended_actor_obeys_a_stop(
    autojump_clock: MockClock, stage: Stage, register: type[Holder]
) -> None:
    """SYS-05."""
    a = await stage.runtime.start(register, name="a")
    await suspend(a)
    a.cast(1)
    assert await a.stop(Shutdown("parent")) == Shutdown("parent")
    b = await stage.runtime.start(register, name="b")
    await suspend(b)
    b.kill("out")
    await b.wait_down()


async def test_a_full_mailbox_does_not_keep_a_command_out(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-04: ahead of the mail."""
    a = await stage.runtime.start(Register, name="a")
    a.cast(1)
    a.cast(2)
    assert await get_state(a) == {"value": 0}
    assert await a.call(Get()) == 2


async def test_a_suspended_supervisor_restarts_nobody_until_it_goes_on(
    autojump_clock: MockClock, stage: Stage
) -> None:
    s = await stage.supervise(stage.child("a"))
    await suspend(s)
    await stage.crash("s/a")
    assert stage.find("s/a") is None
    await resume(s)
    await wait_all_tasks_blocked()
    assert stage.at("s/a").is_alive()
    await start_child(s, stage.child("b"))


@BOTH
async def test_a_state_can_be_replaced(
    autojump_clock: MockClock, stage: Stage, register: type[Holder]
) -> None:
    a = await stage.runtime.start(register, name="a")
    assert await replace_state(a, lambda actor: setattr(actor, "value", 9)) == {"value": 9}
    with pytest.raises(ZeroDivisionError):
        await replace_state(a, lambda _: 1 // 0)
    assert await a.call(Get()) == 9


class Door(StateMachine[str, int]):
    states = ("open", "shut")

    def begin(self) -> Initial[str, int]:
        return Initial("shut", data=0)

    def handle_event(self, event: StateEvent, state: str, data: int) -> Keep[int] | Go[str, int]:
        return Keep()

    def show(self, state: str, data: int) -> object:
        return (state, data)


async def test_the_state_of_a_machine_is_its_state_and_data(
    autojump_clock: MockClock, stage: Stage
) -> None:
    door = await stage.runtime.start(Door, name="door")
    shown: Any = await replace_state(door, lambda both: ("open", both[1] + 1))
    assert shown.shown == ("open", 1)
    with pytest.raises(InvalidInput, match="ajar"):
        await replace_state(door, lambda _: ("ajar", 0))


async def test_hooks_see_what_goes_in_and_out(autojump_clock: MockClock, stage: Stage) -> None:
    """SYS-03."""
    a, log = await stage.runtime.start(Register, name="a"), HookLog(10)
    assert await install_hook(a, "log", log)
    assert await a.call(Get()) == 0
    a.cast(5)
    assert await a.call(Get()) == 5
    assert [event.kind for event in log.events] == ["in", "out", "in", "noreply", "in", "out"]
    assert [event.message for event in log.events] == ["Get", 0, 5, None, "Get", 5]
    assert a.statistics().handled == 3
    await remove_hooks(a)
    assert await a.call(Get()) == 5
    assert len(log.events) == 6


async def test_a_log_keeps_the_last_moments() -> None:
    log = HookLog(2)
    events = [HookEvent("a", "in", number, None, 0.0) for number in range(3)]
    for event in events:
        log(event)
    assert log.events == tuple(events[1:])
    with pytest.raises(InvalidInput, match="capacity"):
        HookLog(0)


async def test_a_deferred_reply_comes_out_when_it_is_given(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, log = await stage.runtime.start(Register, name="a"), HookLog()
    caller = await stage.runtime.start(stage.script("c"), name="c")
    await install_hook(a, "log", log)

    async def ask(_: ScriptedActor, __: ReplyTo) -> object:
        return await a.call(Later())

    async def answer() -> None:
        await wait_all_tasks_blocked()
        a.cast(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await caller.call(Ask(ask)) == 3
    await wait_all_tasks_blocked()
    seen = [(event.kind, event.message, event.peer) for event in log.events]
    assert seen == [
        ("in", "Later", "c"),
        ("noreply", None, None),
        ("in", 3, None),
        ("out", 3, "c"),
        ("noreply", None, None),
    ]
    assert log.events[0].path == "a"


async def test_a_reply_after_the_last_hook_is_seen_by_nobody(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, log = await stage.runtime.start(Register, name="a"), HookLog()
    await install_hook(a, "log", log)

    async def answer() -> None:
        await wait_all_tasks_blocked()
        await remove_hooks(a)
        a.cast(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert await a.call(Later()) == 3
    assert [event.kind for event in log.events] == ["in", "noreply"]


async def test_a_message_that_can_not_be_shown_is_handled(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Shy(Register):
        def describe_message(self, message: object) -> object:
            raise ValueError("no")

    a, log = await stage.runtime.start(Shy, name="a"), HookLog()
    await install_hook(a, "log", log)
    assert await a.call(Get()) == 0
    assert log.events[0].message == "describe_message failed: ValueError('no')"


async def test_what_fails_and_is_no_longer_wanted_comes_out_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, log = await stage.runtime.start(stage.script("a"), name="a"), HookLog()
    await install_hook(a, "log", log)

    async def fail(_: ScriptedActor, reply_to: ReplyTo) -> object:
        assert reply_to.is_wanted
        assert reply_to.deadline_s == trio.current_time() + 5
        reply_to.fail(ValueError("no"))
        assert not reply_to.is_wanted
        return NO_REPLY

    with pytest.raises(ValueError, match="no"):
        await a.call(Ask(fail))
    await wait_all_tasks_blocked()
    assert [(event.kind, event.message) for event in log.events] == [
        ("in", "Ask"),
        ("out", "ValueError"),
    ]


async def test_hooks_are_installed_once_and_removed_by_their_id(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SYS-04."""
    a = await stage.runtime.start(Register, name="a")
    seen: list[object] = []

    def hook(event: HookEvent) -> None:
        if event.kind == "in":
            seen.append(event.message)

    assert await install_hook(a, "h", hook)
    assert await install_hook(a, "h", hook)
    assert not await install_hook(a, "h", HookLog())
    assert await install_hook(a, "other", hook)
    a.cast(1)
    await wait_all_tasks_blocked()
    assert seen == [1, 1]
    assert await remove_hook(a, "h")
    assert not await remove_hook(a, "h")
    a.cast(2)
    await wait_all_tasks_blocked()
    assert seen == [1, 1, 2]
    await remove_hooks(a)
    a.cast(3)
    await wait_all_tasks_blocked()
    assert seen == [1, 1, 2]


async def test_a_hook_that_is_done_or_raises_is_removed(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SYS-04."""
    a = await stage.runtime.start(Register, name="a")
    seen: list[str] = []

    def once(event: HookEvent) -> object:
        seen.append(event.kind)
        return DONE

    def fail(_: HookEvent) -> None:
        raise ValueError("hook")

    await install_hook(a, "once", once)
    await install_hook(a, "fail", fail)
    a.cast(1)
    a.cast(2)
    assert await get_state(a) == {"value": 0}
    assert await a.call(Get()) == 2
    assert seen == ["in"]
    assert [fields["id"] for event, fields in events if event == "actor.hook_failed"] == ["fail"]


async def test_commands_to_whom_nobody_can_command(autojump_clock: MockClock, stage: Stage) -> None:
    class Server(Worker):
        async def run(self, started: Callable[[], None]) -> None:
            started()
            await trio.sleep_forever()

    a = await stage.runtime.start(stage.script("a"), name="a")
    server = await stage.runtime.start(Server, name="server")
    with pytest.raises(CallFailed, match="is a worker"):
        await suspend(server)
    with pytest.raises(NoSuchActor):
        await suspend(stage.runtime.named("nobody"))

    async def suspend_itself(actor: ScriptedActor, _: ReplyTo) -> None:
        with pytest.raises(CallingSelf):
            await suspend(actor.ref)

    await a.call(Ask(suspend_itself))
    await a.stop()
    with pytest.raises(NoSuchActor):
        await get_state(a)


async def test_a_command_that_came_too_late_for_its_caller_is_dropped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await stage.runtime.start(stage.script("a"), name="a")

    async def nap(_: ScriptedActor) -> None:
        await trio.sleep(1)

    a.cast(nap)
    await wait_all_tasks_blocked()
    with pytest.raises(CallTimedOut, match="Suspend"):
        await suspend(a, timeout_s=0.1)
    assert await a.call(Ask(5)) == 5


async def test_what_happened_before_a_crash_is_reported(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """RPT-03."""
    boom = RuntimeError("boom")
    s = await stage.supervise(stage.child("caller"), stage.child("a"))
    a, caller = stage.at("s/a"), stage.at("s/caller")

    async def crash(_: ScriptedActor, __: ReplyTo) -> None:
        async with trio.open_nursery():
            raise boom

    async def ask(actor: ScriptedActor, _: ReplyTo) -> None:
        actor.link(a)
        actor.monitor_ref = a.monitor()  # type: ignore[attr-defined]
        await a.call(Ask(crash))

    caller.cast(partial(ask, _=None))  # type: ignore[arg-type]
    await wait_all_tasks_blocked()
    reports: list[Any] = [f["report"] for event, f in events if event == "actor.crashed"]
    report = reports[0]
    assert isinstance(report, CrashReport)
    assert report.error is boom
    assert (report.kind, report.message, report.client) == ("call", "Ask", "s/caller")
    assert report.ancestors == ("s",)
    assert report.links == report.monitored_by == ("s/caller",)
    assert report.state is None
    assert report.mailbox_depth == 0
    assert report.stack[-1].endswith(" crash")
    assert s.is_alive()


@BOTH
async def test_a_report_shows_the_state_through_the_hook(
    autojump_clock: MockClock, stage: Stage, events: list[Event], register: type[Holder]
) -> None:
    """RPT-03."""
    a = await stage.runtime.start(register, name="a")
    a.cast(8)
    a.cast(ValueError("secret"))
    await a.wait_down()
    (report,) = [fields["report"] for event, fields in events if event == "actor.crashed"]
    assert isinstance(report, CrashReport)
    assert (report.kind, report.message, report.client) == ("cast", "ValueError", None)
    assert report.state == {"value": 8}


async def test_a_crash_on_a_callers_stack_is_reported_alike(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    class Broken(PlainRegister):
        def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
            raise ValueError("no")

        def describe(self) -> object:
            raise ValueError("nor this")

    a = await stage.runtime.start(Broken, name="a")
    with pytest.raises(CallFailed):
        await a.call(Get())
    (report,) = [fields["report"] for event, fields in events if event == "actor.crashed"]
    assert isinstance(report, CrashReport)
    assert (report.kind, report.message, report.client) == ("call", "Get", None)
    assert report.state == "describe failed: ValueError('nor this')"


@pytest.mark.parametrize("end", [Normal(), Shutdown(), Shutdown("x")])
async def test_a_clean_end_is_no_crash(
    autojump_clock: MockClock, stage: Stage, events: list[Event], end: Any
) -> None:
    """RPT-03."""
    a = await stage.runtime.start(stage.script("a"), name="a")
    a.cast(Stop(end))
    await a.wait_down()
    assert [event for event, fields in events if fields.get("path") == "a"] == [
        "actor.started",
        "actor.stopped",
    ]


async def test_a_crash_outside_of_any_message(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    class Broken(Actor):
        async def init(self) -> Continue:
            return Continue("go")

        async def handle_continue(self, message: object) -> None:
            raise ValueError("no")

    a = await stage.runtime.start(Broken, name="a")
    await a.wait_down()
    (report,) = [fields["report"] for event, fields in events if event == "actor.crashed"]
    assert isinstance(report, CrashReport)
    assert (report.kind, report.message) == (None, None)


async def test_without_a_listener_no_report_is_made(autojump_clock: MockClock) -> None:
    class Telltale(Actor):
        async def handle_cast(self, message: object) -> None:
            raise ValueError("no")

        def describe(self) -> object:
            raise AssertionError("asked")

    async with open_runtime() as runtime:
        a: ActorRef = await runtime.start(Telltale, name="a")
        a.cast(1)
        await a.wait_down()


COMMANDS = st.lists(st.sampled_from(["suspend", "resume", "hook", "unhook", "cast", "call"]))


@given(commands=COMMANDS)
@BOTH
def test_commands_and_mail_in_any_order(commands: list[str], register: type[Holder]) -> None:
    """Mail is handled in order, exactly while it is not suspended; hooks see all of it."""

    async def main() -> None:
        async with open_runtime() as runtime:
            a, log, number = await runtime.start(register, name="a"), HookLog(1000), 0
            is_suspended, is_hooked, seen = False, False, 0
            for command in commands:
                if command in {"suspend", "resume"}:
                    await (suspend if command == "suspend" else resume)(a)
                    is_suspended = command == "suspend"
                elif command == "hook":
                    await install_hook(a, "log", log)
                    is_hooked = True
                elif command == "unhook":
                    assert await remove_hook(a, "log") is is_hooked
                    is_hooked = False
                elif is_suspended:
                    with pytest.raises(CallTimedOut):
                        await a.call(Get(), timeout_s=0.1)
                    await resume(a)
                    await wait_all_tasks_blocked()
                    seen += is_hooked  # its caller has gone, but it is handled
                    is_suspended = False
                elif command == "cast":
                    number += 1
                    a.cast(number)
                    seen += is_hooked
                    await wait_all_tasks_blocked()
                else:
                    assert await a.call(Get()) == number
                    seen += is_hooked
                await wait_all_tasks_blocked()
                assert await get_state(a) == {"value": number}
                assert sum(event.kind == "in" for event in log.events) == seen
            assert sum(event.kind != "in" for event in log.events) == seen

    trio.run(main, clock=MockClock(autojump_threshold=0))
