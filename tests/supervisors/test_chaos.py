"""Random trees, random deaths, random schedules: what must hold when all is quiet again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.errors import CallFailed, ChildRefused, StartFailed
from autonomics.runtime import Actor, ActorRef, ExitReason, Runtime, Worker, open_runtime
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    PartitionSupervisor,
    Restart,
    Strategy,
    Supervisor,
    TreeNode,
    restart_child,
    snapshot,
    terminate_child,
)
from autonomics.supervisors.parent import Parent
from autonomics.testing.schedule import run_seeded
from autonomics.testing.stage import Event, recording

FOR_EVER_S = 1e6  # longer than any of these runs: no restart is ever forgotten
BranchKind = Strategy | Literal["pool", "partitions"]
What = Literal[
    "crash", "kill", "kill a supervisor", "terminate", "restart", "sleep", "switch tasks"
]


@attrs.frozen
class Leaf:
    """An actor or a worker; its start and its end may take their time."""

    restart: Restart
    is_worker: bool
    init_s: float
    end_s: float


@attrs.frozen
class Branch:
    """A supervisor; the budget is its own. `plan` says which starts in a pool fail."""

    kind: BranchKind
    max_restarts: int
    restart: Restart
    plan: tuple[bool, ...]
    children: tuple[Leaf | Branch, ...]


leaves = st.builds(
    Leaf,
    restart=st.sampled_from(get_args(Restart)),
    is_worker=st.booleans(),
    init_s=st.sampled_from([0.0, 0.0, 0.25]),
    end_s=st.sampled_from([0.0, 0.0, 0.25]),
)


def branches(children: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
    return st.builds(
        Branch,
        kind=st.sampled_from(
            ("one_for_one", "one_for_all", "rest_for_one", "pool", "partitions", "rest_for_one")
        ),
        max_restarts=st.sampled_from([0, 1, 3, 9]),
        restart=st.sampled_from(get_args(Restart)),
        plan=st.lists(st.booleans(), max_size=4).map(tuple),
        children=st.lists(children, min_size=1, max_size=3).map(tuple),
    )


trees = st.lists(st.recursive(leaves, branches, max_leaves=6), min_size=1, max_size=3)
acts = st.lists(
    st.tuples(st.sampled_from(["crash", "crash", *get_args(What), "sleep"]), st.integers(0, 31)),
    min_size=1,
    max_size=25,
)


@attrs.define
class Wood:
    """A runtime with a tree, and all that was heard of it."""

    runtime: Runtime
    events: list[Event]
    plans: dict[str, list[bool]] = attrs.field(factory=dict[str, list[bool]])
    pools: set[str] = attrs.field(factory=set[str])

    def spec(self, id_: str, node: Leaf | Branch) -> ChildSpec:
        """Spec of a node; its name is the path that it has in the drawn tree."""
        start: Callable[[], Any]
        if isinstance(node, Branch):
            start = partial(self.make_branch, id_, node)
        else:
            start = partial(LeafWorker if node.is_worker else LeafActor, self, id_, node)
        return ChildSpec(id=id_, start=start, restart=node.restart, name=id_, grace_s=1.0)

    def make_branch(self, id_: str, node: Branch) -> Supervisor | DynamicSupervisor:
        flags: dict[str, Any] = {"max_restarts": node.max_restarts, "within_s": FOR_EVER_S}
        flags["max_failed_starts"] = 99  # the other guard is not what is counted here
        specs = [self.spec(f"{id_}.{number}", child) for number, child in enumerate(node.children)]
        match node.kind:
            case "pool":
                self.pools.add(id_)
                return Pool(self, specs, node.plan, flags)
            case "partitions":
                return PartitionSupervisor(
                    lambda number: attrs.evolve(
                        self.spec(f"{id_}.{number}", node.children[0]), restart="permanent"
                    ),
                    partitions=2,
                    **flags,
                )
            case strategy:
                return Supervisor(specs, strategy, **flags)

    def living(self) -> dict[str, ActorRef]:
        return {ref.path: ref for ref in self.runtime.living()}


class Pool(DynamicSupervisor):
    """A pool that is full from the start."""

    def __init__(
        self, wood: Wood, specs: list[ChildSpec], plan: Sequence[bool], flags: dict[str, Any]
    ) -> None:
        super().__init__(**flags)
        self.wood, self.specs, self.plan = wood, specs, plan

    async def init(self) -> None:
        for spec in self.specs:
            self.wood.plans[spec.id] = []
            await self._start_child(spec)
            self.wood.plans[spec.id] = list(self.plan)


class Life:
    """What both kinds of leaves do at both ends."""

    def __init__(self, wood: Wood, id_: str, leaf: Leaf) -> None:
        self.wood, self.id, self.leaf = wood, id_, leaf

    async def begin(self) -> None:
        await trio.sleep(self.leaf.init_s)
        plan = self.wood.plans.get(self.id)
        if plan and plan.pop(0):
            raise ValueError("not today")

    async def end(self, path: str) -> None:
        self.wood.events.append(("leaf.ending", {"path": path}))
        with trio.CancelScope(shield=True):
            await trio.sleep(self.leaf.end_s)


class LeafActor(Life, Actor):
    async def init(self) -> None:
        await self.begin()

    async def handle_cast(self, message: object) -> None:
        raise cast("Exception", message)

    async def terminate(self, reason: ExitReason) -> None:
        await self.end(self.path)


class LeafWorker(Life, Worker):
    async def run(self, started: Callable[[], None]) -> None:
        await self.begin()
        started()
        try:
            await trio.sleep_forever()
        finally:
            await self.end(self.path)


@asynccontextmanager
async def open_wood(tree: Sequence[Leaf | Branch]) -> AsyncGenerator[tuple[Wood, ActorRef]]:
    with recording("chaos") as events:
        async with open_runtime() as runtime:
            wood = Wood(runtime, events)
            specs = [wood.spec(str(number), node) for number, node in enumerate(tree)]
            root = await runtime.start(
                lambda: Supervisor(specs, max_restarts=10_000, within_s=FOR_EVER_S), name="root"
            )
            yield wood, root
            assert runtime.living() == ()
            assert (runtime.statistics().names, runtime.statistics().zombies) == (0, 0)


async def act(wood: Wood, nursery: trio.Nursery, what: What, number: int) -> None:
    """Do something to one of those that live, and don't wait for what comes of it."""
    if what == "sleep":
        await trio.sleep(number / 16)
        return
    if what == "switch tasks":
        for _ in range(number % 8):
            await trio.lowlevel.checkpoint()
        return
    serving = [
        ref
        for _, ref in sorted(wood.living().items())
        if ref.incarnation.state == "running" and ref.path != "root"
    ]
    supervisors = [ref for ref in serving if isinstance(ref.incarnation.behaviour, Parent)]
    targets = serving if what in {"crash", "kill"} else supervisors
    if not targets:
        return
    ref = targets[number % len(targets)]
    behaviour = ref.incarnation.behaviour
    if what in {"terminate", "restart"}:
        assert isinstance(behaviour, Parent)
        for id_ in list(behaviour.children)[number % 3 :][:1]:
            nursery.start_soon(operate, ref, what, id_)
    elif what == "crash" and isinstance(behaviour, LeafActor):
        ref.cast(RuntimeError("died"))
    else:
        ref.kill()


