"""The doorkeeper: counts requests that no valid key came with into one receipt a minute."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import attrs

from autonomics.actors.writer_message import Append
from autonomics.errors import CallFailed, LedgerError
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.runtime import Actor, Address, AnswersCall, ExitReason, MailboxSpec

DOORKEEPER = "doorkeeper"
STRANGERS_TYPE = "autonomics.strangers/1"
EVERY_S = 60.0
MAX_REASONS = 32


@attrs.frozen
class Stranger:
    """Cast: somebody without a valid key was turned away."""

    reason: str


class Doorkeeper(Actor):
    """Keeps the counts; a receipt for each stranger would let strangers fill the disk."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000, on_full="drop_oldest")

    def __init__(self, *, platform: Address[AnswersCall[Append]]) -> None:
        self._platform = platform
        self._counts: Counter[str] = Counter()

    async def init(self) -> None:
        """Wake once a minute."""
        self.send_every(EVERY_S, "write")

    async def handle_cast(self, message: Stranger) -> None:
        """Count."""
        assert isinstance(message, Stranger), message  # pyright: ignore[reportUnnecessaryIsInstance]
        known = message.reason in self._counts or len(self._counts) < MAX_REASONS
        self._counts[message.reason if known else "other"] += 1

    async def handle_info(self, message: object) -> None:
        """Write what has been counted."""
        if message == "write":
            await self._write()

    async def terminate(self, reason: ExitReason) -> None:
        """Write what has been counted since."""
        await self._write()

    async def _write(self) -> None:
        if not self._counts:
            return
        payload = {"event": "strangers", "counts": dict(sorted(self._counts.items()))}
        entry = Entry(
            kind="gate",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=STRANGERS_TYPE,
        )
        try:
            await self._platform.call(Append((entry,)))
        except (CallFailed, LedgerError):
            return  # counted on; the next minute tries again
        self._counts.clear()
