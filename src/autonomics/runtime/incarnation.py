"""One life of one actor: its task, scope, mailbox, and the bookkeeping of its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs
import trio

from autonomics.errors import (
    CallFailed,
    CallingSelf,
    NoSuchActor,
    Overloaded,
    StartFailed,
    WouldDeadlock,
)
from autonomics.runtime.actor import Behaviour
from autonomics.runtime.mailbox import CALL, CAST, INFO, Mailbox
from autonomics.runtime.message import Ignore, InitTimedOut, Refuse
from autonomics.runtime.reason import Crash, ExitReason, Killed, Normal, Verdict, classify
from autonomics.runtime.ref import ActorRef, Monitor
from autonomics.runtime.reply import ReplySlot
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.timer import Timer

State = Literal["starting", "running", "stopping", "zombie", "dead"]

CURRENT: ContextVar[Incarnation | None] = ContextVar("autonomics_current", default=None)
"""The incarnation whose code runs; None outside of the tree."""


@attrs.frozen
class Limits:
    """How long an incarnation may take to start and to stop, in seconds.

    `grace_s` 0 stops by cancelling at once. `confirm_s` is the wait between cancelling and calling
    it a zombie.
    """

    grace_s: float = 5.0
    init_deadline_s: float = 5.0
    confirm_s: float = 1.0

    @property
    def own_terminate_s(self) -> float:
        """Time for `terminate` when the actor ends by itself and nobody holds the watch."""
        return self.grace_s or Limits().grace_s


class Owner(Protocol):
    """Who starts incarnations and hears of their ends: a supervisor or the runtime."""

    def child_exited(self, incarnation: Incarnation, reason: ExitReason) -> None:
        """Take note of the end of a child that had started; synchronous, must not raise."""
        ...


class Incarnation:
    """One life of an actor, from launch to the last message about its end.

    Invariants: `run` lets no Exception out, so no nursery is ever cancelled by a crash. The scope
    is shielded, so only this object ends the task: an outer cancellation would reach all siblings
    at once instead of in order. And everything that follows from the end happens in `_finish`
    without a single await, so that nothing can cut it short.
    """

    def __init__(
        self,
        runtime: Runtime,
        behaviour: Behaviour,
        *,
        path: str,
        name: str | None,
        owner: Owner,
        limits: Limits,
    ) -> None:
        self.runtime = runtime
        self.behaviour = behaviour
        self.path = path
        self.name = name
        self.owner = owner
        self.limits = (
            attrs.evolve(limits, grace_s=math.inf, init_deadline_s=math.inf)
            if behaviour.kind == "supervisor"
            else limits
        )
        self.ref = ActorRef(self)
        self.mailbox = Mailbox(behaviour.mailbox)
        self.scope = trio.CancelScope(shield=True)
        self.state: State = "starting"
        self.asked: ExitReason | None = None
        self.exit_reason: ExitReason | None = None
        self.start_failure: object = None
        self.parting: tuple[ReplySlot, object] | None = None
        self.pending: set[ReplySlot] = set()
        self.waits_for: list[Incarnation] = []
        self.monitored_by: dict[Monitor, None] = {}
        self.monitors: set[Monitor] = set()
        self.timers: set[Timer] = set()
        # What this incarnation has put up elsewhere (registry keys, groups) and how to take it
        # down, by owner of the entry; in the order it was put up.
        self.traces: dict[object, Callable[[], None]] = {}
        # What an end without an error will mean; None as long as nobody has asked for one.
        self.fate: ExitReason | None = None
        self._patience = trio.CancelScope()
        # One lot for every change of state instead of one Event for each: an idle actor is small.
        self._news = trio.lowlevel.ParkingLot()

    # Life

    async def run(self) -> None:
        """Live; this is the whole task."""
        CURRENT.set(self)
        error: BaseException | None = None
        own: ExitReason = Normal()
        with self.scope:
            try:
                own = await self.behaviour.live()
            except BaseException as caught:  # noqa: BLE001 - the actor loop: M1 decides what it was
                error = caught
        self._finish(classify(error, self.fate, own))

    def announce_started(self) -> None:
        """Let the starter go on."""
        if self.state != "starting":
            return
        self.state = "running" if self.asked is None else "stopping"
        self._news.unpark_all()
        emit("actor.started", path=self.path, name=self.name, kind=self.behaviour.kind)

    def refuse_start(self, answer: Ignore | Refuse) -> None:
        """Note what to tell the starter; the incarnation then returns."""
        self.start_failure = answer.reason if isinstance(answer, Refuse) else answer

    async def await_started(self) -> None:
        """Wait until it serves.

        Raises StartFailed when it does not; it is gone then, or a zombie. If the starter itself is
        cancelled, so is the start.
        """
        with self._awaited():
            try:
                self._patience.deadline = trio.current_time() + self.limits.init_deadline_s
                with self._patience:
                    await self._until(lambda: self.state != "starting")
            except BaseException:
                self._cancel(Killed("its starter was cancelled"))
                raise
            if self.state == "starting":
                self.start_failure = InitTimedOut(self.limits.init_deadline_s)
                self._cancel(Killed("init deadline"))
                await self.confirm()
        if self.start_failure is not None:
            failure = self.start_failure
            raise StartFailed(f"{self.path} did not start: {failure!r}", failure)

    # Stop

    def request_stop(self, reason: ExitReason) -> None:
        """Ask it to end; overtakes all mail, exempt from every bound."""
        if self.state == "dead" or self.asked is not None:
            return
        self.asked = reason
        self.fate = self.fate or reason
        if self.state == "running":
            self.state = "stopping"
        if not self.behaviour.traps:
            self.scope.cancel(reason=f"{self.path}: {reason!r}")
        self.behaviour.stop_asked()
        self._news.unpark_all()

    def hurry_start(self, reason: ExitReason) -> None:
        """Ask an incarnation that is still starting to end within its grace."""
        self.request_stop(reason)
        soon = trio.current_time() + self.limits.grace_s
        self._patience.deadline = min(self._patience.deadline, soon)

    def kill(self, why: str) -> None:
        """Cancel it; `terminate` is not run."""
        self._cancel(Killed(why))

    async def stop(self, reason: ExitReason, grace_s: float | None = None) -> ExitReason | None:
        """Ask, wait for the grace, cancel, confirm; None if it is a zombie now."""
        if self is CURRENT.get():
            raise CallingSelf(f"{self.path} can't wait for its own end; return Stop instead")
        if grace_s is None or self.behaviour.kind == "supervisor":
            grace_s = self.limits.grace_s
        with self._awaited():
            if grace_s > 0:
                self.request_stop(reason)
                with trio.move_on_after(grace_s):
                    await self._until_settled()
            if self.is_alive:
                self._cancel(Killed("grace exceeded" if grace_s > 0 else "brutal kill"))
                await self.confirm()
        return self.exit_reason

    async def wait_dead(self) -> ExitReason:
        """Wait for the very end, also of a zombie."""
        await self._until(lambda: self.state == "dead")
        assert self.exit_reason is not None
        return self.exit_reason

    async def until_asked(self) -> None:
        """Wait for a stop request."""
        await self._until(lambda: self.asked is not None)

    def mark_zombie(self) -> None:
        """Give it up: nobody can reach or wait for it any more, though its task is still there."""
        self.state = "zombie"
        self.runtime.zombies += 1
        self._part_from_callers(self.fate or Killed())
        self._news.unpark_all()
        emit("actor.zombie", path=self.path)

    # Messages

    async def call(self, message: object, timeout_s: float) -> Any:
        """Send a request and wait for its reply; see ActorRef.call."""
        caller = CURRENT.get()
        self._check_call(caller)
        mailbox = self.mailbox
        if mailbox.has_room:
            slot = ReplySlot(caller, self)
            mailbox.put((CALL, message, slot))
        elif mailbox.spec.on_full == "block":
            self._note_overload()
            slot = ReplySlot(caller, self)
            mailbox.put_when_room((CALL, message, slot), slot)
        else:
            self._make_room()
            slot = ReplySlot(caller, self)
            mailbox.put((CALL, message, slot))
        if timeout_s != math.inf:
            slot.timer = self.runtime.timers.set(timeout_s, lambda: slot.expire(message, timeout_s))
        return await slot.wait()

    def cast(self, message: object) -> None:
        """Send a message that nobody answers; see ActorRef.cast."""
        if not self.is_alive or not self.behaviour.takes_mail:
            self.runtime.dead_letters += 1
            return
        if not self.mailbox.has_room:
            self._make_room()
        self.mailbox.put((CAST, message, None))

    async def cast_when_room(self, message: object, timeout_s: float) -> None:
        """Send as soon as the mailbox takes it; see ActorRef.cast_when_room."""
        if self.mailbox.has_room or self.mailbox.spec.on_full != "block" or not self.is_alive:
            await trio.lowlevel.checkpoint()
            self.cast(message)
            return
        caller = CURRENT.get()
        self._check_call(caller)
        self._note_overload()
        slot = ReplySlot(caller, self)
        self.mailbox.put_when_room((CAST, message, None), slot)
        if timeout_s != math.inf:
            slot.timer = self.runtime.timers.set(timeout_s, lambda: slot.expire(message, timeout_s))
        await slot.wait()

    def inform(self, message: object) -> bool:
        """Put a message of the runtime behind the mail, whatever the bound; False if it is dead."""
        if not self.is_alive:
            self.runtime.dead_letters += 1
            return False
        self.mailbox.put((INFO, message, None))
        return True

    @property
    def is_alive(self) -> bool:
        """False for the dead, and for a zombie, which will never answer."""
        return self.state not in {"dead", "zombie"}

    def _check_call(self, caller: Incarnation | None) -> None:
        if not self.is_alive:
            raise NoSuchActor(f"{self.path} is not alive: {self.exit_reason!r}")
        if not self.behaviour.takes_mail:
            raise CallFailed(f"{self.path} is a worker and answers no calls")
        if caller is self:
            raise CallingSelf(f"{self.path} called itself")
        if caller is not None and self.waits_for and self._waits_for(caller):
            raise WouldDeadlock(f"{caller.path} called {self.path}, which waits for it")

    def _waits_for(self, caller: Incarnation) -> bool:
        seen: set[int] = set()
        ahead: list[Incarnation] = [self]
        while ahead:
            here = ahead.pop()
            if here is caller:
                return True
            if id(here) not in seen:
                seen.add(id(here))
                ahead.extend(here.waits_for)
        return False

    def _note_overload(self) -> None:
        # One event per burst; the flag falls when the owner takes the next message.
        if not self.mailbox.is_overloaded:
            self.mailbox.is_overloaded = True
            spec = self.mailbox.spec
            emit("actor.overloaded", path=self.path, capacity=spec.capacity, on_full=spec.on_full)

    def _make_room(self) -> None:
        self._note_overload()
        capacity = self.mailbox.spec.capacity
        if self.mailbox.spec.on_full != "drop_oldest":
            self.mailbox.refused += 1
            raise Overloaded(f"the mailbox of {self.path} is full (limit={capacity})")
        _, _, slot = self.mailbox.drop_oldest()
        if slot is not None and slot.is_open:
            slot.fail(Overloaded(f"{self.path} dropped it for newer mail (limit={capacity})"))

    # End

    def _cancel(self, fate: Killed) -> None:
        if self.state == "dead":
            return
        self.fate = fate
        self.scope.cancel(reason=f"{self.path}: {fate.reason}")

    async def confirm(self) -> None:
        """Wait for the end of what has been cancelled; call it a zombie after the confirm time."""
        with trio.move_on_after(self.limits.confirm_s):
            await self._until_settled()
        if self.is_alive:
            self.mark_zombie()

    # A KeyboardInterrupt between two of these lines would leave a name taken or a caller waiting.
    @trio.lowlevel.enable_ki_protection
    def _finish(self, verdict: Verdict) -> None:
        """Spread the news of the end: names, callers, monitors, owner, in this order.

        Who hears of the end can rely on what comes earlier in the list: on Down the name is free.
        """
        reason = verdict.reason
        was_starting, was_zombie = self.state == "starting", self.state == "zombie"
        if was_starting and self.start_failure is None:
            self.start_failure = reason
        self.state = "dead"
        self.exit_reason = reason
        if verdict.interrupted:
            self.runtime.interrupt("KeyboardInterrupt")
        unread = self._part_from_callers(reason)
        for monitor in self.monitored_by:
            monitor.fire(reason)
        for monitor in tuple(self.monitors):
            monitor.cancel()
        for timer in self.timers:
            timer.disarm()
        if not was_starting:
            self.owner.child_exited(self, reason)
        self.runtime.forget(self)
        self._news.unpark_all()
        self._report(verdict, unread, was_starting=was_starting, was_zombie=was_zombie)

    def _part_from_callers(self, reason: ExitReason) -> int:
        self.runtime.release_name(self)
        while self.traces:
            self.traces.pop(next(iter(self.traces)))()
        if self.parting is not None:
            slot, reply = self.parting
            slot.resolve(reply)
            self.parting = None
        for slot in self.mailbox.iter_waiting():
            slot.fail(NoSuchActor(f"{self.path} ended before it had room: {reason!r}"))
        for slot in tuple(self.pending):
            slot.bury(reason)
        unread = self.mailbox.drain()
        self.runtime.dead_letters += unread
        return unread

    def _report(
        self, verdict: Verdict, unread: int, *, was_starting: bool, was_zombie: bool
    ) -> None:
        if was_zombie:
            self.runtime.zombies -= 1
            emit("actor.zombie_ended", path=self.path, reason=verdict.reason)
        if verdict.masked is not None:
            emit("actor.masked_error", path=self.path, error=verdict.masked)
        if was_starting:
            return  # the starter has the whole story as its StartFailed
        event = "actor.crashed" if isinstance(verdict.reason, Crash) else "actor.stopped"
        emit(event, path=self.path, reason=verdict.reason, unread=unread)

    # Waiting

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._news.park()

    async def _until_settled(self) -> None:
        await self._until(lambda: not self.is_alive)

    @contextmanager
    def _awaited(self) -> Generator[None]:
        """Show that the current actor waits for this one, so that a call back fails at once."""
        waiter = CURRENT.get()
        if waiter is None:
            yield
            return
        waiter.waits_for.append(self)
        try:
            yield
        finally:
            waiter.waits_for.remove(self)


def launch(
    runtime: Runtime,
    nursery: trio.Nursery,
    factory: Callable[[], Behaviour],
    *,
    path: str,
    name: str | None,
    owner: Owner,
    limits: Limits,
) -> Incarnation:
    """Create an incarnation and start its task; raises StartFailed before any task exists.

    The name is taken here, so of two launches with one name the second never runs its init. Both
    the factory and the task run in the runtime's base context: a restart that happens while some
    request is handled must not inherit that request's context variables.
    """
    runtime.check_start(path, name)
    try:
        behaviour = runtime.base_context.run(factory)
    except Exception as error:
        raise StartFailed(f"{path} did not start: {error!r}", Crash(error)) from error
    if not isinstance(behaviour, Behaviour):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise StartFailed(f"{path} did not start: {behaviour!r} is no actor", behaviour)
    incarnation = Incarnation(runtime, behaviour, path=path, name=name, owner=owner, limits=limits)
    behaviour.incarnation = incarnation
    runtime.remember(incarnation)
    # The path as the task's name: this is what a dump of stuck tasks shows.
    runtime.base_context.run(partial(nursery.start_soon, incarnation.run, name=path))
    return incarnation
