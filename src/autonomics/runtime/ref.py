"""Addresses: of one incarnation, or of whoever has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
from trio.lowlevel import wait_task_rescheduled

from autonomics.errors import NoSuchActor, Unstoppable
from autonomics.runtime.context import CURRENT, TRACE, current_trace
from autonomics.runtime.interface import AnswersCall, Question, TakesCast
from autonomics.runtime.mailbox import CALL, CAST
from autonomics.runtime.message import (
    NO_REPLIES,
    NO_REPLY,
    Down,
    NoReply,
    Raised,
    Stop,
    bad_reply,
)
from autonomics.runtime.reason import ExitReason, Killed, NoProcess, Shutdown
from autonomics.runtime.reply import ReplyTo

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.mailbox import MailboxStatistics

if TYPE_CHECKING:
    # For checkers alone: at run time one parameter needs no default, and so no new dependency.
    from typing_extensions import TypeVar as WithDefault

    A = WithDefault("A", default=Any)
    A_co = WithDefault("A_co", covariant=True, default=Any)
else:
    A = TypeVar("A")
    A_co = TypeVar("A_co", covariant=True)
M = TypeVar("M")
R = TypeVar("R")


class ActorRef(Generic[A_co]):
    """Address of one incarnation; stale after its end, a restart has another.

    `ActorRef[Counter]` can be sent what the handlers of Counter take; without the class it can be
    sent anything. Only type checkers know the difference.

    To reach whoever serves now, use a name: `runtime.named`.
    """

    __slots__ = ("incarnation",)

    def __init__(self, incarnation: Incarnation) -> None:
        self.incarnation: Incarnation = incarnation

    def __repr__(self) -> str:
        return f"<ActorRef {self.path} {self.incarnation.state}>"

    @property
    def path(self) -> str:
        """Place in the tree."""
        return self.incarnation.path

    @property
    def name(self) -> str | None:
        """The name that it was registered under."""
        return self.incarnation.name

    def is_alive(self) -> bool:
        """False once it has ended, and for a zombie."""
        return self.incarnation.is_alive

    async def call(
        self: ActorRef[AnswersCall[M]], message: Question[M, R], timeout_s: float = 5.0
    ) -> R:
        """Ask and wait for the reply; from any trio task, actor or not.

        An actor that answers by a plain function and has nothing else to do is asked on the
        caller's stack; this is no checkpoint but for one time in 32.

        Raises NoSuchActor, CallingSelf, WouldDeadlock or Overloaded at once, CallTimedOut when the
        time is up (the request may still be carried out), ActorDied with its exit reason when the
        callee ends first, and whatever the callee passes to `ReplyTo.fail`.
        """
        callee = self.incarnation
        caller = CURRENT.get()
        mailbox = callee.mailbox
        runtime = callee.runtime
        slot = ReplyTo()
        slot.caller, slot.callee, slot.message = caller, callee, message
        trace = caller.trace if caller is not None else TRACE.get()
        sleeper = mailbox.sleeper
        if (
            sleeper is not None
            and callee.behaviour.answers_at_once
            and not callee.alarm
            and caller is not callee
        ):
            if not runtime.reductions:
                await runtime.let_others_run()
                return await self.call(message, timeout_s)  # it may be idle no longer
            runtime.reductions -= 1
            mailbox.handled += 1
            callee.trace = trace
            reply: Any = sleeper.context.run(_answer, callee.behaviour, slot)
            if slot.is_open and type(reply) not in NO_REPLIES:
                slot.is_open = False
                return reply  # type: ignore[no-any-return]
            return await _take_up(slot, reply, timeout_s)  # type: ignore[no-any-return]
        if not callee.is_open or caller is callee or callee.waits_for:
            callee.check_call(caller)
        now_s = runtime.now_s()
        envelope = (CALL, message, slot, trace)
        queue = mailbox.queue
        if queue is None or len(queue) < mailbox.limit or mailbox.find_room():
            slot.arm(timeout_s, now_s)
            if queue is None or mailbox.sleeper is not None:
                mailbox.put(envelope, now_s)
            else:
                queue.append(envelope)  # which is all that `put` does if nobody has to be woken
        elif mailbox.policy == "block":
            callee.note_overload()
            slot.arm(timeout_s, now_s)
            mailbox.put_when_room(envelope, slot)
        else:
            callee.make_room()
            slot.arm(timeout_s, now_s)
            mailbox.put(envelope, now_s)
        return await wait_task_rescheduled(slot.give_up)  # type: ignore[no-any-return]

    def cast(self: ActorRef[TakesCast[M]], message: M) -> None:
        """Send without waiting; to the dead it is dropped and counted.

        Raises Overloaded when the mailbox is full, unless it drops its oldest or this message.
        """
        target = self.incarnation
        mailbox = target.mailbox
        if not target.is_open:
            target.runtime.dead_letters += 1
            return
        queue = mailbox.queue
        if (
            queue is not None
            and len(queue) >= mailbox.limit
            and not (mailbox.find_room() or target.make_room_for_cast())
        ):
            return
        sender = CURRENT.get()
        trace = sender.trace if sender is not None else TRACE.get()
        mailbox.put((CAST, message, None, trace))

    async def cast_when_room(
        self: ActorRef[TakesCast[M]], message: M, timeout_s: float = 5.0
    ) -> None:
        """Send, and wait for room if the mailbox is full and its policy is `block`.

        A sender that is faster than others lets them run after 32 messages. Raises CallTimedOut if
        there is no room in time, NoSuchActor if the actor ends first.
        """
        target = self.incarnation
        runtime = target.runtime
        if not runtime.reductions:
            await runtime.let_others_run()
        runtime.reductions -= 1
        mailbox = target.mailbox
        queue = mailbox.queue
        if target.is_open and (queue is None or len(queue) < mailbox.limit):
            sender = CURRENT.get()
            trace = sender.trace if sender is not None else TRACE.get()
            if queue is None or mailbox.sleeper is not None:
                mailbox.put((CAST, message, None, trace))
            else:
                queue.append((CAST, message, None, trace))  # as in `call`
            return
        if (
            mailbox.has_room
            or mailbox.find_room()
            or mailbox.policy != "block"
            or not target.is_alive
        ):
            self.cast(message)
            return
        caller = CURRENT.get()
        target.check_call(caller)
        target.note_overload()
        slot = ReplyTo()
        slot.caller, slot.callee, slot.message = caller, target, message
        slot.arm(timeout_s, runtime.now_s())
        mailbox.put_when_room((CAST, message, None, current_trace()), slot)
        await slot.wait()

    def monitor(self, tag: object = None) -> Monitor:
        """Have the current actor's `handle_info` told of the end by one Down."""
        return self.incarnation.runtime.watch(self, self.incarnation, tag)

    async def wait_down(self) -> ExitReason:
        """Wait for the end, from anywhere; the reason at once if it is past."""
        return await self.incarnation.wait_dead()

    async def stop(self, reason: ExitReason | None = None, grace_s: float = 5.0) -> ExitReason:
        """Ask it to end (Shutdown by default), cancel it after the grace; its exit reason.

        Raises Unstoppable if it survives that, and CallingSelf from inside. A supervisor gets all
        the time it needs. A child that its supervisor keeps permanent will be started again.
        """
        ended = await self.incarnation.stop(reason or Shutdown(), grace_s)
        if ended is None:
            raise Unstoppable(f"{self.path} did not end when cancelled; it is a zombie now")
        return ended

    def kill(self, reason: str = "killed") -> None:
        """Cancel it without `terminate`; its exit reason is Killed.

        Trio cancels at checkpoints only, so code without one, or under a shield, goes on.
        """
        self.incarnation.kill(reason)

    def exit(self, reason: ExitReason) -> None:
        """Send an exit signal, which overtakes all mail; the dead don't mind.

        Killed is a kill. Of the others an actor with `traps` gets an Exit through `handle_info`,
        and so does a supervisor, which ignores it; without, it ends with this reason and without
        `terminate`, but for Normal, which does nothing.
        """
        if isinstance(reason, Killed):
            self.incarnation.kill(reason.reason)
        elif self.incarnation.is_alive:
            self.incarnation.take_exit(CURRENT.get(), reason)

    def statistics(self) -> MailboxStatistics:
        """Read the counters of its mailbox."""
        return self.incarnation.mailbox.statistics()


