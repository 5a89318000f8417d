"""The gate watchdog of the whole line: holds the stop-the-line latch and remembers it.

The latch lives in the platform's log. Whoever can't read it has to treat it as tripped, and so
does this actor while it can't. A stop raises the generation in the store before it is answered,
so that from then on no intent planned before it can be committed.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, cast

import attrs

from autonomics.actors.answer import answer
from autonomics.actors.ledger_message import RaiseLineGeneration, ReadLineGeneration, ReadLog
from autonomics.actors.message import LineView
from autonomics.actors.message import Stop as OpenStop
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append
from autonomics.errors import CallFailed, LedgerError, StoreUnavailable
from autonomics.gates import Clearance, Latch, Scope, parse_latch
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.runtime import (
    Actor,
    Address,
    AnswersCall,
    Call,
    Continue,
    Down,
    MailboxSpec,
    ReplyTo,
    TakesCast,
)
from autonomics.telemetry import declare, emit

LINE = "line"
LINE_TYPE = "autonomics.line/1"
PAGE = 512
RETRY_S = 0.5

declare(
    "line.unreadable", "The latch can't be read or written now; it counts as tripped.", reason="why"
)
declare(
    "line.stopped", "Somebody stopped the line.", scope="what is stopped", reason="why", by="who"
)
declare("line.cleared", "Somebody cleared a stop.", scope="what may go on", by="who")


@attrs.frozen
class ReadLine(Call[LineView]):
    """Ask for the latch."""


@attrs.frozen
class StopLine(Call[LineView]):
    """Stop the line in a scope; a second stop of the same scope keeps the first reason."""

    scope: Scope
    reason: str
    by: str


@attrs.frozen
class ClearLine(Call[LineView]):
    """Clear the stop of one scope."""

    scope: Scope
    clearance: Clearance


@attrs.frozen
class WatchLine:
    """Cast: tell me the latch now and whenever it changes, as `LineChanged`."""

    watcher: Address[TakesCast[LineChanged]]


@attrs.frozen
class LineChanged:
    """Cast to whoever watches the line."""

    latch: Latch


class Line(Actor):
    """Owns the latch."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(
        self,
        *,
        origin: str,
        ledger: Address[AnswersCall[ReadLog | ReadLineGeneration | RaiseLineGeneration]],
        platform: Address[AnswersCall[Append]],
        source: Source,
    ) -> None:
        self._origin = origin
        self._ledger = ledger
        self._platform = platform
        self._source = source
        self._latch = Latch.unreadable()
        self._since: dict[Scope, datetime] = {}
        self._watchers: list[Address[TakesCast[LineChanged]]] = []
        self._owed: dict[Scope, StopLine] = {}
        self._is_read = False

    async def init(self) -> Continue:
        """Start tripped, then read."""
        return Continue("read")

    async def handle_continue(self, message: object) -> None:
        """Read the latch from the platform's log."""
        await self._read()

    async def handle_call(
        self, message: ReadLine | StopLine | ClearLine, reply_to: ReplyTo
    ) -> object:
        """Show, stop or clear."""
        match message:
            case ReadLine():
                return self._view()
            case StopLine():
                return await answer(reply_to, self._stop(message))
            case ClearLine():
                return await answer(reply_to, self._clear(message))
            case _:
                raise TypeError(f"expected a question about the line, got {message!r}")

    async def handle_cast(self, message: WatchLine) -> None:
        """Take a watcher."""
        match message:
            case WatchLine(watcher):
                watcher.monitor("watcher")
                self._watchers.append(watcher)
                watcher.cast(LineChanged(self._latch))
            case _:
                raise TypeError(f"expected a watcher, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Forget dead watchers; try again to read."""
        match message:
            case Down(tag="watcher", ref=ref):
                self._watchers = [watcher for watcher in self._watchers if watcher != ref]
            case "read":
                await self._read()
            case "pay":
                try:
                    await self._pay()
                except (CallFailed, LedgerError) as error:
                    emit("line.unreadable", reason=str(error))
                    self.send_after(RETRY_S, "pay")
            case _:
                pass

    async def _read(self) -> None:
        latch, since, start = Latch(), dict[Scope, datetime](), 0
        try:
            while page := await self._ledger.call(ReadLog(self._origin, start, PAGE)):
                for receipt in page:
                    if receipt.fields.kind == LINE and receipt.payload is not None:
                        payload = canonical.decode(receipt.payload)
                        latch = parse_latch(_field(payload, "latch"))
                        at = receipt.fields.at
                        since = {stop.scope: since.get(stop.scope, at) for stop in latch.stops}
                start += len(page)
            generation = await self._ledger.call(ReadLineGeneration())
            # Also that of a latch which can't be read, or of a change that was cut off half-way:
            # an intent that was planned before it must stay stale.
            latch = attrs.evolve(latch, generation=max(latch.generation, generation))
            await self._ledger.call(RaiseLineGeneration(latch.generation))
        except (CallFailed, LedgerError) as error:
            emit("line.unreadable", reason=str(error))
            self.send_after(RETRY_S, "read")
            return
        for owed in self._owed.values():
            latch = latch.trip(owed.scope, owed.reason, owed.by)
        self._since = {**{scope: self._since[scope] for scope in self._owed}, **since}
        self._is_read = True
        self._change(latch)

    async def _stop(self, message: StopLine) -> LineView:
        latch = self._latch.trip(message.scope, message.reason, message.by)
        # Tripped from here on, even if the store can't take note of it.
        self._since.setdefault(message.scope, self._source.clock())
        self._change(latch)
        emit("line.stopped", scope=str(message.scope), reason=message.reason, by=message.by)
        self._owed[message.scope] = message
        try:
            await self._pay()
        except (CallFailed, LedgerError):
            self.send_after(RETRY_S, "pay")
            raise
        return self._view()

    async def _pay(self) -> None:
        """Have the stops remembered that are only known here; the last names them all."""
        if not self._is_read:
            raise StoreUnavailable("the line is stopped; the latch can't be read to remember it")
        if self._owed:
            await self._ledger.call(RaiseLineGeneration(self._latch.generation))
            latest = list(self._owed.values())[-1]
            note = {"scope": str(latest.scope), "reason": latest.reason, "by": latest.by}
            await self._remember(self._latch, {"event": "stopped", **note})
            self._owed.clear()

    async def _clear(self, message: ClearLine) -> LineView:
        if not self._is_read:
            raise StoreUnavailable("the latch can't be read now, so nothing can be cleared")
        latch = self._latch.clear(message.scope, message.clearance)
        # Remembered before it takes effect: a clearance that a crash forgets would start the line
        # without a receipt that says who started it.
        note = {"event": "cleared", "scope": str(message.scope)}
        try:
            await self._ledger.call(RaiseLineGeneration(latch.generation))
            await self._remember(latch, {**note, **attrs.asdict(message.clearance)})
        except (CallFailed, LedgerError):
            # Cleared or not: only the log can tell. Unreadable counts as tripped.
            self._is_read = False
            self._change(Latch.unreadable(self._latch.generation))
            self.send_after(RETRY_S, "read")
            raise
        self._since.pop(message.scope, None)
        self._owed.clear()  # what was owed stands in the latch that was just remembered
        self._change(latch)
        emit("line.cleared", scope=str(message.scope), by=message.clearance.by)
        return self._view()

    async def _remember(self, latch: Latch, event: dict[str, str]) -> None:
        entry = Entry(
            kind=LINE,
            actor=self.path,
            payload=canonical.encode({**event, "latch": latch.record()}),
            payload_type=LINE_TYPE,
            idem=f"line:{latch.generation}",
        )
        await self._platform.call(Append((entry,)))

    def _change(self, latch: Latch) -> None:
        self._latch = latch
        for watcher in self._watchers:
            watcher.cast(LineChanged(latch))

    def _view(self) -> LineView:
        stops = tuple(
            OpenStop(_show(stop.scope), stop.reason, stop.by, self._since[stop.scope])
            for stop in self._latch.stops
        )
        is_stopped = not self._latch.is_readable or bool(stops)
        return LineView(self._latch.generation, is_stopped, stops)


def _show(scope: Scope) -> str:
    """Write a scope as stops and clearings name it."""
    return f"{scope.kind.value}:{scope.name}" if scope.name else scope.kind.value


def _field(payload: object, name: str) -> object:
    return cast("dict[str, object]", payload).get(name) if isinstance(payload, dict) else None
