"""What every supervisor does with children: host, start, stop, report, and pay for restarts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Never

import trio

from autonomics.errors import ChildRefused, InvalidInput, InvalidSpec, StartFailed, Unstoppable
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    ActorRef,
    Crash,
    ExitReason,
    Ignore,
    Killed,
    ReplyTo,
    Shutdown,
    Stop,
)
from autonomics.runtime.actor import Kind
from autonomics.runtime.incarnation import Incarnation, launch
from autonomics.supervisors.child import Child, Exited, NotStarted, Retry
from autonomics.supervisors.request import (
    ChildCounts,
    ChildInfo,
    ChildRequest,
    CountChildren,
    GetChildspec,
    WhichChild,
    WhichChildren,
)
from autonomics.supervisors.spec import check_seconds
from autonomics.supervisors.window import RestartWindow
from autonomics.telemetry import emit, prepare

_tell_exited = prepare("child.exited", "path", "child", "reason", "restarts")
_tell_restarted = prepare("child.restarted", "path", "child", "restarts")


class Parent(Actor, ABC):
    """A supervisor without its strategy.

    One task, one inbox, one nursery: the children's tasks live in this nursery, each behind a
    shielded scope of its own, so neither a crash nor a cancellation reaches a sibling. The price
    of the shields is that somebody must end the children on every path; `live` does.
    """

    kind: ClassVar[Kind] = "supervisor"
    restarts_alone: bool = True
    """The restart of one child leaves all others as they are."""

    def __init__(
        self,
        *,
        max_restarts: int,
        within_s: float,
        max_failed_starts: int | None,
        finish_within_s: float,
    ) -> None:
        self.window: RestartWindow = RestartWindow(max_restarts, within_s)
        limit = max(1, max_restarts) if max_failed_starts is None else max_failed_starts
        if type(limit) is not int or limit < 1:
            raise InvalidSpec.expected("max_failed_starts", "an integer of at least 1", limit)
        check_seconds("finish_within_s", finish_within_s)
        self.max_failed_starts = limit
        self.finish_within_s = finish_within_s
        self.children: dict[str, Child] = {}
        self._by_incarnation: dict[Incarnation, Child] = {}
        self._starting: Incarnation | None = None
        self._nursery: trio.Nursery

    # What a strategy adds

    @abstractmethod
    async def obey(self, message: Any) -> object:
        """Serve the requests that depend on the kind of supervisor."""

    @abstractmethod
    async def stop_children(self, reason: ExitReason) -> None:
        """Stop all children in the order of this kind of supervisor."""

    @abstractmethod
    async def retry(self, child: Child) -> Stop | None:
        """Try to bring a child back that has been paid for."""

    @abstractmethod
    def restart_failed(self, child: Child, failure: StartFailed) -> None:
        """Decide what follows from a restart that did not come up."""

    @abstractmethod
    async def prepare_retry(self, child: Child) -> None:
        """Do what must happen before the pause of a restart that has one."""

    @abstractmethod
    def child_ended(self, child: Child) -> Stop | None:
        """Decide what follows from the end of a child that is not started again."""

    # Life

    async def live(self) -> ExitReason:
        """Host the children for as long as this supervisor lives."""
        async with trio.open_nursery() as self._nursery:
            try:
                return await super().live()
            finally:
                await self._leave_nobody()

    async def terminate(self, reason: ExitReason) -> None:
        """Stop the children in order."""
        await self.stop_children(Shutdown())

    def stop_asked(self) -> None:
        """Do not wait for the whole init of a child when asked to stop."""
        super().stop_asked()
        if self._starting is not None:
            self._starting.hurry_start(Shutdown())

    def describe(self) -> object:
        """Show the budget."""
        now = trio.current_time()
        return {"max_restarts": self.window.max_restarts, "used": self.window.used(now)}

    async def _leave_nobody(self) -> None:
        # Only a supervisor that was killed or has crashed still has children here. Shielded, for
        # its own scope may be cancelled; with a deadline, for nothing may shield for ever.
        fate = self.incarnation.fate
        reason = fate if isinstance(fate, Killed) else Shutdown()
        if any(self._left()):
            with trio.CancelScope(shield=True) as patience:
                patience.deadline = trio.current_time() + self.finish_within_s
                await self.stop_children(reason)
            late = list(self._left())
            for incarnation in late:
                incarnation.kill("its supervisor could wait no longer")
            with trio.CancelScope(shield=True):  # each confirm has its deadline
                for incarnation in late:
                    await incarnation.confirm()
        if any(incarnation.state != "dead" for incarnation in self._by_incarnation):
            # A zombie's task keeps the nursery open, so this supervisor can't end either. Its own
            # parent must neither wait for that nor start a second one beside it.
            self.incarnation.mark_zombie()

    def _left(self) -> Iterable[Incarnation]:
        for incarnation in self._by_incarnation:
            if incarnation.is_alive:
                yield incarnation

    # Messages

    async def handle_call(self, message: ChildRequest, reply_to: ReplyTo) -> object:
        """Serve the child API; what is refused is raised in the caller, not here."""
        try:
            match message:
                case WhichChildren():
                    return tuple(map(self._show, self.children.values()))
                case WhichChild(child):
                    return self._show(self.find(child))
                case CountChildren():
                    return self._count()
                case GetChildspec(child):
                    return self.find(child).spec
                case _:
                    return await self.obey(message)
        except (ChildRefused, StartFailed, Unstoppable, InvalidInput) as refusal:
            reply_to.fail(refusal)
            return NO_REPLY

    async def handle_cast(self, message: Never) -> Stop | None:
        """Report and drop a cast: a stray message must not end a whole tree, as it does in OTP."""
        super().handle_info(message)
        return None

    async def handle_info(self, message: object) -> Stop | None:
        """React to ends of children and to its own retries."""
        match message:
            case Exited(incarnation, reason):
                return await self._take_exit(incarnation, reason)
            case NotStarted(child, incarnation):
                await self._take_not_started(child, incarnation)
                return None
            case Retry(child, token, is_paid):
                if token != child.token or self.runtime.is_stopping:
                    return None
                return await (self.retry(child) if is_paid else self.pay_and_retry(child))
            case _:
                super().handle_info(message)
                return None

    def child_exited(self, incarnation: Incarnation, reason: ExitReason) -> None:
        """Queue the end of a child behind what is already in the inbox."""
        child = self._by_incarnation.get(incarnation)
        if child is None or child.state == "stopping":
            return  # whoever stops it is waiting for this end already
        if not self._may_restart_here(child, reason) or not self.window.take(
            incarnation.runtime.now_s()
        ):
            self.incarnation.inform(Exited(incarnation, reason))
            return
        self._part(child)
        child.last_exit = reason
        self._report_exit(child, reason, restarts=True)
        child.state = "waiting"
        try:
            successor = self._launch(child, incarnation)
        except StartFailed as failure:
            self._note_failure(child, failure)
            self.retry_soon(child)
            return
        successor.watch_start(partial(self._start_ended, child, successor))

    def _may_restart_here(self, child: Child, reason: ExitReason) -> bool:
        """Decide whether a child may be started again at once, in the dying one's last step.

        So it may where this supervisor is asleep over an empty inbox and would do just that as the
        first thing when it wakes: two task switches are saved, of the six that lie between a crash
        and the next answer. All else is left to its own task.
        """
        spec, own = child.spec, self.incarnation
        return (
            own.mailbox.sleeper is not None
            and not own.alarm
            and not own.runtime.is_stopping
            and self.restarts_alone
            and child.state == "running"
            and spec.spends_budget
            and not spec.spacing_s
            and spec.wants_restart(reason)
        )

    def _start_ended(self, child: Child, incarnation: Incarnation) -> None:
        """Take note of a start in a dying child's stead; what is not smooth is left to the task."""
        if child.incarnation is not incarnation or child.state != "starting":
            return  # somebody is stopping it
        if incarnation.state in {"running", "stopping"}:
            self._note_start(child)
            self.note_restart(child)
        else:
            self.incarnation.inform(NotStarted(child, incarnation))

    async def _take_not_started(self, child: Child, incarnation: Incarnation) -> None:
        if child.incarnation is not incarnation or child.state != "starting":
            return
        try:
            await self._see_start(child, incarnation)
        except StartFailed as failure:
            self.restart_failed(child, failure)
        else:
            self.note_restart(child)

    def find(self, child: str | ActorRef) -> Child:
        """Look a child up by id, or by the ref of its present incarnation."""
        if isinstance(child, ActorRef):
            found = self._by_incarnation.get(child.incarnation)
        else:
            found = self.children.get(child)
        if found is None:
            raise refuse("not_found", self.path, child)
        return found

    # Children

    async def start(self, child: Child) -> ActorRef:
        """Start an incarnation; on StartFailed the child is stopped, or a zombie."""
        try:
            incarnation = self._launch(child)
        except StartFailed as failure:
            self._note_failure(child, failure)
            raise
        return await self._see_start(child, incarnation)

    def _launch(self, child: Child, dying: Incarnation | None = None) -> Incarnation:
        child.token += 1
        child.is_due = False
        own, spec = self.incarnation, child.spec
        incarnation = launch(
            own.runtime,
            self._nursery,
            spec.start,
            path=f"{own.path}/{child.key}",
            name=spec.name,
            owner=self,
            limits=spec,
            dying=dying,
        )
        self._adopt(child, incarnation)
        return incarnation

    async def _see_start(self, child: Child, incarnation: Incarnation) -> ActorRef:
        """Wait until it serves; on StartFailed the child is stopped, or a zombie."""
        self._starting = incarnation
        try:
            await incarnation.await_started()
        except StartFailed as failure:
            self._note_failure(child, failure)
            raise
        finally:
            self._starting = None
        self._note_start(child)
        return incarnation.ref

    def _note_start(self, child: Child) -> None:
        child.state = "running"
        child.started_at_s = self.runtime.now_s()
        child.failed_starts = 0

    def _note_failure(self, child: Child, failure: StartFailed) -> None:
        if child.incarnation is None or child.incarnation.state != "zombie":
            self._part(child)
        else:
            child.state = "zombie"
        if not isinstance(failure.reason, Ignore):
            reason = failure.reason
            emit("child.start_failed", path=self.path, child=child.key, reason=reason)

    async def stop(self, child: Child, reason: ExitReason) -> bool:
        """Stop a child and leave it `stopped`; False when it is a zombie now."""
        child.token += 1
        incarnation = child.incarnation
        if incarnation is None:
            child.state = "stopped"
            return True
        if incarnation.exit_reason is not None:
            # It died by itself before we came; its Exited is on the queue and now stale.
            child.last_exit = incarnation.exit_reason
            self._part(child)
            self._report_exit(child, incarnation.exit_reason, restarts=False)
            self._report_stop(child, incarnation.exit_reason)
            return True
        child.state = "stopping"
        ended = await incarnation.stop(reason)
        child.last_exit = ended
        self._report_stop(child, ended)
        if ended is None:
            child.state = "zombie"
            return False
        self._part(child)
        return True

    def forget(self, child: Child) -> None:
        """Take a child out of the table."""
        child.token += 1
        self.children.pop(child.key, None)

    # Restart

    async def pay_and_retry(self, child: Child) -> Stop | None:
        """Charge the budget, then restart at once or after the child's pause."""
        now = trio.current_time()
        if child.spec.spends_budget:
            gave_up = self._charge(child, now)
            if gave_up is not None:
                return gave_up
        pause_s = child.next_pause_s(now)
        if not pause_s:
            return await self.retry(child)
        await self.prepare_retry(child)
        child.state = "restarting"
        child.token += 1
        self.send_after(pause_s, Retry(child, child.token, is_paid=True))
        return None

    def retry_soon(self, child: Child) -> None:
        """Note a failed attempt and queue the next one behind what waits in the inbox."""
        child.failed_starts += 1
        child.state = "restarting"
        child.token += 1
        self.incarnation.inform(Retry(child, child.token))

    def note_restart(self, child: Child) -> None:
        """Count a child that is back."""
        child.restarts += 1
        _tell_restarted(self.path, child.key, child.restarts)

    def _charge(self, child: Child, now: float) -> Stop | None:
        # The window alone has a hole: attempts slower than within_s / max_restarts never fill it
        # (erlang/otp PR 1287). So failed attempts in a row are counted as well.
        if child.failed_starts > self.max_failed_starts:
            return self._give_up(
                child, "failed_starts", child.failed_starts, self.max_failed_starts
            )
        if not self.window.spend(now):
            return self._give_up(
                child, "restart_intensity", self.window.used(now), self.window.max_restarts
            )
        return None

    def _give_up(self, child: Child, rule: str, used: int, limit: int) -> Stop:
        emit(
            "supervisor.gave_up",
            path=self.path,
            child=child.key,
            rule=rule,
            used=used,
            limit=limit,
        )
        return Stop(Shutdown(rule))

    async def _take_exit(self, incarnation: Incarnation, reason: ExitReason) -> Stop | None:
        child = self._by_incarnation.get(incarnation)
        if child is None:
            return None  # stale: it was stopped, or replaced, before we came to this
        was_zombie = child.state == "zombie"
        self._part(child)
        child.last_exit = reason
        if was_zombie:
            if child.is_due and not self.runtime.is_stopping:
                return await self.retry(child)
            self.settle(child)
            return None
        restarts = child.spec.wants_restart(reason) and not self.runtime.is_stopping
        self._report_exit(child, reason, restarts=restarts)
        if restarts:
            return await self.pay_and_retry(child)
        self.settle(child)
        return self.child_ended(child)

    def settle(self, child: Child) -> None:
        """Decide whether a child that has ended for good is remembered."""
        if child.spec.restart == "temporary":
            self.forget(child)

    def _report_exit(self, child: Child, reason: ExitReason, *, restarts: bool) -> None:
        _tell_exited(self.path, child.key, reason, restarts)

    def _report_stop(self, child: Child, ended: ExitReason | None) -> None:
        """Report an end that a stop should not have found, or led to; by the rules of OTP."""
        match ended:
            case None | Crash():
                is_bad = True
            case Killed():
                is_bad = child.spec.grace_s > 0
            case Shutdown(None):
                is_bad = False
            case _:
                is_bad = child.spec.restart == "permanent"  # it had no business to end by itself
        if is_bad:
            emit("child.stopped_badly", path=self.path, child=child.key, reason=ended)

    def _adopt(self, child: Child, incarnation: Incarnation) -> None:
        self._part(child)  # a zombie beside which the spec allows a new one
        child.incarnation = incarnation
        child.kind = incarnation.behaviour.kind
        child.state = "starting"
        self._by_incarnation[incarnation] = child

    def _part(self, child: Child) -> None:
        if child.incarnation is not None:
            self._by_incarnation.pop(child.incarnation, None)
            child.incarnation = None
        child.state = "stopped"

    def _show(self, child: Child) -> ChildInfo:
        ref = None if child.incarnation is None else child.incarnation.ref
        return ChildInfo(child.key, ref, child.kind, child.state, child.spec.restart)

    def _count(self) -> ChildCounts:
        children = self.children.values()
        supervisors = sum(child.kind == "supervisor" for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.state == "running" for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )


def refuse(rule: str, path: str, child: object) -> ChildRefused:
    """Build a refusal with its stable word."""
    shown = child.path if isinstance(child, ActorRef) else repr(child)
    return ChildRefused(f"{path} may not do that to {shown}: {rule}", rule)
