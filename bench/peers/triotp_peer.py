# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""triotp: a gen_server per trio task; this module is the callback module, as its manual has it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing
from logbook import NullHandler
from triotp import gen_server, mailbox, supervisor

from bench.case import Run
from bench.peer import Peer, on_trio

CROWD = 100
RING = 1_000
TENANT_ACTORS = 4
TIMEOUT_S = 5.0
SERVER = sys.modules[__name__]


class Boom(Exception):
    pass


class Starts:
    """How many inits have run; `init` is handed this."""

    def __init__(self) -> None:
        self.count = 0
        self.news = trio.lowlevel.ParkingLot()

    async def reach(self, count: int) -> None:
        while self.count < count:
            await self.news.park()


async def init(argument: object) -> object:
    if isinstance(argument, Starts):
        argument.count += 1
        argument.news.unpark_all()
    return argument


async def handle_call(message: object, _caller: object, state: object) -> object:
    return gen_server.Reply(message), state


async def handle_cast(message: object, state: object) -> object:
    if message == "crash":
        raise Boom
    if isinstance(state, Hop) and isinstance(message, int):
        if message:
            await gen_server.cast(state.following, message - 1)
        else:
            state.done.set()
    return gen_server.NoReply(), state


async def terminate(_reason: object, _state: object) -> None:
    pass


@asynccontextmanager
async def open_node() -> AsyncGenerator[trio.Nursery]:
    """What node.run does, inside a loop that is there."""
    mailbox._init()  # noqa: SLF001 - the public way in starts a loop of its own
    with NullHandler().applicationbound():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


async def call(name: str, n: int) -> None:
    for number in range(n):
        await gen_server.call(name, number, TIMEOUT_S)


async def cast(name: str, n: int) -> None:
    for number in range(n):
        await gen_server.cast(name, number)
    await call(name, 1)


@asynccontextmanager
async def open_clients(
    n: int, *, client: Callable[[str, int], Awaitable[None]], clients: int = 1
) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        starts = Starts()
        nursery.start_soon(gen_server.start, SERVER, starts, "echo")
        await starts.reach(1)

        async def run() -> None:
            async with trio.open_nursery() as crowd:
                for _ in range(clients):
                    crowd.start_soon(client, "echo", n // clients)

        yield run


class Hop:
    def __init__(self, following: str, done: trio.Event) -> None:
        self.following, self.done = following, done


@asynccontextmanager
async def open_ring(n: int) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        done = trio.Event()
        for index in range(RING):
            hop = Hop(f"hop-{(index + 1) % RING}", done)
            nursery.start_soon(gen_server.start, SERVER, hop, f"hop-{index}")
        await trio.testing.wait_all_tasks_blocked()

        async def run() -> None:
            await gen_server.cast("hop-0", n)
            await done.wait()

        yield run


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        starts = Starts()

        async def run() -> None:
            for number in range(n):
                nursery.start_soon(gen_server.start, SERVER, starts, f"echo-{number}")
                await starts.reach(number + 1)

        yield run


def permanent(
    id_: str, task: Callable[..., Awaitable[None]], arguments: Sequence[object]
) -> object:
    return supervisor.child_spec(id=id_, task=task, args=list(arguments))


@asynccontextmanager
async def open_crash(n: int) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        starts = Starts()
        options = supervisor.options(max_restarts=1_000_000_000)
        echo = permanent("echo", gen_server.start, [SERVER, starts, "echo"])
        await nursery.start(supervisor.start, [echo], options)
        await starts.reach(1)

        async def run() -> None:
            for number in range(n):
                await gen_server.cast("echo", "crash")
                await starts.reach(number + 2)
                await gen_server.call("echo", number, TIMEOUT_S)

        yield run


def tree(n: int, starts: Starts) -> list[object]:
    options = supervisor.options()
    return [
        permanent(
            f"tenant-{tenant}",
            supervisor.start,
            [
                [
                    permanent(f"{i}", gen_server.start, [SERVER, starts, f"actor-{tenant}-{i}"])
                    for i in range(TENANT_ACTORS)
                ],
                options,
            ],
        )
        for tenant in range(n)
    ]


@asynccontextmanager
async def open_tree_start(n: int) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        starts = Starts()

        async def run() -> None:
            await nursery.start(supervisor.start, tree(n, starts), supervisor.options())
            await starts.reach(n * TENANT_ACTORS)

        yield run


@asynccontextmanager
async def open_tree_stop(n: int) -> AsyncGenerator[Run]:
    async with open_node() as nursery:
        starts, scope, ended = Starts(), trio.CancelScope(), trio.Event()

        async def root() -> None:
            with scope:
                await supervisor.start(tree(n, starts), supervisor.options())
            ended.set()

        nursery.start_soon(root)
        await starts.reach(n * TENANT_ACTORS)

        async def run() -> None:
            scope.cancel()
            await ended.wait()

        yield run


PEER = Peer(
    name="triotp",
    distribution="triotp",
    handler="async def",
    host="task",
    measures={
        "call1": on_trio(partial(open_clients, client=call)),
        "call100": on_trio(partial(open_clients, client=call, clients=CROWD)),
        "cast1_room": on_trio(partial(open_clients, client=cast)),
        "cast100": on_trio(partial(open_clients, client=cast, clients=CROWD)),
        "ring": on_trio(open_ring),
        "spawn": on_trio(open_spawn),
        "crash": on_trio(open_crash),
        "tree_start": on_trio(open_tree_start),
        "tree_stop": on_trio(open_tree_stop),
    },
    most={"spawn": 2_000, "crash": 500},
    absent={
        "call1_plain": "handlers are async def",
        "cast1": "mailboxes hold nothing, so each cast waits: see cast1_room",
    },
)
