"""Deliver declared events to whoever listens, in the emitter's own call."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from autonomics.errors import InvalidInput
from autonomics.telemetry.table import TABLE, EventSpec

Listener = Callable[[str, Mapping[str, object]], None]

_specs: Final[dict[str, EventSpec]] = {spec.name: spec for spec in TABLE}

# A tuple, replaced on each change: `emit` walks the one it found, so a listener may subscribe,
# unsubscribe or emit while it is called, and a thread never sees a dict change size under it.
_listeners: tuple[tuple[str, Listener], ...] = ()
# Threads emit too, and an emit may detach a listener. Reentrant, for a finalizer may come between.
_changing = threading.RLock()


def declare(name: str, meaning: str, /, **fields: str) -> EventSpec:
    """Add an event to the table; `fields` maps each field to what it means.

    Declaring the same row twice is harmless, another row under the same name is InvalidInput.
    """
    spec = EventSpec(name, meaning, MappingProxyType(dict(fields)))
    known = _specs.setdefault(name, spec)
    if known != spec:
        raise InvalidInput.expected("event", "declared once", name)
    return spec


def events() -> tuple[EventSpec, ...]:
    """List every declared event, by name."""
    return tuple(_specs[name] for name in sorted(_specs))


def subscribe(id: str, listener: Listener) -> None:  # noqa: A002 - the word of the field
    """Call `listener(event, fields)` for each event from now on; a taken id is InvalidInput."""
    global _listeners  # noqa: PLW0603 - the bus is one per process, as the table is
    with _changing:
        if any(taken == id for taken, _ in _listeners):
            raise InvalidInput.expected("listener id", "free", id)
        _listeners = (*_listeners, (id, listener))


def unsubscribe(id: str) -> bool:  # noqa: A002 - the word of the field
    """Detach the listener; False when there is none of that id."""
    global _listeners  # noqa: PLW0603 - see subscribe
    with _changing:
        before = len(_listeners)
        _listeners = tuple(pair for pair in _listeners if pair[0] != id)
        return len(_listeners) < before


@contextmanager
def listening(id: str, listener: Listener) -> Generator[None]:  # noqa: A002 - see subscribe
    """Subscribe for the length of a `with` block."""
    subscribe(id, listener)
    try:
        yield
    finally:
        unsubscribe(id)


def is_heard() -> bool:
    """True when somebody listens, so that a costly field is worth its making."""
    return bool(_listeners)


def prepare(event: str, /, *names: str) -> Callable[..., None]:
    """Make a function that emits one event with the values of these fields, in this order.

    For what happens with every start and end: the contract is checked here, once, and with nobody
    listening the function costs a tenth of `emit`.
    """
    _check(event, names)

    def tell(*values: object) -> None:
        if _listeners:
            emit(event, **dict(zip(names, values, strict=True)))

    return tell


def emit(event: str, /, **fields: object) -> None:
    """Hand one event to every listener before returning, in the thread that emits it.

    An undeclared event, and a missing or an extra field, is InvalidInput even if nobody listens:
    the table is a contract, and a contract that holds only under observation is none. A listener
    that raises is detached and reported; the emitter never notices.
    """
    _check(event, (*fields,))
    if not _listeners:
        return
    shown = MappingProxyType(fields)
    for id_, listener in _listeners:
        try:
            listener(event, shown)
        except Exception as error:  # noqa: BLE001 - an observer must not harm what it observes
            # Detaching comes first: the report reaches the others only, so this ends.
            unsubscribe(id_)
            emit("telemetry.listener_failed", id=id_, event=event, error=error)


def _check(event: str, names: tuple[str, ...]) -> None:
    spec = _specs.get(event)
    if spec is None:
        close = difflib.get_close_matches(event, _specs, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidInput(f"unknown event {event!r}{hint}")
    if spec.name_order != names and {*names} != {*spec.fields}:
        raise InvalidInput.expected(f"fields of {event!r}", str(sorted(spec.fields)), sorted(names))
