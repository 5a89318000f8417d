"""The status of one actor, read from the runtime's own tables without asking the actor."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Literal

import attrs

from autonomics.runtime.actor import Kind
from autonomics.runtime.crash_report import describe_safely
from autonomics.runtime.entry import EntryTable, Key
from autonomics.runtime.frame import (
    Handled,
    find_answered,
    find_handled,
    find_task,
    list_callers,
    show_frames,
)
from autonomics.runtime.incarnation import Incarnation, State
from autonomics.runtime.mailbox import MailboxStatistics
from autonomics.runtime.reason import ExitReason
from autonomics.runtime.ref import ActorRef, Address


@attrs.frozen
class InHand:
    """The message that a handler is at.

    `message` is what the actor's `describe_message` shows, by default the type's name. `client` is
    the path of the actor that waits for the reply; None if no actor does.
    """

    kind: Literal["call", "cast", "info", "continue"]
    message: object
    client: str | None


@attrs.frozen
class ActorStatus:
    """What an actor is and does at one instant.

    `type` is its class, `age_s` None once it has ended, and `stop_asked` why it has been asked to
    stop, if it was. `in_hand` is None between two messages and for whoever handles none.

    `stack` has `file:line function` of what its task awaits or runs, the outermost first, the
    innermost 30. Without those of the runtime at its head, unless it is all there is. What a worker
    runs in nurseries of its own is not in it.

    `waits_for` are the paths of those whose reply, start or end it awaits; `pending_replies` counts
    the callers that wait for one of its own. Monitors and links are paths too, those it has and
    those on it. `timers` are the seconds until each of its timers fires, ascending. `keys` are its
    registry keys and groups, each as often as it has it. `detail` is what its `describe` shows.
    """

    path: str
    name: str | None
    kind: Kind
    type: str
    state: State
    age_s: float | None
    stop_asked: ExitReason | None
    exit_reason: ExitReason | None
    is_suspended: bool
    mailbox: MailboxStatistics
    in_hand: InHand | None
    stack: tuple[str, ...]
    waits_for: tuple[str, ...]
    pending_replies: int
    monitors: tuple[str, ...]
    monitored_by: tuple[str, ...]
    links: tuple[str, ...]
    timers: tuple[float, ...]
    keys: tuple[Key, ...]
    detail: object


def status(address: Address) -> ActorStatus:
    """Look at an actor, alive or not; NoSuchActor for a name that nobody has.

    The actor isn't asked, so a busy or a stuck one can't hide. Call it in the loop's thread; while
    the loop is blocked from another one too, as a listener of `runtime.blocked` may, for then
    nothing moves.
    """
    incarnation = (address if isinstance(address, ActorRef) else address.resolve()).incarnation
    behaviour = incarnation.behaviour
    frames, handled = _look(incarnation)
    now_s = incarnation.runtime.now_s()
    return ActorStatus(
        path=incarnation.path,
        name=incarnation.name,
        kind=behaviour.kind,
        type=type(behaviour).__qualname__,
        state=incarnation.state,
        age_s=incarnation.runtime.age_s(incarnation),
        stop_asked=incarnation.asked,
        exit_reason=incarnation.exit_reason,
        is_suspended=incarnation.lane is not None and incarnation.lane.is_suspended,
        mailbox=incarnation.mailbox.statistics(),
        in_hand=None if handled is None else _show(incarnation, handled),
        stack=show_frames(frames),
        waits_for=_paths(incarnation.waits_for),
        pending_replies=len(incarnation.pending),
        monitors=_paths(m.target for m in incarnation.monitors if m.target is not None),
        monitored_by=_paths(monitor.watcher for monitor in incarnation.monitored_by),
        links=_paths(incarnation.links or ()),
        timers=tuple(sorted(timer.deadline_s - now_s for timer in incarnation.timers)),
        keys=tuple(
            key
            for table in incarnation.traces
            if isinstance(table, EntryTable)
            for key in table.keys_of(incarnation)
        ),
        detail=describe_safely(behaviour.describe),
    )


def _look(incarnation: Incarnation) -> tuple[list[FrameType], Handled | None]:
    """Find the frames of the actor's own task, or of the caller on whose stack it answers."""
    stacks = list(_iter_stacks())
    for stack in stacks:
        for place, frame in enumerate(stack):
            answered = find_answered(frame)
            if answered is not None and answered[0] is incarnation:
                return stack[place:], answered[1]
    task = find_task(incarnation)
    if task is None:
        return [], None
    frames = [frame for frame, _ in task.iter_await_frames()]
    if task.coro.cr_running:
        # What a coroutine that runs awaits can't be read from it, but stands on some stack.
        outermost = frames[0]
        frames = next((s[s.index(outermost) :] for s in stacks if outermost in s), frames)
    return frames, find_handled(frames)


def _iter_stacks() -> Iterator[list[FrameType]]:
    """Yield the stack of each thread, without the frames of this look itself."""
    for innermost in sys._current_frames().values():  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - public by its documentation
        stack = list_callers(innermost)
        yield [frame for frame in stack if frame.f_globals.get("__name__") != __name__]


def _show(incarnation: Incarnation, handled: Handled) -> InHand:
    slot = handled.slot
    caller = None if slot is None else slot.caller
    if slot is not None and slot.is_wanted and caller is None:
        # While messages are traced another slot stands in for the caller's, which is here still.
        same = (waiting for waiting in incarnation.pending if waiting.message is slot.message)
        caller = next((waiting.caller for waiting in same), None)
    return InHand(
        kind=handled.kind,
        message=describe_safely(incarnation.behaviour.describe_message, handled.message),
        client=None if caller is None else caller.path,
    )


def _paths(incarnations: Iterable[Incarnation]) -> tuple[str, ...]:
    return tuple(incarnation.path for incarnation in incarnations)
