"""The workloads of the runtime, through its public interface and with everything on.

Callers and producers are actors, so a call has its waits-for edge, its default timeout and its
trace; each caller monitors whom it calls; mailboxes have their bounds.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import trio
from attrs import define, field, frozen

from autonomics.errors import ActorDied
from autonomics.runtime import (
    Actor,
    ActorRef,
    Behaviour,
    Call,
    MailboxSpec,
    ReplyTo,
    Runtime,
    open_runtime,
)
from autonomics.supervisors import ChildSpec, Supervisor
from bench.ablation import METRICS_AND_TRACE, without
from bench.case import Case, Run
from bench.floors import open_switch

CROWD = 100
RING = 1_000
IDLE = 10_000
TENANT_ACTORS = 4
# Half of the default capacity: what a producer may send before it has to look.
BURST = 512


@frozen
class Ask(Call[int]):
    """The smallest call there is."""

    number: int


# Made once: what it costs to make a message is no business of the runtime's.
ASK = Ask(1)


@frozen
class Crash:
    """Make the actor crash."""


@frozen
class Token:
    """What runs around the ring."""

    left: int


class Boom(Exception):
    """The crash."""


class Echo(Actor):
    """Answers with what it was sent, and counts what it was cast."""

    mailbox = MailboxSpec(on_full="block")

    def __init__(self) -> None:
        self.count = 0

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Ask)
        return message.number

    async def handle_cast(self, message: object) -> None:
        if isinstance(message, Crash):
            raise Boom
        self.count += 1


class Plain:
    """Answers a call without being a coroutine."""

    def handle_call(self, message: Ask, reply_to: ReplyTo) -> int:
        return message.number


PlainEcho: type[Echo] = type("PlainEcho", (Plain, Echo), {})


class Runner(Actor):
    """Hands the token on."""

    def __init__(self) -> None:
        self.next: ActorRef | None = None
        self.arrived = trio.Event()

    async def handle_cast(self, message: object) -> None:
        assert isinstance(message, Token)
        if not message.left:
            self.arrived.set()
        elif self.next is not None:
            self.next.cast(Token(message.left - 1))


def hand_out(runner: Runner) -> Runner:
    """Give the runtime an actor that has been made before."""
    return runner


Work: TypeAlias = Callable[[int], Awaitable[None]]


@define
class Crowd:
    """What a number of drivers has still to do."""

    busy: int
    failure: Exception | None = None
    done: trio.Event = field(factory=trio.Event)


@frozen
class Job:
    """A driver's share."""

    target: ActorRef
    work: Work
    share: int
    crowd: Crowd


class Driver(Actor):
    """Calls or casts from inside the tree."""

    async def handle_cast(self, message: object) -> None:
        assert isinstance(message, Job)
        monitor = message.target.monitor()
        try:
            await message.work(message.share)
        except Exception as error:  # noqa: BLE001 - raised again by who waits for the crowd
            message.crowd.failure = error
        monitor.cancel()
        message.crowd.busy -= 1
        if not message.crowd.busy:
            message.crowd.done.set()