async def operate(supervisor: ActorRef, what: str, id_: str) -> None:
    with suppress(ChildRefused, StartFailed, CallFailed):
        await (terminate_child if what == "terminate" else restart_child)(supervisor, id_)


def walk(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from walk(child)


def check_tree(wood: Wood, tree: TreeNode) -> None:
    """Nobody lives outside of the tree, or twice, or under a name that is not theirs."""
    nodes = list(walk(tree))
    alive = [node for node in nodes if node.state == "running"]
    assert {node.state for node in nodes} <= {"running", "stopped"}, "it is not quiet"
    living = [ref.path for ref in wood.runtime.living()]
    assert sorted(living) == sorted(node.path for node in alive)
    assert wood.runtime.statistics().names == len(alive)
    pools = [node for node in alive if node.name in wood.pools]
    assert all(child.state == "running" for pool in pools for child in pool.children)
    for node in alive:
        assert node.name is not None
        ref = wood.runtime.whereis(node.name)
        assert ref is not None
        assert ref.path == node.path
        assert node.mailbox_depth == 0


def check_budgets(wood: Wood, tree: TreeNode) -> None:
    """Each supervisor has paid for each restart since its own start, and for nothing else."""
    paid: dict[str, int] = {}
    for event, fields in wood.events:
        path = str(fields.get("path"))
        match event:
            case "actor.started":
                paid[path] = 0
            case "child.exited" if fields["restarts"]:
                paid[path] = paid.get(path, 0) + 1
            case "child.start_failed":
                paid[path] = paid.get(path, 0) + 1
            case _:
                pass
    for node in walk(tree):
        if node.state == "running" and node.kind == "supervisor":
            detail = cast("dict[str, int]", node.detail)
            assert detail["used"] == paid[node.path]
            assert node.restarts_left == detail["max_restarts"] - paid[node.path]


def check_stop_order(wood: Wood, tree: TreeNode, events: list[Event]) -> None:
    """A static supervisor asks a child to stop only when all behind it, and theirs, are gone."""
    begins: dict[str, int] = {}
    ends: dict[str, int] = {}
    for number, (event, fields) in enumerate(events):
        path = str(fields.get("path"))
        assert event != "actor.started", f"{path} was started during the stop"
        if event == "leaf.ending":
            begins[path] = number
        if event in {"actor.stopped", "actor.crashed"}:
            ends[path] = number
    for node in walk(tree):
        alive = [child for child in node.children if child.state == "running"]
        assert all(ends[child.path] < ends[node.path] for child in alive)
        if node.name in wood.pools:
            continue  # all at once
        for child, behind in pairwise(alive):
            first = min(begins.get(inner.path, ends[child.path]) for inner in walk(child))
            assert ends[behind.path] < first


@settings(max_examples=60, deadline=None)
@given(tree=trees, plan=acts, seed=st.integers(0, 2**32 - 1))
def test_whatever_dies_the_tree_is_whole_again(
    tree: list[Leaf | Branch], plan: list[tuple[What, int]], seed: int
) -> None:
    async def main() -> None:
        async with open_wood(tree) as (wood, root), trio.open_nursery() as nursery:
            for what, number in plan:
                await act(wood, nursery, what, number)
            await trio.sleep(1000)
            seen = await snapshot(root)
            check_tree(wood, seen)
            check_budgets(wood, seen)
            heard = len(wood.events)
            await root.stop()
            check_stop_order(wood, seen, wood.events[heard:])

    run_seeded(main, seed)
