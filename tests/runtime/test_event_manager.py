"""The cases EVT-* of OTP's gen_event, and what else a manager promises its handlers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    CallingSelf,
    HandlerFailed,
    HandlerTaken,
    InvalidInput,
    NoSuchHandler,
    StartFailed,
)
from autonomics.runtime import (
    Actor,
    ActorRef,
    AddHandler,
    Call,
    CallHandler,
    Crash,
    Deleted,
    DeleteHandler,
    EventHandler,
    EventManager,
    HandlerEnd,
    HandlerExit,
    Killed,
    ManagerStopped,
    NoProcess,
    Normal,
    Notify,
    OwnerDied,
    Remove,
    Shutdown,
    SwapHandler,
    Swapped,
    SyncNotify,
    WhichHandlers,
    open_runtime,
)
from autonomics.runtime.callback import settle
from autonomics.runtime.event_manager import ManagerRequest
from autonomics.supervisors import ChildSpec
from autonomics.testing.stage import Event, Stage

Do = Callable[["Logging"], object]


@attrs.frozen
class Ask(Call[str]):
    """Have a handler do something, or answer its id."""

    do: Do | None = None


class Logging(EventHandler):
    """Logs `id:event`; an event that is a function is run with the handler instead."""

    def __init__(self, id_: Hashable, log: list[str], **does: Any) -> None:
        self.id = id_
        self.log = log
        self.does = does

    async def init(self, argument: object) -> None:
        self.log.append(f"{self.id} begins with {argument!r}")
        await self._do("init")

    def handle_event(self, event: Any) -> Any:
        if callable(event):
            return event(self)
        self.log.append(f"{self.id}:{event}")
        return None

    async def handle_call(self, message: Call[Any]) -> object:
        assert isinstance(message, Ask)
        return str(self.id) if message.do is None else await settle(message.do(self))

    def terminate(self, why: HandlerEnd) -> object:
        self.log.append(f"{self.id} ends: {type(why).__name__}")
        self.why = why
        return self._do("terminate")

    async def _do(self, callback: str) -> object:
        does = self.does.get(callback)
        if isinstance(does, Exception):
            raise does
        return await settle(does() if callable(does) else does)


class Owner(Actor):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def handle_info(self, message: object) -> None:
        self.heard.append(message)


@attrs.define
class Bench:
    """One manager, its log and its owner."""

    stage: Stage
    manager: ActorRef
    owner: ActorRef
    log: list[str] = attrs.field(factory=list[str])

    async def add(self, *ids: Hashable, owner: ActorRef | None = None, **does: Any) -> None:
        for id_ in ids:
            await self.manager.call(AddHandler(id_, self.make(id_, **does), owner=owner))
        self.log.clear()

    def make(self, id_: Hashable, **does: Any) -> Logging:
        return Logging(id_, self.log, **does)

    async def which(self) -> tuple[Hashable, ...]:
        return await self.manager.call(WhichHandlers())

    async def heard(self) -> list[object]:
        await trio.sleep(0.001)
        owner = self.owner.incarnation.behaviour
        assert isinstance(owner, Owner)
        return owner.heard


@pytest.fixture
async def bench(stage: Stage) -> Bench:
    start = stage.runtime.start
    return Bench(stage, await start(EventManager, name="manager"), await start(Owner, name="owner"))


def fail(_: Logging) -> object:
    raise ValueError("bang")


def answer_oddly(_: Logging) -> object:
    return "zzz"


def leave_if_first(handler: Logging) -> object:
    return Remove() if handler.id == 1 else None


# Cases


async def test_events_reach_all_handlers(autojump_clock: MockClock, bench: Bench) -> None:
    """EVT-01."""
    await bench.add(1)
    bench.manager.cast(Notify("a"))
    await bench.manager.call(SyncNotify("b"))
    assert await bench.manager.call(CallHandler(1, Ask())) == "1"
    assert await bench.manager.call(DeleteHandler(1, "bye")) is None
    await bench.manager.call(SyncNotify("c"))
    assert bench.log == ["1:a", "1:b", "1 ends: Deleted"]


async def test_sync_notify_waits_and_notify_does_not(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """EVT-02."""
    await bench.add(1)
    took: list[float] = []

    async def be_slow(_: Logging) -> None:
        began = trio.current_time()
        await trio.sleep(0.1)
        took.append(trio.current_time() - began)

    began = trio.current_time()
    await bench.manager.call(SyncNotify(be_slow))
    assert trio.current_time() - began >= 0.1
    began = trio.current_time()
    bench.manager.cast(Notify(be_slow))
    assert trio.current_time() - began < 0.05
    assert len(took) == 1


async def test_a_supervised_handler_and_its_owner_know_of_each_others_end(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """EVT-03."""
    other = await bench.stage.runtime.start(Owner)
    first = bench.make(1)
    await bench.manager.call(AddHandler(1, first, owner=other))
    await bench.add(2, owner=bench.owner)
    other.kill("gone")
    await trio.sleep(0.001)
    assert await bench.which() == (2,)
    assert first.why == OwnerDied(Killed("gone"))

    def only_the_second(handler: Logging) -> None:
        if handler.id == 2:
            fail(handler)

    bench.manager.cast(Notify(only_the_second))
    (told,) = await bench.heard()
    assert isinstance(told, HandlerExit)
    assert (told.handler, told.manager) == (2, bench.manager)
    assert isinstance(told.reason, Crash)
    assert str(told.reason.error) == "bang"
    assert await bench.which() == ()


async def test_handlers_run_newest_first(autojump_clock: MockClock, bench: Bench) -> None:
    """EVT-04."""
    await bench.add(1, 2, 3)
    await bench.manager.call(SyncNotify("hello"))
    assert bench.log == ["3:hello", "2:hello", "1:hello"]
    assert await bench.which() == (3, 2, 1)


async def test_a_handler_that_is_missing_is_a_typed_error(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """EVT-04."""
    await bench.add("audit", 7)
    manager = bench.manager
    with pytest.raises(NoSuchHandler, match="has no handler 'adit'; did you mean 'audit'"):
        await manager.call(CallHandler("adit", Ask()))
    with pytest.raises(NoSuchHandler, match=r"^manager has no handler 8$"):
        await manager.call(DeleteHandler(8))
    with pytest.raises(NoSuchHandler, match=r"^manager has no handler 'zzz'$"):
        await manager.call(SwapHandler("zzz", "new", bench.make("new")))
    assert bench.log == []
    assert await bench.which() == (7, "audit")


async def test_a_manager_without_handlers_is_fine(autojump_clock: MockClock, bench: Bench) -> None:
    """EVT-04."""
    bench.manager.cast(Notify("nobody"))
    await bench.manager.call(SyncNotify("nobody"))
    bench.stage.runtime.send_after(0, bench.manager, "nobody")
    assert await bench.which() == ()


# Adding, deleting, swapping


async def test_an_id_is_in_use_once(autojump_clock: MockClock, bench: Bench) -> None:
    await bench.add(1, 2)
    with pytest.raises(HandlerTaken, match="manager has a handler 1 already"):
        await bench.manager.call(AddHandler(1, bench.make(1)))
    with pytest.raises(HandlerTaken, match="manager has a handler 2 already"):
        await bench.manager.call(SwapHandler(1, 2, bench.make(2)))
    assert bench.log == []
    assert await bench.which() == (2, 1)


async def test_a_handler_whose_init_raises_is_not_installed(
    autojump_clock: MockClock, bench: Bench
) -> None:
    with pytest.raises(HandlerFailed, match="handler 1 of manager failed in init") as caught:
        await bench.manager.call(
            AddHandler(1, bench.make(1, init=ValueError("no")), owner=bench.owner)
        )
    assert str(caught.value.error) == "no"
    assert await bench.which() == ()
    assert await bench.heard() == []


async def test_delete_gives_what_terminate_returns(autojump_clock: MockClock, bench: Bench) -> None:
    handler = bench.make(1, terminate="left")
    await bench.manager.call(AddHandler(1, handler, owner=bench.owner))
    assert await bench.manager.call(DeleteHandler(1, "bye")) == "left"
    assert handler.why == Deleted("bye")
    assert await bench.heard() == [HandlerExit(1, Deleted("bye"), bench.manager)]


async def test_a_swap_hands_the_old_ones_last_value_to_the_new_one(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Measured on OTP: the new one is the newest, and nobody sees an event in between."""
    old = bench.make("old", terminate="the state")
    await bench.manager.call(AddHandler("old", old, owner=bench.owner))
    await bench.add("other")
    manager = bench.manager
    await manager.call(SwapHandler("old", "new", bench.make("new"), "arg", owner=bench.owner))
    await manager.call(SyncNotify("hello"))
    assert bench.log == [
        *("old ends: Swapped", "new begins with 'the state'", "new:hello", "other:hello"),
    ]
    assert old.why == Swapped("new", "arg")
    await manager.call(SwapHandler("new", "new", bench.make("new")))
    swapped = HandlerExit("new", Swapped("new"), manager)
    assert await bench.heard() == [HandlerExit("old", Swapped("new", "arg"), manager), swapped]