async def drive(drivers: Sequence[ActorRef], target: ActorRef, work: Work, n: int) -> None:
    """Share n operations out among drivers and wait for all of them."""
    crowd = Crowd(len(drivers))
    for driver in drivers:
        driver.cast(Job(target, work, n // len(drivers), crowd))
    await crowd.done.wait()
    if crowd.failure is not None:
        raise crowd.failure


async def start_many(runtime: Runtime, factory: Callable[[], Behaviour], n: int) -> list[ActorRef]:
    """Start n actors one after the other."""
    return [await runtime.start(factory) for _ in range(n)]


# Calls


def calls(target: ActorRef) -> Work:
    """Call one after the other."""

    async def work(n: int) -> None:
        for _ in range(n):
            await target.call(ASK)

    return work


@asynccontextmanager
async def open_calls(
    n: int, *, callers: int = 1, echo: Callable[[], Behaviour] = Echo, idle: int = 0
) -> AsyncGenerator[Run]:
    """Call one idle actor n times."""
    async with open_runtime() as runtime:
        await start_many(runtime, Echo, idle)
        target = await runtime.start(echo)
        drivers = await start_many(runtime, Driver, callers)
        yield partial(drive, drivers, target, calls(target), n)


def open_calls_beside_idle(n: int) -> AbstractAsyncContextManager[Run]:
    """Call with many idle actors around."""
    return open_calls(n, idle=IDLE)


@asynccontextmanager
async def open_bare_calls(n: int) -> AsyncGenerator[Run]:
    """Call an idle actor of a runtime without metrics and trace."""
    with without(METRICS_AND_TRACE):
        async with open_calls(n) as run:
            yield run


async def missing_plain_handlers() -> str | None:
    """Try whether an actor may answer with a plain function."""
    async with open_calls(1, echo=PlainEcho) as run:
        try:
            await run()
        except ActorDied:
            return "the runtime has no plain def handlers"
    return None


# Casts


def casts(target: ActorRef) -> Work:
    """Cast without waiting, in bursts that the mailbox holds."""

    async def work(n: int) -> None:
        for first in range(0, n, BURST):
            for _ in range(first, min(n, first + BURST)):
                target.cast(ASK)
            await target.call(ASK)

    return work


def casts_when_room(target: ActorRef) -> Work:
    """Cast, and wait for room whenever there is none."""

    async def work(n: int) -> None:
        for _ in range(n):
            await target.cast_when_room(ASK)
        await target.call(ASK)

    return work


@asynccontextmanager
async def open_casts(
    n: int, *, producers: int = 1, casting: Callable[[ActorRef], Work] = casts
) -> AsyncGenerator[Run]:
    """Cast n messages to one actor, and wait until it has handled them."""
    async with open_runtime() as runtime:
        target = await runtime.start(Echo)
        drivers = await start_many(runtime, Driver, producers)
        yield partial(drive, drivers, target, casting(target), n)


@asynccontextmanager
async def open_ring(n: int) -> AsyncGenerator[Run]:
    """Hand one token on n times in a ring."""
    async with open_runtime() as runtime:
        runners = [Runner() for _ in range(RING)]
        refs = [await runtime.start(partial(hand_out, runner)) for runner in runners]
        for runner, ref in zip(runners, refs[1:] + refs[:1], strict=True):
            runner.next = ref

        async def run() -> None:
            refs[0].cast(Token(n))
            await runners[n % RING].arrived.wait()

        yield run


# Lives


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    """Start n actors, each of which has run its init when the next one is begun."""
    async with open_runtime(stop_within_s=math.inf) as runtime:

        async def run() -> None:
            for _ in range(n):
                await runtime.start(Echo)

        yield run


def permanent(id_: str, start: Callable[[], Behaviour], name: str | None = None) -> ChildSpec:
    """Describe a child that is always started again."""
    return ChildSpec(id=id_, start=start, name=name, init_deadline_s=3600)


@asynccontextmanager
async def open_crash(n: int) -> AsyncGenerator[Run]:
    """Crash an actor n times; each time call its successor."""
    async with open_runtime() as runtime:
        supervisor = partial(
            Supervisor, [permanent("echo", Echo, "echo")], max_restarts=1_000_000_000
        )
        await runtime.start(supervisor)

        async def run() -> None:
            for _ in range(n):
                await crash_and_call(runtime, "echo")

        yield run


CRASH = Crash()


async def crash_and_call(runtime: Runtime, name: str) -> None:
    """Crash who has the name, look until the next has it, and be answered by that one."""
    old = runtime.whereis(name)
    assert old is not None
    old.cast(CRASH)
    while (new := runtime.whereis(name)) is None or new is old:
        await trio.lowlevel.checkpoint()
    await new.call(ASK)


@asynccontextmanager
async def open_handled(n: int) -> AsyncGenerator[Run]:
    """Cast to an idle actor n times; each time look until it has begun to handle the message.

    This is what comes before a crash, and how whoever measures it learns of what came of it. The
    restart that is counted begins where this ends: in the handler.
    """
    echo = Echo()
    async with open_runtime() as runtime:
        supervisor = partial(Supervisor, [permanent("echo", lambda: echo, "echo")])
        await runtime.start(supervisor)

        async def run() -> None:
            for _ in range(n):
                await cast_and_look(runtime, "echo", echo)

        yield run


async def cast_and_look(runtime: Runtime, name: str, echo: Echo) -> None:
    """Do what comes before a crash, to an actor that survives it."""
    ref = runtime.whereis(name)
    assert ref is not None
    before = echo.count
    ref.cast(ASK)
    while echo.count == before:
        await trio.lowlevel.checkpoint()


def tenant() -> Supervisor:
    """Make a supervisor of four actors."""
    return Supervisor([permanent(f"actor-{i}", Echo) for i in range(TENANT_ACTORS)])


def tree(n: int) -> Supervisor:
    """Make a supervisor of n supervisors."""
    return Supervisor([permanent(f"tenant-{i}", tenant) for i in range(n)])


@asynccontextmanager
async def open_tree_start(n: int) -> AsyncGenerator[Run]:
    """Start n supervisors of four actors under one supervisor."""
    async with open_runtime(stop_within_s=math.inf) as runtime:

        async def run() -> None:
            await runtime.start(partial(tree, n), init_deadline_s=3600)

        yield run


@asynccontextmanager
async def open_tree_stop(n: int) -> AsyncGenerator[Run]:
    """Stop such a tree, in order."""
    async with open_runtime(stop_within_s=math.inf) as runtime:
        root = await runtime.start(partial(tree, n), init_deadline_s=3600)

        async def run() -> None:
            await root.stop()

        yield run


SWITCH = Case(
    name="S",
    operation="a switch between two trio tasks",
    open=open_switch,
    counts=(1_000, 5_000),
    small=10_000,
    full=(100_000,),
)

CASES = (
    Case(
        name="call1",
        number=1,
        operation="a call to an idle actor, async handler",
        open=open_calls,
        goal=2.8,
        stretch=2.3,
        counts=(500, 2_500),
        small=3_000,
        full=(30_000,),
    ),
    Case(
        name="call1_plain",
        number=2,
        operation="a call to an idle actor, plain def handler",
        open=partial(open_calls, echo=PlainEcho),
        goal=0.30,
        stretch=0.20,
        counts=(1_000, 9_000),
        small=20_000,
        full=(200_000,),
        missing=missing_plain_handlers,
    ),
    Case(
        name="call100",
        number=3,
        operation="a call, one of 100 callers",
        open=partial(open_calls, callers=CROWD),
        goal=1.25,
        stretch=1.0,
        counts=(1_000, 5_000),
        small=10_000,
        full=(50_000,),
    ),
    Case(
        name="cast1",
        number=4,
        operation="a cast, one producer",
        open=open_casts,
        goal=0.30,
        stretch=0.20,
        counts=(1 * BURST, 21 * BURST),
        small=40 * BURST,
        full=(400 * BURST,),
    ),
    Case(
        name="cast1_room",
        number=4,
        operation="a cast that waits for room, one producer",
        open=partial(open_casts, casting=casts_when_room),
        goal=0.30,
        stretch=0.20,
        counts=(2_000, 10_000),
        small=20_000,
        full=(200_000,),
    ),
    Case(
        name="cast100",
        number=5,
        operation="a cast that waits for room, one of 100 producers",
        open=partial(open_casts, producers=CROWD, casting=casts_when_room),
        goal=0.8,
        stretch=0.5,
        counts=(2_000, 10_000),
        small=20_000,
        full=(200_000,),
    ),
    Case(
        name="ring",
        number=6,
        operation="a hop in a ring of 1,000 actors",
        open=open_ring,
        goal=1.6,
        stretch=0.6,
        counts=(1_000, 5_000),
        small=10_000,
        full=(100_000,),
    ),
    Case(
        name="spawn",
        number=7,
        operation="the start of an actor, init included",
        open=open_spawn,
        goal=5.0,
        stretch=0.4,
        counts=(200, 1_200),
        small=10_000,
        full=(10_000, 100_000),
    ),
    Case(
        name="crash",
        number=8,
        operation="from a crash in a handler until the successor has answered a call",
        open=open_crash,
        goal=6.0,
        stretch=4.0,
        counts=(100, 600),
        small=1_000,
        full=(5_000,),
        behind="handled",
    ),
    Case(
        name="tree_start",
        number=9,
        operation="the start of a supervisor of four actors",
        open=open_tree_start,
        goal=36.0,
        stretch=2.0,
        counts=(20, 120),
        small=1_000,
        full=(1_000, 10_000),
    ),
    Case(
        name="tree_stop",
        number=9,
        operation="the stop of a supervisor of four actors",
        open=open_tree_stop,
        goal=27.0,
        stretch=2.0,
        counts=(20, 120),
        small=1_000,
        full=(1_000, 10_000),
        behind="tree_start",
    ),
    Case(
        name="call1_idle",
        number=11,
        operation="a call beside 10,000 idle actors",
        open=open_calls_beside_idle,
        unit="call1",
        goal=1.3,
        stretch=1.1,
        # Wide apart: what a large set-up varies by is spread over more operations.
        counts=(500, 6_500),
        small=3_000,
        full=(30_000,),
    ),
)

HANDLED = Case(
    name="handled",
    operation="a cast to an idle actor, until it is seen that its handler runs",
    open=open_handled,
    counts=(100, 600),
    small=1_000,
    full=(5_000,),
)

BARE = Case(
    name="call1_bare",
    operation="a call to an idle actor, metrics and trace taken out",
    open=open_bare_calls,
    counts=(500, 6_500),
    small=3_000,
    full=(30_000,),
)

# What is worth counting but, at a few percent, below what can be timed.
GATED = (
    *CASES,
    Case(
        name="metrics",
        number=12,
        operation="a call with metrics and trace",
        open=open_calls,
        unit="call1_bare",
        goal=1.15,
        stretch=1.10,
        counts=(500, 6_500),
        small=3_000,
        full=(30_000,),
    ),
)

BY_NAME = {case.name: case for case in (SWITCH, HANDLED, BARE, *GATED)}
