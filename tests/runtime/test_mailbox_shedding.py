"""A mailbox that sheds its load: senders wait, new mail is dropped, all is thrown away."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import CallTimedOut, InvalidInput, Overloaded
from autonomics.runtime import ActorRef, MailboxSpec, Shedding, send_request
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage

WAIT_AT, DROP_AT, CAPACITY = 10, 200, 1000


class Valve:
    """Lets an actor handle as many messages as it is told, and no more."""

    def __init__(self) -> None:
        self._tokens = trio.Semaphore(0)

    async def pass_on(self) -> None:
        await self._tokens.acquire()

    async def let(self, messages: int) -> None:
        for _ in range(messages):
            self._tokens.release()
        await wait_all_tasks_blocked()


async def start_log(stage: Stage, **spec: Any) -> tuple[ActorRef, Valve]:
    """Start an actor `log` that is busy with its first message."""
    valve = Valve()
    policy = MailboxSpec(capacity=CAPACITY, on_full=Shedding(WAIT_AT, DROP_AT), **spec)

    class Log(ScriptedActor):
        mailbox: ClassVar[MailboxSpec] = policy

        async def handle_cast(self, message: object) -> None:
            await valve.pass_on()
            self.log.append(message)

    script = stage.script("log")
    script.actor = Log
    ref = await stage.runtime.start(script, name="log")
    ref.cast("first")
    await wait_all_tasks_blocked()
    stage.log.clear()
    return ref, valve


def overloads(events: list[Event]) -> list[object]:
    return [fields["on_full"] for event, fields in events if event == "actor.overloaded"]


def flushes(events: list[Event]) -> list[object]:
    return [fields["messages"] for event, fields in events if event == "actor.flushed"]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({"wait_at": 0}, "wait_at"),
        ({"wait_at": 1.0}, "wait_at"),
        ({"drop_at": 10}, "drop_at"),
        ({"drop_at": None}, "drop_at"),
    ],
)
def test_marks_that_make_no_sense_are_refused(bad: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=f"expected {what} to be"):
        Shedding(**bad)


def test_a_capacity_has_to_be_above_the_marks() -> None:
    with pytest.raises(InvalidInput, match="expected capacity to be above drop_at, got 200"):
        MailboxSpec(capacity=200, on_full=Shedding(10, 200))


async def test_a_flood_from_fifty_senders_goes_through_all_modes(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """BPR-04."""
    ref, valve = await start_log(stage)
    # Below 10, sending takes no time.
    for n in range(WAIT_AT):
        await ref.cast_when_room(("early", n))
    assert overloads(events) == []
    async with trio.open_nursery() as nursery:
        # From 10, fifty senders wait.
        for sender in range(50):
            nursery.start_soon(ref.cast_when_room, ("waiting", sender), float("inf"))
        await wait_all_tasks_blocked()
        statistics = ref.statistics()
        assert (statistics.depth, statistics.waiting_senders) == (WAIT_AT, 50)
        assert overloads(events) == ["block"]
        # Who can't wait is let in; the actor has not seen yet how many that are.
        for n in range(DROP_AT):
            ref.cast(("flood", n))
        await valve.let(1)
        # From 200, new ones are dropped, of which the senders do not hear.
        assert ref.statistics().depth == DROP_AT + WAIT_AT - 1
        for n in range(30):
            ref.cast(("lost", n))
        await ref.cast_when_room(("lost", "too"))
        assert (ref.statistics().depth, ref.statistics().dropped) == (DROP_AT + WAIT_AT - 1, 31)
        assert overloads(events) == ["block", "drop_newest"]
        # That holds all the way down: not with each message once more.
        await valve.let(DROP_AT - 2)
        assert ref.statistics().depth == WAIT_AT + 1
        ref.cast(("lost", "still"))
        assert ref.statistics().dropped == 32
        assert overloads(events) == ["block", "drop_newest"]
        # Below 10 all is as it was before.
        await valve.let(2)
        assert ref.statistics().depth == WAIT_AT - 1
        ref.cast(("let in", 0))
        assert ref.statistics().dropped == 32
        await valve.let(100)
    assert flushes(events) == []
    assert [entry for entry in stage.log if entry[0] == "lost"] == []
    assert len(stage.log) == 1 + WAIT_AT + DROP_AT + 1 + 50
    assert stage.log[:2] == ["first", ("early", 0)]
    waited = {entry[1] for entry in stage.log if entry[0] == "waiting"}
    assert waited == set(range(50))
    assert ref.statistics().waiting_senders == 0


async def test_a_burst_that_is_too_much_is_thrown_away_and_reported(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """BPR-04: over 1000 the queue is flushed."""
    ref, valve = await start_log(stage)
    for n in range(CAPACITY):
        ref.cast(n)
    assert flushes(events) == []
    await trio.sleep(5)
    ref.cast("newest")
    await trio.sleep(1)
    statistics = ref.statistics()
    assert statistics.oldest_age_s == 1
    assert (statistics.depth, statistics.peak, statistics.dropped) == (1, CAPACITY, CAPACITY)
    assert flushes(events) == [CAPACITY]
    await valve.let(2)
    assert stage.log == ["first", "newest"]
    assert ref.statistics().oldest_age_s == 0
    ref.cast("normal again")
    await valve.let(1)
    assert stage.log[-1] == "normal again"
    assert overloads(events) == []


async def test_the_runtimes_messages_survive_a_flush_and_who_waits_comes_in(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    ref, valve = await start_log(stage)
    stage.runtime.send_after(0, ref, "timer")
    await wait_all_tasks_blocked()
    outcomes: list[str] = []

    async def call() -> None:
        with pytest.raises(Overloaded, match="log dropped it for newer mail"):
            await ref.call(Ask("flushed"))
        outcomes.append("flushed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        request = send_request(ref, Ask("flushed"))
        for n in range(WAIT_AT):
            ref.cast(n)
        nursery.start_soon(ref.cast_when_room, "waited")
        await wait_all_tasks_blocked()
        for n in range(CAPACITY - WAIT_AT - 2 + 1):
            ref.cast(n)
        assert ref.statistics().depth == 2
        await wait_all_tasks_blocked()
        assert outcomes == ["flushed"]
    with pytest.raises(Overloaded):
        await request.wait()
    assert flushes(events) == [CAPACITY]
    await valve.let(10)
    assert stage.log == ["first", "timer", "waited", CAPACITY - WAIT_AT - 2]


async def test_a_call_waits_for_room_and_fails_where_mail_is_dropped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    ref, valve = await start_log(stage)
    for n in range(WAIT_AT):
        ref.cast(n)
    began = trio.current_time()
    with pytest.raises(CallTimedOut):
        await ref.call(Ask(1), timeout_s=3)
    assert trio.current_time() - began == pytest.approx(3)
    assert ref.statistics().waiting_senders == 0
    for n in range(DROP_AT):
        ref.cast(n)
    await valve.let(1)
    began = trio.current_time()
    with pytest.raises(Overloaded, match="the mailbox of log is full"):
        await ref.call(Ask(2), timeout_s=3)
    with pytest.raises(Overloaded):
        await send_request(ref, Ask(3)).wait()
    assert trio.current_time() == began
    assert (ref.statistics().refused, ref.statistics().dropped) == (2, 0)


async def test_a_request_and_a_cast_after_it_stay_in_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """Its sender does not wait, so a request that did would be overtaken by the sender's casts."""
    ref, valve = await start_log(stage)
    for n in range(WAIT_AT):
        ref.cast(n)

    async def note(actor: ScriptedActor, _: object) -> object:
        actor.log.append("request")
        return None

    send_request(ref, Ask(note))
    ref.cast("cast")
    await valve.let(WAIT_AT + 2)
    assert stage.log[-2:] == ["request", "cast"]
