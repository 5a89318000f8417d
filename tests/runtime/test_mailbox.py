from __future__ import annotations

import threading
from typing import Any, ClassVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import CallTimedOut, InvalidInput, NoSuchActor, Overloaded
from autonomics.runtime import (
    ActorRef,
    Down,
    MailboxSpec,
    Normal,
    Shutdown,
    Stop,
)
from autonomics.runtime.mailbox import CAST, INFO, Mailbox
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage


async def hold(stage: Stage, capacity: int, on_full: Any) -> tuple[ActorRef, trio.Event]:
    """Start an actor `a` that handles nothing until the event is set."""

    class Held(ScriptedActor):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=capacity, on_full=on_full)

    release = trio.Event()

    async def wait(_: ScriptedActor) -> None:
        await release.wait()

    script = stage.script("a")
    script.actor = Held
    ref = await stage.runtime.start(script, name="a")
    ref.cast(wait)
    await wait_all_tasks_blocked()
    stage.log.clear()
    return ref, release


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"capacity": 1.5}, {"on_full": "explode"}])
def test_a_bad_spec_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"expected {next(iter(bad))} to be"):
        MailboxSpec(**bad)


async def test_messages_of_one_sender_stay_in_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-01."""
    ref = await stage.runtime.start(stage.script("a"))
    stage.log.clear()

    async def send(sender: int) -> None:
        for n in range(200):
            ref.cast((sender, n))
            if n % 7 == sender:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for sender in range(5):
            nursery.start_soon(send, sender)
    await wait_all_tasks_blocked()
    for sender in range(5):
        assert [n for who, n in stage.log if who == sender] == list(range(200))


async def test_a_full_mailbox_refuses_at_once_and_counts(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """BPR-01."""
    ref, release = await hold(stage, 3, "refuse")
    for n in (1, 2, 3):
        ref.cast(n)
    for n in (4, 5):
        with pytest.raises(Overloaded, match=r"the mailbox of a is full \(limit=3\)"):
            ref.cast(n)
    statistics = ref.statistics()
    assert (statistics.depth, statistics.peak, statistics.refused) == (3, 3, 2)
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == [1, 2, 3]
    assert ref.statistics().handled == 4
    overloads = [fields for event, fields in events if event == "actor.overloaded"]
    assert overloads == [{"path": "a", "capacity": 3, "on_full": "refuse"}]


async def test_the_oldest_are_dropped_with_one_event_per_burst(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """BPR-02."""
    ref, release = await hold(stage, 3, "drop_oldest")
    for n in range(1, 6):
        ref.cast(n)
    assert ref.statistics().dropped == 2
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == [3, 4, 5]
    assert sum(event == "actor.overloaded" for event, _ in events) == 1
    for n in range(6, 13):
        ref.cast(n)
    assert sum(event == "actor.overloaded" for event, _ in events) == 2


async def test_the_newest_are_dropped_with_one_event_per_burst(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """BPR-02: the senders of casts do not hear of it, those of calls do."""
    ref, release = await hold(stage, 3, "drop_newest")
    for n in (1, 2, 3):
        ref.cast(n)
    ref.cast(4)
    await ref.cast_when_room(5)
    assert ref.statistics().dropped == 2
    with pytest.raises(Overloaded, match=r"the mailbox of a is full \(limit=3\)"):
        await ref.call(Ask(6))
    assert (ref.statistics().dropped, ref.statistics().refused) == (2, 1)
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == [1, 2, 3]
    overloads = [fields for event, fields in events if event == "actor.overloaded"]
    assert overloads == [{"path": "a", "capacity": 3, "on_full": "drop_newest"}]


async def test_a_dropped_call_fails_at_once(autojump_clock: MockClock, stage: Stage) -> None:
    """BPR-02."""
    ref, release = await hold(stage, 1, "drop_oldest")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(Overloaded, match="a dropped it for newer mail"):
                await ref.call(Ask(1))
            with pytest.raises(CallTimedOut):
                await ref.call(Ask(2), timeout_s=0.1)
            ref.cast("new")  # drops a call that nobody waits for

        await trio.sleep(0.01)
        ref.cast("newer")
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == ["new"]


async def test_a_burst_lasts_until_half_of_the_mailbox_is_empty(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """Else a sender that keeps it full would make one event with each message."""
    ref, _ = await hold(stage, 4, "refuse")
    mailbox = ref.incarnation.mailbox

    def fill() -> int:
        while mailbox.has_room:
            ref.cast("more")
        with pytest.raises(Overloaded):
            ref.cast("too much")
        return sum(event == "actor.overloaded" for event, _ in events)

    assert fill() == 1
    for taken, bursts in ((1, 1), (1, 1), (2, 2), (1, 2)):
        for _ in range(taken):
            mailbox.pop()
        assert fill() == bursts


async def test_the_runtimes_own_messages_are_never_dropped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """BPR-03."""
    ref, release = await hold(stage, 1, "drop_oldest")
    target = await stage.runtime.start(stage.script("t"), name="t")

    async def watch(_: ScriptedActor) -> None:
        target.monitor("tag")

    release.set()
    ref.cast(watch)
    await wait_all_tasks_blocked()
    again = trio.Event()

    async def wait(_: ScriptedActor) -> None:
        await again.wait()

    ref.cast(wait)
    await wait_all_tasks_blocked()
    stage.log.clear()
    ref.cast("lost")
    await target.stop()
    ref.cast("kept")  # the Down stands in front of nothing it may drop
    assert ref.statistics().depth == 1
    again.set()
    await wait_all_tasks_blocked()
    assert stage.log == ["term:t:shutdown", Down(target, Shutdown(), "tag"), "kept"]


async def test_a_stop_request_overtakes_a_full_mailbox(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """BPR-03."""
    ref, release = await hold(stage, 1, "refuse")
    ref.cast("never handled")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.stop)
        await wait_all_tasks_blocked()
        release.set()
    assert stage.log == ["term:a:shutdown"]


async def test_a_call_against_a_full_mailbox_fails_by_its_policy(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """BPR-05."""
    refusing, _ = await hold(stage, 1, "refuse")
    refusing.cast("full")
    began = trio.current_time()
    with pytest.raises(Overloaded):
        await refusing.call(Ask(1), timeout_s=0.1)
    assert trio.current_time() == began
    refusing.kill()
    await refusing.wait_down()
    blocking, release = await hold(stage, 1, "block")
    blocking.cast("full")
    with pytest.raises(Overloaded):
        blocking.cast("a cast does not wait")
    with pytest.raises(CallTimedOut):
        await blocking.call(Ask(1), timeout_s=0.1)
    assert trio.current_time() - began == pytest.approx(0.1, abs=0.01)
    assert blocking.statistics().waiting_senders == 0
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == ["full"]
    assert blocking.statistics().handled == 2


async def test_senders_wait_for_room_in_their_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref, release = await hold(stage, 1, "block")
    ref.cast("first")
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(ref.cast_when_room, n)
            await wait_all_tasks_blocked()
        nursery.start_soon(ref.call, Ask("reply"))
        await wait_all_tasks_blocked()
        assert ref.statistics().waiting_senders == 4
        release.set()
    assert stage.log == ["first", 0, 1, 2]
    assert ref.statistics().peak == 1
    await ref.cast_when_room("no need to wait", timeout_s=float("inf"))
    await wait_all_tasks_blocked()
    assert stage.log[-1] == "no need to wait"


async def test_a_sender_that_waits_for_room_hears_of_the_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-24: not a broken channel."""
    ref, release = await hold(stage, 1, "block")
    ref.cast(Stop(Normal()))
    failures: list[str] = []

    async def send(wait_for_room: Any) -> None:
        try:
            await wait_for_room
        except NoSuchActor as failure:
            failures.append(str(failure))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ref.cast_when_room(1, float("inf")))
        nursery.start_soon(send, ref.call(Ask(1)))
        nursery.start_soon(send, ref.call(Ask(1)))
        await wait_all_tasks_blocked()
        ref.kill()
        release.set()
    assert failures == ["a ended before it had room: Killed(reason='killed')"] * 3
    await ref.cast_when_room("to the dead")


