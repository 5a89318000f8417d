# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""xoscar, all in one pool of one process: asyncio and Cython, no mailbox of an actor's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import xoscar

from bench.case import Run
from bench.peer import Peer, on_asyncio

CROWD = 100
RING = 1_000


class Echo(xoscar.Actor):
    def __init__(self) -> None:
        self.total = 0

    async def answer(self, number: int) -> int:
        return number

    async def count(self) -> None:
        self.total += 1


class Runner(xoscar.Actor):
    def __init__(self, done: asyncio.Event) -> None:
        self.done = done

    async def follow(self, following: xoscar.ActorRefType) -> None:
        self.following = following

    async def hand_on(self, left: int) -> None:
        if left:
            await self.following.hand_on.tell(left - 1)
        else:
            self.done.set()


@asynccontextmanager
async def open_pool() -> AsyncGenerator[str]:
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    try:
        yield pool.external_address
    finally:
        await pool.stop()


async def call(echo: xoscar.ActorRefType, n: int) -> None:
    for number in range(n):
        await echo.answer(number)


async def cast(echo: xoscar.ActorRefType, n: int) -> None:
    for _ in range(n):
        await echo.count.tell()
    await echo.answer(0)


@asynccontextmanager
async def open_clients(
    n: int, *, client: Callable[[xoscar.ActorRefType, int], Awaitable[None]], clients: int = 1
) -> AsyncGenerator[Run]:
    async with open_pool() as address:
        echo = await xoscar.create_actor(Echo, address=address, uid="echo")

        async def run() -> None:
            await asyncio.gather(*(client(echo, n // clients) for _ in range(clients)))

        yield run


@asynccontextmanager
async def open_ring(n: int) -> AsyncGenerator[Run]:
    async with open_pool() as address:
        done = asyncio.Event()
        runners = [
            await xoscar.create_actor(Runner, done, address=address, uid=f"{i}")
            for i in range(RING)
        ]
        for runner, following in zip(runners, runners[1:] + runners[:1], strict=True):
            await runner.follow(following)

        async def run() -> None:
            await runners[0].hand_on.tell(n)
            await done.wait()

        yield run


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    async with open_pool() as address:

        async def run() -> None:
            for number in range(n):
                await xoscar.create_actor(Echo, address=address, uid=f"{number}")

        yield run


PEER = Peer(
    name="xoscar",
    distribution="xoscar",
    handler="async def",
    host="object",
    measures={
        "call1": on_asyncio(partial(open_clients, client=call)),
        "call100": on_asyncio(partial(open_clients, client=call, clients=CROWD)),
        "cast1": on_asyncio(partial(open_clients, client=cast)),
        "cast100": on_asyncio(partial(open_clients, client=cast, clients=CROWD)),
        "ring": on_asyncio(open_ring),
        "spawn": on_asyncio(open_spawn),
    },
    most={"spawn": 2_000},
    absent={
        "call1_plain": "measured with async def",
        "cast1_room": "mailboxes have no bound",
        "crash": "no supervisor",
        "tree_start": "no supervisor",
        "tree_stop": "no supervisor",
    },
)
