"""What a user writes: an Actor answers messages, a Worker is one coroutine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import trio

from autonomics.errors import NoSuchActor
from autonomics.runtime.mailbox import CALL, CAST, MailboxSpec
from autonomics.runtime.message import (
    NO_REPLIES,
    NO_REPLY,
    Continue,
    Ignore,
    NeverStarted,
    NoReply,
    Refuse,
    Stop,
    bad_reply,
    bad_return,
)
from autonomics.runtime.reason import ExitReason, Normal, classify, iter_leaves
from autonomics.runtime.ref import ActorRef, Address
from autonomics.runtime.reply import ReplyTo
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.timer import Timer

Kind = Literal["actor", "worker", "supervisor"]

# Messages handled between two checkpoints. Each checkpoint costs more than a small handler, but at
# 64 and above an unrelated actor waits tens of milliseconds behind ten flooded ones.
BATCH = 32
# A turn after one in which others have used up more than a few of theirs: ten flooded actors delay
# an unrelated one by half then. Their order is random, so this is a rule with exceptions.
SHORT_BATCH = 16
FEW = 4

OWN_TERMINATE_S = 5.0

_INIT: Final = Continue("init")
"""What `_serve` is told to begin with where nothing has to be done after it."""


class Behaviour:
    """What an incarnation runs. One instance per incarnation: a restart never sees old state."""

    kind: ClassVar[Kind]
    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    takes_mail: ClassVar[bool] = True

    answers_at_once: ClassVar[bool] = False
    """Calls are answered by a plain function, which an idle actor runs on its caller's stack."""

    traps: ClassVar[bool] = True
    """True: it is asked to stop, and exits of linked actors come as an Exit to `handle_info`.

    False: a stop request cancels at once, `terminate` is not run, and it ends with linked actors.
    """

    incarnation: Incarnation
    """Set before any callback runs; not for user code."""

    @property
    def ref(self) -> ActorRef[Self]:
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

    def link(self, address: Address) -> None:
        """Share ends with another actor: the exit of either is an exit signal to the other.

        See `traps` for what that leads to. Raises NoSuchActor if it is not alive.
        """
        ref = address if isinstance(address, ActorRef) else address.resolve()
        peer = ref.incarnation
        if not peer.is_alive:
            raise NoSuchActor(f"{peer.path} is not alive: {peer.exit_reason!r}")
        if peer is not self.incarnation:
            self.incarnation.link(peer)

    def unlink(self, address: Address) -> None:
        """Take a link back; fine if there was none. An Exit may be in the mailbox already."""
        ref = address if isinstance(address, ActorRef) else address.resolve()
        self.incarnation.unlink(ref.incarnation)

    def describe(self) -> object:
        """State for snapshots, with nothing secret in it; must neither block nor change a thing."""
        return None

    def describe_message(self, message: object) -> object:
        """Show a message or a reply in reports and traces, with nothing secret; its type alone."""
        return type(message).__qualname__

    def replace_state(self, change: Callable[[Any], object]) -> None:
        """Let `change` alter the state, which is this object; see the function of this name."""
        change(self)

    def stop_asked(self) -> None:
        """React to a stop request at once; synchronous, called by the incarnation."""
        self.incarnation.mailbox.wake()

    def live(self) -> Awaitable[ExitReason]:
        """Run from init to end; called once by the incarnation."""
        raise NotImplementedError


