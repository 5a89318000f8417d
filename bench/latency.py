"""How long one operation takes for whoever waits for it: medians and tails, by the wall clock.

Tails on a shared machine are its tails as well: this is reported, and `--check` fails only at
twice a goal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any

import trio
from attrs import define, field, frozen

from autonomics.runtime import (
    Actor,
    ActorRef,
    Call,
    MailboxSpec,
    ReplyTo,
    Runtime,
    open_runtime,
)
from autonomics.supervisors import Supervisor
from bench import percentile
from bench.cases import Ask, Boom, Crash, Echo, permanent
from bench.floors import open_switch
from bench.peer import on_trio
from bench.reading import Reading, show

SLACK = 2.0
WORK_S = 3e-6
SWITCHES = 20_000
FULL_MAILBOX = 1_024


@define
class Stopwatch:
    """When the last crash was."""

    crashed_at: float = 0.0


class Mortal(Echo):
    """Notes when it crashes, just before it does."""

    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self.watch = watch

    async def handle_cast(self, message: object) -> None:
        if isinstance(message, Crash):
            self.watch.crashed_at = perf_counter()
            raise Boom


class Busy(Actor):
    """Works for three microseconds on each message."""

    mailbox = MailboxSpec(capacity=FULL_MAILBOX)

    async def handle_cast(self, message: object) -> None:
        until = perf_counter() + WORK_S
        while perf_counter() < until:
            pass


@frozen
class Probe(Call[list[float]]):
    """Ask for the time that each of so many calls took."""

    target: ActorRef
    count: int


class Prober(Actor):
    """Calls from inside the tree and takes the time of each call."""

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, Probe)
        took_s: list[float] = []
        for number in range(message.count):
            started = perf_counter()
            await message.target.call(Ask(number))
            took_s.append(perf_counter() - started)
        return took_s


async def take_calls(runtime: Runtime, count: int) -> list[float]:
    """Time calls to an idle actor."""
    target = await runtime.start(Echo)
    prober = await runtime.start(Prober)
    return await prober.call(Probe(target, count), timeout_s=3600.0)


async def measure_call(count: int) -> list[float]:
    """Time calls with nothing else going on; seconds, ascending."""
    async with open_runtime() as runtime:
        return sorted(await take_calls(runtime, count))


async def flood(busy: Sequence[ActorRef]) -> None:
    """Keep the mailboxes full: top them up in each pass of the scheduler."""
    while True:
        for ref in busy:
            for number in range(FULL_MAILBOX - ref.statistics().depth):
                ref.cast(number)
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_flood(flooded: int) -> AsyncGenerator[Runtime]:
    """Keep so many actors flooded."""
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        busy = [await runtime.start(Busy) for _ in range(flooded)]
        nursery.start_soon(flood, busy)
        yield runtime
        nursery.cancel_scope.cancel()
        for ref in busy:
            ref.kill()


async def measure_probe(flooded: int, count: int) -> list[float]:
    """Time calls to an actor that has nothing to do with the flooded ones."""
    async with open_flood(flooded) as runtime:
        return sorted(await take_calls(runtime, count))


async def measure_restart(count: int) -> list[float]:
    """Time from a crash to the successor's first answer; seconds, ascending."""
    watch = Stopwatch()
    took_s: list[float] = []
    async with open_runtime() as runtime:
        child = permanent("mortal", partial(Mortal, watch), "mortal")
        await runtime.start(partial(Supervisor, [child], max_restarts=1_000_000_000))
        for number in range(count):
            old = runtime.whereis("mortal")
            assert old is not None
            old.cast(Crash())
            while (new := runtime.whereis("mortal")) is None or new is old:
                await trio.lowlevel.checkpoint()
            await new.call(Ask(number))
            took_s.append(perf_counter() - watch.crashed_at)
    return sorted(took_s)


@define
class Sizes:
    """How often each thing is done."""

    calls: int = 3_000
    probes: int = 300
    crashes: int = 300


FULL = Sizes(calls=20_000, probes=2_000, crashes=3_000)


@define
class Spread:
    """The quantiles of one thing, as readings."""

    name: str
    operation: str
    took_s: Sequence[float]
    per_s: float
    unit: str
    readings: list[Reading] = field(factory=list[Reading])

    def add(self, percent: float, **limits: Any) -> Spread:
        """Add a quantile; `limits` are a reading's goal, stretch and goal_number."""
        self.readings.append(
            Reading(
                name=f"{self.name} p{percent:g}",
                operation=self.operation,
                value=percentile(self.took_s, percent) * self.per_s,
                unit=self.unit,
                **limits,
            )
        )
        return self


def read_latencies(sizes: Sizes) -> list[Reading]:
    """Measure everything; one after the other."""
    switch = on_trio(open_switch)(SWITCHES)
    switch_s = switch.cpu_s / switch.n
    call = Spread("call", "a call to an idle actor", trio.run(measure_call, sizes.calls), 1e6, "us")
    readings = [
        Reading(
            name="S", operation="a switch between two trio tasks", value=switch_s * 1e6, unit="us"
        )
    ]
    readings += call.add(50).add(99).add(99.9).readings
    restarts_s = trio.run(measure_restart, sizes.crashes)
    restart = Spread("restart", "crash to the first answer", restarts_s, 1 / switch_s, "S")
    readings += restart.add(50, goal=6.0, stretch=4.0, goal_number=8).readings
    readings.append(
        Reading(
            name="restart p99/p50",
            operation="the tail of a restart",
            value=percentile(restarts_s, 99) / percentile(restarts_s, 50),
            unit="x",
            goal=3.0,
            goal_number=8,
        )
    )
    for flooded, goal, stretch in ((1, 0.6, 0.4), (10, 4.0, 2.5)):
        took_s = trio.run(measure_probe, flooded, sizes.probes)
        probe = Spread(f"probe {flooded}", f"a call beside {flooded} flooded", took_s, 1e3, "ms")
        readings += probe.add(50).add(99, goal=goal, stretch=stretch, goal_number=10).readings
    return readings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with --check, 1 beyond twice a goal."""
    parser = argparse.ArgumentParser(prog="python -m bench latency", description=__doc__)
    parser.add_argument("--full", action="store_true", help="more of each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond twice a goal")
    options = parser.parse_args(arguments)
    readings = read_latencies(FULL if options.full else Sizes())
    if options.json:
        print(json.dumps([reading.to_plain() for reading in readings]))
    else:
        show(readings)
    far = [r for r in readings if r.value is not None and r.goal and r.value > SLACK * r.goal]
    return 1 if options.check and far else 0


if __name__ == "__main__":
    sys.exit(main())
