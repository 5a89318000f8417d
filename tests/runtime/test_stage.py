"""Stages: what is produced is what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput, StartFailed
from autonomics.runtime import (
    ActorRef,
    Consumer,
    Crash,
    Down,
    FlowStatus,
    Killed,
    MailboxSpec,
    NoProcess,
    Normal,
    Producer,
    Runtime,
    Shutdown,
    Stop,
    open_runtime,
)
from autonomics.runtime.stage import Flow
from autonomics.testing.schedule import run_seeded
from autonomics.testing.scripted import Script


class Numbers(Producer[int]):
    """Counts up, at once and as far as it is asked to."""

    def __init__(self, last: int = 10**6) -> None:
        self.last = last
        self.sent = 0
        self.asked: list[int] = []

    def handle_demand(self, count: int) -> Iterable[int] | Stop:
        self.asked.append(count)
        if self.sent == self.last:
            return Stop()
        first, self.sent = self.sent, min(self.last, self.sent + count)
        return range(first, self.sent)


class Late(Producer[int]):
    """Has nothing when it is asked; gives what it is told to give."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.given = 0

    async def handle_demand(self, count: int) -> Iterable[int]:
        self.asked.append(count)
        return ()

    def handle_cast(self, message: object) -> None:
        assert isinstance(message, int)
        self.supply(range(self.given, self.given + message))
        self.given += message