def _answer(behaviour: Any, slot: ReplyTo) -> object:
    """Run the plain handler of an actor that has nothing else to do; in the actor's own context.

    Nobody is overtaken, for its mailbox is empty; and nobody sees it half done, for nothing waits.
    """
    try:
        answer: object = behaviour.handle_call(slot.message, slot)
    except BaseException as error:  # noqa: BLE001 - raised again in the actor's own task
        return Raised(error)
    return answer


ANSWERING: Final = _answer.__code__
"""The code in whose frame `slot` is of the call that is being answered."""


async def _take_up(slot: ReplyTo, answer: object, timeout_s: float) -> Any:
    """Deal with what came of `_answer` other than a plain reply, and wait for that."""
    callee = slot.callee
    if isinstance(answer, NoReply):
        slot.caller = None  # whoever replies now, it need not be this actor
    elif type(answer) not in NO_REPLIES:
        callee.runtime.late_replies += 1  # it had replied by `reply_to` before it returned this
    else:
        # The actor's own task ends it, so what it raised is its end and not its caller's.
        if isinstance(answer, Stop) and answer.reply is not NO_REPLY:
            callee.parting = (slot, answer.reply)
        callee.hand_over(answer if isinstance(answer, Stop | Raised) else Raised(bad_reply(answer)))
    if slot.is_open:
        slot.arm(timeout_s, callee.runtime.now_s())
    return await slot.wait()


