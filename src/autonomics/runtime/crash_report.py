"""What an actor was doing when its own error ended it."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from autonomics.runtime.actor import SERVING
from autonomics.runtime.mailbox import CALL, CAST, INFO
from autonomics.runtime.ref import ANSWERING

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation

MOST_FRAMES: Final = 30


@attrs.frozen
class CrashReport:
    """What is known about a crash, in the field's terms: server report and crash report in one.

    `message`, if it was handling one, and `state` are what `describe_message` and `describe` of
    the actor show; `client` is the path of the actor whose call it was. `ancestors` are the paths
    above it, the nearest first. `stack` has `file:line function` of the error, the innermost last,
    30 at most.
    """

    error: BaseException
    kind: Literal["call", "cast", "info"] | None
    message: object
    client: str | None
    state: object
    ancestors: tuple[str, ...]
    mailbox_depth: int
    links: tuple[str, ...]
    monitored_by: tuple[str, ...]
    stack: tuple[str, ...]


def report_crash(
    incarnation: Incarnation, error: BaseException, came_out: BaseException
) -> CrashReport:
    """Describe a crash before the traces of that life are gone.

    `error` is the exit reason's, `came_out` what it was found in: itself, or a group.
    """
    behaviour = incarnation.behaviour
    kind, message, client = _find_message(came_out)
    parts = incarnation.path.split("/")[:-1]
    return CrashReport(
        error=error,
        kind=kind,
        message=None if kind is None else describe_safely(behaviour.describe_message, message),
        client=client,
        state=describe_safely(behaviour.describe),
        ancestors=tuple("/".join(parts[:n]) for n in range(len(parts), 0, -1)),
        mailbox_depth=incarnation.mailbox.depth,
        links=tuple(peer.path for peer in incarnation.links or ()),
        monitored_by=tuple(monitor.watcher.path for monitor in incarnation.monitored_by),
        stack=tuple(
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
        ),
    )


def describe_safely(describe: Any, *arguments: object) -> object:
    """Ask a redaction hook; looking at an actor must not fail by one that is broken."""
    try:
        return describe(*arguments)
    except Exception as error:  # noqa: BLE001 - somebody's hook, in the middle of a crash
        return f"{describe.__name__} failed: {error!r}"


def _find_message(
    came_out: BaseException,
) -> tuple[Literal["call", "cast", "info"] | None, object, str | None]:
    """Read from the frames that the error came through which message was being handled.

    To note each message before its handler would cost every actor what only a crash needs.
    """
    kinds: dict[int, Literal["call", "cast", "info"]] = {CALL: "call", CAST: "cast", INFO: "info"}
    trace = came_out.__traceback__
    while trace is not None:
        frame: FrameType = trace.tb_frame
        if frame.f_code is SERVING and "kind" in frame.f_locals:
            found = frame.f_locals
            slot = found["slot"]
            caller = None if slot is None else slot.caller
            return kinds[found["kind"]], found["message"], None if caller is None else caller.path
        if frame.f_code is ANSWERING:
            slot = frame.f_locals["slot"]
            return "call", slot.message, None if slot.caller is None else slot.caller.path
        trace = trace.tb_next
    return None, None, None
