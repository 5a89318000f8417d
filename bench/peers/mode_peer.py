# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""mode: services under supervisors, on asyncio; it has no messages.

Its crash ends when the service runs again: nothing there could answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mode import Service
from mode.supervisors import OneForOneSupervisor

from bench.case import Run
from bench.peer import Peer, on_asyncio

TENANT_ACTORS = 4
logging.disable(logging.CRITICAL)


class Boom(Exception):
    pass


class Starts:
    """How many tasks of services have begun."""

    count = 0

    async def reach(self, count: int) -> None:
        while self.count < count:  # noqa: ASYNC110 - a poll is the least that waiting can cost
            await asyncio.sleep(0)


class Member(Service):
    """One service with one task, which waits for its end."""

    restarted: asyncio.Event | None = None

    def __init__(self, starts: Starts) -> None:
        super().__init__()
        self.starts = starts

    async def on_started(self) -> None:
        if self.restarted is not None:
            self.restarted.set()

    @Service.task
    async def _live(self) -> None:
        self.starts.count += 1
        await self.wait_until_stopped()


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    starts = Starts()
    members = [Member(starts) for _ in range(n)]

    async def run() -> None:
        for member in members:
            await member.start()
        await starts.reach(n)

    yield run
    for member in members:
        await member.stop()


@asynccontextmanager
async def open_crash(n: int) -> AsyncGenerator[Run]:
    member = Member(Starts())
    pool = OneForOneSupervisor(member, max_restarts=1e9, over=1.0)
    pool.add()
    member.supervisor = pool
    await pool.start()
    await asyncio.sleep(0.05)

    async def run() -> None:
        for _ in range(n):
            member.restarted = asyncio.Event()
            await member.crash(Boom())
            await member.restarted.wait()
            await asyncio.sleep(0)

    yield run
    await pool.stop()


def tree(n: int, starts: Starts) -> OneForOneSupervisor:
    return OneForOneSupervisor(
        *(OneForOneSupervisor(*(Member(starts) for _ in range(TENANT_ACTORS))) for _ in range(n))
    )


@asynccontextmanager
async def open_tree_start(n: int) -> AsyncGenerator[Run]:
    starts = Starts()
    root = tree(n, starts)

    async def run() -> None:
        await root.start()
        await starts.reach(n * TENANT_ACTORS)

    yield run
    await root.stop()


@asynccontextmanager
async def open_tree_stop(n: int) -> AsyncGenerator[Run]:
    starts = Starts()
    root = tree(n, starts)
    await root.start()
    await starts.reach(n * TENANT_ACTORS)

    async def run() -> None:
        await root.stop()

    yield run


NO_MESSAGES = "no messages"

PEER = Peer(
    name="mode",
    distribution="mode-streaming",
    handler="none",
    host="task",
    measures={
        "spawn": on_asyncio(open_spawn),
        "crash": on_asyncio(open_crash),
        "tree_start": on_asyncio(open_tree_start),
        "tree_stop": on_asyncio(open_tree_stop),
    },
    most={"spawn": 2_000, "crash": 200},
    absent=dict.fromkeys(
        ("call1", "call1_plain", "call100", "cast1", "cast1_room", "cast100", "ring"), NO_MESSAGES
    ),
)
