"""Senders that wait for room in a full mailbox, each for its own time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, CallTimedOut, NoSuchActor, Overloaded
from autonomics.runtime import (
    Actor,
    ActorRef,
    Call,
    MailboxSpec,
    ReplyTo,
    Runtime,
    open_runtime,
    send_request,
)
from autonomics.runtime.actor import BATCH
from autonomics.runtime.mailbox import FEW
from autonomics.testing.schedule import run_seeded


@attrs.frozen
class Ask(Call[object]):
    what: object


class Held(Actor):
    """Is busy with each message until it is let go, and writes down what it was done with."""

    def __init__(self, log: list[object], turns: trio.Semaphore) -> None:
        self.log = log
        self.turns = turns

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Ask)
        await self.handle_cast(message.what)
        return message.what

    async def handle_cast(self, message: object) -> None:
        await self.turns.acquire()
        self.log.append(message)

    async def handle_info(self, message: object) -> None:
        await self.handle_cast(message)


@attrs.frozen
class Bench:
    """A held actor that is busy with its first message; its mailbox is full with `full`."""

    runtime: Runtime
    ref: ActorRef
    log: list[object]
    turns: trio.Semaphore

    async def let_go(self, messages: int) -> None:
        for _ in range(messages):
            self.turns.release()
        await wait_all_tasks_blocked()


async def start(runtime: Runtime, capacity: int = 1) -> Bench:
    class Narrow(Held):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=capacity, on_full="block")

    log: list[object] = []
    turns = trio.Semaphore(0)
    ref = await runtime.start(lambda: Narrow(log, turns), name="held")
    ref.cast("busy")
    await wait_all_tasks_blocked()
    for _ in range(capacity):
        ref.cast("full")
    return Bench(runtime, ref, log, turns)


async def tell(outcomes: list[str], who: str, send: Callable[[], Any]) -> None:
    """Send, and write down what came of it."""
    try:
        await send()
        outcomes.append(f"{who}: done")
    except (CallTimedOut, NoSuchActor, ActorDied, Overloaded) as error:
        outcomes.append(f"{who}: {type(error).__name__}")
    except trio.Cancelled:
        outcomes.append(f"{who}: cancelled")
        raise


async def test_all_who_wait_come_in_by_their_order_whatever_they_do(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime)
        ref, outcomes = bench.ref, list[str]()
        request = None
        for n in range(9):
            if n % 3 == 0:
                nursery.start_soon(tell, outcomes, "cast", lambda n=n: ref.cast_when_room(n))
            elif n % 3 == 1:
                nursery.start_soon(tell, outcomes, "call", lambda n=n: ref.call(Ask(n)))
            else:
                request = send_request(ref, Ask(n))
            await wait_all_tasks_blocked()
        assert ref.statistics().waiting_senders == 9
        await bench.let_go(11)
        assert bench.log == ["busy", "full", *range(9)]
        assert request is not None
        assert await request.wait() == 8
        assert sorted(outcomes) == ["call: done"] * 3 + ["cast: done"] * 3
        statistics = ref.statistics()
        assert (statistics.refused, statistics.dropped, statistics.peak) == (0, 0, 1)


async def test_a_deadline_holds_at_the_door_and_within(autojump_clock: MockClock) -> None:
    """A call has one deadline for both; a cast only for the door; a request only for its wait."""
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime)
        ref, outcomes = bench.ref, list[str]()
        nursery.start_soon(tell, outcomes, "early call", lambda: ref.call(Ask("early"), 1))
        nursery.start_soon(tell, outcomes, "early cast", lambda: ref.cast_when_room("early", 2))
        await trio.sleep(2.5)
        assert outcomes == ["early call: CallTimedOut", "early cast: CallTimedOut"]
        assert ref.statistics().waiting_senders == 0
        nursery.start_soon(tell, outcomes, "cast", lambda: ref.cast_when_room("cast", 2))
        await wait_all_tasks_blocked()
        nursery.start_soon(tell, outcomes, "call", lambda: ref.call(Ask("call"), 2))
        await wait_all_tasks_blocked()
        request = send_request(ref, Ask("request"))
        with pytest.raises(CallTimedOut):
            await request.wait(1)
        await bench.let_go(2)
        assert outcomes[2:] == ["cast: done"]
        await bench.let_go(1)  # the call is in the actor's hands now, and the request within
        await trio.sleep(1.5)
        assert outcomes[3:] == ["call: CallTimedOut"]
        await bench.let_go(2)
        assert bench.log == ["busy", "full", "cast", "call", "request"]
        assert await request.wait() == "request"
        assert runtime.statistics().late_replies == 1


async def test_who_has_given_up_keeps_nobody_out(autojump_clock: MockClock) -> None:
    """With room in the mailbox and nobody waiting any more, a newcomer comes in at once."""
    async with open_runtime() as runtime:
        bench = await start(runtime, capacity=4)
        for n in range(3):
            with pytest.raises(CallTimedOut):
                await bench.ref.cast_when_room(n, timeout_s=0.1)
        with trio.move_on_after(0.1):
            await bench.ref.call(Ask("cancelled"), math.inf)
        send_request(bench.ref, Ask("abandoned")).abandon()
        with pytest.raises(Overloaded):
            bench.ref.cast("still full")
        await bench.let_go(1)
        bench.ref.cast("newcomer")
        await bench.let_go(5)
        assert bench.log == ["busy", *["full"] * 4, "newcomer"]


@pytest.mark.parametrize("way", ["cast", "patient", "call", "request"])
async def test_one_that_gives_up_after_a_message_was_taken_keeps_nobody_out_either(
    autojump_clock: MockClock, way: str
) -> None:
    """There is room then, and it was kept for the one that waited until half is empty."""
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime, capacity=4)
        ref, outcomes = bench.ref, list[str]()
        nursery.start_soon(tell, outcomes, "waits", lambda: ref.cast_when_room("gives up", 1))
        await wait_all_tasks_blocked()
        await bench.let_go(1)
        with pytest.raises(Overloaded):
            ref.cast("newcomer")
        await trio.sleep(1.5)
        assert outcomes == ["waits: CallTimedOut"]
        assert ref.statistics().depth == 3
        match way:
            case "cast":
                ref.cast("newcomer")
            case "patient":
                await ref.cast_when_room("newcomer", 0)
            case "call":
                nursery.start_soon(tell, outcomes, "call", lambda: ref.call(Ask("newcomer")))
                await wait_all_tasks_blocked()
            case _:
                send_request(ref, Ask("newcomer"))
        assert (ref.statistics().depth, ref.statistics().waiting_senders) == (4, 0)
        await bench.let_go(5)
        assert bench.log == ["busy", *["full"] * 4, "newcomer"]


@pytest.mark.parametrize("capacity", [1, 5])
async def test_one_that_gives_up_lets_the_next_in(autojump_clock: MockClock, capacity: int) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime, capacity)
        ref, outcomes = bench.ref, list[str]()
        scopes = [trio.CancelScope() for _ in range(5)]

        async def wait(n: int) -> None:
            with scopes[n]:
                await tell(outcomes, str(n), lambda: ref.cast_when_room(n))

        for n in range(5):
            nursery.start_soon(wait, n)
            await wait_all_tasks_blocked()
        for n in (0, 2, 3):
            scopes[n].cancel()
        await wait_all_tasks_blocked()
        assert ref.statistics().waiting_senders == 2
        await bench.let_go(10)
        assert bench.log == ["busy", *["full"] * capacity, 1, 4]
        assert set(outcomes[:3]) == {"0: cancelled", "2: cancelled", "3: cancelled"}
        assert set(outcomes[3:]) == {"1: done", "4: done"}


@pytest.mark.parametrize("first", ["room", "cancel"])
async def test_room_and_a_cancel_in_one_tick(autojump_clock: MockClock, first: str) -> None:
    """Whatever came first is what has happened: nothing is both sent and given up."""
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime)
        outcomes = list[str]()
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                await tell(outcomes, "cast", lambda: bench.ref.cast_when_room("waited"))

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        mailbox = bench.ref.incarnation.mailbox
        if first == "cancel":
            scope.cancel()
        taken = mailbox.pop()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert taken is not None
        assert taken[1] == "full"
        await bench.let_go(2)
        if first == "cancel":
            assert (outcomes, bench.log) == (["cast: cancelled"], ["busy"])
        else:
            assert (outcomes, bench.log) == (["cast: done"], ["busy", "waited"])


@given(seed=st.integers(0, 2**32), ways=st.lists(st.booleans(), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_room_and_a_deadline_in_one_tick(seed: int, ways: list[bool]) -> None:
    """In whichever order trio runs them, each message is either handled or timed out."""

    async def main() -> None:
        async with open_runtime() as runtime, trio.open_nursery() as nursery:
            bench = await start(runtime)
            ref, outcomes = bench.ref, list[str]()

            async def make_room() -> None:
                await trio.sleep(1)
                bench.turns.release()

            nursery.start_soon(make_room)
            for n, is_call in enumerate(ways):
                send: Any = (
                    (lambda n=n: ref.call(Ask(n), 1))
                    if is_call
                    else (lambda n=n: ref.cast_when_room(n, 1))
                )
                nursery.start_soon(tell, outcomes, str(n), send)
            await trio.sleep(2)
            assert len(outcomes) == len(ways)
            assert ref.statistics().waiting_senders == 0
            await bench.let_go(10)
            sent = {int(told[0]) for told in outcomes if told.endswith("done")}
            handled = set[object](bench.log[2:])
            assert sent <= handled
            # Whoever came in and whose reply then came too late may have been handled, no other.
            assert all(isinstance(n, int) and (n in sent or ways[n]) for n in handled)
            assert len(handled) <= 1

    run_seeded(main, seed)


async def test_everybody_who_waits_hears_of_the_end_in_order(autojump_clock: MockClock) -> None:
    """Also in the very tick in which it ends, and whoever comes after it."""
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime)
        ref, outcomes = bench.ref, list[str]()
        nursery.start_soon(tell, outcomes, "cast", lambda: ref.cast_when_room(0, math.inf))
        await wait_all_tasks_blocked()
        nursery.start_soon(tell, outcomes, "call", lambda: ref.call(Ask(1), math.inf))
        await wait_all_tasks_blocked()
        request = send_request(ref, Ask(2))
        ref.kill()
        nursery.start_soon(tell, outcomes, "late", lambda: ref.call(Ask(3), math.inf))
        await wait_all_tasks_blocked()
        assert {told for told in outcomes if "NoSuchActor" not in told} == set()
        assert len(outcomes) == 3
        with pytest.raises(NoSuchActor, match="held ended before it had room"):
            await request.wait()
        assert bench.log == []
        assert ref.statistics().waiting_senders == 0
        # What the mailbox held was lost with it; what waited outside was never in it.
        assert runtime.statistics().dead_letters == 1


async def test_as_many_requests_wait_for_room_as_fit_and_no_more(
    autojump_clock: MockClock,
) -> None:
    """Their sender does not sleep: without a bound it could pile them up in front of the bound."""
    async with open_runtime() as runtime:
        bench = await start(runtime, capacity=2)
        requests = [send_request(bench.ref, Ask(n)) for n in range(FEW + 3)]
        for request in requests[FEW:]:
            with pytest.raises(Overloaded, match=r"the mailbox of held is full \(limit=2\)"):
                await request.wait()
        assert bench.ref.statistics().waiting_senders == FEW
        await bench.let_go(3 + FEW)
        assert bench.log == ["busy", "full", "full", *range(FEW)]


async def test_an_actor_that_takes_nothing_keeps_nothing_that_was_given_up(
    autojump_clock: MockClock,
) -> None:
    class Traced(Call[object]):
        living = 0

        def __init__(self) -> None:
            Traced.living += 1

        def __del__(self) -> None:
            Traced.living -= 1

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        bench = await start(runtime)
        nursery.start_soon(bench.ref.cast_when_room, "patient", math.inf)
        await wait_all_tasks_blocked()
        for _ in range(20 * FEW):
            with trio.move_on_after(0):
                await bench.ref.call(Traced(), math.inf)
        assert Traced.living <= 2 * FEW
        assert bench.ref.statistics().waiting_senders == 1
        await bench.let_go(3)
        assert bench.log == ["busy", "full", "patient"]


async def test_the_age_of_the_oldest_is_never_too_little_nor_too_much_by_more_than_a_batch(
    autojump_clock: MockClock,
) -> None:
    """Each message takes a second; one comes every second, so the true ages are known."""

    class Slow(Actor):
        mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=1000)

        async def handle_cast(self, message: object) -> None:
            taken.append(message)
            await trio.sleep(1)

    taken: list[object] = []
    came_s: list[float] = []
    async with open_runtime() as runtime:
        slow = await runtime.start(Slow)
        for n in range(200):
            for _ in range(2 if n < 100 else 0):
                slow.cast(len(came_s))
                came_s.append(trio.current_time())
            await trio.sleep(1)
            statistics = slow.statistics()
            if not statistics.depth:
                assert statistics.oldest_age_s == 0
                continue
            age_s = trio.current_time() - came_s[len(taken)]
            assert age_s <= statistics.oldest_age_s <= age_s + BATCH * 1
        assert slow.statistics().depth == 0
        # After a rest, what was looked at before it says nothing about what comes after it.
        await trio.sleep(1000)
        slow.cast("after")
        slow.cast("a rest")
        await trio.sleep(0.5)
        assert slow.statistics().oldest_age_s == 0.5


async def test_mail_for_one_that_is_still_starting_has_an_age_too(
    autojump_clock: MockClock,
) -> None:
    class Late(Held):
        async def init(self) -> None:
            await trio.sleep(3)

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: runtime.start(lambda: Late([], trio.Semaphore(9)), name="late"))
        await trio.sleep(1)
        late = runtime.whereis("late")
        assert late is not None
        late.cast("mail")
        await trio.sleep(1)
        assert late.statistics().oldest_age_s == 1
