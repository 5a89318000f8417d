"""What happened, said once: a declared table of events and one synchronous `emit`.

This room knows neither exporters nor who listens. A room that has events of its own declares them
with `declare` beside the code that emits them; the reference page is generated from `events()`.
"""

from __future__ import annotations

from autonomics.telemetry.bus import (
    Listener,
    declare,
    emit,
    events,
    is_heard,
    listening,
    prepare,
    subscribe,
    unsubscribe,
)
from autonomics.telemetry.table import EventSpec

__all__ = [
    "EventSpec",
    "Listener",
    "declare",
    "emit",
    "events",
    "is_heard",
    "listening",
    "prepare",
    "subscribe",
    "unsubscribe",
]