@attrs.frozen
class NamedRef(Generic[A_co]):
    """Address of whoever has the name when it is used: survives restarts."""

    runtime: Runtime = attrs.field(repr=False)
    name: str

    def resolve(self) -> ActorRef[A_co]:
        """Find the present owner; NoSuchActor if there is none."""
        found = self.runtime.whereis(self.name)
        if found is None:
            raise NoSuchActor(f"nobody has the name {self.name!r}")
        return found

    def is_alive(self) -> bool:
        """True when somebody has the name."""
        return self.runtime.whereis(self.name) is not None

    async def call(
        self: NamedRef[AnswersCall[M]], message: Question[M, R], timeout_s: float = 5.0
    ) -> R:
        """Ask the present owner; see ActorRef.call."""
        return await self.resolve().call(message, timeout_s)

    def cast(self: NamedRef[TakesCast[M]], message: M) -> None:
        """Send to the present owner; dropped and counted if there is none."""
        found = self.runtime.whereis(self.name)
        if found is None:
            self.runtime.dead_letters += 1
        else:
            found.cast(message)

    def monitor(self, tag: object = None) -> Monitor:
        """Monitor the present owner; Down(NoProcess()) at once if there is none."""
        found = self.runtime.whereis(self.name)
        return self.runtime.watch(self, None if found is None else found.incarnation, tag)

    async def wait_down(self) -> ExitReason:
        """Wait for the present owner's end; NoSuchActor if there is none."""
        return await self.resolve().wait_down()


Address = ActorRef[A] | NamedRef[A]


@attrs.define(eq=False)
class Monitor:
    """One watch of one actor over another; each has its own Down."""

    address: Address
    target: Incarnation | None
    watcher: Incarnation
    tag: object

    def fire(self, reason: ExitReason | NoProcess) -> None:
        """Send the Down."""
        self.watcher.monitors.pop(self, None)
        self.watcher.inform(Down(self.address, reason, self.tag, self))

    def cancel(self, *, flush: bool = False) -> None:
        """Stop watching; with `flush` also take back a Down that is still unread."""
        if self.target is not None:
            self.target.monitored_by.pop(self, None)
        self.watcher.monitors.pop(self, None)
        if flush:
            self.watcher.mailbox.forget_down(self)
