"""The dynamic supervisor: many children of one kind, started on demand, known by ref."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, TypeVar, overload

import trio

from autonomics.errors import InvalidInput, InvalidSpec, StartFailed, Unstoppable
from autonomics.runtime import ActorRef, Crash, ExitReason, Ignore, Shutdown, Stop
from autonomics.supervisors.child import Child
from autonomics.supervisors.parent import Parent, refuse
from autonomics.supervisors.request import (
    ChildRequest,
    DeleteChild,
    RestartChild,
    StartChild,
    StartChildFrom,
    TerminateChild,
)
from autonomics.supervisors.spec import ChildSpec

E = TypeVar("E")


class DynamicSupervisor(Parent):
    """Starts with no children; restarts each alone, stops all of them together.

    A child is known by its ref, which changes with each restart; its id is for people, and need
    not be unique: a second one of the same id is shown as `id~2`. What ends for good is forgotten.
    The restart budget is the whole pool's: give each tenant a supervisor of its own, as a
    `temporary` child, where one must not take the others down. A child that is being restarted
    occupies its place among `max_children`.

    With a `template` all children are alike: it makes the spec of each from `extra_argument`, which
    only this supervisor need know (a connection, a key), and from the arguments that
    `start_child_from` sends. Other children are refused then.
    """

    @overload
    def __init__(
        self,
        *,
        max_children: int | None = None,
        max_restarts: int = 3,
        within_s: float = 5.0,
        max_failed_starts: int | None = None,
        finish_within_s: float = 60.0,
    ) -> None: ...

    @overload
    def __init__(
        self,
        template: Callable[Concatenate[E, ...], ChildSpec],
        extra_argument: E,
        *,
        max_children: int | None = None,
        max_restarts: int = 3,
        within_s: float = 5.0,
        max_failed_starts: int | None = None,
        finish_within_s: float = 60.0,
    ) -> None: ...

    def __init__(
        self,
        template: Callable[..., ChildSpec] | None = None,
        extra_argument: object = None,
        *,
        max_children: int | None = None,
        max_restarts: int = 3,
        within_s: float = 5.0,
        max_failed_starts: int | None = None,
        finish_within_s: float = 60.0,
    ) -> None:
        super().__init__(
            max_restarts=max_restarts,
            within_s=within_s,
            max_failed_starts=max_failed_starts,
            finish_within_s=finish_within_s,
        )
        if max_children is not None and (type(max_children) is not int or max_children < 0):
            raise InvalidSpec.expected("max_children", "None or 0 or more", max_children)
        if template is not None and not callable(template):
            raise InvalidSpec.expected("template", "a function that makes a ChildSpec", template)
        self.max_children = max_children
        self.template: Callable[..., ChildSpec] | None = template
        self.extra_argument: object = extra_argument

    async def stop_children(self, reason: ExitReason) -> None:
        """Stop all children at once, each with its own grace."""
        async with trio.open_nursery() as stops:
            for child in tuple(self.children.values()):
                stops.start_soon(self.stop, child, reason)

    async def obey(self, message: ChildRequest) -> object:
        """Serve what changes the table."""
        match message:
            case StartChild(spec):
                if self.template is not None:
                    raise refuse("template", self.path, spec.id)
                return await self._start_child(spec)
            case StartChildFrom():
                return await self._start_child(self._make_spec(message))
            case TerminateChild(child):
                await self._terminate_child(child)
                return None
            case RestartChild(id_) | DeleteChild(id_):
                raise refuse("dynamic", self.path, id_)
            case _:
                raise InvalidInput.expected("a call to a supervisor", "a child request", message)

    def _make_spec(self, message: StartChildFrom) -> ChildSpec:
        template = self.template
        if template is None or message.template != template:
            rule = "no_template" if template is None else "template"
            raise refuse(rule, self.path, message.template)
        try:
            spec = template(self.extra_argument, *message.args, **message.kwargs)
        except Exception as error:
            raise StartFailed(
                f"{self.path}: the template failed: {error!r}", Crash(error)
            ) from error
        if not isinstance(spec, ChildSpec):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSpec.expected("what a template makes", "a ChildSpec", spec)
        return spec

    async def _start_child(self, spec: ChildSpec) -> ActorRef:
        if spec.significant:
            raise InvalidSpec(f"child {spec.id!r} may not be significant under a pool")
        if self.max_children is not None and len(self.children) >= self.max_children:
            raise refuse("max_children", self.path, spec.id)
        child = Child(self._free_key(spec.id), spec)
        self.children[child.key] = child
        try:
            return await self.start(child)
        except StartFailed:
            if child.incarnation is None:
                self.forget(child)
            raise

    async def _terminate_child(self, ref: str | ActorRef) -> None:
        if not isinstance(ref, ActorRef):
            raise refuse("dynamic", self.path, ref)
        child = self.find(ref)
        child.is_due = False
        if not await self.stop(child, Shutdown()):
            raise Unstoppable(f"{ref.path} did not end when cancelled; it is a zombie now")
        self.forget(child)

    def settle(self, child: Child) -> None:
        """Forget it: without an incarnation there is no ref to name it by."""
        self.forget(child)

    def child_ended(self, child: Child) -> Stop | None:
        """Nothing follows."""
        return None

    async def prepare_retry(self, child: Child) -> None:
        """Nothing: the other children do not depend on this one."""

    async def retry(self, child: Child) -> Stop | None:
        """Start the child again under the same key."""
        child.state = "waiting"
        try:
            await self.start(child)
        except StartFailed as failure:
            self.restart_failed(child, failure)
        else:
            self.note_restart(child)
        return None

    def restart_failed(self, child: Child, failure: StartFailed) -> None:
        """Try again, but for a child that did not want to start."""
        if isinstance(failure.reason, Ignore):
            self.forget(child)
        elif child.incarnation is not None:
            child.is_due = True
        else:
            self.retry_soon(child)

    def _free_key(self, id_: str) -> str:
        key, number = id_, 1
        while key in self.children:
            number += 1
            key = f"{id_}~{number}"
        return key
