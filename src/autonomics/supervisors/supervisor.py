"""The static supervisor: children known by id, in an order that starts, stops and restarts keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from autonomics.errors import InvalidInput, InvalidSpec, StartFailed, Unstoppable
from autonomics.runtime import (
    ActorRef,
    Continue,
    ExitReason,
    Ignore,
    Refuse,
    Shutdown,
    Stop,
)
from autonomics.supervisors.child import Child
from autonomics.supervisors.parent import Parent, refuse
from autonomics.supervisors.request import (
    ChildRequest,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from autonomics.supervisors.spec import (
    AutoShutdown,
    ChildSpec,
    FailedToStartChild,
    Strategy,
    check_choice,
)
from autonomics.telemetry import emit


class Supervisor(Parent):
    """Starts its children in order, stops them in reverse, and restarts who fails.

    `one_for_one` restarts the child that ended, `rest_for_one` also those behind it, `one_for_all`
    all of them. With more than `max_restarts` restarts in `within_s` seconds, or more than
    `max_failed_starts` failed starts of a child in a row (default: as many as `max_restarts`), it
    gives up: it stops its children and ends with Shutdown, for its own parent to judge.

    `auto_shutdown` ends it when any, or all, of its significant children have ended by themselves.
    If it is killed or crashes, its children get `finish_within_s` seconds for their ordered stop.

    A subclass may decide in its `init` not to start at all: by returning IGNORE or a Refuse instead
    of awaiting this one's.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        strategy: Strategy = "one_for_one",
        *,
        max_restarts: int = 3,
        within_s: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
        max_failed_starts: int | None = None,
        finish_within_s: float = 60.0,
    ) -> None:
        super().__init__(
            max_restarts=max_restarts,
            within_s=within_s,
            max_failed_starts=max_failed_starts,
            finish_within_s=finish_within_s,
        )
        check_choice("strategy", get_args(Strategy), strategy)
        check_choice("auto_shutdown", get_args(AutoShutdown), auto_shutdown)
        self.strategy = strategy
        self.restarts_alone: bool = strategy == "one_for_one"
        self.auto_shutdown = auto_shutdown
        for spec in children:
            self._check(spec)
            if spec.id in self.children:
                raise InvalidSpec.expected("child ids", "unique", spec.id)
            self.children[spec.id] = Child(spec.id, spec)

    async def init(self) -> Continue | Ignore | Refuse | None:
        """Start the children from left to right; if one fails, stop them from right to left."""
        for child in tuple(self.children.values()):
            if self.incarnation.asked is not None:
                await self.stop_children(Shutdown())
                return Refuse(self.incarnation.asked)
            try:
                await self.start(child)
            except StartFailed as failure:
                if isinstance(failure.reason, Ignore):
                    self.settle(child)
                    continue
                await self.stop_children(Shutdown())
                # When asked to stop, a child whose init was cut short is not why.
                asked = self.incarnation.asked
                return Refuse(asked or Shutdown(FailedToStartChild(child.key, failure.reason)))
        return None

    async def stop_children(self, reason: ExitReason) -> None:
        """Stop the children one after the other, last first."""
        for child in reversed(tuple(self.children.values())):
            await self.stop(child, reason)

    # API

    async def obey(self, message: ChildRequest) -> object:
        """Serve what changes the table."""
        match message:
            case StartChild(spec):
                return await self._start_child(spec)
            case TerminateChild(id_):
                await self._terminate_child(id_)
                return None
            case RestartChild(id_):
                return await self._restart_child(id_)
            case DeleteChild(id_):
                self._delete_child(id_)
                return None
            case _:
                raise InvalidInput.expected("a call to a supervisor", "a child request", message)

    async def _start_child(self, spec: ChildSpec) -> ActorRef:
        self._check(spec)
        known = self.children.get(spec.id)
        if known is not None:
            rule = "already_present" if known.incarnation is None else "already_started"
            raise refuse(rule, self.path, spec.id)
        child = self.children[spec.id] = Child(spec.id, spec)
        try:
            return await self.start(child)
        except StartFailed as failure:
            kept = isinstance(failure.reason, Ignore) and spec.restart != "temporary"
            if not kept and child.incarnation is None:
                self.forget(child)
            raise

    async def _terminate_child(self, id_: str | ActorRef) -> None:
        if isinstance(id_, ActorRef):
            raise refuse("not_found", self.path, id_)
        child = self.find(id_)
        child.is_due = False
        if not await self.stop(child, Shutdown()):
            raise Unstoppable(f"{self.path}/{id_} did not end when cancelled; it is a zombie now")
        self.settle(child)

    async def _restart_child(self, id_: str) -> ActorRef:
        child = self.find(id_)
        self._check_idle(child)
        return await self.start(child)

    def _delete_child(self, id_: str) -> None:
        child = self.find(id_)
        self._check_idle(child)
        self.forget(child)

    def _check_idle(self, child: Child) -> None:
        if child.state not in {"stopped", "waiting"}:
            raise refuse(child.state, self.path, child.key)

    def _check(self, spec: object) -> None:
        if not isinstance(spec, ChildSpec):
            raise InvalidSpec.expected("a child", "a ChildSpec", spec)
        if spec.significant and self.auto_shutdown == "never":
            raise InvalidSpec(f"child {spec.id!r} may not be significant: auto_shutdown is 'never'")

    # Restart

    def child_ended(self, child: Child) -> Stop | None:
        """End with it if it was significant."""
        if not child.spec.significant or self.auto_shutdown == "never":
            return None
        if self.auto_shutdown == "all_significant" and any(
            other.spec.significant and other.state not in {"stopped", "waiting"}
            for other in self.children.values()
        ):
            return None
        emit("supervisor.auto_shutdown", path=self.path, child=child.key)
        return Stop(Shutdown("auto_shutdown"))

    async def prepare_retry(self, child: Child) -> None:
        """Stop the group before the pause: nobody should run on what has gone."""
        await self._stop_group(child)

    async def retry(self, child: Child) -> Stop | None:
        """Stop the group in reverse, then start it in order."""
        await self._stop_group(child)
        for member in self._group(child):
            if self.incarnation.asked is not None:
                break
            if member.state != "stopped" and not await self._bring_back(member):
                break
        return None

    def _group(self, child: Child) -> list[Child]:
        if self.strategy == "one_for_one":
            return [child]
        children = list(self.children.values())
        return children if self.strategy == "one_for_all" else children[children.index(child) :]

    async def _stop_group(self, child: Child) -> None:
        # From here on `stopped` means: stays stopped. All others are to be started again, also
        # those that had finished or that an operator had stopped, as OTP does; `held` is the way
        # out.
        for member in reversed(self._group(child)):
            if member.spec.held and member.state == "stopped" and member is not child:
                continue
            if not await self.stop(member, Shutdown()):
                continue  # a zombie; `_bring_back` deals with it in its turn
            if member.spec.restart == "temporary":
                self.forget(member)
            else:
                member.state = "waiting"

    async def _bring_back(self, member: Child) -> bool:
        if member.state == "zombie" and not member.spec.beside_zombie:
            if member.spec.restart == "temporary":
                return True
            # Not a failed attempt: it would be repeated at once and for as long as the zombie
            # lives. The zombie's end will bring us back here.
            member.is_due = True
            return False
        try:
            await self.start(member)
        except StartFailed as failure:
            self.restart_failed(member, failure)
            return isinstance(failure.reason, Ignore)
        self.note_restart(member)
        return True

    def restart_failed(self, child: Child, failure: StartFailed) -> None:
        """Try again, but for a child that did not want to start."""
        if isinstance(failure.reason, Ignore):
            return
        if child.incarnation is not None:
            child.is_due = True
        else:
            self.retry_soon(child)
