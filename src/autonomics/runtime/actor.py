"""What a user writes: an Actor answers messages, a Worker is one coroutine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import trio

from autonomics.errors import InvalidInput
from autonomics.runtime.mailbox import CALL, CAST, MailboxSpec
from autonomics.runtime.message import (
    NO_REPLY,
    Call,
    Continue,
    Ignore,
    NeverStarted,
    NoReply,
    Refuse,
    Stop,
)
from autonomics.runtime.reason import ExitReason, Normal, classify, iter_leaves
from autonomics.runtime.reply import ReplySlot, ReplyTo
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.ref import ActorRef
    from autonomics.runtime.timer import Timer

Kind = Literal["actor", "worker", "supervisor"]

# Messages handled between two checkpoints. Each checkpoint costs more than a small handler, but at
# 64 and above an unrelated actor waits tens of milliseconds behind ten flooded ones.
BATCH = 16


class Behaviour:
    """What an incarnation runs. One instance per incarnation: a restart never sees old state."""

    kind: ClassVar[Kind]
    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    takes_mail: ClassVar[bool] = True

    traps: ClassVar[bool] = True
    """False: a stop request cancels at once and `terminate` is not run."""

    incarnation: Incarnation
    """Set before any callback runs; not for user code."""

    @property
    def ref(self) -> ActorRef:
        """Address of this incarnation."""
        return self.incarnation.ref

    @property
    def runtime(self) -> Runtime:
        """The runtime that it lives in."""
        return self.incarnation.runtime

    @property
    def path(self) -> str:
        """Place in the tree: ids of the supervisors and its own, joined by slashes."""
        return self.incarnation.path

    def describe(self) -> object:
        """State for snapshots, with nothing secret in it; must neither block nor change a thing."""
        return None

    def stop_asked(self) -> None:
        """React to a stop request at once; synchronous, called by the incarnation."""
        self.incarnation.mailbox.wake()

    async def live(self) -> ExitReason:
        """Run from init to end; called once by the incarnation."""
        raise NotImplementedError


class Actor(Behaviour):
    """Handles one message after the other; every callback may await.

    A callback that raises ends the incarnation with Crash, after `terminate`. Its supervisor is
    the error handler.
    """

    kind: ClassVar[Kind] = "actor"

    async def init(self) -> Continue | Ignore | Refuse | None:
        """Get ready; the starter waits for this, so long work belongs into the continue step."""
        return None

    async def handle_continue(self, message: object) -> Stop | None:
        """Do the step that `init` asked for with Continue, ahead of every message."""
        raise NotImplementedError(f"{type(self).__name__} has no continue step for {message!r}")

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        """Answer a call: the value is the reply.

        NO_REPLY leaves the answer to whoever holds `reply_to`; Stop ends the actor.
        """
        raise NotImplementedError(f"{type(self).__name__} answers no call, got {message!r}")

    async def handle_cast(self, message: object) -> Stop | None:
        """Handle a message that nobody waits for."""
        raise NotImplementedError(f"{type(self).__name__} takes no cast, got {message!r}")

    async def handle_info(self, message: object) -> Stop | None:
        """Handle a message of the runtime: Down, or what a timer of its own sends."""
        emit("actor.unexpected_message", path=self.path, message_type=type(message).__qualname__)
        return None

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up; not run after a kill, and cut off when the grace is over."""

    def send_after(self, delay_s: float, message: object) -> Timer:
        """Send itself `message` through `handle_info`, not earlier than in `delay_s` seconds."""
        return self.runtime.send_after(delay_s, self.ref, message)

    def send_every(self, interval_s: float, message: object) -> Timer:
        """Send itself `message` at each interval until cancelled or dead."""
        return self.runtime.send_every(interval_s, self.ref, message)

    async def live(self) -> ExitReason:
        """Run init, the messages and `terminate`."""
        started = await self.init()
        if isinstance(started, Ignore | Refuse):
            self.incarnation.refuse_start(started)
            return Normal()
        if started is not None and not isinstance(started, Continue):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _bad_return("init", "None, Continue, IGNORE or Refuse", started)
        self.incarnation.announce_started()
        try:
            reason = await self._serve(started)
        except BaseException as error:
            leaves = list(iter_leaves(error))
            if all(isinstance(leaf, trio.Cancelled | KeyboardInterrupt) for leaf in leaves):
                raise
            # Inside the except block on purpose: if this is cancelled in turn, the Cancelled
            # carries the error as its context, and `classify` finds it there.
            await self._terminate(classify(error, None, Normal()).reason)
            raise
        await self._terminate(reason)
        return reason

    async def _serve(self, first: Continue | None) -> ExitReason:
        incarnation = self.incarnation
        mailbox = incarnation.mailbox
        stop: Stop | None = None
        if first is not None:
            stop = _check("handle_continue", await self.handle_continue(first.message))
        budget = BATCH
        while stop is None:
            if incarnation.asked is not None:
                return incarnation.asked
            envelope = mailbox.pop()
            if envelope is None:
                await mailbox.wait()
                budget = BATCH
                continue
            kind, message, slot = envelope
            if kind == CALL:
                assert slot is not None
                stop = await self._answer(message, slot)
            elif kind == CAST:
                stop = _check("handle_cast", await self.handle_cast(message))
            else:
                stop = _check("handle_info", await self.handle_info(message))
            budget -= 1
            if not budget:
                await trio.lowlevel.checkpoint()
                budget = BATCH
        return stop.reason

    async def _answer(self, message: Any, slot: ReplySlot) -> Stop | None:
        reply = await self.handle_call(message, ReplyTo(slot))
        if isinstance(reply, NoReply):
            slot.release_caller()
            return None
        if isinstance(reply, Stop):
            if reply.reply is not NO_REPLY:
                self.incarnation.parting = (slot, reply.reply)
            return reply
        if isinstance(reply, Continue | Ignore | Refuse):
            raise _bad_return("handle_call", "a reply, NO_REPLY or Stop", reply)
        slot.resolve(reply)
        return None

    async def _terminate(self, reason: ExitReason) -> None:
        incarnation = self.incarnation
        if incarnation.scope.cancel_called:
            return
        if incarnation.asked is not None:
            # Who asked holds the watch. A second deadline here would race with theirs and could
            # make an exit that overran its grace look like one that did not.
            await self.terminate(reason)
            return
        within_s = incarnation.limits.own_terminate_s
        with trio.move_on_after(within_s) as patience:
            await self.terminate(reason)
        if patience.cancelled_caught:
            emit("actor.terminate_cut", path=self.path, within_s=within_s)


