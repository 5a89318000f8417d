"""The runtime: names, timers, counters, and the roots of the tree."""

from __future__ import annotations

import contextvars
import itertools
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, overload

import attrs
import trio

from autonomics.errors import InvalidInput, NoSuchActor, StartFailed
from autonomics.runtime.actor import Behaviour
from autonomics.runtime.context import CURRENT
from autonomics.runtime.incarnation import Incarnation, launch
from autonomics.runtime.interrupt import obey_signals
from autonomics.runtime.message import AlreadyStarted
from autonomics.runtime.reason import ExitReason, NoProcess, Shutdown
from autonomics.runtime.ref import ActorRef, Address, Monitor, NamedRef
from autonomics.runtime.start_watch import StartWatch
from autonomics.runtime.timer import Timer, TimerQueue
from autonomics.runtime.watchdog import open_watchdog
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from collections.abc import Sequence

B = TypeVar("B", bound=Behaviour)

# Steps that never wait (an answer on the caller's stack, a send) between two checkpoints, whoever
# takes them.
REDUCTIONS: Final = 32


@attrs.frozen
class RuntimeStatistics:
    """Counters of a runtime.

    `dead_letters` counts messages to the dead and messages that the dead had not read;
    `late_replies` answers that nobody waited for any more.
    """

    actors: int
    names: int
    zombies: int
    timers: int
    dead_letters: int
    late_replies: int


class RootLimits(NamedTuple):
    """The times of a root of the tree; see `Limits`."""

    grace_s: float
    init_deadline_s: float
    confirm_s: float


_DEFAULT_LIMITS: Final = RootLimits(5.0, 5.0, 1.0)


def _limit(*limits: float) -> RootLimits:
    # One for all that say nothing of their own: a tenth of what a start leaves to be collected.
    return _DEFAULT_LIMITS if limits == _DEFAULT_LIMITS else RootLimits(*limits)


