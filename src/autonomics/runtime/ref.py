"""Addresses: of one incarnation, or of whoever has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs

from autonomics.errors import NoSuchActor, Unstoppable
from autonomics.runtime.message import Call, Down
from autonomics.runtime.reason import ExitReason, NoProcess, Shutdown

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.incarnation import Incarnation
    from autonomics.runtime.mailbox import MailboxStatistics

R = TypeVar("R")


class ActorRef:
    """Address of one incarnation; stale after its end, a restart has another.

    To reach whoever serves now, use a name: `runtime.named`.
    """

    __slots__ = ("incarnation",)

    def __init__(self, incarnation: Incarnation) -> None:
        self.incarnation = incarnation

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

    async def call(self, message: Call[R], timeout_s: float = 5.0) -> R:
        """Ask and wait for the reply; from any trio task, actor or not.

        Raises NoSuchActor, CallingSelf, WouldDeadlock or Overloaded at once, CallTimedOut when the
        time is up (the request may still be carried out), ActorDied with its exit reason when the
        callee ends first, and whatever the callee passes to `ReplyTo.fail`.
        """
        reply: R = await self.incarnation.call(message, timeout_s)
        return reply

    def cast(self, message: object) -> None:
        """Send without waiting; to the dead it is dropped and counted.

        Raises Overloaded when the mailbox is full, unless it drops its oldest.
        """
        self.incarnation.cast(message)

    async def cast_when_room(self, message: object, timeout_s: float = 5.0) -> None:
        """Send, and wait for room if the mailbox is full and its policy is `block`.

        Raises CallTimedOut if there is none in time, NoSuchActor if the actor ends first.
        """
        await self.incarnation.cast_when_room(message, timeout_s)

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

    def statistics(self) -> MailboxStatistics:
        """Read the counters of its mailbox."""
        return self.incarnation.mailbox.statistics()


@attrs.frozen
class NamedRef:
    """Address of whoever has the name when it is used: survives restarts."""

    runtime: Runtime = attrs.field(repr=False)
    name: str

    def resolve(self) -> ActorRef:
        """Find the present owner; NoSuchActor if there is none."""
        found = self.runtime.whereis(self.name)
        if found is None:
            raise NoSuchActor(f"nobody has the name {self.name!r}")
        return found

    def is_alive(self) -> bool:
        """True when somebody has the name."""
        return self.runtime.whereis(self.name) is not None

    async def call(self, message: Call[R], timeout_s: float = 5.0) -> R:
        """Ask the present owner; see ActorRef.call."""
        return await self.resolve().call(message, timeout_s)

    def cast(self, message: object) -> None:
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


Address = ActorRef | NamedRef


@attrs.define(eq=False)
class Monitor:
    """One watch of one actor over another; each has its own Down."""

    address: Address
    target: Incarnation | None
    watcher: Incarnation
    tag: object

    def fire(self, reason: ExitReason | NoProcess) -> None:
        """Send the Down."""
        self.watcher.monitors.discard(self)
        self.watcher.inform(Down(self.address, reason, self.tag, self))

    def cancel(self, *, flush: bool = False) -> None:
        """Stop watching; with `flush` also take back a Down that is still unread."""
        if self.target is not None:
            self.target.monitored_by.pop(self, None)
        self.watcher.monitors.discard(self)
        if flush:
            self.watcher.mailbox.forget_down(self)
