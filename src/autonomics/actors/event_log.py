"""The event log: turns telemetry into lines, in the half of the tree that may fail for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar

import attrs
import trio

from autonomics.runtime import Actor, ExitReason, MailboxSpec
from autonomics.telemetry import subscribe, unsubscribe

LISTENER = "event_log"

WriteEvent = Callable[[str, Mapping[str, object]], None]


@attrs.frozen
class _Happened:
    event: str
    fields: Mapping[str, object]


class EventLog(Actor):
    """Takes every event and writes it; when it can't keep up, the oldest lines are lost.

    An event of another thread is written in that thread, so `write` is called from both: the loop
    may be blocked for good, and that is what the event says.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000, on_full="drop_oldest")

    def __init__(self, write: WriteEvent) -> None:
        self._write = write

    async def init(self) -> None:
        """Listen; a predecessor that was killed still stands in the list."""
        unsubscribe(LISTENER)
        ref, home = self.ref, threading.get_ident()
        token = trio.lowlevel.current_trio_token()

        def listen(event: str, fields: Mapping[str, object]) -> None:
            if threading.get_ident() == home:
                ref.cast(_Happened(event, fields))
                return
            try:
                self._write(event, fields)
            except Exception:  # noqa: BLE001 - raised again where it crashes the actor
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(ref.cast, _Happened(event, fields))

        subscribe(LISTENER, listen)

    async def handle_cast(self, message: _Happened) -> None:
        """Write one line."""
        assert isinstance(message, _Happened), message  # pyright: ignore[reportUnnecessaryIsInstance]
        self._write(message.event, message.fields)

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening."""
        unsubscribe(LISTENER)
