"""A whole tree for one test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs

from autonomics.runtime import ActorRef, ExitReason, Runtime, open_runtime
from autonomics.supervisors import ChildSpec, Strategy, Supervisor, TreeNode, snapshot


@attrs.frozen
class Tree:
    """A runtime with one root supervisor."""

    runtime: Runtime
    root: ActorRef

    def child(self, path: str) -> ActorRef:
        """Find a living actor by its path below the root, such as `control/line`."""
        return next(ref for ref in self.runtime.living() if ref.path == f"{self.root.path}/{path}")

    async def snapshot(self) -> TreeNode:
        """Take a picture of the tree."""
        return await snapshot(self.root)


@asynccontextmanager
async def start_tree(
    children: Sequence[ChildSpec] = (),
    strategy: Strategy = "one_for_one",
    *,
    max_restarts: int = 3,
    within_s: float = 5.0,
) -> AsyncGenerator[Tree]:
    """Open a runtime, start a supervisor named `root` over the children, stop all at the end."""
    async with open_runtime() as runtime:
        root = await runtime.start(
            lambda: Supervisor(children, strategy, max_restarts=max_restarts, within_s=within_s),
            name="root",
        )
        yield Tree(runtime, root)


async def kill(ref: ActorRef, reason: str = "killed by the test") -> ExitReason:
    """Kill an actor and wait until it is gone; its exit reason."""
    ref.kill(reason)
    return await ref.wait_down()