class Worker(Behaviour):
    """One coroutine under supervision, such as an HTTP server; it has no mailbox.

    Whatever its inner nurseries raise arrives as one flat exit reason.
    """

    kind: ClassVar[Kind] = "worker"
    takes_mail: ClassVar[bool] = False

    async def run(self, started: Callable[[], None]) -> None:
        """Do the work; call `started()` once it serves, the starter waits for that."""
        raise NotImplementedError

    async def request_stop(self) -> None:
        """Ask `run` to return, and leave it the grace to do so.

        The default cancels it. A server that must finish its requests overrides this: cancelling
        one cuts them off.
        """
        self._running.cancel(reason=f"{self.path}: stop requested")

    async def live(self) -> ExitReason:
        """Run `run`, with the stop hook beside it."""
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            self._running = nursery.cancel_scope
            nursery.start_soon(self._obey)
            try:
                await self.run(self.incarnation.announce_started)
            except BaseException as error:  # noqa: BLE001 - raised below, for `classify` to judge
                # The nursery would swallow a Cancelled together with the error that it masks.
                failure = error
            nursery.cancel_scope.cancel(reason="run ended")
        if failure is not None:
            raise failure
        if self.incarnation.state == "starting":
            self.incarnation.refuse_start(Refuse(NeverStarted()))
        return Normal()

    async def _obey(self) -> None:
        await self.incarnation.until_asked()
        await self.request_stop()


def _check(callback: str, answer: object) -> Stop | None:
    if answer is None or isinstance(answer, Stop):
        return answer
    raise _bad_return(callback, "None or Stop", answer)


def _bad_return(callback: str, constraint: str, answer: object) -> InvalidInput:
    return InvalidInput.expected(f"the return value of {callback}", constraint, answer)