async def test_a_swap_goes_on_when_the_old_one_fails(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    error = ValueError("no")
    await bench.add(1, terminate=error)
    await bench.manager.call(SwapHandler(1, 2, bench.make(2)))
    assert bench.log[-1] == f"2 begins with {Crash(error)!r}"
    with pytest.raises(HandlerFailed, match="handler 3 of manager failed in init"):
        await bench.manager.call(SwapHandler(2, 3, bench.make(3, init=error)))
    assert await bench.which() == ()
    crashes = [fields["callback"] for name, fields in events if "handler_crashed" in name]
    assert crashes == ["terminate"]


LIST: Any = []


@pytest.mark.parametrize(
    "make",
    [
        partial(AddHandler, LIST, EventHandler()),
        partial(DeleteHandler, LIST),
        partial(CallHandler, LIST, Ask()),
        partial(SwapHandler, 1, LIST, EventHandler()),
        partial(SwapHandler, LIST, 1, EventHandler()),
    ],
)
def test_an_id_is_hashable(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput, match="to be hashable, got"):
        make()


def test_a_handler_is_an_event_handler() -> None:
    odd: Any = EventHandler
    with pytest.raises(InvalidInput, match="expected handler to be an EventHandler"):
        AddHandler(1, odd)


# Failures


async def test_a_handler_that_raises_is_removed_alone(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    await bench.add(1, 2, 3)

    def second_fails(handler: Logging) -> object:
        if handler.id == 2:
            return fail(handler)
        handler.log.append(f"{handler.id} goes on")
        return None

    await bench.manager.call(SyncNotify(second_fails))
    assert bench.log == ["3 goes on", "2 ends: Crash", "1 goes on"]
    assert await bench.which() == (3, 1)
    ((_, fields),) = [pair for pair in events if pair[0] == "event_manager.handler_crashed"]
    assert str(fields.pop("error")) == "bang"
    assert fields == {"path": "manager", "handler": 2, "callback": "handle_event"}


async def test_a_bad_answer_is_a_failure(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    await bench.add(1)
    await bench.manager.call(SyncNotify(answer_oddly))
    assert await bench.which() == ()
    ((_, fields),) = [pair for pair in events if pair[0] == "event_manager.handler_crashed"]
    text = "expected the return value of handle_event to be None or Remove, got 'zzz'"
    assert str(fields["error"]) == text


async def test_a_call_that_a_handler_fails_costs_the_handler(
    autojump_clock: MockClock, bench: Bench
) -> None:
    await bench.add(1, 2, owner=bench.owner)
    with pytest.raises(HandlerFailed, match="handler 1 of manager failed in handle_call") as caught:
        await bench.manager.call(CallHandler(1, Ask(fail)))
    assert isinstance(caught.value.error, ValueError)
    assert caught.value.__cause__ is caught.value.error
    (told,) = await bench.heard()
    assert isinstance(told, HandlerExit)
    assert told.reason == Crash(caught.value.error)
    assert await bench.which() == (2,)


async def test_a_terminate_that_raises_is_reported(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    await bench.add(1, terminate=ValueError("worse"), owner=bench.owner)
    with pytest.raises(HandlerFailed, match="failed in terminate"):
        await bench.manager.call(DeleteHandler(1))
    assert await bench.which() == ()
    assert await bench.heard() == [HandlerExit(1, Deleted(), bench.manager)]
    ((_, fields),) = [pair for pair in events if pair[0] == "event_manager.handler_crashed"]
    assert fields["callback"] == "terminate"


async def test_a_handler_may_take_itself_out(autojump_clock: MockClock, bench: Bench) -> None:
    await bench.add(1, 2)
    await bench.manager.call(SyncNotify(leave_if_first))
    assert await bench.which() == (2,)
    assert await bench.manager.call(CallHandler(2, Ask(lambda _: Remove("last")))) == "last"
    assert await bench.which() == ()
    assert bench.log == ["1 ends: Removed", "2 ends: Removed"]


async def test_a_handler_that_calls_its_manager_fails_at_once(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    await bench.add(1)

    async def ask(handler: Logging) -> object:
        return await handler.manager.ref.call(WhichHandlers())

    await bench.manager.call(SyncNotify(ask))
    ((_, fields),) = [pair for pair in events if pair[0] == "event_manager.handler_crashed"]
    assert isinstance(fields["error"], CallingSelf)


async def test_a_stray_message_harms_no_handler(
    autojump_clock: MockClock, bench: Bench, events: list[Event]
) -> None:
    await bench.add(1)
    bench.manager.cast("stray")
    with pytest.raises(InvalidInput, match="expected a call to be one that event managers answer"):
        await bench.manager.call(Ask())
    assert await bench.which() == (1,)
    assert ("actor.unexpected_message", {"path": "manager", "message_type": "str"}) in events


async def test_a_plain_handler_answers_nothing_and_ignores_info(
    autojump_clock: MockClock, bench: Bench
) -> None:
    manager = bench.manager
    await manager.call(AddHandler(1, EventHandler()))
    await manager.call(AddHandler(2, EventHandler()))
    bench.stage.runtime.send_after(0, manager, "info")
    await trio.sleep(0.001)
    assert await bench.which() == (2, 1)
    with pytest.raises(HandlerFailed, match="EventHandler answers no call, got"):
        await manager.call(CallHandler(1, Ask()))
    await manager.call(SyncNotify("x"))
    assert await bench.which() == ()


async def test_a_handler_may_set_itself_a_timer(autojump_clock: MockClock, bench: Bench) -> None:
    class Ticking(EventHandler):
        def init(self, argument: object) -> None:
            self.manager.send_after(1, ("tick", argument))

        async def handle_info(self, message: object) -> Remove:
            bench.log.append(str(message))
            return Remove()

    await bench.manager.call(AddHandler(1, Ticking(), "argument"))
    await trio.sleep(2)
    assert bench.log == ["('tick', 'argument')"]
    assert await bench.which() == ()


# Owners and the manager's own life


async def test_an_owner_that_is_dead_already_has_no_handler(
    autojump_clock: MockClock, bench: Bench
) -> None:
    await bench.owner.stop()
    handler = bench.make(1)
    await bench.manager.call(AddHandler(1, handler, owner=bench.owner))
    assert await bench.which() == ()
    assert handler.why == OwnerDied(NoProcess())


async def test_the_end_of_a_former_owner_does_not_touch_a_namesake(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Also when its Down waits in the mailbox while the handler is deleted."""
    await bench.add(1, owner=bench.owner)
    before = bench.stage.runtime.statistics().dead_letters

    async def wait(_: Logging) -> None:
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        bench.manager.cast(Notify(wait))
        nursery.start_soon(bench.manager.call, DeleteHandler(1))
        await wait_all_tasks_blocked()
        nursery.start_soon(bench.manager.call, AddHandler(1, bench.make(1)))
        await wait_all_tasks_blocked()
        await bench.owner.stop()
    assert await bench.which() == (1,)
    assert bench.stage.runtime.statistics().dead_letters == before


async def test_handlers_end_with_their_manager_and_owners_are_told(
    autojump_clock: MockClock, bench: Bench
) -> None:
    await bench.add(1, 2, owner=bench.owner)
    await bench.manager.stop(Shutdown("done"))
    assert bench.log == ["2 ends: ManagerStopped", "1 ends: ManagerStopped"]
    why = ManagerStopped(Shutdown("done"))
    assert await bench.heard() == [HandlerExit(id_, why, bench.manager) for id_ in (2, 1)]


async def test_owners_are_told_even_when_a_terminate_is_cut_off(
    autojump_clock: MockClock, bench: Bench
) -> None:
    await bench.add(1, owner=bench.owner, terminate=trio.sleep_forever)
    assert isinstance(await bench.manager.stop(grace_s=1), Killed)
    assert await bench.heard() == [HandlerExit(1, ManagerStopped(Shutdown()), bench.manager)]


async def test_a_restarted_manager_has_its_own_handlers_again(
    autojump_clock: MockClock, stage: Stage
) -> None:
    log: list[str] = []
    factories = {id_: partial(Logging, id_, log) for id_ in ("a", "b")}
    await stage.supervise(ChildSpec(id="m", start=partial(EventManager, factories), name="m"))
    manager = stage.runtime.named("m")
    assert await manager.call(WhichHandlers()) == ("b", "a")
    await manager.call(AddHandler("c", Logging("c", log)))
    manager.resolve().kill()
    await wait_all_tasks_blocked()
    assert await manager.call(WhichHandlers()) == ("b", "a")
    assert manager.resolve().incarnation.behaviour.describe() == ("b", "a")


async def test_a_manager_whose_own_handler_fails_does_not_start(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """The handlers before it are ended."""
    log: list[str] = []
    error = ValueError("no")
    first, second = Logging("a", log), Logging("b", log, init=error)
    handlers = {"a": lambda: first, "b": lambda: second}
    with pytest.raises(StartFailed, match="no") as caught:
        await stage.runtime.start(partial(EventManager, handlers))
    assert caught.value.reason == Crash(error)
    assert log == ["a begins with None", "b begins with None", "a ends: ManagerStopped"]
    assert first.why == ManagerStopped(Crash(error))


async def test_replies_keep_their_type(autojump_clock: MockClock, bench: Bench) -> None:
    await bench.add("a")
    answer: str = await bench.manager.call(CallHandler("a", Ask()))
    ids: tuple[Hashable, ...] = await bench.manager.call(WhichHandlers())
    assert (answer, ids) == ("a", ("a",))


async def test_a_manager_ends_normally_only_by_being_asked(
    autojump_clock: MockClock, bench: Bench
) -> None:
    assert await bench.manager.stop(Normal()) == Normal()


# Against a model

IDS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("add"), IDS),
    st.tuples(st.just("delete"), IDS),
    st.tuples(st.just("fail"), IDS),
    st.tuples(st.just("leave"), IDS),
    st.tuples(st.just("ask"), IDS),
    st.tuples(st.just("swap"), IDS, IDS),
    st.tuples(st.just("notify")),
)


ENDS = {"delete": "Deleted", "fail": "Crash", "leave": "Removed"}
Step = tuple[Any, ...]


@attrs.define
class Model:
    """The ids of the living, newest first, and the log as it should be."""

    ids: list[int] = attrs.field(factory=list[int])
    log: list[str] = attrs.field(factory=list[str])

    def take(self, step: Step) -> type[Exception] | None:
        """Do a step; how it is refused."""
        match step:
            case ("notify",):
                self.log += [f"{id_}:x" for id_ in self.ids]
                return None
            case ("add", id_):
                return self.add(id_)
            case ("swap", old, id_):
                return self.swap(old, id_)
            case (kind, id_):
                return self.end(kind, id_)
            case _:
                raise AssertionError(step)

    def add(self, id_: int) -> type[Exception] | None:
        if id_ in self.ids:
            return HandlerTaken
        self.log.append(f"{id_} begins with None")
        self.ids.insert(0, id_)
        return None

    def swap(self, old: int, id_: int) -> type[Exception] | None:
        if old not in self.ids:
            return NoSuchHandler
        if id_ in self.ids and id_ != old:
            return HandlerTaken
        self.log += [f"{old} ends: Swapped", f"{id_} begins with {old}"]
        self.ids.remove(old)
        self.ids.insert(0, id_)
        return None

    def end(self, kind: str, id_: int) -> type[Exception] | None:
        if id_ not in self.ids:
            return NoSuchHandler
        if kind in ENDS:
            self.log.append(f"{id_} ends: {ENDS[kind]}")
            self.ids.remove(id_)
        return HandlerFailed if kind == "fail" else None


def message_of(step: Step, log: list[str]) -> ManagerRequest:
    match step:
        case ("notify",):
            return SyncNotify("x")
        case ("add", id_):
            return AddHandler(id_, Logging(id_, log, terminate=id_))
        case ("swap", old, id_):
            return SwapHandler(old, id_, Logging(id_, log, terminate=id_))
        case ("delete", id_):
            return DeleteHandler(id_)
        case (kind, id_):
            does: dict[str, Do] = {"fail": fail, "leave": lambda _: Remove(None)}
            return CallHandler(id_, Ask(does.get(kind)))
        case _:
            raise AssertionError(step)


@given(st.lists(STEPS, max_size=30))
def test_the_set_of_handlers_is_what_a_list_would_hold(steps: list[Step]) -> None:
    model = Model()
    log: list[str] = []

    async def main() -> None:
        async with open_runtime() as runtime:
            manager = await runtime.start(EventManager)
            for step in steps:
                refusal = model.take(step)
                if refusal is None:
                    await manager.call(message_of(step, log))
                else:
                    with pytest.raises(refusal):
                        await manager.call(message_of(step, log))
                assert log == model.log
                assert await manager.call(WhichHandlers()) == tuple(model.ids)

    trio.run(main)