class Actor(Behaviour):
    """Handles one message after the other.

    A handler may be an `async def`, or a plain `def` where it has nothing to wait for: the calls of
    an actor whose `handle_call` is plain and that has nothing else to do are answered at once,
    without a task switch. A callback that raises ends the incarnation with Crash, after
    `terminate`. Its supervisor is the error handler.
    """

    kind: ClassVar[Kind] = "actor"
    answers_at_once: ClassVar[bool] = False
    cleans_up: ClassVar[bool] = False
    """It has a `terminate` of its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note which handlers have to be awaited."""
        super().__init_subclass__(**kwargs)
        cls.answers_at_once = not iscoroutinefunction(cls.handle_call)
        cls.cleans_up = cls.terminate is not Actor.terminate

    async def init(self) -> Continue | Ignore | Refuse | None:
        """Get ready; the starter waits for this, so long work belongs into the continue step."""
        return None

    def handle_continue(self, message: object) -> Stop | Awaitable[Stop | None] | None:
        """Do the step that `init` asked for with Continue, ahead of every message."""
        raise NotImplementedError(f"{type(self).__name__} has no continue step for {message!r}")

    def handle_call(self, message: Any, reply_to: ReplyTo) -> object:
        """Answer a call: the value is the reply.

        The type that an actor gives `message` says which calls it takes, `GetCount | Add` or, for
        all of them, `Call[Any]`; type checkers hold every `call` of its address to that.

        NO_REPLY leaves the answer to whoever holds `reply_to`; Stop ends the actor.
        """
        raise NotImplementedError(f"{type(self).__name__} answers no call, got {message!r}")

    def handle_cast(self, message: Any) -> Stop | Awaitable[Stop | None] | None:
        """Handle a message that nobody waits for; its type says what may be cast."""
        raise NotImplementedError(f"{type(self).__name__} takes no cast, got {message!r}")

    def handle_info(self, message: object) -> Stop | Awaitable[Stop | None] | None:
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

    def live(self) -> Awaitable[ExitReason]:
        """Run init, the messages and `terminate`."""
        # Not one coroutine around the other: an idle actor is half as large as its coroutines.
        return self._live_and_terminate() if self.cleans_up else self._serve(_INIT)

    async def _live_and_terminate(self) -> ExitReason:
        first = await _begin(self)
        if first is not None and not isinstance(first, Continue):
            return first
        try:
            reason = await self._serve(first)
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

    # One function: another coroutine per message would cost as much as all of the rest of a cast.
    async def _serve(self, first: Continue | None) -> ExitReason:  # noqa: C901, PLR0912
        incarnation = self.incarnation
        mailbox = incarnation.mailbox
        task = trio.lowlevel.current_task()
        answer: Any
        if first is _INIT:
            begun = await _begin(self)
            if begun is not None and not isinstance(begun, Continue):
                return begun
            first = begun
        if first is not None:
            answer = self.handle_continue(first.message)
            if answer.__class__ is CoroutineType:
                answer = await answer
            if answer is not None:
                return check_stop("handle_continue", answer).reason
        budget = BATCH
        while True:
            if incarnation.alarm and (reason := await incarnation.heed()) is not None:
                return reason
            envelope = mailbox.pop()
            if envelope is None:
                mailbox.sleeper = task
                await trio.lowlevel.wait_task_rescheduled(mailbox.give_up)
                budget = BATCH
                continue
            kind, message, slot, incarnation.trace = envelope
            if kind == CALL:
                assert slot is not None
                answer = self.handle_call(message, slot)
                if answer.__class__ is CoroutineType:
                    answer = await answer
                if type(answer) not in NO_REPLIES:
                    slot.reply(answer)
                elif isinstance(answer, NoReply):
                    slot.release_caller()
                elif isinstance(answer, Stop):
                    if answer.reply is not NO_REPLY:
                        incarnation.parting = (slot, answer.reply)
                    return answer.reason
                else:
                    raise bad_reply(answer)
            else:
                answer = self.handle_cast(message) if kind == CAST else self.handle_info(message)
                if answer.__class__ is CoroutineType:
                    answer = await answer
                if answer is not None:
                    callback = "handle_cast" if kind == CAST else "handle_info"
                    return check_stop(callback, answer).reason
            budget -= 1
            if not budget:
                mailbox.look()
                incarnation.runtime.turns += 1
                turns = incarnation.runtime.turns
                await trio.lowlevel.checkpoint()
                budget = BATCH if incarnation.runtime.turns - turns <= FEW else SHORT_BATCH

    async def _terminate(self, reason: ExitReason) -> None:
        incarnation = self.incarnation
        if incarnation.scope.cancel_called:
            return
        if incarnation.asked is not None:
            # Who asked holds the watch. A second deadline here would race with theirs and could
            # make an exit that overran its grace look like one that did not.
            await self.terminate(reason)
            return
        # Nobody holds the watch over an end of its own.
        within_s = incarnation.grace_s or OWN_TERMINATE_S
        with trio.move_on_after(within_s) as patience:
            await self.terminate(reason)
        if patience.cancelled_caught:
            emit("actor.terminate_cut", path=self.path, within_s=within_s)


SERVING: Final = Actor._serve.__code__  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
"""The code in whose frame `message` is the one that is being handled."""


async def _begin(actor: Actor) -> Continue | ExitReason | None:
    """Run init and let the starter go on; the exit reason if it is not to serve.

    No method: an actor of the user's may have one of this name.
    """
    started = await actor.init()
    if started is not None:
        if isinstance(started, Ignore | Refuse):
            actor.incarnation.refuse_start(started)
            return Normal()
        if not isinstance(started, Continue):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise bad_return("init", "None, Continue, IGNORE or Refuse", started)
    actor.incarnation.announce_started()
    return started


BEGINNING: Final = _begin.__code__
"""The code in whose frame no message is handled yet."""


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


def check_stop(callback: str, answer: object) -> Stop:
    """Return the Stop that a callback has answered; anything else makes no sense there."""
    if isinstance(answer, Stop):
        return answer
    raise bad_return(callback, "None or Stop", answer)
