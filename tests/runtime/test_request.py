from __future__ import annotations

import gc
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    ActorDied,
    CallFailed,
    CallingSelf,
    CallTimedOut,
    InvalidInput,
    NoSuchActor,
    Overloaded,
    WouldDeadlock,
)
from autonomics.runtime import (
    NO_REPLY,
    ActorRef,
    Killed,
    MailboxSpec,
    Replied,
    ReplyTo,
    Request,
    RequestCollection,
    RequestFailed,
    Stop,
    Worker,
    send_request,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def start(stage: Stage, name: str = "a", actor: Any = None) -> ActorRef:
    script = stage.script(name)
    script.actor = actor
    return await stage.runtime.start(script, name=name)


def sleep(seconds: float, value: object = "slept") -> Ask:
    async def do(_: ScriptedActor, __: ReplyTo) -> object:
        await trio.sleep(seconds)
        return value

    return Ask(do)


def run(do: Any) -> Ask:
    """Have the actor run an async function without arguments."""

    async def answer(_: ScriptedActor, __: ReplyTo) -> object:
        value: object = await do()
        return value

    return Ask(answer)


async def test_a_request_is_waited_for_as_often_as_one_likes(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-30."""
    a = await start(stage)
    first, second = send_request(a, sleep(0.1)), send_request(a, Ask("pong"))
    with pytest.raises(CallTimedOut, match=r"a gave no reply to Ask in 0.02 s"):
        await first.wait(0.02)
    assert repr(first) == "<Request Ask to a pending>"
    assert await first.wait(1) == "slept"
    assert await first.wait(0) == "slept"
    assert repr(first) == "<Request Ask to a answered>"
    assert await second.receive(1) == "pong"
    late = stage.runtime.statistics().late_replies
    third = send_request(a, sleep(0.1))
    with pytest.raises(CallTimedOut):
        await third.receive(0.01)
    with pytest.raises(CallFailed, match=r"Ask to a was abandoned"):
        await third.wait()
    await trio.sleep(0.2)
    assert stage.runtime.statistics().late_replies == late + 1
    nobody = send_request(stage.runtime.named("nobody"), Ask("pong"))
    assert nobody.is_answered
    with pytest.raises(NoSuchActor, match="nobody has the name 'nobody'"):
        await nobody.wait()
    nobody.abandon()
    assert await send_request(stage.runtime.named("a"), Ask("pong")).wait() == "pong"


async def test_an_actor_may_send_requests_too_and_hears_nothing_of_those_it_abandons(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-30: the mailbox stays empty."""
    asker, a = await start(stage, "asker"), await start(stage)

    async def do() -> object:
        request = send_request(a, sleep(0.1))
        with pytest.raises(CallTimedOut):
            await request.receive(0.01)
        return await send_request(a, Ask("pong")).wait()

    assert await asker.call(run(do)) == "pong"
    assert asker.incarnation.traces == {}
    await trio.sleep(0.2)
    assert stage.log == ["init:asker", "up:asker", "init:a", "up:a"]
    assert stage.runtime.statistics().late_replies == 1


async def test_responses_come_in_order_of_completion_until_a_common_deadline(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-31."""
    a, b, c, d = [await start(stage, name) for name in "abcd"]
    await b.stop()
    requests = RequestCollection[str, Any]()
    requests.send("c", c, sleep(9, "late"))
    requests.send("d", d, sleep(0.2, "second"))
    requests.send("a", a, sleep(0.1, "first"))
    requests.send("b", b, Ask("never"))
    assert len(requests) == 4
    began = trio.current_time()
    responses = [response async for response in requests.receive(1)]
    assert trio.current_time() == began + 1
    assert [response.label for response in responses] == ["b", "a", "d", "c"]
    dead, first, second, late = responses
    assert isinstance(dead, RequestFailed)
    assert isinstance(dead.error, NoSuchActor)
    assert (first, second) == (Replied("a", "first"), Replied("d", "second"))
    assert isinstance(late, RequestFailed)
    assert isinstance(late.error, CallTimedOut)
    assert str(late.error) == "c gave no reply to Ask in 1 s"
    assert len(requests) == 0
    assert stage.runtime.statistics().late_replies == 0
    await trio.sleep(10)
    assert stage.runtime.statistics().late_replies == 1


async def test_one_response_of_a_collection_at_a_time_leaves_the_others_valid(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-31: the waiting form."""
    a, b = await start(stage, "a"), await start(stage, "b")
    requests = RequestCollection[int, Any]()
    assert await requests.wait() is None
    first = requests.send(1, a, sleep(0.5))
    requests.send(2, b, sleep(0.2))
    with pytest.raises(CallTimedOut, match=r"none of 2 requests was answered in 0.1 s"):
        await requests.wait(0.1)
    with pytest.raises(InvalidInput, match="one that is not in the collection"):
        requests.add(3, first)
    assert await requests.wait() == Replied(2, "slept")
    await first.wait()
    assert await requests.wait(0) == Replied(1, "slept")
    assert await requests.wait() is None
    requests.add(4, first)
    assert await requests.wait(0) == Replied(4, "slept")
    requests.send(5, a, Ask("pong"))
    requests.send(6, a, sleep(1))
    requests.send(7, a, sleep(1))
    await wait_all_tasks_blocked()
    requests.abandon()
    requests.send(8, b, sleep(1))
    assert [response async for response in requests.receive()] == [
        Replied(5, "pong"),
        Replied(8, "slept"),
    ]


async def test_a_request_keeps_its_place_among_what_its_sender_sends(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)

    async def note(_: ScriptedActor, __: ReplyTo) -> object:
        stage.log.append("request")
        return None

    stage.log.clear()
    a.cast("before")
    request = send_request(a, Ask(note))
    a.cast("after")
    await request.wait()
    await wait_all_tasks_blocked()
    assert stage.log == ["before", "request", "after"]


async def test_the_end_of_the_callee_is_the_answer(autojump_clock: MockClock, stage: Stage) -> None:
    class Serve(Worker):
        async def run(self, started: Any) -> None:
            started()
            await trio.sleep_forever()

    a = await start(stage)
    await stage.runtime.start(Serve, name="worker")
    request = send_request(a, sleep(9))
    a.kill()
    with pytest.raises(ActorDied) as died:
        await request.wait(math.inf)
    assert died.value.reason == Killed()
    with pytest.raises(NoSuchActor, match="a is not alive"):
        await send_request(a, Ask(1)).wait()
    with pytest.raises(CallFailed, match="worker is a worker and answers no calls"):
        await send_request(stage.at("worker"), Ask(1)).wait()


async def test_the_end_of_the_sender_abandons_its_requests(
    autojump_clock: MockClock, stage: Stage
) -> None:
    asker, a = await start(stage, "asker"), await start(stage)
    sent: list[Request[Any]] = []
    wanted: list[bool] = []

    async def slow(_: ScriptedActor, reply_to: ReplyTo) -> object:
        await trio.sleep(1)
        wanted.append(reply_to.is_wanted)
        return "late"

    async def do() -> object:
        sent.append(send_request(a, Ask(slow)))
        return None

    await asker.call(run(do))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(CallFailed, match="was abandoned"):
                await sent[0].wait(math.inf)

        await wait_all_tasks_blocked()
        await asker.stop()
    await trio.sleep(2)
    assert wanted == [False]
    assert stage.runtime.statistics().late_replies == 1


async def test_only_waiting_can_be_a_deadlock(autojump_clock: MockClock, stage: Stage) -> None:
    a, b = await start(stage, "a"), await start(stage, "b")

    async def ask_itself() -> object:
        request = send_request(a, Ask("later"))
        with pytest.raises(CallingSelf, match="a would wait for itself"):
            await request.wait()
        return request

    async def ask_who_waits() -> object:
        request = send_request(a, Ask("later"))
        with pytest.raises(WouldDeadlock, match="b -> a -> b"):
            await request.wait()
        return request

    own: Any = await a.call(run(ask_itself))
    assert await own.wait() == "later"
    other: Any = await a.call(run(lambda: b.call(run(ask_who_waits))))
    assert await other.wait() == "later"
    assert b.is_alive()


async def test_a_call_back_fails_only_while_the_sender_waits_for_this_callee(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, b = await start(stage, "a"), await start(stage, "b")
    errors: list[object] = []

    async def call_back(_: ScriptedActor, __: ReplyTo) -> object:
        try:
            return await a.call(Ask("from a"), 1)
        except (CallTimedOut, WouldDeadlock) as error:
            errors.append(type(error))
            return None

    async def wait() -> object:
        request = send_request(b, Ask(call_back))
        return await request.wait()

    async def do_not_wait() -> object:
        return send_request(b, Ask(call_back))

    assert await a.call(run(wait)) is None
    assert errors == [WouldDeadlock]
    request: Any = await a.call(run(do_not_wait))
    assert await request.wait() == "from a"
    assert errors == [WouldDeadlock]


async def test_a_deferred_reply_leaves_the_callee_free_to_call_back(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, b = await start(stage, "a"), await start(stage, "b")

    async def defer(actor: ScriptedActor, reply_to: ReplyTo) -> object:
        async def call_back(_: ScriptedActor) -> Stop | None:
            # a serves nothing while it waits for the reply, but somebody else may give that.
            with pytest.raises(CallTimedOut):
                await a.call(Ask(1), 0.5)
            reply_to.reply("deferred")
            return None

        actor.ref.cast(call_back)
        return NO_REPLY

    async def wait_at_once() -> object:
        return await send_request(b, Ask(defer)).wait()

    async def wait_later() -> object:
        request = send_request(b, Ask(defer))
        await trio.sleep(0.1)
        return await request.wait()

    assert await a.call(run(wait_at_once)) == "deferred"
    assert await a.call(run(wait_later)) == "deferred"
    assert b.is_alive()


async def test_two_tasks_may_wait_for_one_request(autojump_clock: MockClock, stage: Stage) -> None:
    asker, a = await start(stage, "asker"), await start(stage)

    async def do() -> object:
        request = send_request(a, sleep(1))
        replies: list[object] = []

        async def wait() -> None:
            replies.append(await request.wait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
        return replies

    assert await asker.call(run(do)) == ["slept", "slept"]


@pytest.mark.parametrize("on_full", ["refuse", "drop_oldest", "block"])
async def test_a_full_mailbox_treats_a_request_as_it_does_a_call(
    autojump_clock: MockClock, stage: Stage, on_full: Any
) -> None:
    class Small(ScriptedActor):
        mailbox = MailboxSpec(capacity=1, on_full=on_full)

    a = await start(stage, actor=Small)
    busy = send_request(a, sleep(1))
    await wait_all_tasks_blocked()
    first, second = send_request(a, Ask("first")), send_request(a, Ask("second"))
    assert await busy.wait() == "slept"
    refused = {"refuse": second, "drop_oldest": first}.get(on_full)
    for request, value in ((first, "first"), (second, "second")):
        if request is refused:
            with pytest.raises(Overloaded):
                await request.wait()
        else:
            assert await request.wait() == value


async def test_abandoning_gives_the_place_in_a_queue_for_room_to_the_next(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Small(ScriptedActor):
        mailbox = MailboxSpec(capacity=1, on_full="block")

    a = await start(stage, actor=Small)
    sent = [send_request(a, sleep(1, n)) for n in range(4)]
    await wait_all_tasks_blocked()
    sent[2].abandon()
    assert await sent[3].wait() == 3
    assert a.statistics().handled == 3


async def test_a_poll_leaves_nothing_behind(autojump_clock: MockClock, stage: Stage) -> None:
    request = send_request(await start(stage), sleep(100))

    def events() -> int:
        gc.collect()
        return sum(isinstance(thing, trio.Event) for thing in gc.get_objects())

    before = events()
    for _ in range(50):
        with pytest.raises(CallTimedOut):
            await request.wait(0.01)
    assert events() < before + 10  # the last error's traceback may hold one


async def test_a_cancelled_wait_leaves_the_request_valid(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a = await start(stage)
    request = send_request(a, sleep(1))
    with trio.move_on_after(0.5):
        await request.wait(math.inf)
    assert await request.wait() == "slept"
    with trio.move_on_after(0.5):
        await send_request(a, sleep(1)).receive(math.inf)
    await trio.sleep(1)
    assert stage.runtime.statistics().late_replies == 1
