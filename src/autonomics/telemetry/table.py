"""The events of the runtime and the supervisors: names, fields and what each means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs


@attrs.frozen
class EventSpec:
    """One row of the table: what an event means and which fields it always carries."""

    name: str
    meaning: str
    fields: Mapping[str, str]
    # What most emitters write, so that their fields are checked by one comparison.
    name_order: tuple[str, ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "name_order", tuple(self.fields))


_ACTOR: Final = "path of the actor in the tree"
_SUPERVISOR: Final = "path of the supervisor"
_CHILD: Final = "id of the child in its supervisor"
_REASON: Final = "exit reason, a value of autonomics.runtime"


def _row(name: str, meaning: str, /, **fields: str) -> EventSpec:
    return EventSpec(name, meaning, MappingProxyType(fields))


TABLE: Final[tuple[EventSpec, ...]] = (
    _row(
        "actor.started",
        "An incarnation finished its init and serves.",
        path=_ACTOR,
        name="registered name, or None",
        kind="actor, worker or supervisor",
    ),
    _row(
        "actor.stopped",
        "An incarnation ended in a clean way or was killed.",
        path=_ACTOR,
        reason=_REASON,
        unread="messages that it never handled",
    ),
    _row(
        "actor.crashed",
        "An incarnation ended with an error of its own.",
        path=_ACTOR,
        reason=_REASON,
        unread="messages that it never handled",
        report="what it was doing, a CrashReport of autonomics.runtime; None if nobody listened",
    ),
    _row(
        "actor.masked_error",
        "A cancelled clean-up hid this error; the exit reason is another one.",
        path=_ACTOR,
        error="the exception that would have been lost",
    ),
    _row(
        "actor.terminate_cut",
        "`terminate` was cut off at its deadline.",
        path=_ACTOR,
        within_s="seconds that it had",
    ),
    _row(
        "actor.zombie",
        "An incarnation outlived its grace and the confirm time; its task is still there.",
        path=_ACTOR,
    ),
    _row(
        "actor.zombie_ended",
        "The task of a zombie ended after all.",
        path=_ACTOR,
        reason=_REASON,
    ),
    _row(
        "actor.overloaded",
        "A mailbox ran full; once per burst.",
        path=_ACTOR,
        capacity="user messages that the mailbox holds",
        on_full="what happens to more: refuse, drop_oldest, drop_newest or block",
    ),
    _row(
        "actor.flushed",
        "A burst was more than a shedding mailbox holds; all that waited was thrown away.",
        path=_ACTOR,
        capacity="user messages that the mailbox holds",
        messages="how many were thrown away",
    ),
    _row(
        "actor.hook_failed",
        "A hook that looked at an actor's messages raised, and was removed.",
        path=_ACTOR,
        id="the id that it was installed under",
        error="what it raised",
    ),
    _row(
        "actor.unexpected_message",
        "An actor got a message that it has no handler for, and dropped it.",
        path=_ACTOR,
        message_type="type of the message",
    ),
    _row(
        "child.exited",
        "A child ended without having been asked by its supervisor.",
        path=_SUPERVISOR,
        child=_CHILD,
        reason=_REASON,
        restarts="whether its restart type and this reason call for a restart",
    ),
    _row(
        "child.restarted",
        "A child runs again.",
        path=_SUPERVISOR,
        child=_CHILD,
        restarts="restarts of this child so far",
    ),
    _row(
        "child.start_failed",
        "A child did not come up.",
        path=_SUPERVISOR,
        child=_CHILD,
        reason="why, as in StartFailed.reason",
    ),
    _row(
        "child.stopped_badly",
        "A child crashed while it was stopped, had to be killed, or became a zombie; or it was"
        " found dead by a stop and should not have been.",
        path=_SUPERVISOR,
        child=_CHILD,
        reason="exit reason, or None for a zombie",
    ),
    _row(
        "supervisor.gave_up",
        "Restarts were used up; the supervisor stops its children and ends with Shutdown.",
        path=_SUPERVISOR,
        child="id of the child whose end was one too many",
        rule="restart_intensity or failed_starts",
        used="restarts in the window, or failed starts in a row",
        limit="how many are allowed",
    ),
    _row(
        "supervisor.auto_shutdown",
        "The end of a significant child ends the supervisor.",
        path=_SUPERVISOR,
        child=_CHILD,
    ),
    _row(
        "runtime.interrupted",
        "KeyboardInterrupt or a signal: the whole tree stops in order.",
        cause="what arrived, in words",
    ),
    _row(
        "runtime.stop_overdue",
        "The tree did not stop within its time; everything left was cancelled at once.",
        paths="paths of the roots that were left",
        within_s="seconds that the stop had",
    ),
    _row(
        "runtime.forced_exit",
        "A second signal ended the process while tasks were stuck.",
        paths="paths of the incarnations that were left",
        exit_code="status of the process",
    ),
    _row(
        "runtime.blocked",
        "One step holds the loop, and nothing else runs. From the thread of the watchdog, while it"
        " lasts; again each time its length has doubled.",
        path="path of the actor whose code it is, or None",
        task="name of trio's task, or host where the code is none of trio's",
        message_type="type of the message that the actor handles, or None",
        stack="where it stands: `file:line function`, the innermost last",
        for_s="seconds so far",
    ),
    _row(
        "runtime.unblocked",
        "The loop runs again. From the thread of the watchdog.",
        path="path of the actor whose code it was, or None",
        task="name of trio's task, or host",
        for_s="seconds that it lasted, at least",
    ),
    _row(
        "telemetry.listener_failed",
        "A listener raised and was detached.",
        id="id of the listener",
        event="event that it was given",
        error="what it raised",
    ),
)
