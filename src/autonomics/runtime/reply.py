"""The slot that a caller waits in; to the callee, the right to answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from outcome import Error, Outcome, Value
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

from autonomics.errors import ActorDied, CallTimedOut
from autonomics.runtime.message import Call
from autonomics.runtime.reason import Crash, ExitReason

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation


class ReplyTo:
    """The right to answer one call, once; may be handed to anybody.

    Invariant: while a caller waits, the slot stands in `callee.pending`, so the callee's end finds
    it; and whoever closes it first decides. A channel would do neither: its receiver hangs when
    the callee dies and its sender raises when the caller has gone.
    """

    # Defaults of the class and no `__init__`, whose call would be a tenth of an answer at once.
    caller: Incarnation | None = None
    callee: Incarnation
    message: object
    is_open: bool = True
    deadline_s: float = math.inf
    """When the caller gives up, on trio's clock; an answer after that is in vain."""
    _timeout_s = math.inf
    _task: trio.lowlevel.Task | None = None
    _result: Outcome[object] | None = None

    # For the callee

    @property
    def is_wanted(self) -> bool:
        """False once the caller has its answer, has given up or is gone."""
        return self.is_open

    def reply(self, value: object) -> None:
        """Answer the call; a second or a late answer is dropped and counted."""
        # Not by `_fill` and `close`: this is the way of every answer.
        if not self.is_open or self._task is None:
            self._fill(Value(value))
            return
        self.is_open = False
        callee = self.callee
        callee.pending.pop(self, None)
        if self.caller is not None:
            self.caller.waits_for.remove(callee)
            self.caller = None
        reschedule(self._task, Value(value))

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the caller; this does not harm the actor that says so."""
        self._fill(Error(error))

    # For the runtime

    def arm(self, timeout_s: float, now_s: float) -> None:
        """Be found by the callee's end and by the clock, and note who waits for whom."""
        self._task = current_task()
        callee = self.callee
        callee.pending[self] = None
        if self.caller is not None:
            self.caller.waits_for.append(callee)
        if timeout_s != math.inf:
            self._timeout_s = timeout_s
            self.deadline_s = now_s + timeout_s
            callee.runtime.timers.add(self.deadline_s, self)

    async def wait(self) -> Any:
        """Sleep until it is filled; must follow in the step that made the message visible."""
        if not self.is_open:
            return self.take()
        return await wait_task_rescheduled(self.give_up)

    def take(self) -> Any:
        """Take the answer of a handler that gave it by `reply` before it returned."""
        assert self._result is not None
        return self._result.unwrap()

    def give_up(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """Stop waiting, as trio's abort function: the caller is cancelled."""
        self.close()
        return trio.lowlevel.Abort.SUCCEEDED

    def bury(self, reason: ExitReason) -> None:
        """Tell the caller that the callee has ended."""
        self.fail(died_of(f"{self.callee.path} ended before it replied: {reason!r}", reason))

    def fire(self) -> None:
        """Tell the caller that its time is up, as a timer, if it still waits."""
        if not self.is_open:
            return
        kind, within = type(self.message).__name__, f"{self._timeout_s} s"
        # Who sends a cast waits for room alone.
        lacked = "gave no reply to" if isinstance(self.message, Call) else "had no room for"
        self.fail(CallTimedOut(f"{self.callee.path} {lacked} {kind} in {within}"))

    def close(self) -> None:
        """Stop waiting; whatever comes now is late."""
        self.is_open = False
        callee = self.callee
        callee.pending.pop(self, None)
        if self.caller is not None:
            self.caller.waits_for.remove(callee)
            self.caller = None

    def release_caller(self) -> None:
        """Drop the waits-for edge: somebody else than the callee may answer now.

        An edge that stayed would report deadlocks that are none; one that is missing costs a
        timeout.
        """
        if self.caller is not None:
            self.caller.waits_for.remove(self.callee)
            self.caller = None

    def _fill(self, result: Outcome[object]) -> None:
        if not self.is_open:
            self.callee.runtime.late_replies += 1
        elif self._task is None:
            # The handler runs on the caller's stack, so nobody sleeps yet.
            self.is_open = False
            self._result = result
        else:
            self.close()
            reschedule(self._task, result)


def died_of(text: str, reason: ExitReason) -> ActorDied:
    """Build the news of an actor's end, with its error as the cause: so a log shows both stacks."""
    died = ActorDied(text, reason)
    if isinstance(reason, Crash):
        died.__cause__ = reason.error
    return died
