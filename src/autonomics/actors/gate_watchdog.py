"""A tenant's gate watchdog: trips the tenant's latch, and tells the tenant when the line stops.

The latch trips on what nobody may act past: an act whose outcome can't be known, a roll-back that
failed, a fault that keeps coming back. Each trip and each clearing that concerns the tenant is a
`gate` receipt in its log.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from autonomics.actors.line import Line, LineChanged, StopLine, WatchLine
from autonomics.actors.writer_message import AppendLater, Follow, More, Page
from autonomics.errors import CallFailed, LedgerError
from autonomics.gates import Latch, tenant_scope
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt
from autonomics.runtime import Actor, Address, Continue, Down, MailboxSpec, TakesCast
from autonomics.telemetry import declare, emit

GATE_TYPE = "autonomics.gate/1"
RETRY_S = 0.5
LOOP_CODES = frozenset({"recurrence"})

declare(
    "gate_watchdog.tripped",
    "A tenant's latch was tripped by what its log says.",
    tenant="handle",
    reason="why",
)
declare(
    "gate_watchdog.waits",
    "A tenant's latch could not be tripped yet; it is tried again.",
    tenant="handle",
    reason="why",
)


class GateWatchdog(Actor):
    """Follows the tenant's log and watches the line."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000)

    def __init__(
        self,
        handle: str,
        *,
        writer: Address[TakesCast[AppendLater | Follow | More]],
        line: Address[Line],
    ) -> None:
        self._handle = handle
        self._writer = writer
        self._line = line
        self._latch = Latch.unreadable()
        self._watchers: list[Address[TakesCast[LineChanged]]] = []
        self._to_trip: dict[int, str] = {}
        self._tripped: set[int] = set()
        self._was_tripped = False
        self._is_caught_up = False

    async def init(self) -> Continue:
        """Return at once."""
        return Continue("follow")

    async def handle_continue(self, message: object) -> None:
        """Follow log and line."""
        self._writer.cast(Follow(self.ref))
        self._watch()

    def _watch(self) -> None:
        self._line.monitor("line")
        self._line.cast(WatchLine(self.ref))

    async def handle_cast(self, message: Page | LineChanged | WatchLine) -> None:
        """Take a page, a change of the line, or a watcher within the tenant."""
        match message:
            case Page(receipts, caught_up):
                for receipt in receipts:
                    self._fold(receipt)
                if caught_up and not self._is_caught_up:
                    self._is_caught_up = True
                    self._note_change()
                await self._trip_what_is_due()
                self._writer.cast(More(self.ref))
            case LineChanged(latch):
                self._change(latch)
            case WatchLine(watcher):
                watcher.monitor("watcher")
                self._watchers.append(watcher)
                watcher.cast(LineChanged(self._latch))
            case _:
                raise TypeError(f"expected a page of the log, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Come back to a line that was restarted; forget dead watchers."""
        match message:
            case Down(tag="line"):
                self._change(Latch.unreadable(self._latch.generation))
                self.send_after(RETRY_S, "watch")
            case "watch":
                self._watch()
            case "trip":
                await self._trip_what_is_due()
            case Down(tag="watcher", ref=ref):
                self._watchers = [watcher for watcher in self._watchers if watcher != ref]
            case _:
                pass

    def _fold(self, receipt: Receipt) -> None:
        leaf = receipt.fields
        if receipt.payload is None or leaf.kind not in (
            "outcome",
            "rolled_back",
            "decided",
            "gate",
        ):
            return
        payload = cast("dict[str, Any]", canonical.decode(receipt.payload))
        match leaf.kind, payload:
            case "outcome", {"result": "unknown", "action_id": str(action)}:
                self._to_trip[receipt.seq] = f"the outcome of act {action} can't be known"
            case "rolled_back", {"result": "rollback_failed", "action_id": str(action)}:
                self._to_trip[receipt.seq] = f"the roll-back of act {action} failed"
            case "decided", {"code": str(code)} if code in LOOP_CODES:
                self._to_trip[receipt.seq] = "the same fault keeps coming back"
            case "gate", {"event": "tripped", "seq": int(seq)}:
                self._tripped.add(seq)
                self._was_tripped = True
            case "gate", {"event": str(event)}:
                self._was_tripped = event == "stopped"
            case _:
                pass

    async def _trip_what_is_due(self) -> None:
        if not self._is_caught_up:
            return
        for seq, reason in list(self._to_trip.items()):
            if seq not in self._tripped:
                try:
                    await self._line.call(StopLine(tenant_scope(self._handle), reason, self.path))
                except (CallFailed, LedgerError) as error:
                    emit("gate_watchdog.waits", tenant=self._handle, reason=str(error))
                    self.send_after(RETRY_S, "trip")
                    return
                emit("gate_watchdog.tripped", tenant=self._handle, reason=reason)
                self._tripped.add(seq)
                self._was_tripped = True
                self._append(
                    {"event": "tripped", "seq": seq, "reason": reason}, f"gate:tripped:{seq}"
                )
            del self._to_trip[seq]

    def _change(self, latch: Latch) -> None:
        self._latch = latch
        for watcher in self._watchers:
            watcher.cast(LineChanged(latch))
        self._note_change()

    def _note_change(self) -> None:
        """Write a receipt if the line has stopped for the tenant, or goes on, since the last one.

        Both the line and the log have to be known; whichever comes second brings it about.
        """
        latch = self._latch
        if not latch.is_readable or not self._is_caught_up:
            return
        is_tripped = latch.is_tripped(tenant=self._handle)
        if is_tripped != self._was_tripped:
            self._was_tripped = is_tripped
            event = "stopped" if is_tripped else "cleared"
            reasons = [stop.reason for stop in latch.stops_for(self._handle, "", None)]
            self._append(
                {"event": event, "generation": latch.generation, "reasons": reasons[:8]},
                f"gate:{event}:{latch.generation}",
            )

    def _append(self, payload: dict[str, object], idem: str) -> None:
        entry = Entry(
            kind="gate",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=GATE_TYPE,
            idem=idem,
        )
        self._writer.cast(AppendLater(self.ref, (entry,)))
