"""A picture of a live tree, taken without asking anybody in it."""

from __future__ import annotations

import attrs
import trio

from autonomics.runtime import ActorRef, Address, ExitReason
from autonomics.runtime.actor import Kind
from autonomics.runtime.incarnation import Incarnation
from autonomics.supervisors.child import Child
from autonomics.supervisors.parent import Parent
from autonomics.supervisors.spec import ChildSpec


@attrs.frozen
class TreeNode:
    """One child, or the root, and what is below it in start order.

    `state` is the incarnation's (starting, running, stopping, zombie, dead) or, where there is
    none, the supervisor's (stopped, waiting, restarting). `restarts_left` is a supervisor's
    remaining budget. `spec` is what the supervisor was told about the child, None for the root.
    `detail` is what the actor's `describe` shows.
    """

    id: str
    path: str
    kind: Kind
    state: str
    restarts: int = 0
    mailbox_depth: int = 0
    last_exit: ExitReason | None = None
    children: tuple[TreeNode, ...] = ()
    name: str | None = None
    is_held: bool = False
    restarts_left: int | None = None
    detail: object = None
    spec: ChildSpec | None = None


async def snapshot(ref: Address) -> TreeNode:
    """Take a picture of the tree under `ref`; NoSuchActor for a name that nobody has.

    Reads the runtime's own tables, so a busy or a stuck actor neither delays nor escapes it, and
    all of it is of one instant.
    """
    await trio.lowlevel.checkpoint()
    incarnation = (ref if isinstance(ref, ActorRef) else ref.resolve()).incarnation
    id_ = incarnation.path.rpartition("/")[2]
    return _node(incarnation, TreeNode(id_, incarnation.path, incarnation.behaviour.kind, ""))


def _node(incarnation: Incarnation, known: TreeNode) -> TreeNode:
    behaviour = incarnation.behaviour
    children: tuple[TreeNode, ...] = ()
    restarts_left: int | None = None
    if isinstance(behaviour, Parent):
        below = behaviour.children.values()
        children = tuple(_child_node(incarnation.path, child) for child in below)
        restarts_left = behaviour.window.left(trio.current_time())
    return attrs.evolve(
        known,
        state=incarnation.state,
        mailbox_depth=incarnation.mailbox.depth,
        name=incarnation.name,
        last_exit=incarnation.exit_reason or known.last_exit,
        restarts_left=restarts_left,
        detail=_describe(incarnation),
        children=children,
    )


def _child_node(parent_path: str, child: Child) -> TreeNode:
    known = TreeNode(
        id=child.key,
        path=f"{parent_path}/{child.key}",
        kind=child.kind,
        state=child.state,
        restarts=child.restarts,
        last_exit=child.last_exit,
        name=child.spec.name,
        is_held=child.spec.held,
        spec=child.spec,
    )
    return known if child.incarnation is None else _node(child.incarnation, known)


def _describe(incarnation: Incarnation) -> object:
    try:
        return incarnation.behaviour.describe()
    except Exception as error:  # noqa: BLE001 - looking at a tree must not fail by one actor in it
        return f"describe failed: {error!r}"
