"""What OTP's mailboxes do and ours do in their own way."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import NoSuchActor, Overloaded
from autonomics.runtime import (
    NO_REPLY,
    POSTPONE,
    Answer,
    CastEvent,
    Go,
    Initial,
    Keep,
    ReplyTo,
    Shutdown,
    StateEvent,
    StateMachine,
    resume,
    send_request,
    suspend,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def test_a_reply_is_received_ahead_of_the_mail_that_came_before_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-02: a reply has a slot of its own, so it need not be searched for in the mailbox."""
    a, b = (
        await stage.runtime.start(stage.script("a")),
        await stage.runtime.start(stage.script("b")),
    )
    stage.log.clear()

    async def send(_: ScriptedActor, reply_to: ReplyTo) -> object:
        a.cast("a")
        reply_to.reply(1)
        a.cast("c")
        return NO_REPLY

    async def receive(_: ScriptedActor) -> None:
        stage.log.append(await b.call(Ask(send)))

    a.cast(receive)
    await wait_all_tasks_blocked()
    assert stage.log == [1, "a", "c"]


async def test_a_state_machine_picks_what_it_wants_by_postponing_the_rest(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-02."""

    @attrs.frozen
    class B:
        value: int

    class At(Enum):
        WAITING_FOR_B = 1
        TAKING_ALL = 2

    class Picky(StateMachine[At, None]):
        states = At

        def begin(self) -> Initial[At, None]:
            return Initial(At.WAITING_FOR_B, data=None)

        def handle_event(self, event: StateEvent, state: At, data: None) -> Answer[At, None]:
            match state, event:
                case At.WAITING_FOR_B, CastEvent(B(value)):
                    stage.log.append(value)
                    return Go(At.TAKING_ALL)
                case At.WAITING_FOR_B, _:
                    return Keep(POSTPONE)
                case At.TAKING_ALL, CastEvent(message):
                    stage.log.append(message)
                    return Keep()
                case _:
                    raise AssertionError(event)

    picky = await stage.runtime.start(Picky)
    for message in ("a", B(1), "c"):
        picky.cast(message)
    await wait_all_tasks_blocked()
    assert stage.log == [1, "a", "c"]


async def test_what_is_sent_to_the_dead_is_dropped_and_counted(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-03: no error, as nobody can know whether the dead would have read it."""
    p = await stage.runtime.start(stage.script("p"), name="p")
    p.cast("read")
    await wait_all_tasks_blocked()
    await p.stop()
    stage.log.clear()
    p.cast(1)
    stage.runtime.named("p").cast(2)
    await p.cast_when_room(3)
    assert stage.runtime.statistics().dead_letters == 3
    assert stage.log == []
    # Who waits for an answer does hear of it.
    with pytest.raises(NoSuchActor, match="p is not alive"):
        await p.call(Ask(4))
    with pytest.raises(NoSuchActor, match="p is not alive"):
        await send_request(p, Ask(5)).wait()


async def test_nothing_but_the_runtimes_own_messages_overtakes(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-04: a stop does; a timer, a call and a request keep their place behind the mail."""
    a = await stage.runtime.start(stage.script("a"), name="a")
    first, second = trio.Event(), trio.Event()

    async def hold(_: ScriptedActor) -> None:
        await first.wait()

    async def note(_: ScriptedActor, __: ReplyTo) -> object:
        stage.log.append("call")
        return None

    async def last(_: ScriptedActor) -> None:
        stage.log.append("last")
        await second.wait()

    a.cast(hold)
    await wait_all_tasks_blocked()
    stage.log.clear()
    for message in (1, 2):
        a.cast(message)
    stage.runtime.send_after(0, a, "timer")
    await wait_all_tasks_blocked()
    request = send_request(a, Ask(note))
    a.cast(last)
    for message in (3, 4):
        a.cast(message)
    first.set()
    await request.wait()
    await wait_all_tasks_blocked()
    assert stage.log == [1, 2, "timer", "call", "last"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.stop)
        await wait_all_tasks_blocked()
        second.set()
    assert stage.log[5:] == ["term:a:shutdown"]
    assert await a.wait_down() == Shutdown()


async def test_a_system_command_overtakes_the_mail(autojump_clock: MockClock, stage: Stage) -> None:
    """MBX-04."""
    a = await stage.runtime.start(stage.script("a"))
    stage.log.clear()
    for message in (1, 2):
        a.cast(message)
    await suspend(a)
    assert stage.log == []
    a.cast(3)
    await resume(a)
    await wait_all_tasks_blocked()
    assert stage.log == [1, 2, 3]


async def test_a_mailbox_is_bounded_and_its_sender_never_blocked(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """MBX-05: a deviation. The 200,000 of the case are refused, all but as many as fit."""
    p = await stage.runtime.start(stage.script("p"))

    async def receive_nothing(_: ScriptedActor) -> None:
        await trio.sleep_forever()

    p.cast(receive_nothing)
    await wait_all_tasks_blocked()
    refused = 0
    for n in range(200_000):
        try:
            p.cast(n)
        except Overloaded:
            refused += 1
    statistics: Any = p.statistics()
    capacity = p.incarnation.mailbox.spec.capacity
    assert (statistics.depth, statistics.peak) == (capacity, capacity)
    assert (statistics.refused, refused) == (200_000 - capacity, 200_000 - capacity)
