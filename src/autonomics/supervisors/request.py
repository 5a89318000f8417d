"""The child API: each function is one message to the supervisor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import attrs

from autonomics.runtime import ActorRef, Address, Behaviour, Call
from autonomics.runtime.actor import Kind
from autonomics.supervisors.child import ChildState
from autonomics.supervisors.spec import B_co, ChildSpec, Restart

if TYPE_CHECKING:
    from autonomics.supervisors.dynamic import DynamicSupervisor
    from autonomics.supervisors.parent import Parent

B = TypeVar("B", bound=Behaviour)
E = TypeVar("E")
P = ParamSpec("P")


@attrs.frozen
class ChildInfo:
    """One child as its supervisor sees it; `ref` is None when it has no incarnation."""

    id: str
    ref: ActorRef | None
    kind: Kind
    state: ChildState
    restart: Restart


@attrs.frozen
class ChildCounts:
    """Children of a supervisor: all, those that run, and by kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


@attrs.frozen
class StartChild(Call[ActorRef[B_co]]):
    """See start_child."""

    spec: ChildSpec[B_co]


@attrs.frozen
class StartChildFrom(Call[ActorRef[B_co]]):
    """See start_child_from."""

    template: Callable[..., ChildSpec[B_co]]
    args: tuple[object, ...] = attrs.field(repr=False)
    kwargs: Mapping[str, object] = attrs.field(repr=False)


@attrs.frozen
class TerminateChild(Call[None]):
    """See terminate_child."""

    child: str | ActorRef


@attrs.frozen
class RestartChild(Call[ActorRef]):
    """See restart_child."""

    id: str


@attrs.frozen
class DeleteChild(Call[None]):
    """See delete_child."""

    id: str


@attrs.frozen
class WhichChildren(Call[tuple[ChildInfo, ...]]):
    """See which_children."""


@attrs.frozen
class WhichChild(Call[ChildInfo]):
    """See which_child."""

    child: str | ActorRef


@attrs.frozen
class CountChildren(Call[ChildCounts]):
    """See count_children."""


@attrs.frozen
class GetChildspec(Call[ChildSpec]):
    """See get_childspec."""

    child: str | ActorRef


ChildRequest = (
    StartChild[Any]
    | StartChildFrom[Any]
    | TerminateChild
    | RestartChild
    | DeleteChild
    | WhichChildren
    | WhichChild
    | CountChildren
    | GetChildspec
)


async def start_child(
    supervisor: Address[Parent], spec: ChildSpec[B], timeout_s: float = math.inf
) -> ActorRef[B]:
    """Start a child behind the present ones.

    Raises StartFailed with the child's reason (IGNORE when its init ignored), ChildRefused
    (`already_started`, `already_present`, `max_children`, `template`), InvalidSpec.
    """
    return await supervisor.call(StartChild(spec), timeout_s)


async def start_child_from(
    supervisor: Address[DynamicSupervisor],
    template: Callable[Concatenate[E, P], ChildSpec[B]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> ActorRef[B]:
    """Start a child of a DynamicSupervisor from its template: that is called there, once.

    First comes the supervisor's `extra_argument`, then these; all restarts get the same. Naming the
    template is what gives the arguments their types. Raises StartFailed (with a Crash if the
    template raised), ChildRefused (`template` when the supervisor has another one, `no_template`,
    `max_children`), InvalidSpec.
    """
    return await supervisor.call(StartChildFrom(template, args, kwargs), math.inf)


async def terminate_child(
    supervisor: Address[Parent], child: str | ActorRef, timeout_s: float = math.inf
) -> None:
    """Stop a child and leave it stopped; also ends a restart that is under way.

    A static supervisor knows its children by id and keeps the spec; a dynamic one knows them by
    ref and forgets them. Raises ChildRefused (`not_found`, `dynamic`), or Unstoppable when the
    child became a zombie. Stopping a stopped child is fine.
    """
    await supervisor.call(TerminateChild(child), timeout_s)


async def restart_child(
    supervisor: Address[Parent],
    id: str,  # noqa: A002 - the word of the field
    timeout_s: float = math.inf,
) -> ActorRef:
    """Start a stopped child in its place; costs no restart budget.

    Raises StartFailed, ChildRefused (`not_found`, `running`, `restarting`, `zombie`, `dynamic`).
    """
    return await supervisor.call(RestartChild(id), timeout_s)


async def delete_child(supervisor: Address[Parent], id: str, timeout_s: float = math.inf) -> None:  # noqa: A002 - see restart_child
    """Forget a stopped child.

    Raises ChildRefused (`not_found`, `running`, `restarting`, `zombie`, `dynamic`).
    """
    await supervisor.call(DeleteChild(id), timeout_s)


async def which_children(
    supervisor: Address[Parent], timeout_s: float = 5.0
) -> tuple[ChildInfo, ...]:
    """List the children in start order."""
    return await supervisor.call(WhichChildren(), timeout_s)


async def which_child(
    supervisor: Address[Parent], child: str | ActorRef, timeout_s: float = 5.0
) -> ChildInfo:
    """Show one child; ChildRefused `not_found`."""
    return await supervisor.call(WhichChild(child), timeout_s)


async def count_children(supervisor: Address[Parent], timeout_s: float = 5.0) -> ChildCounts:
    """Count the children."""
    return await supervisor.call(CountChildren(), timeout_s)


async def get_childspec(
    supervisor: Address[Parent], child: str | ActorRef, timeout_s: float = 5.0
) -> ChildSpec:
    """Read a child's spec with every default; ChildRefused `not_found`."""
    return await supervisor.call(GetChildspec(child), timeout_s)
