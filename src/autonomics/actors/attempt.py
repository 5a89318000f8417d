"""One attempt at the outside world, in a task of its own that can be killed without harm.

An attempt carries out the calls of an act, or reads back whether they took place, or reads facts.
It holds the deadline of each call. A call that was cut off is never repeated: it is read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

import attrs
import trio

from autonomics.errors import EffectFailed, EffectUnknown
from autonomics.recipes.effector import (
    Effector,
    Fact,
    FactReader,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.runtime import Address, TakesCast, Worker

Result = Literal["done", "failed", "timed_out", "killed", "unknown"]


@attrs.frozen
class AttemptEnded:
    """Cast to the executor: the one outcome of the act that it knows by `key`."""

    key: str
    result: Result
    detail: str


@attrs.frozen
class FactsRead:
    """Cast to whoever asked: one fact per request, by key."""

    token: object
    facts: Mapping[str, Fact]


class Act(Worker):
    """Carries out the calls of one act, in order; the first that fails ends it."""

    def __init__(
        self,
        key: str,
        calls: tuple[PlannedCall, ...],
        effector: Effector,
        report_to: Address[TakesCast[AttemptEnded]],
    ) -> None:
        self._key = key
        self._calls = calls
        self._effector = effector
        self._report_to = report_to

    async def run(self, started: Callable[[], None]) -> None:
        """Act and report."""
        started()
        result: Result = "done"
        detail = ""
        for call in self._calls:
            result, detail = await self._carry_out(call)
            if result != "done":
                break
        self._report_to.cast(AttemptEnded(self._key, result, detail))

    async def _carry_out(self, call: PlannedCall) -> tuple[Result, str]:
        try:
            with trio.fail_after(call.timeout_s):
                done = await self._effector.call(call)
        except trio.TooSlowError:
            why = f"{call.call} gave no answer within {call.timeout_s:g} s"
            return await self._look(call, "timed_out", why)
        except EffectUnknown as error:
            return await self._look(call, "timed_out", str(error))
        except EffectFailed as error:
            return "failed", str(error)
        return "done", "the same change had been made before" if done.is_repeat else ""

    async def _look(self, call: PlannedCall, otherwise: Result, why: str) -> tuple[Result, str]:
        return judge_read_back(await self._effector.read_back(call), otherwise, why)


class LookBack(Worker):
    """Finds out how an act ended that was cut off: killed, or under way when we crashed."""

    def __init__(
        self,
        key: str,
        calls: tuple[PlannedCall, ...],
        effector: Effector,
        report_to: Address[TakesCast[AttemptEnded]],
        why: str,
    ) -> None:
        self._key = key
        self._calls = calls
        self._effector = effector
        self._report_to = report_to
        self._why = why

    async def run(self, started: Callable[[], None]) -> None:
        """Look and report."""
        started()
        found: list[ReadBack] = [await self._effector.read_back(call) for call in self._calls]
        # Some applied and some not is the worst of both: nobody may call that done or undone.
        seen: ReadBack = "unknown"
        if len(set(found)) == 1:
            seen = found[0]
        result, detail = judge_read_back(seen, "killed", self._why)
        self._report_to.cast(AttemptEnded(self._key, result, detail))


class ReadFacts(Worker):
    """Reads facts, all at once, each within its deadline."""

    def __init__(
        self,
        token: object,
        requests: tuple[FactRequest, ...],
        reader: FactReader,
        report_to: Address[TakesCast[FactsRead]],
        clock: Callable[[], datetime],
    ) -> None:
        self._token = token
        self._requests = requests
        self._reader = reader
        self._report_to = report_to
        self._clock = clock

    async def run(self, started: Callable[[], None]) -> None:
        """Read and report; a fact that can't be read is a fact with an error."""
        started()
        facts: dict[str, Fact] = {}

        async def read(request: FactRequest) -> None:
            with trio.move_on_after(request.timeout_s):
                facts[request.key] = await self._reader.read(request)

        async with trio.open_nursery() as nursery:
            for request in self._requests:
                nursery.start_soon(read, request)
        for request in self._requests:
            if request.key not in facts:
                error = f"no answer within {request.timeout_s:g} s"
                facts[request.key] = Fact(key=request.key, read_at=self._clock(), error=error)
        self._report_to.cast(FactsRead(self._token, facts))


def judge_read_back(seen: ReadBack, otherwise: Result, why: str) -> tuple[Result, str]:
    """Turn what was read back into an outcome; `otherwise` says how an act without effect ended."""
    match seen:
        case "applied":
            return "done", f"{why}; read back: applied"
        case "not_applied":
            return otherwise, f"{why}; read back: not applied"
        case "unknown":
            return "unknown", f"{why}; reading back gave no answer"
