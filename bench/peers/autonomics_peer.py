"""The runtime of this project; `call1_plain` has a plain def handler, all others an async def."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
import trio.testing

from autonomics.runtime import open_runtime
from bench.case import Run
from bench.cases import CASES, Ask, Driver, Echo, drive, start_many
from bench.peer import Peer, on_trio


@asynccontextmanager
async def open_used(n: int) -> AsyncGenerator[Run]:
    """Start n actors and call each once."""
    async with open_runtime(stop_within_s=3600.0) as runtime:

        async def run() -> None:
            refs = await start_many(runtime, Echo, n)
            driver = await runtime.start(Driver)

            async def call_each(_: int) -> None:
                for ref in refs:
                    await ref.call(Ask(0))

            await drive([driver], refs[0], call_each, 1)

        yield run


@asynccontextmanager
async def open_tasks(n: int) -> AsyncGenerator[Run]:
    """Start n bare trio tasks that sleep: the least that a host with a task per actor weighs."""
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            for _ in range(n):
                nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()

        yield run
        nursery.cancel_scope.cancel()


PEER = Peer(
    name="autonomics",
    distribution="autonomics",
    handler="async def",
    host="task",
    measures={case.name: on_trio(case.open) for case in CASES}
    # Only weighed:
    | {"used": on_trio(open_used), "tasks": on_trio(open_tasks)},
)
