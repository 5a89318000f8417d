"""Supervisors against a model, whatever happens to their children and in which order trio runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, get_args

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from trio.testing import wait_all_tasks_blocked

from autonomics.errors import CallFailed, ChildRefused, StartFailed, Unstoppable
from autonomics.runtime import (
    IGNORE,
    Actor,
    ActorRef,
    ExitReason,
    Ignore,
    Normal,
    Refuse,
    Runtime,
    Shutdown,
    Stop,
    open_runtime,
    resume,
    suspend,
)
from autonomics.supervisors import (
    AutoShutdown,
    ChildSpec,
    DynamicSupervisor,
    Restart,
    Strategy,
    Supervisor,
    TreeNode,
    delete_child,
    restart_child,
    snapshot,
    start_child,
    terminate_child,
)
from autonomics.testing.schedule import SteppedRun
from autonomics.testing.scripted import name_reason

from .supervisor_model import (
    CONFIRM_S,
    GRACE_S,
    End,
    Flags,
    Kid,
    KidSpec,
    PoolModel,
    Start,
    SupervisorModel,
)

IDS = ("a", "b", "c", "d", "e")
ENDS: dict[End, Any] = {
    "died": RuntimeError("died"),
    "normal": Stop(Normal()),
    "shutdown": Stop(Shutdown()),
}


@attrs.define
class Place:
    """A runtime, the supervisor under test, and what its children are to do and have done."""

    runtime: Runtime
    plans: dict[str, list[Start]] = attrs.field(factory=dict[str, list[Start]])
    log: list[str] = attrs.field(factory=list[str])
    free: dict[str, trio.Event] = attrs.field(factory=dict[str, trio.Event])
    refs: dict[str, ActorRef] = attrs.field(factory=dict[str, ActorRef])
    """By id, who was started last."""
    root: ActorRef | None = None
    is_over: bool = False

    def spec(self, kid: KidSpec) -> ChildSpec:
        return ChildSpec(
            id=kid.id,
            start=partial(Child, self, kid.id),
            restart=kid.restart,
            significant=kid.significant,
            held=kid.held,
            grace_s=GRACE_S,
            confirm_s=CONFIRM_S,
            name=kid.id,
        )

    def there(self) -> ActorRef:
        assert self.root is not None
        return self.root

    def at(self, id_: str) -> ActorRef:
        return self.runtime.named(id_).resolve()


class Child(Actor):
    def __init__(self, place: Place, id_: str) -> None:
        self.place = place
        self.id = id_
        self.is_deaf = False

    async def init(self) -> Ignore | Refuse | None:
        plan = self.place.plans.get(self.id)
        step: Start = plan.pop(0) if plan else "ok"
        self.place.refs[self.id] = self.ref
        self.place.log.append(f"init:{self.id}")
        if step == "ok":
            self.place.log.append(f"up:{self.id}")
            return None
        return Refuse("no") if step == "refuse" else IGNORE

    def handle_cast(self, message: object) -> Stop | None:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Stop):
            return message
        self.is_deaf = True
        return None

    async def terminate(self, reason: ExitReason) -> None:
        self.place.log.append(f"end:{self.id}:{name_reason(reason)}")
        if self.is_deaf and self.incarnation.asked is not None and not self.place.is_over:
            with trio.CancelScope(shield=True):
                await self.place.free.setdefault(self.id, trio.Event()).wait()


@attrs.frozen
class Sight:
    """What can be seen of a place when nothing moves any more."""

    answers: list[str]
    log: list[str]
    now: float
    tree: TreeNode | None
    living: list[str]
    names: list[str]
    zombies: int


@asynccontextmanager
async def open_place() -> AsyncGenerator[Place]:
    async with open_runtime() as runtime:
        place = Place(runtime)
        yield place
        # Only after a failure is there anything to let go; it must not hang on top.
        place.is_over = True
        for event in place.free.values():
            event.set()


async def answer_of(act: Awaitable[object]) -> str:
    try:
        await act
    except ChildRefused as refusal:
        return refusal.rule
    except StartFailed as failure:
        return "ignore" if isinstance(failure.reason, Ignore) else "refuse"
    except Unstoppable:
        return "unstoppable"
    except CallFailed:
        return "died"
    return "ok"


Step = Callable[[Place], Awaitable[str | None]]
"""What is done to a place, and how it was answered if it was a question."""


async def play(place: Place, steps: Sequence[Step], until: float) -> Sight:
    """Take the steps, let all that follows from them happen, and look.

    More than one are taken while the supervisor is suspended, so that it finds the traces of all
    of them in its inbox.
    """
    place.log.clear()
    answers: dict[int, str | None] = {}

    async def take(number: int, step: Step) -> None:
        answers[number] = await step(place)

    # Virtual time: what waits in vain must fail and not hang.
    with trio.fail_after(1e4):
        async with trio.open_nursery() as nursery:
            if len(steps) > 1:
                assert place.root is not None
                await suspend(place.root)
            for number, step in enumerate(steps):
                nursery.start_soon(take, number, step)
                await wait_all_tasks_blocked()
            if len(steps) > 1:
                assert place.root is not None
                await resume(place.root)
    await trio.sleep_until(until)
    await wait_all_tasks_blocked()
    root = place.root
    return Sight(
        [answer for _, answer in sorted(answers.items()) if answer is not None],
        list(place.log),
        trio.current_time(),
        await snapshot(root) if root is not None and root.is_alive() else None,
        sorted(ref.path for ref in place.runtime.living()),
        [id_ for id_ in IDS if place.runtime.whereis(id_) is not None],
        place.runtime.statistics().zombies,
    )


Question = Literal["terminate", "restart", "delete"]
ids = st.sampled_from(IDS)
numbers = st.integers(0, 3)
questions = st.sampled_from(get_args(Question))
flags = st.builds(
    Flags,
    strategy=st.sampled_from(get_args(Strategy)),
    max_restarts=st.sampled_from([0, 2, 4, 9, 9]),
    within_s=st.sampled_from([3.0, 30.0]),
    max_failed_starts=st.sampled_from([1, 1, 2, 4]),
    auto_shutdown=st.sampled_from(["never", *get_args(AutoShutdown)]),
)
kid_fields = st.tuples(
    st.sampled_from(["permanent", *get_args(Restart)]), st.booleans(), st.booleans()
)
inits = st.lists(st.sampled_from(["refuse", "refuse", "ok", "ignore"]), min_size=1, max_size=6)
plans = st.dictionaries(ids, inits | st.just(["refuse", "ok"] * 4), max_size=3)


def kid_spec(of: Flags, id_: str, fields: tuple[Restart, bool, bool]) -> KidSpec:
    restart, significant, held = fields
    may_be = of.auto_shutdown != "never" and restart != "permanent"
    return KidSpec(id_, restart, significant and may_be, held)


class SupervisorMachine(RuleBasedStateMachine):
    run: SteppedRun[Place] | None = None
    place: Place
    model: SupervisorModel
    sight: Sight

    @initialize(seed=st.integers(0, 2**32 - 1))
    def open(self, seed: int) -> None:
        self.run = SteppedRun(open_place, seed)
        self.model = SupervisorModel(Flags("one_for_one", 0, 1.0, 1, "never"), ended="not yet")

        async def itself(place: Place) -> Place:
            return place

        self.place = self.run.step(itself)
        self.play()

    def teardown(self) -> None:
        if self.run is None:
            return
        try:
            self.let_all_zombies_go()
            if self.lives:
                self.stop()
            self.check()
        finally:
            self.run.close()

    @property
    def lives(self) -> bool:
        return self.run is not None and self.model.ended is None

    def in_state(self, state: str) -> list[Kid]:
        return [kid for kid in self.model.kids if kid.state == state]

    def play(self, *steps: Step) -> None:
        """Have the model, which has been told of the same steps, and the supervisor do them."""
        assert self.run is not None
        self.model.serve()
        until = self.model.now
        self.sight = self.run.step(lambda place: play(place, steps, until))

    def plan(self, plans: dict[str, list[Start]]) -> None:
        """Say how the next starts go; the run stands still, so this is no step of it."""
        for id_, plan in plans.items():
            self.model.plans[id_] = list(plan)
            self.place.plans[id_] = list(plan)

    def ask(self, question: Question, id_: str) -> Step:
        predict, act = {
            "terminate": (self.model.terminate_child, terminate_child),
            "restart": (self.model.restart_child, restart_child),
            "delete": (self.model.delete_child, delete_child),
        }[question]
        self.model.ask(partial(predict, id_))
        return lambda place: answer_of(act(place.there(), id_))

    def end(self, kid: Kid, how: End) -> Step:
        self.model.end(kid, how)

        async def end(place: Place) -> None:
            if how == "killed":
                place.at(kid.spec.id).kill()
            else:
                place.at(kid.spec.id).cast(ENDS[how])

        return end

    # Rules

    @precondition(lambda self: not self.lives)
    @rule(flags=flags, children=st.lists(kid_fields, min_size=3, max_size=4))
    def start_supervisor(self, flags: Flags, children: list[tuple[Restart, bool, bool]]) -> None:
        self.let_all_zombies_go()
        specs = [kid_spec(flags, *drawn) for drawn in zip(IDS, children, strict=False)]
        self.model = SupervisorModel(flags, now=self.model.now)
        for spec in specs:
            assert self.model.start_child(spec) == "ok"

        self.place.plans.clear()

        async def start(place: Place) -> None:
            place.root = await place.runtime.start(
                lambda: Supervisor(
                    [place.spec(spec) for spec in specs], **attrs.asdict(flags, recurse=False)
                ),
                name="s",
            )

        self.play(start)

    @precondition(lambda self: self.lives and self.in_state("running"))
    @rule(number=numbers, how=st.sampled_from([*ENDS, "killed", "died"]), plans=plans)
    def end_one(self, number: int, how: End, plans: dict[str, list[Start]]) -> None:
        self.model.begin()
        self.plan(plans)
        running = self.in_state("running")
        self.play(self.end(running[number % len(running)], how))

    @precondition(lambda self: self.lives)
    @rule(question=questions, id_=ids, plans=plans)
    def ask_one(self, question: Question, id_: str, plans: dict[str, list[Start]]) -> None:
        self.model.begin()
        self.plan(plans)
        self.play(self.ask(question, id_))

    @precondition(lambda self: self.lives)
    @rule(
        things=st.lists(
            # Few of them, so that something happens to the same one twice.
            st.tuples(st.sampled_from([*ENDS, "died"]) | questions, st.sampled_from(IDS[:3])),
            min_size=2,
            max_size=5,
        ),
        plans=plans,
    )
    def let_much_happen_before_it_can_react(
        self, things: list[tuple[Any, str]], plans: dict[str, list[Start]]
    ) -> None:
        self.model.begin()
        self.plan(plans)
        steps: list[Step] = []
        for what, id_ in things:
            kid = self.model.find(id_)
            if what not in ENDS:
                steps.append(self.ask(what, id_))
            elif kid is not None and kid.state == "running" and not kid.is_gone:
                steps.append(self.end(kid, what))
        self.play(*steps)

    @precondition(lambda self: self.lives)
    @rule(id_=ids, fields=kid_fields, plans=plans)
    def start_one(
        self, id_: str, fields: tuple[Restart, bool, bool], plans: dict[str, list[Start]]
    ) -> None:
        self.model.begin()
        self.plan(plans)
        spec = kid_spec(self.model.flags, id_, fields)
        self.model.ask(partial(self.model.start_child, spec))
        self.play(lambda place: answer_of(start_child(place.there(), place.spec(spec))))

    @precondition(lambda self: self.lives and self.in_state("running"))
    @rule(number=numbers)
    def deafen_one(self, number: int) -> None:
        self.model.begin()
        running = self.in_state("running")
        kid = running[number % len(running)]
        kid.is_deaf = True

        async def deafen(place: Place) -> None:
            place.at(kid.spec.id).cast("be deaf")

        self.play(deafen)

    @precondition(lambda self: self.run is not None and self.in_state("zombie"))
    @rule(number=numbers)
    def let_a_zombie_go(self, number: int) -> None:
        self.model.begin()
        zombies = self.in_state("zombie")
        kid = zombies[number % len(zombies)]
        self.model.free(kid)

        async def free(place: Place) -> None:
            place.free.pop(kid.spec.id).set()

        self.play(free)

    def let_all_zombies_go(self) -> None:
        while self.in_state("zombie"):
            self.let_a_zombie_go(0)

    @precondition(lambda self: self.run is not None)
    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 3.0, 3.25]))
    def wait(self, seconds: float) -> None:
        self.model.begin()
        self.model.now += seconds
        self.play()

    @precondition(lambda self: self.lives)
    @rule()
    def stop(self) -> None:
        self.model.begin()
        self.model.ask(self.model.stop)
        self.play(lambda place: answer_of(place.there().stop()))

    # What must hold

    def sort(self, log: list[str]) -> list[str]:
        """Bring into order what has none."""
        return log

    @invariant()
    def check(self) -> None:
        if self.run is None:
            return
        model, sight = self.model, self.sight
        assert sight.answers == model.answers
        assert self.sort(sight.log) == self.sort(model.log)
        assert sight.now == model.now
        zombies = [f"s/{kid.spec.id}" for kid in self.in_state("zombie")]
        running = [f"s/{kid.spec.id}" for kid in self.in_state("running")]
        # A supervisor can't end before its zombies, but nobody has to wait for it.
        lasts = self.lives or bool(zombies)
        assert sight.living == sorted([*(["s"] if lasts else []), *running, *zombies])
        assert sight.zombies == len(zombies) + (lasts and not self.lives)
        assert sight.names == sorted(path.removeprefix("s/") for path in running)
        if not self.lives:
            assert sight.tree is None
            return
        assert sight.tree is not None
        assert [show(child) for child in sight.tree.children] == [
            (kid.spec.id, kid.state, kid.restarts, kid.last_exit) for kid in model.kids
        ]
        assert sight.tree.restarts_left == model.left()


def show(node: TreeNode) -> tuple[str, str, int, str | None]:
    last_exit = None if node.last_exit is None else name_reason(node.last_exit)
    return (node.id, node.state, node.restarts, last_exit)


class PoolMachine(SupervisorMachine):
    """The same for a dynamic supervisor."""

    def sort(self, log: list[str]) -> list[str]:
        """It stops all children at once."""
        return log if self.lives else sorted(log)

    @precondition(lambda self: not self.lives)
    @rule(flags=flags, children=st.lists(kid_fields, min_size=4, max_size=4))
    def start_supervisor(self, flags: Flags, children: list[tuple[Restart, bool, bool]]) -> None:
        """Start it with one child and some room."""
        self.let_all_zombies_go()
        flags = attrs.evolve(flags, strategy="one_for_one", auto_shutdown="never")
        self.model = PoolModel(flags, now=self.model.now, max_children=4)
        self.place.plans.clear()

        async def start(place: Place) -> None:
            place.root = await place.runtime.start(
                lambda: DynamicSupervisor(
                    max_children=4,
                    max_restarts=flags.max_restarts,
                    within_s=flags.within_s,
                    max_failed_starts=flags.max_failed_starts,
                ),
                name="s",
            )

        self.play(start)
        for id_, fields in zip(IDS, children[1:], strict=False):
            self.check()
            self.start_one(id_, fields, {})

    @precondition(lambda self: self.lives)
    @rule(id_=ids, fields=kid_fields, plans=plans)
    def start_one(
        self, id_: str, fields: tuple[Restart, bool, bool], plans: dict[str, list[Start]]
    ) -> None:
        # A second one of an id is a child of its own, but the names of these tests are taken once.
        if self.model.find(id_) is None:
            super().start_one(id_, fields, plans)

    def ask(self, question: Question, id_: str) -> Step:
        model = self.model
        assert isinstance(model, PoolModel)
        if question != "terminate":
            model.ask(lambda: "dynamic")
            act = restart_child if question == "restart" else delete_child
            return lambda place: answer_of(act(place.there(), id_))
        kid = model.find(id_)
        model.ask(partial(model.terminate_life, kid, kid.lives if kid else 0))
        ref = self.place.refs.get(id_, self.place.there())
        return lambda place: answer_of(terminate_child(place.there(), ref))


TestPoolMachine = PoolMachine.TestCase
PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

TestSupervisorMachine = SupervisorMachine.TestCase
SupervisorMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=25, deadline=None
)