class Runtime:
    """Hosts actors. Made by `open_runtime`; its methods are synchronous unless they wait."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery: trio.Nursery = nursery
        self.now_s: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self.timers: TimerQueue = TimerQueue(self.now_s)
        self.starts: StartWatch = StartWatch(self.timers)
        self.reductions: int = REDUCTIONS
        self.turns: int = 0
        """How often an actor has used up the messages of its turn."""
        self.base_context: contextvars.Context = contextvars.copy_context()
        # A runtime opened by an actor's code is nobody's child.
        self.base_context.run(CURRENT.set, None)
        self.body: trio.CancelScope = trio.CancelScope()
        self.late_replies = 0
        self.dead_letters = 0
        self.zombies = 0
        self.is_stopping: bool = False
        self.interrupted_by: str | None = None
        self.root_ended: Callable[[ActorRef, ExitReason], None] | None = None
        """Called when a root that had started has ended; must neither block nor raise."""
        self._numbers = itertools.count(1)
        self._names: dict[str, Incarnation] = {}
        self._arrivals: dict[str, trio.Event] = {}
        # A dict as an ordered set, in start order.
        self._living: dict[Incarnation, None] = {}
        # A dict as an ordered set: roots are stopped in the reverse order of their starts.
        self._roots: dict[Incarnation, None] = {}

    async def start(
        self,
        factory: Callable[[], B],
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the field
        grace_s: float = 5.0,
        init_deadline_s: float = 5.0,
        confirm_s: float = 1.0,
    ) -> ActorRef[B]:
        """Start a root of the tree and wait until it serves.

        Its path is `id`, else its name. Nobody restarts it: that is what supervisors are for.
        Raises StartFailed; nothing is left of it then.
        """
        limits = _limit(grace_s, init_deadline_s, confirm_s)
        incarnation = self._launch(factory, id or name, name, limits)
        await incarnation.await_started()
        return incarnation.ref

    async def start_linked(
        self,
        factory: Callable[[], B],
        *,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the field
        grace_s: float = 5.0,
        init_deadline_s: float = 5.0,
        confirm_s: float = 1.0,
    ) -> ActorRef[B]:
        """Start an actor that the current one is linked with and takes along when it ends.

        Its path is below the current actor's. It is asked to stop with the reason of that one's
        end, however that ends, and nobody hears of the end before all of it is gone: there are no
        orphans. Its own end comes to the current actor as an exit signal; see `Actor.link`.
        Raises StartFailed as `start` does, InvalidInput outside of an actor.
        """
        parent = CURRENT.get()
        if parent is None:
            raise InvalidInput("start_linked() links with an actor; call it in an actor's code")
        limits = _limit(grace_s, init_deadline_s, confirm_s)
        incarnation = self._launch(factory, id or name, name, limits, parent)
        await incarnation.await_started()
        if incarnation.is_alive:
            parent.link(incarnation)
        else:  # it has ended in the step after its init
            assert incarnation.exit_reason is not None
            parent.take_exit(incarnation, incarnation.exit_reason)
        return incarnation.ref

    def _launch(
        self,
        factory: Callable[[], Behaviour],
        id_: str | None,
        name: str | None,
        limits: RootLimits,
        parent: Incarnation | None = None,
    ) -> Incarnation:
        path = id_ or f"actor-{next(self._numbers)}"
        if parent is not None:
            path = f"{parent.path}/{path}"
        incarnation = launch(
            self, self.nursery, factory, path=path, name=name, owner=self, limits=limits
        )
        self._roots[incarnation] = None
        if parent is not None:
            incarnation.parent = parent
            if parent.children is None:
                parent.children = {}
            parent.children[incarnation] = None
        return incarnation

    @overload
    def named(self, name: str) -> NamedRef: ...

    @overload
    def named(self, name: str, actor: type[B]) -> NamedRef[B]: ...

    def named(self, name: str, actor: type[Behaviour] | None = None) -> NamedRef[Any]:
        """Address whoever has the name at the time of use.

        `actor`, the class that is expected there, is for type checkers alone.
        """
        return NamedRef(self, name)

    def whereis(self, name: str) -> ActorRef | None:
        """Find the incarnation that has the name now."""
        found = self._names.get(name)
        return None if found is None else found.ref

    async def await_name(self, name: str, timeout_s: float = 5.0) -> ActorRef:
        """Wait until somebody has the name, such as a successor that is being started.

        Raises NoSuchActor when nobody has it in time.
        """
        with trio.move_on_after(timeout_s):
            while (found := self.whereis(name)) is None:
                await self._arrivals.setdefault(name, trio.Event()).wait()
            return found
        raise NoSuchActor(f"nobody took the name {name!r} within {timeout_s} s")

    def roots(self) -> Sequence[ActorRef]:
        """List what `start` has started and has not ended, in start order."""
        return tuple(root.ref for root in self._roots if root.parent is None)

    def statistics(self) -> RuntimeStatistics:
        """Read the counters."""
        return RuntimeStatistics(
            actors=len(self._living),
            names=len(self._names),
            zombies=self.zombies,
            timers=len(self.timers) + self.starts.count_beside_timers(),
            dead_letters=self.dead_letters,
            late_replies=self.late_replies,
        )

    def living(self) -> Sequence[ActorRef]:
        """List all incarnations whose task has not ended, zombies included, in start order."""
        return tuple(incarnation.ref for incarnation in self._living)

    def send_after(self, delay_s: float, target: ActorRef, message: object) -> Timer:
        """Give `message` to the target's `handle_info`, not earlier than in `delay_s` seconds."""
        incarnation = target.incarnation
        timer = self.timers.set(_seconds("delay_s", delay_s), partial(incarnation.inform, message))
        timer.keep_in(incarnation.timers)
        return timer

    def send_every(self, interval_s: float, target: ActorRef, message: object) -> Timer:
        """Do the same at each interval; ends with the target."""
        if _seconds("interval_s", interval_s) == 0:
            raise InvalidInput.expected("interval_s", "positive", interval_s)
        incarnation = target.incarnation

        def fire() -> None:
            if incarnation.inform(message):
                timer.rearm(interval_s)

        timer = self.timers.set(interval_s, fire)
        timer.keep_in(incarnation.timers)
        return timer

    def interrupt(self, cause: str) -> None:
        """Stop the whole tree: the body of `open_runtime` is cancelled, then all stops in order.

        Nothing is started or restarted from here on. A `KeyboardInterrupt` or `SIGINT` is raised
        again once the tree is down.
        """
        if self.interrupted_by is None:
            self.interrupted_by = cause
            self.is_stopping = True
            self.body.cancel(reason=cause)
            emit("runtime.interrupted", cause=cause)

    # For incarnations and supervisors

    def age_s(self, incarnation: Incarnation) -> float | None:
        """Tell how long its task has been there; None if it has ended."""
        return self.now_s() - incarnation.began_s if incarnation in self._living else None

    async def let_others_run(self) -> None:
        """Give every other task its turn, after so many steps that did not wait."""
        self.reductions = REDUCTIONS
        await trio.lowlevel.checkpoint()

    def check_start(self, path: str, name: str | None) -> None:
        """Raise StartFailed while stopping, and for a name that is taken."""
        if self.is_stopping:
            raise StartFailed(f"{path} did not start: the runtime stops", Shutdown("stopping"))
        if name is None:
            return
        if not name:
            raise InvalidInput.expected("name", "a non-empty string", name)
        taken = self._names.get(name)
        if taken is not None:
            reason = AlreadyStarted(name, taken.path)
            raise StartFailed(f"{path} did not start: {name!r} is {taken.path}", reason)

    def remember(self, incarnation: Incarnation) -> None:
        """Register a new incarnation and its name."""
        incarnation.began_s = self.now_s()
        self._living[incarnation] = None
        if incarnation.name is not None:
            self._names[incarnation.name] = incarnation
            arrival = self._arrivals.pop(incarnation.name, None)
            if arrival is not None:
                arrival.set()

    def release_name(self, incarnation: Incarnation) -> None:
        """Free its name, unless a successor has it already."""
        name = incarnation.name
        if name is not None and self._names.get(name) is incarnation:
            del self._names[name]

    def forget(self, incarnation: Incarnation) -> None:
        """Drop an incarnation whose task has ended."""
        self._living.pop(incarnation, None)
        self._roots.pop(incarnation, None)

    def child_exited(self, incarnation: Incarnation, reason: ExitReason) -> None:
        """Tell the host of the end of a root; nothing else follows from it."""
        if self.root_ended is not None and incarnation.parent is None:
            self.root_ended(incarnation.ref, reason)

    def watch(self, address: Address, target: Incarnation | None, tag: object) -> Monitor:
        """Make the current actor watch the target; Down(NoProcess()) at once if it is dead."""
        watcher = CURRENT.get()
        if watcher is None or not watcher.behaviour.takes_mail:
            raise InvalidInput(
                "monitor() tells an actor through handle_info; elsewhere await wait_down()"
            )
        monitor = Monitor(address, target, watcher, tag)
        if target is None or target.state == "dead":
            monitor.fire(NoProcess())
        else:
            target.monitored_by[monitor] = None
            watcher.monitors[monitor] = None
        return monitor

    async def stop(self, within_s: float) -> None:
        """Stop the roots in reverse order; after `within_s` cancel everything that is left."""
        self.is_stopping = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + within_s) as patience:
            while self._roots:
                root = next(reversed(self._roots))
                await root.stop(Shutdown())
                self._roots.pop(root, None)  # still there: a zombie, whose task keeps the nursery
        if patience.cancelled_caught:
            paths = tuple(ref.path for ref in self.living())
            emit("runtime.stop_overdue", paths=paths, within_s=within_s)
            for incarnation in self._living:
                incarnation.kill("the runtime's stop was overdue")