class Slow(Consumer[int]):
    """Takes as long over each item as it is let, and counts what it has asked for."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=1)

    def __init__(self, producer: Any, turns: trio.Semaphore, **marks: int) -> None:
        super().__init__(producer, **marks)
        self.turns = turns
        self.taken: list[int] = []
        self.mail: list[object] = []

    def handle_cast(self, message: object) -> None:
        self.mail.append(message)

    async def consume(self, item: int) -> None:
        self.taken.append(item)
        await self.turns.acquire()


class Fast(Consumer[int]):
    def __init__(self, producer: Any, log: list[int], **marks: int) -> None:
        super().__init__(producer, **marks)
        self.log = log

    def consume(self, item: int) -> Stop | None:
        self.log.append(item)
        return Stop(Shutdown("enough")) if item == 777 else None


def behaviour(ref: ActorRef) -> Any:
    return ref.incarnation.behaviour


async def start_slow(
    runtime: Runtime, producer: Any, turns: trio.Semaphore, **marks: int
) -> ActorRef:
    return await runtime.start(lambda: Slow(producer, turns, **marks))


async def let(turns: trio.Semaphore, times: int) -> None:
    for _ in range(times):
        turns.release()
    await wait_all_tasks_blocked()


async def test_a_consumer_never_has_more_than_it_asked_for(autojump_clock: MockClock) -> None:
    """BPR-06: it asks for 10, and for 5 more when 5 are left; without demand nothing is made."""
    async with open_runtime() as runtime:
        turns = trio.Semaphore(0)
        numbers = await runtime.start(lambda: Numbers(1000), name="numbers")
        slow = await runtime.start(lambda: Slow(numbers, turns, ask=10, refill_at=5), name="slow")
        await wait_all_tasks_blocked()
        producer, consumer = behaviour(numbers), behaviour(slow)
        assert (producer.sent, producer.asked, consumer.taken) == (10, [10], [0])
        await trio.sleep(1000)
        assert producer.sent == 10
        await let(turns, 4)
        assert producer.sent == 10
        await let(turns, 1)
        assert (producer.sent, producer.asked) == (15, [10, 5])
        done = 5
        while producer.sent < 1000:
            await let(turns, 1)
            done += 1
            assert 5 < producer.sent - done <= 10
        await let(turns, 10)
        assert consumer.taken == list(range(1000))
        assert producer.asked == [10] + [5] * 199
        # The 199th asking is answered by the end of the stream, behind all that was sent.
        assert await numbers.wait_down() == Normal()
        assert await slow.wait_down() == Normal()


async def test_items_go_to_whoever_wants_most(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        turns = [trio.Semaphore(0) for _ in range(3)]
        late = await runtime.start(Late)
        consumers = [
            await start_slow(runtime, late, turns[n], ask=ask) for n, ask in enumerate((2, 4, 4))
        ]
        await wait_all_tasks_blocked()
        assert behaviour(late).asked == [2, 4, 4]
        assert behaviour(late).describe() == FlowStatus(consumers=3, wanted=10, owed=10, kept=0)
        late.cast(7)
        await wait_all_tasks_blocked()
        for n in range(3):
            await let(turns[n], 1)
        taken: list[list[int]] = [behaviour(consumer).taken for consumer in consumers]
        # 4 4 -> 3 4 -> 3 3 -> 2 3 -> 2 2; the first of equals has its turn.
        assert taken[0][0] == 4
        assert (taken[1][:2], taken[2][:2]) == ([0, 2], [1, 3])
        assert sorted([*taken[0], *taken[1], *taken[2]]) == list(range(sum(map(len, taken))))


async def test_the_demand_of_a_dead_consumer_is_there_for_the_others(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        late = await runtime.start(Late)
        log: list[int] = []
        first = await start_slow(runtime, late, trio.Semaphore(0), ask=10)
        await wait_all_tasks_blocked()
        first.kill()
        await wait_all_tasks_blocked()
        assert behaviour(late).describe() == FlowStatus(consumers=0, wanted=0, owed=10, kept=0)
        # It was asked for ten; of a second ten it is not, as nobody has had the first.
        second = await runtime.start(lambda: Fast(late, log, ask=10))
        await wait_all_tasks_blocked()
        assert behaviour(late).asked == [10]
        late.cast(10)
        await wait_all_tasks_blocked()
        assert log == list(range(10))
        assert behaviour(late).asked == [10, 5, 5]
        second.kill()
        await wait_all_tasks_blocked()
        # What comes when nobody wants it any more is kept, and nothing is made instead.
        late.cast(10)
        await wait_all_tasks_blocked()
        assert behaviour(late).describe() == FlowStatus(consumers=0, wanted=0, owed=0, kept=10)
        await start_slow(runtime, late, trio.Semaphore(0), ask=4)
        await wait_all_tasks_blocked()
        assert behaviour(late).asked == [10, 5, 5]
        assert behaviour(late).describe() == FlowStatus(consumers=1, wanted=0, owed=0, kept=6)
        assert runtime.statistics().dead_letters == 0


async def test_nothing_is_sent_to_one_that_is_ending(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        turns, log = trio.Semaphore(0), list[int]()
        late = await runtime.start(Late)
        ending = await start_slow(runtime, late, turns, ask=4, refill_at=3)
        await runtime.start(lambda: Fast(late, log, ask=3, refill_at=0))
        await wait_all_tasks_blocked()
        late.cast(1)
        await wait_all_tasks_blocked()
        nursery.start_soon(ending.stop)
        await wait_all_tasks_blocked()
        late.cast(3)
        await wait_all_tasks_blocked()
        assert log == [1, 2, 3]
        # What it asks for with its last item is not answered either.
        await let(turns, 1)
        assert not ending.is_alive()
        assert behaviour(late).asked == [4, 3]
        assert behaviour(late).describe() == FlowStatus(consumers=1, wanted=3, owed=3, kept=0)


async def test_a_consumer_ends_with_its_producer_when_it_has_consumed_all(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        ends: list[object] = []
        for how in (Stop(Shutdown("over")), RuntimeError("broken"), None):
            turns = trio.Semaphore(0)
            script = Script("producer")

            class Ending(Late):
                async def handle_info(self, message: object) -> Stop | None:
                    if isinstance(message, Exception):
                        raise message
                    return (
                        message if isinstance(message, Stop) else await super().handle_info(message)
                    )

            ending = await runtime.start(Ending, name=script.id)
            slow = await start_slow(runtime, runtime.named("producer"), turns)
            await wait_all_tasks_blocked()
            ending.cast(3)
            await wait_all_tasks_blocked()
            if how is None:
                ending.kill()
            else:
                ending.incarnation.inform(how)
            await wait_all_tasks_blocked()
            assert slow.is_alive()
            await let(turns, 3)
            assert behaviour(slow).taken == [0, 1, 2]
            ends.append(slow.incarnation.exit_reason)
            assert ends[-1] == await ending.wait_down()
        assert ends[0] == Shutdown("over")
        assert isinstance(ends[1], Crash)
        assert ends[2] == Killed()


async def test_a_producer_that_is_gone_before_the_watch_ends_the_consumer(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime:
        numbers = await runtime.start(Numbers)
        await numbers.stop()
        slow = await start_slow(runtime, numbers, trio.Semaphore(0))
        assert await slow.wait_down() == Shutdown(NoProcess())
        with pytest.raises(StartFailed, match="nobody has the name 'numbers'"):
            await start_slow(runtime, runtime.named("numbers"), trio.Semaphore(0))


async def test_more_than_was_asked_for_is_a_crash(autojump_clock: MockClock) -> None:
    class Generous(Producer[int]):
        def handle_demand(self, count: int) -> Iterable[int]:
            return (n for n in range(10**9))

    class Wrong(Producer[int]):
        def handle_demand(self, count: int) -> Any:
            return count

    async with open_runtime() as runtime:
        for kind, error in (
            (Generous, "expected the number of items to be at most the 10 that are asked for, got"),
            (Wrong, "the return value of handle_demand"),
            (Producer[int], "Producer produces nothing for 10 asked"),
        ):
            wrong = await runtime.start(kind)
            slow = await start_slow(runtime, wrong, trio.Semaphore(0))
            reason = await wrong.wait_down()
            assert isinstance(reason, Crash)
            assert error in str(reason.error)
            assert await slow.wait_down() == reason
        late = await runtime.start(Late)
        assert behaviour(late).owed == 0
        late.cast(1)
        reason = await late.wait_down()
        assert isinstance(reason, Crash)
        assert isinstance(reason.error, InvalidInput)


async def test_a_consumer_may_stop_and_crash(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        numbers = await runtime.start(Numbers)
        log: list[int] = []
        fast = await runtime.start(lambda: Fast(numbers, log, ask=1))
        assert await fast.wait_down() == Shutdown("enough")
        assert log == list(range(778))
        bare = await runtime.start(lambda: Consumer[int](numbers))
        reason = await bare.wait_down()
        assert isinstance(reason, Crash)
        assert "Consumer consumes nothing, got" in str(reason.error)
        assert numbers.is_alive()


async def test_other_messages_are_for_whoever_stands_behind(autojump_clock: MockClock) -> None:
    """A Down of a monitor of one's own too; the mailbox may be full of them all the while."""
    seen: list[object] = []

    class Watching(Numbers):
        async def handle_info(self, message: object) -> Stop | None:
            if isinstance(message, Down) and message.tag == "own":
                seen.append(message.reason)
                return None
            return await super().handle_info(message)

        def handle_cast(self, message: Any) -> None:
            message.monitor("own")

    async with open_runtime() as runtime:
        turns = trio.Semaphore(0)
        numbers = await runtime.start(Watching)
        slow = await start_slow(runtime, numbers, turns, ask=2)
        numbers.cast(slow)
        await wait_all_tasks_blocked()
        slow.cast("as much mail as fits")
        for ref in (numbers, slow):
            runtime.send_after(0, ref, "nobody knows this")
        await let(turns, 2)
        assert (numbers.is_alive(), slow.is_alive()) == (True, True)
        assert behaviour(slow).taken == [0, 1, 2]
        assert behaviour(slow).mail == ["as much mail as fits"]
        slow.kill()
        await wait_all_tasks_blocked()
        assert seen == [Killed()]


