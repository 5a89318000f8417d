"""A state machine as an actor, with the semantics of OTP's gen_statem."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    TypeVar,
    TypeVarTuple,
    Unpack,
    assert_never,
    final,
)

import attrs
import trio

from autonomics.errors import InvalidInput, Overloaded
from autonomics.runtime.actor import Actor
from autonomics.runtime.callback import settle
from autonomics.runtime.message import NO_REPLY, Continue, Ignore, Refuse, Stop
from autonomics.runtime.reply import ReplyTo
from autonomics.runtime.state_event import (
    Action,
    Answer,
    CallEvent,
    CancelTimeout,
    CastEvent,
    EnterAnswer,
    Go,
    InfoEvent,
    Initial,
    Insert,
    Keep,
    Postpone,
    Repeat,
    Reply,
    SetTimeout,
    StateEvent,
    StopAndReply,
    Timeout,
    TimeoutAction,
    Unchanged,
    UpdateTimeout,
)
from autonomics.runtime.state_timeout import Running, TimeoutTable
from autonomics.telemetry import declare, emit

S = TypeVar("S")
D = TypeVar("D")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as WithDefault

    M = WithDefault("M", default=Any)
else:
    # One more type argument or none, without a new dependency.
    M = Unpack[TypeVarTuple("M")]

# What a machine does of its own between two checkpoints, events and entries of states, so that one
# which feeds itself starves nobody. They are counted across the messages that lead to them: sixteen
# for each would be hundreds before the actor lets others run.
BURST: Final = 16

_POSTPONED_FULL: Final = declare(
    "state_machine.postponed_full",
    "A state machine refused to postpone one more call or cast; once per burst.",
    path="path of the actor in the tree",
    capacity="calls and casts that may be postponed at a time",
)


@attrs.frozen
class MachineStatus:
    """What a snapshot shows of a state machine.

    `shown` is whatever its `show` makes of state and data. `postponed` counts events, `timeouts`
    what is set; `refused` counts calls and casts that were one too many to postpone.
    """

    shown: object
    postponed: int
    timeouts: int
    refused: int


class StateMachine(Actor, Generic[S, D, M]):
    """Handles one event after the other, each in the state that it is in.

    A state is a member of an Enum or any other hashable value that compares by `==`; the data is
    what else there is to remember, replaced or not with each answer. All callbacks may be plain
    functions or async ones. `handle_event` answers with one of

    - `Keep(*actions)`: same state;
    - `Go(state, *actions)`: another state. Its `enter` is run, the state timeout of the old one is
      cancelled, and postponed events are retried, oldest first;
    - `Repeat(*actions)`: same state, but `enter` is run again;
    - `Stop(reason)` or `StopAndReply(*replies, reason=...)`.

    Order of events: what was inserted, what is retried, timeouts of delay 0, then mail in order of
    arrival. A stop request comes between any two events.

    As many calls and casts may be postponed as the mailbox holds: one call more fails with
    Overloaded, one cast more is dropped and counted. Events of the runtime and of the machine
    itself are always kept.

    `StateMachine[State, Data, Open | Push]` names the calls and casts that it takes, for type
    checkers; without them it may be sent any.

    Source: OTP's gen_statem, callback mode handle_event_function with state_enter.
    """

    states: ClassVar[type[Any] | UnionType | Collection[Any]]
    """All states: an Enum, another type, or a collection of values."""

    _is_begun = False
    _is_asked = False
    _is_overflowing = False
    _refused = 0
    _postponed_mail = 0
    _left = BURST

    def begin(self) -> Initial[S, D] | Ignore | Refuse | Awaitable[Initial[S, D] | Ignore | Refuse]:
        """Get ready and name the first state; its `enter` is run after the starter went on."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to begin")

    def handle_event(
        self, event: StateEvent, state: S, data: D
    ) -> Answer[S, D] | Awaitable[Answer[S, D]]:
        """Handle one event."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_event")

    def enter(self, state: S, previous: S, data: D) -> EnterAnswer[D] | Awaitable[EnterAnswer[D]]:
        """Do what is to be done in this state whatever event led there.

        Runs before any further event. At the beginning `previous` is the first state too. It may
        reply and set timeouts, but neither go elsewhere nor postpone or insert events.
        """
        return Keep()

    def show(self, state: S, data: D) -> object:
        """State and data for snapshots, with nothing secret in it; nothing by default."""
        return None

    @property
    def state(self) -> S:
        """The state that it is in; there is one from `begin` on."""
        return self._state

    @property
    def data(self) -> D:
        """The present data."""
        return self._data

    @final
    def describe(self) -> MachineStatus | None:
        """Read the counters, and what `show` shows."""
        if not self._is_begun:
            return None
        return MachineStatus(
            shown=self.show(self._state, self._data),
            postponed=len(self._postponed),
            timeouts=len(self._timeouts),
            refused=self._refused,
        )

    # The actor underneath

    @final
    async def init(self) -> Continue | Ignore | Refuse | None:
        """Begin."""
        initial = await settle(self.begin())
        if isinstance(initial, Ignore | Refuse):
            return initial
        if not isinstance(initial, Initial):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _bad_return("begin", "Initial, IGNORE or Refuse", initial)
        self._state: S = self._declared(initial.state)
        self._data: D = initial.data
        self._queue: deque[StateEvent] = deque()
        self._postponed: list[StateEvent] = []
        self._timeouts = TimeoutTable(self._start_clock)
        self._is_begun = True
        return Continue(initial)

    @final
    def replace_state(self, change: Callable[[Any], Any]) -> None:
        """Let `change` turn (state, data) into another; no `enter` is run, no timeout touched."""
        state, data = change((self._state, self._data))
        self._state, self._data = self._declared(state), data

    @final
    async def handle_continue(self, message: object) -> Stop | None:
        """Enter the first state."""
        assert isinstance(message, Initial)
        effects = _Effects()
        effects.take("begin", message.actions)
        stop = await self._enter(self._state, effects)
        if stop is not None:
            return stop
        self._carry_out(effects)
        return await self._run()

    # Not on the caller's stack, even where all callbacks are plain: one that returns a coroutine, a
    # budget that is spent between two events, or an `enter` that repeats itself would have to go on
    # in the actor's own task, in the middle of a step, with the caller still shown as waiting.
    @final
    async def handle_call(self, message: M, reply_to: ReplyTo) -> object:
        """Make it an event."""
        event = CallEvent(message, reply_to)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return await self._process(event) or NO_REPLY

    @final
    async def handle_cast(self, message: M) -> Stop | None:
        """Make it an event."""
        return await self._process(CastEvent(message))

    @final
    async def handle_info(self, message: object) -> Stop | None:
        """Make it an event, unless it comes from a timeout that was cancelled meanwhile."""
        if not isinstance(message, Running):
            return await self._process(InfoEvent(message))
        event = self._timeouts.expire(message)
        return None if event is None else await self._process(event)

    @final
    def stop_asked(self) -> None:
        """Take no further event."""
        self._is_asked = True
        super().stop_asked()

    def _start_clock(self, delay_s: float, running: Running) -> Callable[[], object]:
        return self.send_after(delay_s, running).disarm

    # The machine

    async def _process(self, event: StateEvent) -> Stop | None:
        self._queue.append(event)
        return await self._run()

    async def _run(self) -> Stop | None:
        while not self._is_asked:
            event = self._queue.popleft() if self._queue else self._timeouts.take_due()
            if event is None:
                return None
            stop = await self._step(event)
            if stop is not None:
                return stop
            if self._queue or self._timeouts.is_due:
                await self._spend()
        return None

    async def _spend(self) -> None:
        self._left -= 1
        if not self._left:
            await trio.lowlevel.checkpoint()
            self._left = BURST

    async def _step(self, event: StateEvent) -> Stop | None:
        answer = await settle(self.handle_event(event, self._state, self._data))
        if isinstance(answer, Stop | StopAndReply):
            return self._stop(answer)
        if not isinstance(answer, Go | Keep | Repeat):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _bad_return("handle_event", "Go, Keep, Repeat, Stop or StopAndReply", answer)
        previous = self._state
        if isinstance(answer, Go):
            self._state = self._declared(answer.state)
        self._adopt(answer.data)
        has_changed = self._state != previous
        effects = _Effects()
        effects.take("handle_event", answer.actions)
        if has_changed or isinstance(answer, Repeat):
            stop = await self._enter(previous, effects)
            if stop is not None:
                return stop
        if effects.is_postponed:
            self._postpone(event)
        self._timeouts.cancel(Timeout.EVENT)
        if has_changed:
            self._timeouts.cancel(Timeout.STATE)
            self._queue.extendleft(reversed(self._postponed))
            self._postponed.clear()
            self._postponed_mail = 0
            self._is_overflowing = False
        self._carry_out(effects)
        return None

    async def _enter(self, previous: S, effects: _Effects) -> Stop | None:
        while True:
            answer = await settle(self.enter(self._state, previous, self._data))
            if isinstance(answer, Stop | StopAndReply):
                return self._stop(answer)
            if not isinstance(answer, Keep | Repeat):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise _bad_return("enter", "Keep, Repeat, Stop or StopAndReply", answer)
            self._adopt(answer.data)
            effects.take("enter", answer.actions)
            if isinstance(answer, Keep):
                return None
            await self._spend()

    def _stop(self, answer: Stop | StopAndReply[D]) -> Stop:
        if isinstance(answer, StopAndReply):
            self._adopt(answer.data)
            for reply in answer.replies:
                if not isinstance(reply, Reply):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise InvalidInput.expected("what StopAndReply is given", "a Reply", reply)
                reply.to.reply(reply.value)
            return Stop(answer.reason)
        if answer.reply is not NO_REPLY:
            constraint = "a Stop without reply, or StopAndReply"
            raise _bad_return("a state machine's callback", constraint, answer)
        return answer

    def _postpone(self, event: StateEvent) -> None:
        if isinstance(event, CallEvent | CastEvent):
            if self._postponed_mail == self.mailbox.capacity:
                self._refuse(event)
                return
            self._postponed_mail += 1
        self._postponed.append(event)

    def _refuse(self, event: CallEvent | CastEvent) -> None:
        capacity = self.mailbox.capacity
        self._refused += 1
        if not self._is_overflowing:
            self._is_overflowing = True
            emit(_POSTPONED_FULL.name, path=self.path, capacity=capacity)
        if isinstance(event, CallEvent):
            text = f"{self.path} has postponed as much as it may (limit={capacity})"
            event.reply_to.fail(Overloaded(text))

    def _carry_out(self, effects: _Effects) -> None:
        for action in effects.timeouts.values():
            self._timeouts.apply(action)
        self._queue.extendleft(reversed(effects.inserted))

    def _adopt(self, data: D | Unchanged) -> None:
        if not isinstance(data, Unchanged):
            self._data = data

    def _declared(self, state: S) -> S:
        declared = self.states
        try:
            hash(state)
            if isinstance(declared, type | UnionType):
                is_known = isinstance(state, declared)
            else:
                is_known = state in declared
        except TypeError:  # not hashable
            is_known = False
        if is_known:
            return state
        if isinstance(declared, UnionType) or not isinstance(declared, Iterable):
            constraint = f"a hashable {declared}"
        else:
            constraint = f"one of {list[Any](declared)}"
        raise InvalidInput.expected(f"the state of {type(self).__name__}", constraint, state)


_ALLOWED: Final[Mapping[str, tuple[type, ...]]] = {
    "begin": (Reply, Insert, SetTimeout, UpdateTimeout, CancelTimeout),
    "handle_event": (Reply, Postpone, Insert, SetTimeout, UpdateTimeout, CancelTimeout),
    "enter": (Reply, SetTimeout, UpdateTimeout, CancelTimeout),
}


@attrs.define
class _Effects:
    """What the actions of one transition leave to be done at its end; replies are sent at once."""

    inserted: list[StateEvent] = attrs.field(factory=list["StateEvent"])
    timeouts: dict[Hashable, TimeoutAction] = attrs.field(factory=dict[Hashable, "TimeoutAction"])
    is_postponed: bool = False

    def take(self, callback: str, actions: Iterable[Action]) -> None:
        for action in actions:
            if not isinstance(action, _ALLOWED[callback]):
                allowed = ", ".join(kind.__name__ for kind in _ALLOWED[callback])
                raise InvalidInput.expected(f"an action of {callback}", f"one of {allowed}", action)
            match action:
                case Reply(to, value):
                    to.reply(value)
                case Postpone():
                    self.is_postponed = True
                case Insert(event):
                    if not isinstance(event, StateEvent):  # pyright: ignore[reportUnnecessaryIsInstance]
                        raise InvalidInput.expected("an inserted event", "a StateEvent", event)
                    self.inserted.append(event)
                case SetTimeout(timer) | UpdateTimeout(timer) | CancelTimeout(timer):
                    # The last action of a timer counts, at its place in the order.
                    self.timeouts.pop(timer, None)
                    self.timeouts[timer] = action
                case _:
                    assert_never(action)


def _bad_return(callback: str, constraint: str, answer: object) -> InvalidInput:
    return InvalidInput.expected(f"the return value of {callback}", constraint, answer)
