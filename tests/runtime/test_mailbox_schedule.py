"""Many senders and receivers in a random order of tasks: nothing is lost, doubled or overtaken."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Literal, cast

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.errors import CallTimedOut, Overloaded
from autonomics.runtime import (
    Actor,
    ActorRef,
    Call,
    MailboxSpec,
    MailboxStatistics,
    ReplyTo,
    Request,
    Runtime,
    Shedding,
    open_runtime,
    send_request,
)
from autonomics.testing.schedule import run_seeded

Way = Literal["cast", "patient", "call", "request", "later"]
Pause = Literal["none", "checkpoint", "nap"]


@attrs.frozen
class Mail(Call["Mail"]):
    """Message number `number` of one sender."""

    sender: int
    number: int


@attrs.frozen
class Step:
    """One message: how it is sent, how long its sender waits for it, and what comes after it."""

    receiver: int
    way: Way
    patience_s: float
    is_cancelled: bool
    pause: Pause


class Receiver(Actor):
    """Takes its time over some messages, and writes all of them down."""

    def __init__(self, log: list[Mail]) -> None:
        self.log = log

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> Mail:
        assert isinstance(message, Mail)
        await self.note(message)
        return message

    async def handle_cast(self, message: object) -> None:
        assert isinstance(message, Mail)
        await self.note(message)

    async def note(self, mail: Mail) -> None:
        self.log.append(mail)
        if mail.number % 3 == 0:
            await trio.sleep(0.25)


class PlainReceiver(Receiver):
    """Answers on the caller's stack where it can, and takes no time."""

    def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> Mail:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        assert isinstance(message, Mail)
        self.log.append(message)
        return message


async def start(
    runtime: Runtime, kind: type[Receiver], spec: MailboxSpec, log: list[Mail]
) -> ActorRef:
    bounded = cast("type[Receiver]", type(kind.__name__, (kind,), {"mailbox": spec}))
    return await runtime.start(lambda: bounded(log))


STEPS = st.builds(
    Step,
    receiver=st.integers(0, 1),
    way=st.sampled_from(("cast", "patient", "call", "request", "later", "later")),
    patience_s=st.sampled_from((0.25, 0.5, 1.0, math.inf)),
    is_cancelled=st.booleans(),
    pause=st.sampled_from(("none", "none", "checkpoint", "nap")),
)
SPECS = st.builds(
    MailboxSpec,
    capacity=st.integers(1, 4),
    on_full=st.sampled_from(("refuse", "drop_oldest", "drop_newest", "block")),
) | st.just(MailboxSpec(6, Shedding(2, 4)))


class Senders:
    """What became of each message, as its sender knows it."""

    def __init__(self, refs: list[ActorRef]) -> None:
        self.refs = refs
        self.outcomes: dict[tuple[int, Mail], str] = {}

    async def run(self, sender: int, steps: list[Step]) -> None:
        requests: dict[tuple[int, Mail], Request[Mail]] = {}
        for number, step in enumerate(steps):
            mail = Mail(sender, number)
            if step.way == "later":
                requests[step.receiver, mail] = send_request(self.refs[step.receiver], mail)
            else:
                await self.send(mail, step)
            if step.pause == "checkpoint":
                await trio.lowlevel.checkpoint()
            elif step.pause == "nap":
                await trio.sleep(0.25)
        for key, request in requests.items():
            try:
                assert await request.wait(math.inf) == key[1]
                self.outcomes[key] = "answered"
            except Overloaded:
                self.outcomes[key] = "overloaded"

    async def send(self, mail: Mail, step: Step) -> None:
        outcome = "cancelled"
        # A cancel scope and the runtime's own deadline: both at once, where the times are equal.
        with trio.move_on_after(0.5 if step.is_cancelled else math.inf):
            outcome = await self.attempt(mail, step)
        self.outcomes[step.receiver, mail] = outcome

    async def attempt(self, mail: Mail, step: Step) -> str:
        ref = self.refs[step.receiver]
        try:
            match step.way:
                case "cast":
                    ref.cast(mail)
                case "patient":
                    await ref.cast_when_room(mail, step.patience_s)
                case "call":
                    assert await ref.call(mail, step.patience_s) == mail
                    return "answered"
                case _:
                    assert await send_request(ref, mail).receive(step.patience_s) == mail
                    return "answered"
        except Overloaded:
            return "overloaded"
        except CallTimedOut:
            return "timed out"
        return "sent"


