"""What trio itself takes, the unit of everything else: S, one switch from a task to another.

Nothing that answers a call in a task of its own can take less than two of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, reschedule, wait_task_rescheduled

from bench.case import Run


def never_abort(_: RaiseCancelT) -> Abort:
    """Nobody cancels a player."""
    return Abort.FAILED


async def play(other: Task, turns: int) -> None:
    """Wake the other and sleep, turn by turn; the loop does nothing else."""
    for _ in range(turns):
        reschedule(other)
        await wait_task_rescheduled(never_abort)


@asynccontextmanager
async def open_switch(n: int) -> AsyncGenerator[Run]:
    """Switch n times between two tasks, by the two calls that all waiting in trio goes through."""
    rounds = max(1, n // 2)
    sleeping: list[Task] = []

    async def follow(leader: Task) -> None:
        sleeping.append(trio.lowlevel.current_task())
        await wait_task_rescheduled(never_abort)
        await play(leader, rounds - 1)
        reschedule(leader)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, trio.lowlevel.current_task())
        while not sleeping:
            await trio.lowlevel.checkpoint()

        async def run() -> None:
            await play(sleeping[0], rounds)

        yield run
