"""Tasks: one-shot coroutines under a supervisor, whose result somebody may wait for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, TypeVarTuple

import attrs
import trio

from autonomics.errors import InvalidInput, TaskFailed, TaskTimedOut
from autonomics.runtime import (
    IGNORE,
    ActorRef,
    Address,
    Behaviour,
    Call,
    Crash,
    ExitReason,
    Killed,
    Normal,
    ReplyTo,
    Shutdown,
)
from autonomics.runtime.actor import Kind
from autonomics.runtime.context import CURRENT
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.promise import Promise, shown_waiting
from autonomics.runtime.timer import Timer
from autonomics.supervisors.dynamic import DynamicSupervisor
from autonomics.supervisors.parent import refuse
from autonomics.supervisors.request import ChildRequest, StartChild
from autonomics.supervisors.spec import ChildSpec

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen
class TimedOut:
    """Why there is no result: none came in so many seconds."""

    timeout_s: float


@attrs.frozen
class Returned(Generic[T]):
    """A task's result."""

    value: T


@attrs.frozen
class Failed:
    """How a task ended without a result."""

    reason: ExitReason | TimedOut


TaskOutcome = Returned[T] | Failed


class Task(Generic[T]):
    """A task that was started; whoever has this may ask for its result, from any trio task."""

    def __init__(self, owner: Incarnation | None, *, linked: bool, notify: bool) -> None:
        self.promise: Promise[TaskOutcome[T]] = Promise()
        self._owner = owner
        self._is_linked = linked
        self._notifies = notify
        self._is_dropped = False
        self._is_unwanted = False
        self._incarnation: Incarnation | None = None
        self._timer: Timer | None = None
        self._go = trio.Event()

    def __repr__(self) -> str:
        if self._incarnation is None:
            return "<Task that has not begun>"
        return f"<Task {self.ref.path} {'ended' if self.is_ended else 'running'}>"

    @property
    def ref(self) -> ActorRef[TaskRun]:
        """Address of the task, to monitor, stop or kill it; it takes no messages."""
        return self.incarnation.ref

    @property
    def is_ended(self) -> bool:
        """True when there is an outcome."""
        return self.promise.is_kept

    # For this room

    @property
    def incarnation(self) -> Incarnation:
        """The task's one life; there is one from the moment that it serves."""
        assert self._incarnation is not None
        return self._incarnation

    def check_wanted(self) -> None:
        """Raise InvalidInput if an earlier wait has dropped the result."""
        if self._is_dropped:
            raise InvalidInput.expected("task", "one whose result was not dropped", self)

    def drop(self) -> None:
        """Want the result no more; the task itself runs on."""
        self._is_dropped = True

    def unlink(self) -> None:
        """Let neither end have a consequence for the other."""
        self._is_linked = False
        if self._owner is not None:
            self._owner.traces.pop(self, None)

    def give_up(self) -> None:
        """End it at once, also if it is only about to start."""
        self._is_unwanted = True
        self.drop()
        self.unlink()
        if self._incarnation is not None:
            self._incarnation.kill("nobody waits for it any more")

    def begin(self, incarnation: Incarnation) -> bool:
        """Take note of the life that is to run it; False if there is no use in it any more.

        The link is tied here, in the task's own first step: an owner that dies while the start is
        on its way would leave a task behind.
        """
        owner = self._owner
        if self._is_unwanted:
            return False
        if self._is_linked and owner is not None:
            if not owner.is_alive:
                return False
            owner.traces[self] = partial(incarnation.kill, f"its owner {owner.path} ended")
        self._incarnation = incarnation
        return True

    async def until_go(self) -> None:
        """Wait until the starter has this task in hand."""
        await self._go.wait()

    def go(self) -> None:
        """Let the coroutine begin."""
        self._go.set()

    def limit(self, timeout_s: float) -> None:
        """Let it fail with TimedOut, and kill it, unless it ends in time."""
        timers = self.incarnation.runtime.timers
        self._timer = timers.set(timeout_s, partial(self._expire, timeout_s))

    def _expire(self, timeout_s: float) -> None:
        self.end(Failed(TimedOut(timeout_s)))
        self.incarnation.kill(f"it took more than {timeout_s} s")

    def end(self, outcome: TaskOutcome[T]) -> None:
        """Give the outcome, once, to all whom it concerns."""
        if self.is_ended:
            return
        if self._timer is not None:
            self._timer.disarm()
        owner, is_linked = self._owner, self._is_linked
        self.unlink()
        self.promise.keep(outcome)
        if owner is None or not owner.is_alive:
            return
        if is_linked and isinstance(outcome, Failed) and not isinstance(outcome.reason, TimedOut):
            owner.request_stop(outcome.reason)
        if self._notifies and not self._is_dropped:
            owner.inform(TaskEnded(self, outcome))


@attrs.frozen
class TaskEnded(Generic[T]):
    """To the `handle_info` of the actor that started a task with `notify`."""

    task: Task[T]
    outcome: TaskOutcome[T]