@asynccontextmanager
async def open_runtime(
    *,
    stop_within_s: float = 60.0,
    with_signals: bool = False,
    blocked_after_s: float | None = None,
) -> AsyncGenerator[Runtime]:
    """Open a runtime for the length of an `async with` block.

    Leaving the block, by whatever way, stops the tree in order. If something is left after
    `stop_within_s` seconds, all of it is cancelled at once. The block itself is cancelled when the
    runtime is interrupted. `with_signals` lets SIGINT and SIGTERM do that instead of raising
    KeyboardInterrupt inside some child; a second signal ends the process with a list of what is
    stuck. With `blocked_after_s` a thread tells, by the event `runtime.blocked`, which actor holds
    the loop for longer than that many seconds, and where it stands.
    """
    failure: BaseException | None = None
    timers_scope, signals_scope = trio.CancelScope(shield=True), trio.CancelScope(shield=True)
    # Two nurseries: timers and signals must still work while the actors are stopping, and while
    # a zombie keeps the inner one open.
    async with open_watchdog(blocked_after_s), trio.open_nursery() as services:
        async with trio.open_nursery() as actors:
            runtime = Runtime(actors)
            services.start_soon(_run_timers, timers_scope, runtime.timers)
            if with_signals:
                await services.start(_run_signals, signals_scope, runtime)
            try:
                with runtime.body:
                    yield runtime
            except BaseException as error:  # noqa: BLE001 - raised below, outside the nurseries
                # Raised inside, even one ValueError of the block would come out as a group.
                failure = error
            await runtime.stop(stop_within_s)
        timers_scope.cancel(reason="the tree is down")
        signals_scope.cancel(reason="the tree is down")
    if failure is not None:
        raise failure
    if runtime.interrupted_by in ("KeyboardInterrupt", "SIGINT"):
        raise KeyboardInterrupt


async def _run_timers(scope: trio.CancelScope, timers: TimerQueue) -> None:
    with scope:
        await timers.run()


async def _run_signals(
    scope: trio.CancelScope,
    runtime: Runtime,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with scope:
        await obey_signals(runtime, task_status=task_status)


def _seconds(name: str, value: float) -> float:
    if not (0 <= value < math.inf):
        raise InvalidInput.expected(name, "a finite number of seconds, not negative", value)
    return value
