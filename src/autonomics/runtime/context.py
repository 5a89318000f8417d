"""Whose code runs, and what its work is part of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation

CURRENT: ContextVar[Incarnation | None] = ContextVar("autonomics_current", default=None)
"""The incarnation whose code runs; None outside of the tree."""

# An actor's trace is a field of its incarnation: a context variable that is set for each message
# would cost a sixth of a cast.
TRACE: ContextVar[object] = ContextVar("autonomics_trace", default=None)
"""The trace of what is done outside of the tree."""


def current_trace() -> object:
    """Return the trace that the present work belongs to: set by `tracing`, or by a message."""
    incarnation = CURRENT.get()
    return TRACE.get() if incarnation is None else incarnation.trace


@contextmanager
def tracing(trace: object) -> Generator[None]:
    """Make what is done and sent in a `with` block part of `trace`, such as a W3C trace id.

    Every message takes it along, and its handler goes on with it.
    """
    incarnation = CURRENT.get()
    if incarnation is None:
        token = TRACE.set(trace)
        try:
            yield
        finally:
            TRACE.reset(token)
        return
    earlier, incarnation.trace = incarnation.trace, trace
    try:
        yield
    finally:
        incarnation.trace = earlier