class TaskRun(Behaviour):
    """The life of one task: a coroutine that a stop request cancels at once."""

    kind: ClassVar[Kind] = "worker"
    takes_mail: ClassVar[bool] = False
    traps: ClassVar[bool] = False

    def __init__(self, task: Task[Any], do: Callable[[], Awaitable[object]]) -> None:
        self._task = task
        self._do = do
        self._result: Returned[object] | None = None

    async def live(self) -> ExitReason:
        """Run the coroutine; what it returns is given out when this incarnation has ended."""
        if not self._task.begin(self.incarnation):
            self.incarnation.refuse_start(IGNORE)
            return Normal()
        # A trace and no `finally`: so a task whose outcome is known is never found alive.
        self.incarnation.traces[self] = self._end
        self.incarnation.announce_started()
        # Not before: the starter may still be cancelled, and as it waits for the supervisor, and
        # that for this start, a call to it would be taken for a deadlock.
        await self._task.until_go()
        self._result = Returned(await self._do())
        return Normal()

    def _end(self) -> None:
        incarnation = self.incarnation
        # A zombie has no exit reason yet; what it was told to be stands for it.
        reason = incarnation.exit_reason or incarnation.fate or Killed()
        self._task.end(self._result or Failed(reason))


@attrs.frozen
class StartTask(Call[ActorRef[TaskRun]]):
    """See start_task."""

    name: str
    start: Callable[[], TaskRun] = attrs.field(repr=False)  # has the arguments in it
    grace_s: float


class TaskSupervisor(DynamicSupervisor):
    """Runs tasks. None of them is ever restarted, and none of their ends is its own.

    Its children can be listed, counted and terminated like any others.
    """

    def __init__(self, *, max_children: int | None = None, finish_within_s: float = 60.0) -> None:
        super().__init__(max_children=max_children, finish_within_s=finish_within_s)
        self._numbers = itertools.count(1)

    if TYPE_CHECKING:  # the one of its parent, which takes StartTask too

        async def handle_call(self, message: ChildRequest | StartTask, reply_to: ReplyTo) -> object:
            """Serve the child API and start_task."""
            ...

    async def obey(self, message: ChildRequest | StartTask) -> object:
        """Serve what changes the table."""
        match message:
            case StartTask(name, start, grace_s):
                # Numbered here: the search for a free name among thousands would be a long one.
                id_ = f"{name}-{next(self._numbers)}"
                return await self._start_child(
                    ChildSpec(id=id_, start=start, restart="temporary", grace_s=grace_s)
                )
            case StartChild(spec):
                raise refuse("tasks", self.path, spec.id)
            case _:
                return await super().obey(message)


async def start_task(
    supervisor: Address[TaskSupervisor],
    function: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    linked: bool = False,
    notify: bool = False,
    grace_s: float = 5.0,
) -> Task[T]:
    """Run `await function(*args)` as a task of its own and return when it is about to begin.

    `linked` binds it to the actor that starts it: whichever ends, other than by returning, ends the
    other too, the actor with the task's exit reason. A task without a link outlives its starter.

    With `notify` the actor's `handle_info` gets one TaskEnded; it need not wait for the result then
    and goes on with its messages. If the starter is cancelled in here, the function is not called.

    Raises ChildRefused (`max_children`) and what a call raises.
    """
    owner = CURRENT.get()
    if owner is None and linked:
        raise InvalidInput("a task can be linked to an actor only; elsewhere use a nursery")
    if notify and (owner is None or not owner.behaviour.takes_mail):
        raise InvalidInput("only an actor can be notified; elsewhere use await_task")
    task = Task[T](owner, linked=linked, notify=notify)
    message = StartTask(
        name_of(function), partial(TaskRun, task, partial(function, *args)), grace_s
    )
    try:
        await supervisor.call(message, math.inf)
    except BaseException:
        task.give_up()
        raise
    task.go()
    return task


async def await_task(task: Task[T], timeout_s: float = 5.0) -> T:
    """Wait for the result and return it.

    Raises TaskFailed with the exit reason, and with the task's error as its cause. TaskTimedOut
    leaves the task running, but its result is dropped: it can't be asked for again.
    """
    outcome = await yield_task(task, timeout_s)
    if outcome is None:
        task.drop()
        message = f"{task.ref.path} gave no result in {timeout_s} s"
        raise TaskTimedOut(message, TimedOut(timeout_s))
    if isinstance(outcome, Returned):
        return outcome.value
    cause = outcome.reason.error if isinstance(outcome.reason, Crash) else None
    message = f"{task.ref.path} ended without a result: {outcome.reason!r}"
    raise TaskFailed(message, outcome.reason) from cause


async def yield_task(task: Task[T], timeout_s: float = 5.0) -> TaskOutcome[T] | None:
    """Wait for the outcome; None if there is none yet, and one may ask again."""
    task.check_wanted()
    if task.is_ended:
        await task.promise.wait(0)
        return task.promise.value
    with shown_waiting(task.incarnation):
        return task.promise.value if await task.promise.wait(timeout_s) else None


async def shutdown_task(task: Task[T], grace_s: float = 5.0) -> TaskOutcome[T] | None:
    """Stop a task and wait for its end; None if that is why it ended, else how it had.

    Its link is cut first. Raises Unstoppable if it survives the grace and the cancel.
    """
    task.unlink()
    if not task.is_ended:
        await task.ref.stop(grace_s=grace_s)
        match task.promise.value:
            case Failed(Shutdown() | Killed()):
                return None
            case outcome:
                return outcome
    return await yield_task(task, 0)


def name_of(function: Callable[..., object]) -> str:
    """Name a task after what it runs, for people."""
    return str(getattr(function, "__name__", type(function).__name__))
