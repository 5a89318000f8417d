"""The slot that a caller waits in, and the token that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import outcome
import trio

from autonomics.errors import ActorDied, CallTimedOut

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.reason import ExitReason
    from autonomics.runtime.timer import Timer


class ReplySlot:
    """One waiting caller.

    Invariant: while open, the slot stands in `callee.pending`, so the callee's end finds it; and
    whoever closes it first decides. A channel would do neither: its receiver hangs when the callee
    dies and its sender raises when the caller has gone.
    """

    __slots__ = ("callee", "caller", "is_open", "task", "timer")

    def __init__(self, caller: Incarnation | None, callee: Incarnation) -> None:
        self.caller = caller
        self.callee = callee
        self.is_open = True
        self.task = trio.lowlevel.current_task()
        self.timer: Timer | None = None
        callee.pending.add(self)
        if caller is not None:
            caller.waits_for.append(callee)

    async def wait(self) -> Any:
        """Sleep until the slot is filled; must follow in the step that made the message visible."""

        def give_up(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.close()
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(give_up)

    def resolve(self, value: object) -> bool:
        """Wake the caller with a reply; False, and counted, if it is no longer waiting."""
        return self._fill(outcome.Value(value))

    def fail(self, error: BaseException) -> bool:
        """Wake the caller with an error; False, and counted, if it is no longer waiting."""
        return self._fill(outcome.Error(error))

    def bury(self, reason: ExitReason) -> None:
        """Tell the caller that the callee has ended."""
        self.fail(ActorDied(f"{self.callee.path} ended before it replied: {reason!r}", reason))

    def expire(self, message: object, timeout_s: float) -> None:
        """Tell the caller that its time is up."""
        kind = type(message).__name__
        self.fail(CallTimedOut(f"{self.callee.path} gave no reply to {kind} in {timeout_s} s"))

    def close(self) -> None:
        """Stop waiting; whatever comes now is late."""
        self.is_open = False
        self.callee.pending.discard(self)
        self.release_caller()
        if self.timer is not None:
            self.timer.disarm()

    def release_caller(self) -> None:
        """Drop the waits-for edge: somebody else than the callee may answer now.

        An edge that stayed would report deadlocks that are none; one that is missing costs a
        timeout.
        """
        if self.caller is not None:
            self.caller.waits_for.remove(self.callee)
            self.caller = None

    def _fill(self, result: outcome.Outcome[object]) -> bool:
        if not self.is_open:
            self.callee.runtime.late_replies += 1
            return False
        self.close()
        trio.lowlevel.reschedule(self.task, result)
        return True


class ReplyTo:
    """The right to answer one call, once; may be handed to anybody."""

    __slots__ = ("_slot",)

    def __init__(self, slot: ReplySlot) -> None:
        self._slot = slot

    @property
    def is_wanted(self) -> bool:
        """False once the caller has its answer, has given up or is gone."""
        return self._slot.is_open

    def reply(self, value: object) -> None:
        """Answer the call; a second or a late answer is dropped and counted."""
        self._slot.resolve(value)

    def fail(self, error: Exception) -> None:
        """Raise `error` in the caller; this does not harm the actor that says so."""
        self._slot.fail(error)
