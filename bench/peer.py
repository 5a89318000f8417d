"""What a runtime is to a comparison: a name, and how each workload is done the way it is meant to.

A set-up is measured by nobody, so that a number is what one more operation takes.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter, process_time
from typing import Literal, TypeAlias

import trio
from attrs import field, frozen

from bench.case import Open

STATM = Path("/proc/self/statm")

Handler = Literal["async def", "def", "none"]


@frozen(kw_only=True)
class Sample:
    """n operations: the processor time of this process, all threads, and the time that passed.

    `grown_bytes` is by how much the resident memory has grown.
    """

    n: int
    cpu_s: float
    wall_s: float
    grown_bytes: int = 0


Measure: TypeAlias = Callable[[int], Sample]
OpenSync: TypeAlias = Callable[[int], AbstractContextManager[Callable[[], None]]]


@frozen(kw_only=True)
class Peer:
    """One runtime.

    `host` is what an actor lives in. `most` bounds n where more would take minutes. `absent` says
    why a workload is left out.
    """

    name: str
    distribution: str
    handler: Handler
    host: str
    measures: Mapping[str, Measure]
    most: Mapping[str, int] = field(factory=dict[str, int])
    absent: Mapping[str, str] = field(factory=dict[str, str])


@frozen
class Start:
    """Memory and both clocks at the beginning."""

    resident_bytes: int
    cpu_s: float
    wall_s: float

    @classmethod
    def now(cls) -> Start:
        """Read them, with no garbage of others left to collect."""
        gc.collect()
        return cls(read_resident_bytes(), process_time(), perf_counter())

    def sample(self, n: int) -> Sample:
        """Read them again."""
        wall_s = perf_counter() - self.wall_s
        cpu_s = process_time() - self.cpu_s
        gc.collect()
        grown_bytes = read_resident_bytes() - self.resident_bytes
        return Sample(n=n, cpu_s=cpu_s, wall_s=wall_s, grown_bytes=grown_bytes)


def read_resident_bytes() -> int:
    """Read how much memory this process has in use; 0 where there is no /proc."""
    try:
        fields = STATM.read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * resource.getpagesize()


def on_trio(opens: Open) -> Measure:
    """Measure in a trio loop of its own."""

    async def main(n: int) -> Sample:
        async with opens(n) as run:
            start = Start.now()
            await run()
            return start.sample(n)

    return lambda n: trio.run(main, n)


def on_asyncio(opens: Open) -> Measure:
    """Measure in an asyncio loop of its own."""

    async def main(n: int) -> Sample:
        async with opens(n) as run:
            start = Start.now()
            await run()
            return start.sample(n)

    return lambda n: asyncio.run(main(n))


def on_threads(opens: OpenSync) -> Measure:
    """Measure in the thread that asks."""

    def measure(n: int) -> Sample:
        with opens(n) as run:
            start = Start.now()
            run()
            return start.sample(n)

    return measure
