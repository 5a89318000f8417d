"""Trio's own primitives, as a manual would have it: a task with a memory channel, an Event a call.

No monitors, no restart, no timeout: what it takes to do without a runtime.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from attrs import define, field

from bench.case import Run
from bench.peer import Peer, on_trio

CAPACITY = 1024
CROWD = 100
RING = 1_000


@define
class Request:
    """A number, and the answer once the event is set."""

    number: int
    answer: int | None = None
    answered: trio.Event = field(factory=trio.Event)


Inbox = trio.MemorySendChannel[Request | int]


async def serve(
    inbox: trio.MemoryReceiveChannel[Request | int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    task_status.started()
    count = 0
    async for message in inbox:
        if isinstance(message, Request):
            message.answer = message.number
            message.answered.set()
        else:
            count += 1


async def call(inbox: Inbox, n: int) -> None:
    for number in range(n):
        request = Request(number)
        await inbox.send(request)
        await request.answered.wait()


async def cast(inbox: Inbox, n: int) -> None:
    for number in range(n):
        await inbox.send(number)
    await call(inbox, 1)


@asynccontextmanager
async def open_clients(
    n: int, *, client: Callable[[Inbox, int], Awaitable[None]], clients: int = 1
) -> AsyncGenerator[Run]:
    async with trio.open_nursery() as nursery:
        inbox, receive = trio.open_memory_channel[Request | int](CAPACITY)
        nursery.start_soon(serve, receive)

        async def run() -> None:
            async with trio.open_nursery() as crowd:
                for _ in range(clients):
                    crowd.start_soon(client, inbox, n // clients)

        yield run
        inbox.close()


async def hand_on(
    inbox: trio.MemoryReceiveChannel[int], following: trio.MemorySendChannel[int], done: trio.Event
) -> None:
    async for left in inbox:
        if left:
            await following.send(left - 1)
        else:
            done.set()


@asynccontextmanager
async def open_ring(n: int) -> AsyncGenerator[Run]:
    async with trio.open_nursery() as nursery:
        done = trio.Event()
        channels = [trio.open_memory_channel[int](1) for _ in range(RING)]
        for index, (_, receive) in enumerate(channels):
            nursery.start_soon(hand_on, receive, channels[(index + 1) % RING][0], done)

        async def run() -> None:
            await channels[0][0].send(n)
            await done.wait()

        yield run
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    async with trio.open_nursery() as nursery:
        inboxes: list[Inbox] = []

        async def run() -> None:
            for _ in range(n):
                inbox, receive = trio.open_memory_channel[Request | int](math.inf)
                inboxes.append(inbox)
                await nursery.start(serve, receive)

        yield run
        nursery.cancel_scope.cancel()


PEER = Peer(
    name="trio channels",
    distribution="trio",
    handler="async def",
    host="task",
    measures={
        "call1": on_trio(partial(open_clients, client=call)),
        "call100": on_trio(partial(open_clients, client=call, clients=CROWD)),
        "cast1_room": on_trio(partial(open_clients, client=cast)),
        "cast100": on_trio(partial(open_clients, client=cast, clients=CROWD)),
        "ring": on_trio(open_ring),
        "spawn": on_trio(open_spawn),
    },
    absent={
        "call1_plain": "a task has no plain handler",
        "cast1": "a channel has no send that never fails and never waits",
        "crash": "no supervisor",
        "tree_start": "no supervisor",
        "tree_stop": "no supervisor",
        "call1_idle": "the same as call1",
    },
)