async def test_the_end_finds_only_senders_that_still_wait(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref, _ = await hold(stage, 1, "block")
    ref.cast("first")
    with pytest.raises(CallTimedOut):
        await ref.call(Ask(1), timeout_s=0.1)
    ref.kill()
    await ref.wait_down()
    assert stage.runtime.statistics().late_replies == 0


async def test_a_sender_that_gives_up_waiting_for_room_leaves_nothing(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref, release = await hold(stage, 1, "block")
    ref.cast("first")
    with pytest.raises(CallTimedOut, match="^a had no room for str in 0.1 s$"):
        await ref.cast_when_room("late", timeout_s=0.1)
    with pytest.raises(CallTimedOut, match="^a gave no reply to Ask in 0.1 s$"):
        await ref.call(Ask("late"), timeout_s=0.1)
    release.set()
    await wait_all_tasks_blocked()
    assert stage.log == ["first"]


async def test_a_message_is_not_lost_when_its_receiver_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    """TRI-29: taking is synchronous, so there is nothing in flight to lose."""
    mailbox = Mailbox(MailboxSpec(), trio.current_time)

    async def wait() -> None:
        mailbox.sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(mailbox.give_up)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            scope.cancel()
            mailbox.put((CAST, "same tick", None, None))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            mailbox.put((CAST, "second", None, None))
            scope.cancel()
    assert [mailbox.pop(), mailbox.pop(), mailbox.pop()] == [
        *((CAST, "same tick", None, None), (CAST, "second", None, None), None)
    ]


async def test_a_batch_lets_others_run(autojump_clock: MockClock, stage: Stage) -> None:
    busy = await stage.runtime.start(stage.script("busy"))
    other = await stage.runtime.start(stage.script("other"))
    stage.log.clear()
    for n in range(1000):
        busy.cast(n)
    other.cast("other")
    await wait_all_tasks_blocked()
    # Two budgets: trio shuffles each round, so the busy one may come last and then first.
    assert stage.log.index("other") <= 64


async def test_what_a_foreign_thread_could_not_put_is_not_counted(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Trio refuses to wake a task from there; the mailbox is as it was before."""
    ref, release = await hold(stage, 1, "refuse")
    release.set()
    await wait_all_tasks_blocked()

    def put() -> None:
        for send in (ref.cast, ref.incarnation.inform):
            with pytest.raises(RuntimeError):
                send("from a thread")

    thread = threading.Thread(target=put)
    thread.start()
    thread.join()
    assert ref.statistics().depth == 0
    ref.cast("fits")
    await wait_all_tasks_blocked()
    assert stage.log == ["fits"]


@given(st.integers(1, 4), st.lists(st.sampled_from(["cast", "info", "pop", "drop"])))
@settings(deadline=None)
def test_the_bound_counts_user_messages_alone(capacity: int, steps: list[str]) -> None:
    mailbox = Mailbox(MailboxSpec(capacity), lambda: 0.0)
    model: list[tuple[int, int]] = []
    for n, step in enumerate(steps):
        users = sum(kind == CAST for kind, _ in model)
        assert (mailbox.depth, mailbox.has_room) == (users, users < capacity)
        match step:
            case "cast" if mailbox.has_room:
                mailbox.put((CAST, n, None, None))
                model.append((CAST, n))
            case "info":
                mailbox.put_info(n)
                model.append((INFO, n))
            case "pop":
                taken = mailbox.pop()
                assert (taken and taken[:2]) == (model.pop(0) if model else None)
            case "drop" if users:
                oldest = next(entry for entry in model if entry[0] == CAST)
                assert mailbox.drop_oldest()[:2] == oldest
                model.remove(oldest)
            case _:
                pass
    assert mailbox.statistics().peak <= capacity
    assert mailbox.drain() == len(model)