@pytest.mark.parametrize(
    ("marks", "error"),
    [
        ({"ask": 0}, "expected ask to be an integer of at least 1, got 0"),
        ({"ask": 1.5}, "expected ask to be"),
        ({"ask": 10, "refill_at": 10}, "expected refill_at to be an integer from 0 to below ask"),
        ({"refill_at": -1}, "expected refill_at to be"),
    ],
)
def test_marks_that_make_no_sense_are_refused(marks: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        Consumer[int](None, **marks)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_only_a_producer_can_be_asked(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        other = await runtime.start(Script("other"))
        with pytest.raises(StartFailed, match="expected producer to be the address of a Producer"):
            await start_slow(runtime, other, trio.Semaphore(0))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3), st.integers(1, 5)),
        st.tuples(st.just("leave"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("supply"), st.integers(0, 3), st.integers(0, 5)),
    ),
    max_size=50,
)


@given(STEPS)
@settings(deadline=None)
def test_the_source_is_asked_once_for_what_is_wanted(
    steps: list[tuple[str, int, int]],
) -> None:
    """Against a model that counts: nothing is made twice, lost, or sent to who has not asked."""
    flow: Flow[int, int] = Flow()
    wants: Counter[int] = Counter()
    asked = made = got = 0
    for step, who, count in steps:
        if step == "ask":
            wants[who] += count
            asked += flow.ask(who, count)
        elif step == "leave":
            del wants[who]
            flow.leave(who)
        else:
            count = min(count, asked - made)  # noqa: PLW2901
            flow.supply(range(made, made + count))
            made += count
        for consumer, item in flow.deliver():
            assert wants[consumer] == max(wants.values())
            assert item == got
            wants[consumer] -= 1
            got += 1
        status = flow.status()
        assert (status.wanted, status.owed, status.kept) == (
            *(wants.total(), asked - made, made - got),
        )
        assert not (status.wanted and status.kept)
        assert status.owed + status.kept >= status.wanted
        # Never asked for more than was wanted at some time and has not come since.
        assert set(wants) == set(flow.consumers)
    with pytest.raises(InvalidInput):
        flow.supply(range(flow.owed + 1))


@given(
    seed=st.integers(0, 2**32),
    asks=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    kills=st.lists(st.integers(0, 3), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_under_any_schedule_nothing_is_consumed_twice_and_only_the_dead_lose(
    seed: int, asks: list[int], kills: list[int]
) -> None:
    logs: list[list[int]] = [[] for _ in asks]

    async def consumer(runtime: Runtime, numbers: ActorRef, n: int) -> ActorRef:
        return await runtime.start(lambda: Fast(numbers, logs[n], ask=asks[n]))

    async def main() -> int:
        async with open_runtime() as runtime:
            numbers = await runtime.start(lambda: Numbers(700))
            refs = [await consumer(runtime, numbers, n) for n in range(len(asks))]
            for kill in kills:
                await trio.lowlevel.checkpoint()
                if kill < len(refs) - 1:  # one lives, or the stream would have no end
                    refs[kill].kill()
            await numbers.wait_down()
            await wait_all_tasks_blocked()
            return sum(asks[n] for n in set(kills) if n < len(refs) - 1)

    most_lost = run_seeded(main, seed)
    for log in logs:
        assert log == sorted(log)
    consumed = Counter(item for log in logs for item in log)
    assert set(consumed.values()) <= {1}
    assert len(consumed) >= 700 - most_lost