@given(
    seed=st.integers(0, 2**32),
    senders=st.lists(st.lists(STEPS, min_size=1, max_size=12), min_size=1, max_size=8),
    specs=st.tuples(SPECS, SPECS),
    kinds=st.tuples(
        st.sampled_from((Receiver, PlainReceiver)), st.sampled_from((Receiver, PlainReceiver))
    ),
)
@settings(max_examples=150, deadline=None)
def test_each_message_is_handled_as_its_sender_was_told(
    seed: int,
    senders: list[list[Step]],
    specs: tuple[MailboxSpec, MailboxSpec],
    kinds: tuple[type[Receiver], type[Receiver]],
) -> None:
    logs: list[list[Mail]] = [[], []]

    async def main() -> tuple[Senders, list[MailboxStatistics]]:
        async with open_runtime() as runtime:
            refs = [
                await start(runtime, kind, spec, log)
                for kind, spec, log in zip(kinds, specs, logs, strict=True)
            ]
            crowd = Senders(refs)
            async with trio.open_nursery() as nursery:
                for sender, steps in enumerate(senders):
                    nursery.start_soon(crowd.run, sender, steps)
            await trio.sleep(1000)
            return crowd, [ref.statistics() for ref in refs]

    crowd, statistics = run_seeded(main, seed)
    ways: dict[tuple[int, Mail], Way] = {
        (step.receiver, Mail(sender, number)): step.way
        for sender, steps in enumerate(senders)
        for number, step in enumerate(steps)
    }
    assert set(ways) == set(crowd.outcomes)
    for receiver, log in enumerate(logs):
        told = {mail: what for (to, mail), what in crowd.outcomes.items() if to == receiver}
        check(
            log,
            told,
            {mail: way for (to, mail), way in ways.items() if to == receiver},
            statistics[receiver],
        )
        spec = specs[receiver]
        assert statistics[receiver].peak <= spec.capacity
        if spec.on_full in {"refuse", "block"}:
            assert statistics[receiver].dropped == 0


def check(
    log: list[Mail], told: dict[Mail, str], ways: dict[Mail, Way], counted: MailboxStatistics
) -> None:
    """Compare what one receiver handled with what its senders know, and with what it counted."""
    by_sender: defaultdict[int, list[int]] = defaultdict(list)
    for mail in log:
        by_sender[mail.sender].append(mail.number)
    assert all(numbers == sorted(set(numbers)) for numbers in by_sender.values())
    handled = set(log)
    answered = {mail for mail, what in told.items() if what == "answered"}
    sent = {mail for mail, what in told.items() if what == "sent"}
    overloaded = {mail for mail, what in told.items() if what == "overloaded"}
    # Who gave up on a call may still have it handled; who gave up on a cast has not sent it.
    given_up = {
        mail
        for mail, what in told.items()
        if what in {"timed out", "cancelled"} and ways[mail] in {"call", "request"}
    }
    assert answered <= handled <= answered | sent | given_up
    assert not handled & overloaded
    # Lost without a word are casts that were dropped, and calls that nobody waited for any more.
    missing = (sent | given_up) - handled
    assert len(sent - handled) <= counted.dropped
    if not counted.dropped:
        assert sent <= handled
    assert counted.handled == len(log)
    assert counted.dropped + counted.refused <= len(overloaded) + len(missing)
    assert (counted.depth, counted.waiting_senders, counted.oldest_age_s) == (0, 0, 0.0)
