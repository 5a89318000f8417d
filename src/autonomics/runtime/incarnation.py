"""One life of one actor: its task, scope, mailbox, and the bookkeeping of its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol

import trio
from trio.lowlevel import wait_task_rescheduled

from autonomics.errors import (
    CallFailed,
    CallingSelf,
    NoSuchActor,
    Overloaded,
    StartFailed,
    WouldDeadlock,
)
from autonomics.runtime.actor import Behaviour
from autonomics.runtime.context import CURRENT
from autonomics.runtime.crash_report import CrashReport, report_crash
from autonomics.runtime.inheritance import is_as_new
from autonomics.runtime.mailbox import Envelope, Mailbox
from autonomics.runtime.message import (
    Exit,
    Ignore,
    InitTimedOut,
    Raised,
    Refuse,
    Stop,
)
from autonomics.runtime.reason import Crash, ExitReason, Killed, Normal, Verdict, classify
from autonomics.runtime.ref import ActorRef, Monitor
from autonomics.runtime.reply import ReplyTo
from autonomics.telemetry import emit, is_heard, prepare

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime
    from autonomics.runtime.system import SystemLane
    from autonomics.runtime.timer import Timer

State = Literal["starting", "running", "stopping", "zombie", "dead"]

_NORMAL: Final = Normal()
_tell_started = prepare("actor.started", "path", "name", "kind")
_tell_crashed = prepare("actor.crashed", "path", "reason", "unread", "report")
_tell_stopped = prepare("actor.stopped", "path", "reason", "unread")


class Limits(Protocol):
    """How long an incarnation may take to start and to stop, in seconds: what a child spec says.

    `grace_s` 0 stops by cancelling at once. `confirm_s` is the wait between cancelling and calling
    it a zombie.
    """

    @property
    def grace_s(self) -> float:
        """From the stop request to the cancel."""
        ...

    @property
    def init_deadline_s(self) -> float:
        """From the start to the end of `init`."""
        ...

    @property
    def confirm_s(self) -> float:
        """From the cancel to the zombie."""
        ...


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

    # Defaults of the class, not fields set one by one: most lives never need most of these.
    state: State = "starting"
    asked: ExitReason | None = None
    exit_reason: ExitReason | None = None
    start_failure: object = None
    parting: tuple[ReplyTo, object] | None = None
    trace: object = None
    """What the message in hand is part of; see `tracing`."""
    fate: ExitReason | None = None
    """What an end without an error will mean; None as long as nobody has asked for one."""
    began_s: float = 0.0
    """When it was launched."""
    alarm: bool = False
    """Something is to be heeded ahead of the mail: a stop request, or what was handed over."""
    heir: Incarnation | None = None
    """Whose life follows in the same task."""
    handed: Stop | Raised | None = None
    """What a handler led to that ran on its caller's stack, for the actor's own task to do."""
    links: dict[Incarnation, None] | None = None
    """Whoever shares its end, both ways; a dict as an ordered set, made at the first link."""
    parent: Incarnation | None = None
    """The actor that started it linked; a child of a supervisor has none here."""
    children: dict[Incarnation, None] | None = None
    """What it started linked, in start order."""
    lane: SystemLane | None = None
    unread: int = 0
    """Messages that were in the mailbox at the end."""
    _starter: trio.lowlevel.Task | None = None
    _start_ended: Callable[[], None] | None = None
    _is_overdue: bool = False
    # Who waits for any change of state: not an Event for each, and no ParkingLot, which would cost
    # as much as the switches to and from an actor that stops.
    _watching: dict[trio.lowlevel.Task, None] | None = None
    # Dicts as ordered sets, each made when it is first needed.
    _monitored_by: dict[Monitor, None] | None = None
    _monitors: dict[Monitor, None] | None = None
    _timers: dict[Timer, None] | None = None
    _traces: dict[object, Callable[[], None]] | None = None

    def __init__(  # noqa: PLR0917 - by keyword, the call alone would cost a tenth of a start
        self,
        runtime: Runtime,
        behaviour: Behaviour,
        path: str,
        name: str | None,
        owner: Owner,
        limits: Limits,
        scope: trio.CancelScope,
    ) -> None:
        self.runtime = runtime
        self.behaviour = behaviour
        self.path = path
        self.name = name
        self.owner = owner
        self.limits = limits
        self.ref: ActorRef = ActorRef(self)
        self.mailbox: Mailbox = Mailbox(behaviour.mailbox, runtime.now_s)
        self.scope = scope
        self.is_open: bool = behaviour.takes_mail
        """Alive, and takes mail."""
        # Not made when they are needed, as the sets below are: a call asks for both.
        self.pending: dict[ReplyTo, None] = {}
        self.waits_for: list[Incarnation] = []

    @property
    def monitored_by(self) -> dict[Monitor, None]:
        """Who is told of its end, in the order of their monitors."""
        if self._monitored_by is None:
            self._monitored_by = {}
        return self._monitored_by

    @property
    def monitors(self) -> dict[Monitor, None]:
        """Whose end it is told of."""
        if self._monitors is None:
            self._monitors = {}
        return self._monitors

    @property
    def timers(self) -> dict[Timer, None]:
        """What is cancelled at its end."""
        if self._timers is None:
            self._timers = {}
        return self._timers

    @property
    def traces(self) -> dict[object, Callable[[], None]]:
        """What it has put up elsewhere (registry keys, groups) and how to take that down.

        By owner of the entry, in the order it was put up.
        """
        if self._traces is None:
            self._traces = {}
        return self._traces

    @property
    def grace_s(self) -> float:
        """Seconds from the stop request to the cancel; a supervisor gets all the time it needs."""
        return math.inf if self.behaviour.kind == "supervisor" else self.limits.grace_s

    # Life

    async def run(self) -> None:
        """Live, and then the lives that take over this task; this is the whole task."""
        life, is_first = self, True
        del self  # or this frame would keep the first of them
        with life.scope:
            while True:
                error: BaseException | None = None
                own: ExitReason = _NORMAL
                try:
                    if not is_first:
                        await _begin_anew(life.runtime)
                    CURRENT.set(life)
                    own = await life.behaviour.live()
                except BaseException as caught:  # noqa: BLE001 - the actor loop: M1 decides what it was
                    # Without this frame: an error that is kept must not keep who lives here next.
                    trace = caught.__traceback__
                    error = caught.with_traceback(trace and trace.tb_next)
                    del trace
                verdict = classify(error, life.fate, own)
                if life.children:
                    await life._leave_nobody(verdict.reason)
                life._finish(verdict, error)
                # Taken out: a chain from life to life would keep them all for an old ref.
                heir, life.heir = life.heir, None
                if heir is None:
                    return
                life, is_first = heir, False

    @property
    def may_bequeath(self) -> bool:
        """Whether a successor that is launched in this last step may go on in this task.

        Then it takes over the scope as well, so that must never have been cancelled: nor has it if
        nobody asked for this end. A new task costs half as much as all of a restart.
        """
        return self.fate is None and is_as_new(self.scope)

    def announce_started(self) -> None:
        """Let the starter go on."""
        if self.state != "starting":
            return
        self.state = "running" if self.asked is None else "stopping"
        _tell_started(self.path, self.name, self.behaviour.kind)
        self._tell_starter()

    def refuse_start(self, answer: Ignore | Refuse) -> None:
        """Note what to tell the starter; the incarnation then returns."""
        self.start_failure = answer.reason if isinstance(answer, Refuse) else answer

    async def await_started(self) -> None:
        """Wait until it serves.

        Raises StartFailed when it does not; it is gone then, or a zombie. If the starter itself is
        cancelled, so is the start.
        """
        waiter = self._show_waiter()
        try:
            if self.state == "starting":
                await self._wait_for_start()
            if self.state == "starting":
                self.start_failure = InitTimedOut(self.limits.init_deadline_s)
                self._cancel(Killed("init deadline"))
                await self.confirm()
        finally:
            if waiter is not None:
                waiter.waits_for.remove(self)
        if self.start_failure is not None:
            failure = self.start_failure
            raise StartFailed(f"{self.path} did not start: {failure!r}", failure)

    def watch_start(self, start_ended: Callable[[], None]) -> None:
        """Have this called when it serves, has not come up, or takes too long; once, not waiting.

        Whoever is told of anything but a start has to `await_started` after all.
        """
        self._start_ended = start_ended
        self._set_init_deadline()

    def _set_init_deadline(self) -> None:
        within_s = self.limits.init_deadline_s
        if within_s != math.inf and self.behaviour.kind != "supervisor":
            self.runtime.starts.watch(self, self.began_s + within_s)

    def note_overdue(self) -> None:
        """Let the starter go on without it: its init has had all the time it was given."""
        self._is_overdue = True
        self._tell_starter()

    async def _wait_for_start(self) -> None:
        # By one reschedule and a timer: a CancelScope would cost as much as the rest of the start.
        if self._is_overdue:
            return  # whoever watches the start was told so, and now awaits it
        self._set_init_deadline()
        self._starter = trio.lowlevel.current_task()

        def give_up(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._starter = None
            self._cancel(Killed("its starter was cancelled"))
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await wait_task_rescheduled(give_up)
        finally:
            self.runtime.starts.forget(self)

    def _tell_starter(self) -> None:
        if self._starter is not None:
            starter, self._starter = self._starter, None
            trio.lowlevel.reschedule(starter)
        elif self._start_ended is not None:
            self.runtime.starts.forget(self)
            ended, self._start_ended = self._start_ended, None
            ended()

    # Stop

    def request_stop(self, reason: ExitReason) -> None:
        """Ask it to end; overtakes all mail, exempt from every bound."""
        if self.state == "dead" or self.asked is not None:
            return
        self.asked = reason
        self.fate = self.fate or reason
        self.alarm = True
        if self.state == "running":
            self.state = "stopping"
        if not self.behaviour.traps:
            self.scope.cancel(reason=f"{self.path}: {reason!r}")
        self.behaviour.stop_asked()
        if self.lane is not None:
            self.lane.wake()
        self._tell_news()

    def hand_over(self, answer: Stop | Raised) -> None:
        """Have the actor's own task do what came of a handler on a caller's stack."""
        self.handed = answer
        self.alarm = True
        self.mailbox.wake()

    async def heed(self) -> ExitReason | None:
        """Look what the alarm is about; what this raises or returns ends the actor."""
        if isinstance(self.handed, Raised):
            raise self.handed.error
        if self.handed is not None:
            return self.handed.reason
        if self.asked is None:
            assert self.lane is not None
            await self.lane.serve()
            # A read of its own: a stop may have been asked for while it was suspended.
            self.alarm = self.asked is not None or self.lane.is_needed
        return self.asked

    def hurry_start(self, reason: ExitReason) -> None:
        """Ask an incarnation that is still starting to end within its grace."""
        self.request_stop(reason)
        left_s = self.runtime.starts.left_s(self)
        soon_s = self.grace_s if left_s is None else min(self.grace_s, left_s)
        if soon_s != math.inf:
            self.runtime.starts.watch(self, self.runtime.now_s() + soon_s)

    def kill(self, why: str) -> None:
        """Cancel it; `terminate` is not run."""
        self._cancel(Killed(why))

    async def stop(self, reason: ExitReason, grace_s: float | None = None) -> ExitReason | None:
        """Ask, wait for the grace, cancel, confirm; None if it is a zombie now."""
        if self is CURRENT.get():
            raise CallingSelf(f"{self.path} can't wait for its own end; return Stop instead")
        if grace_s is None or self.behaviour.kind == "supervisor":
            grace_s = self.grace_s
        waiter = self._show_waiter()
        try:
            if grace_s > 0:
                self.request_stop(reason)
                await self._settle_within(grace_s)
            if self.is_alive:
                self._cancel(Killed("grace exceeded" if grace_s > 0 else "brutal kill"))
                await self.confirm()
        finally:
            if waiter is not None:
                waiter.waits_for.remove(self)
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
        self.is_open = False
        self.runtime.zombies += 1
        self._part_from_callers(self.fate or Killed())
        self._tell_news()
        emit("actor.zombie", path=self.path)

    # Links

    def link(self, peer: Incarnation) -> None:
        """Share each other's end from now on; both are alive."""
        if self.links is None:
            self.links = {}
        if peer.links is None:
            peer.links = {}
        self.links[peer] = peer.links[self] = None

    def unlink(self, peer: Incarnation) -> None:
        """Share it no more; fine if they never did."""
        if self.links and peer.links and peer in self.links:
            del self.links[peer], peer.links[self]

    def take_exit(self, sender: Incarnation | None, reason: ExitReason) -> None:
        """React to an exit signal: as a message with `traps`, else by ending unless it is Normal.

        A worker has no mailbox to be told by, so it is asked to stop.
        """
        if self.behaviour.traps and self.behaviour.takes_mail:
            self.inform(Exit(None if sender is None else sender.ref, reason))
        elif not isinstance(reason, Normal):
            self.request_stop(reason)

    async def _leave_nobody(self, reason: ExitReason) -> None:
        """Stop what was started linked, the last first, with the same reason.

        Callers need not wait for that; whoever watches, or would start a successor, has to, for
        nothing may be left of this life then.
        """
        self.is_open = False
        if self.state == "running":
            self.state = "stopping"
        self._part_from_callers(reason)
        with trio.CancelScope(shield=True):  # each stop has its deadlines
            while self.children:
                child = next(reversed(self.children))
                self.unlink(child)
                await child.stop(reason)
                self.children.pop(child, None)  # still there: a zombie

    # Messages

    def inform(self, message: object) -> bool:
        """Put a message of the runtime behind the mail, whatever the bound; False if it is dead."""
        if not self.is_alive:
            self.runtime.dead_letters += 1
            return False
        self.mailbox.put_info(message)
        return True

    @property
    def is_alive(self) -> bool:
        """False for the dead, and for a zombie, which will never answer."""
        return self.state not in {"dead", "zombie"}

    def check_call(self, caller: Incarnation | None) -> None:
        """Raise at once what would make a call wait in vain."""
        if not self.is_alive:
            raise NoSuchActor(f"{self.path} is not alive: {self.exit_reason!r}")
        if not self.behaviour.takes_mail:
            raise CallFailed(f"{self.path} is a worker and answers no calls")
        if caller is self:
            raise CallingSelf(f"{self.path} called itself")
        if caller is not None and self.waits_for:
            self.check_cycle(caller)

    def check_cycle(self, caller: Incarnation) -> None:
        """Raise WouldDeadlock if this one waits for the caller, over however many others."""
        # The way to each actor that was met, by who waits for it.
        ways: dict[Incarnation, Incarnation | None] = {self: None}
        ahead: list[Incarnation] = [self]
        while ahead:
            here = ahead.pop()
            if here is caller:
                cycle: list[str] = []
                step: Incarnation | None = here
                while step is not None:
                    cycle.append(step.path)
                    step = ways[step]
                raise WouldDeadlock((caller.path, *reversed(cycle)))
            for awaited in here.waits_for:
                if awaited not in ways:
                    ways[awaited] = here
                    ahead.append(awaited)

    def note_overload(self) -> None:
        """Report that the mailbox is full."""
        # One event per burst; the flag falls when half of the mailbox is empty.
        mailbox = self.mailbox
        if not mailbox.is_overloaded:
            mailbox.is_overloaded = mailbox.is_congested = True
            capacity = mailbox.spec.capacity
            emit("actor.overloaded", path=self.path, capacity=capacity, on_full=mailbox.policy)

    def make_room(self) -> None:
        """Make room for one more message in a full mailbox; Overloaded if its policy has none."""
        mailbox = self.mailbox
        capacity = mailbox.spec.capacity
        if mailbox.is_lenient:
            mailbox.is_congested = True
            if mailbox.depth >= capacity:
                flushed = mailbox.flush()
                self._turn_away(flushed)
                emit("actor.flushed", path=self.path, capacity=capacity, messages=len(flushed))
            return
        self.note_overload()
        if mailbox.policy != "drop_oldest":
            mailbox.refused += 1
            raise Overloaded(f"the mailbox of {self.path} is full (limit={capacity})")
        self._turn_away([mailbox.drop_oldest()])

    def make_room_for_cast(self) -> bool:
        """Make room for a message of which nobody will hear; False if it is to be dropped."""
        if self.mailbox.policy != "drop_newest":
            self.make_room()
            return True
        self.note_overload()
        self.mailbox.dropped += 1
        return False

    def _turn_away(self, envelopes: list[Envelope]) -> None:
        for _, _, slot, _ in envelopes:
            if slot is not None:
                limit = self.mailbox.spec.capacity
                slot.fail(Overloaded(f"{self.path} dropped it for newer mail (limit={limit})"))

    # End

    def _cancel(self, fate: Killed) -> None:
        if self.state == "dead":
            return
        self.fate = fate
        self.scope.cancel(reason=f"{self.path}: {fate.reason}")

    async def confirm(self) -> None:
        """Wait for the end of what has been cancelled; call it a zombie after the confirm time."""
        await self._settle_within(self.limits.confirm_s)
        if self.is_alive:
            self.mark_zombie()

    # A KeyboardInterrupt between two of these lines would leave a name taken or a caller waiting.
    @trio.lowlevel.enable_ki_protection
    def _finish(self, verdict: Verdict, came_out: BaseException | None) -> None:
        """Spread the news of the end: names, callers, monitors, owner, in this order.

        Who hears of the end can rely on what comes earlier in the list: on Down the name is free.
        """
        reason = verdict.reason
        was_starting, was_zombie = self.state == "starting", self.state == "zombie"
        if was_starting and self.start_failure is None:
            self.start_failure = reason
        crash: CrashReport | None = None
        if isinstance(reason, Crash) and is_heard():
            crash = report_crash(self, reason.error, came_out or reason.error)
        self.state = "dead"
        self.is_open = False
        self.exit_reason = reason
        if verdict.interrupted:
            self.runtime.interrupt("KeyboardInterrupt")
        self._part_from_callers(reason)
        self._part_from_watchers(reason)
        if not was_starting:
            self.owner.child_exited(self, reason)
        self.runtime.forget(self)
        self._tell_starter()
        self._tell_news()
        self._report(verdict, crash, was_starting=was_starting, was_zombie=was_zombie)

    def _part_from_watchers(self, reason: ExitReason) -> None:
        if self._monitored_by:
            for monitor in self._monitored_by:
                monitor.fire(reason)
        while self.links:
            peer = self.links.popitem()[0]
            assert peer.links is not None
            del peer.links[self]
            peer.take_exit(self, reason)
        if self.parent is not None and self.parent.children is not None:
            self.parent.children.pop(self, None)
        if self._monitors:
            for monitor in tuple(self._monitors):
                monitor.cancel()
        if self._timers:
            for timer in tuple(self._timers):
                timer.disarm()

    def _part_from_callers(self, reason: ExitReason) -> None:
        self.runtime.release_name(self)
        while self._traces:
            self._traces.pop(next(iter(self._traces)))()
        if self.parting is not None:
            slot, reply = self.parting
            slot.reply(reply)
            self.parting = None
        for slot in self.mailbox.iter_waiting():
            slot.fail(NoSuchActor(f"{self.path} ended before it had room: {reason!r}"))
        if self.pending:
            for slot in tuple(self.pending):
                slot.bury(reason)
        unread = self.mailbox.drain()
        self.unread += unread
        self.runtime.dead_letters += unread

    def _report(
        self,
        verdict: Verdict,
        crash: CrashReport | None,
        *,
        was_starting: bool,
        was_zombie: bool,
    ) -> None:
        if was_zombie:
            self.runtime.zombies -= 1
            emit("actor.zombie_ended", path=self.path, reason=verdict.reason)
        if verdict.masked is not None:
            emit("actor.masked_error", path=self.path, error=verdict.masked)
        if was_starting:
            return  # the starter has the whole story as its StartFailed
        reason, unread = verdict.reason, self.unread
        # Who ends because somebody else crashed has nothing to report.
        if isinstance(reason, Crash) and reason is not self.fate:
            _tell_crashed(self.path, reason, unread, crash)
        else:
            _tell_stopped(self.path, reason, unread)

    # Waiting

    def _tell_news(self) -> None:
        if self._watching:
            watching, self._watching = self._watching, None
            for task in watching:
                trio.lowlevel.reschedule(task)

    async def _until(self, holds: Callable[[], bool]) -> None:
        task = trio.lowlevel.current_task()

        def give_up(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            assert self._watching is not None
            del self._watching[task]
            return trio.lowlevel.Abort.SUCCEEDED

        while not holds():
            if self._watching is None:
                self._watching = {}
            self._watching[task] = None
            await wait_task_rescheduled(give_up)

    async def _settle_within(self, seconds: float) -> None:
        """Wait until it is dead or a zombie, or the time is up."""
        if not self.is_alive:
            return
        if seconds == math.inf:
            await self._until(lambda: not self.is_alive)
            return
        timer = self.runtime.timers.set(seconds, self._tell_news)
        try:
            await self._until(lambda: not (self.is_alive and timer.is_set))
        finally:
            timer.disarm()

    def _show_waiter(self) -> Incarnation | None:
        """Show that the current actor waits for this one, so that a call back fails at once."""
        waiter = CURRENT.get()
        if waiter is not None:
            waiter.waits_for.append(self)
        return waiter


def launch(
    runtime: Runtime,
    nursery: trio.Nursery,
    factory: Callable[[], Behaviour],
    *,
    path: str,
    name: str | None,
    owner: Owner,
    limits: Limits,
    dying: Incarnation | None = None,
) -> Incarnation:
    """Create an incarnation and start its task; raises StartFailed before any task exists.

    `dying` is the predecessor if this is its last step: the task is its own then, if it left that
    as it was.

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
    inherits = dying is not None and dying.may_bequeath
    scope = dying.scope if dying is not None and inherits else trio.CancelScope(shield=True)
    incarnation = Incarnation(runtime, behaviour, path, name, owner, limits, scope)
    behaviour.incarnation = incarnation
    runtime.remember(incarnation)
    if dying is not None and inherits:
        dying.heir = incarnation
    else:
        # The path as the task's name: this is what a dump of stuck tasks shows.
        runtime.base_context.run(partial(nursery.start_soon, incarnation.run, name=path))
    return incarnation


async def _begin_anew(runtime: Runtime) -> None:
    """Go on with a step that has a context of its own, as a new task has.

    The others get their turn before it, however fast one life follows the other.
    """
    trio.lowlevel.current_task().context = runtime.base_context.copy()
    await trio.lowlevel.cancel_shielded_checkpoint()
