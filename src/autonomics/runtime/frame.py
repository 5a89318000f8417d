"""Frames: what an actor's code is doing, read from where the interpreter keeps it anyway.

To note each message before its handler would cost every actor what only a look needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from types import FrameType
from typing import Final, Literal, NamedTuple

import trio

from autonomics.runtime.actor import BEGINNING, SERVING
from autonomics.runtime.context import CURRENT
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.mailbox import CALL, CAST, INFO
from autonomics.runtime.ref import ANSWERING
from autonomics.runtime.reply import ReplyTo

MOST_FRAMES: Final = 30


# What a serving actor calls beside its handlers.
_NO_HANDLERS: Final = frozenset(
    {
        BEGINNING,
        Incarnation.heed.__code__,
        trio.lowlevel.wait_task_rescheduled.__code__,
        trio.lowlevel.checkpoint.__code__,
    }
)

_KINDS: Final[dict[int, Literal["call", "cast", "info"]]] = {
    CALL: "call",
    CAST: "cast",
    INFO: "info",
}


class Handled(NamedTuple):
    """A message that a handler is at, and where its answer goes."""

    kind: Literal["call", "cast", "info", "continue"]
    message: object
    slot: ReplyTo | None


def find_handled(frames: Sequence[FrameType]) -> Handled | None:
    """Find the message that an actor has in hand; `frames` are its own, the outermost first."""
    for frame, inner in pairwise(frames):
        if frame.f_code is SERVING and inner.f_code not in _NO_HANDLERS:
            found = frame.f_locals
            if "kind" not in found:
                return Handled("continue", found["first"].message, None)
            return Handled(_KINDS[found["kind"]], found["message"], found["slot"])
    return None


def find_answered(frame: FrameType) -> tuple[Incarnation, Handled] | None:
    """Read whose plain handler runs on a caller's stack in this frame, if one does."""
    if frame.f_code is not ANSWERING:
        return None
    slot: ReplyTo = frame.f_locals["slot"]
    return slot.callee, Handled("call", slot.message, slot)


def list_callers(frame: FrameType | None) -> list[FrameType]:
    """List a frame and who called it, the outermost first."""
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    frames.reverse()
    return frames


def show_frames(frames: Sequence[FrameType]) -> tuple[str, ...]:
    """Write frames as `file:line function`, the outermost first; the innermost 30.

    The outermost ones of the runtime are left out, for they are the same for every actor, unless
    there are none but the runtime's and trio's.
    """
    start = 0
    while start < len(frames) and _module(frames[start]).startswith("autonomics.runtime."):
        start += 1
    if start == len(frames) or _module(frames[start]).startswith("trio."):
        start = 0
    return tuple(
        f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        for frame in frames[start:][-MOST_FRAMES:]
    )


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def find_task(incarnation: Incarnation) -> trio.lowlevel.Task | None:
    """Find the task of an incarnation; None if it has ended or not taken its first step.

    Costs as much as there are tasks beside it and beside those above it.
    """
    path = incarnation.path
    ahead = [incarnation.runtime.nursery]
    while ahead:
        for task in ahead.pop().child_tasks:
            # By the name first, which is its path. A zombie's is its successor's too.
            if task.name == path and task.context.get(CURRENT) is incarnation:
                return task
            if path.startswith(f"{task.name}/"):
                ahead.extend(task.child_nurseries)
    return None
