"""System commands: what may be asked of any actor, served between two of its messages.

They travel in a lane of their own: ahead of the mail, exempt from its bound, and answered by a
suspended actor too. An actor that is within a handler serves them when that is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, assert_never

import attrs
import trio

from autonomics.errors import InvalidInput
from autonomics.runtime.context import CURRENT
from autonomics.runtime.crash_report import describe_safely
from autonomics.runtime.message import Answer, Call
from autonomics.runtime.ref import ActorRef, Address
from autonomics.runtime.reply import ReplyTo
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.incarnation import Incarnation

R = TypeVar("R")


@attrs.frozen
class Done(Answer):
    """The type of DONE."""


DONE: Final = Done()
"""Returned by a hook that wants to see no more."""


HookEventKind = Literal["in", "out", "noreply"]


@attrs.frozen
class HookEvent:
    """What happened in an actor, as a hook sees it.

    `kind`: `in` before a message is handled; then `out` for each reply, or `noreply` if the handler
    is done and has given none. `message` is what the actor's `describe_message` makes of it.
    `peer` is the path of who called, if an actor did. `at_s` is trio's clock.
    """

    path: str
    kind: HookEventKind
    message: object
    peer: str | None
    at_s: float


Hook = Callable[[HookEvent], object]
"""Called in the actor's own task; must not wait. It is removed when it raises or returns DONE."""


class HookLog:
    """A hook that keeps the last events, the newest last."""

    def __init__(self, capacity: int = 100) -> None:
        if type(capacity) is not int or capacity < 1:
            raise InvalidInput.expected("capacity", "an integer of at least 1", capacity)
        self._events: deque[HookEvent] = deque(maxlen=capacity)

    def __call__(self, event: HookEvent) -> None:
        """Keep it."""
        self._events.append(event)

    @property
    def events(self) -> tuple[HookEvent, ...]:
        """What is kept."""
        return tuple(self._events)


@attrs.frozen
class Suspend(Call[None]):
    """See suspend."""


@attrs.frozen
class Resume(Call[None]):
    """See resume."""


@attrs.frozen
class GetState(Call[object]):
    """See get_state."""


@attrs.frozen
class ReplaceState(Call[object]):
    """See replace_state."""

    change: Callable[[Any], object]


@attrs.frozen
class InstallHook(Call[bool]):
    """See install_hook."""

    id: str
    hook: Hook


@attrs.frozen
class RemoveHook(Call[bool]):
    """See remove_hook."""

    id: str


@attrs.frozen
class RemoveHooks(Call[None]):
    """See remove_hooks."""


SystemCommand = Suspend | Resume | GetState | ReplaceState | InstallHook | RemoveHook | RemoveHooks


async def suspend(address: Address, timeout_s: float = 5.0) -> None:
    """Let the actor handle no mail until `resume`; its mailbox fills meanwhile.

    It still serves system commands and obeys a stop. To suspend a suspended actor is fine.

    All functions here raise what `ActorRef.call` raises. A command whose caller has given up
    before it was served is dropped.
    """
    await _command(address, Suspend(), timeout_s)


async def resume(address: Address, timeout_s: float = 5.0) -> None:
    """Let a suspended actor go on; fine if it is not suspended."""
    await _command(address, Resume(), timeout_s)


async def get_state(address: Address, timeout_s: float = 5.0) -> object:
    """Return what the actor's `describe` shows between two messages.

    `describe` decides what may be seen: by default nothing, which is None.
    """
    return await _command(address, GetState(), timeout_s)


async def replace_state(
    address: Address, change: Callable[[Any], object], timeout_s: float = 5.0
) -> object:
    """Let `change` alter the actor's state between two messages; what `describe` shows then.

    It is given the actor itself, or (state, data) of a state machine, which it returns anew. It
    runs in the actor's own task and must not wait. What it raises is raised here and harms nobody.
    """
    return await _command(address, ReplaceState(change), timeout_s)


async def install_hook(address: Address, id: str, hook: Hook, timeout_s: float = 5.0) -> bool:  # noqa: A002 - the word of the field
    """Have `hook` called for each message and each reply; False if another has the id.

    While an actor has a hook its calls are no longer answered on their callers' stacks.
    """
    return await _command(address, InstallHook(id, hook), timeout_s)


async def remove_hook(address: Address, id: str, timeout_s: float = 5.0) -> bool:  # noqa: A002 - see install_hook
    """Remove a hook; False if there is none of that id."""
    return await _command(address, RemoveHook(id), timeout_s)


async def remove_hooks(address: Address, timeout_s: float = 5.0) -> None:
    """Remove all hooks."""
    await _command(address, RemoveHooks(), timeout_s)


async def _command(address: Address, command: Call[R], timeout_s: float) -> R:
    callee = (address if isinstance(address, ActorRef) else address.resolve()).incarnation
    caller = CURRENT.get()
    callee.check_call(caller)
    slot = ReplyTo()
    slot.caller, slot.callee, slot.message = caller, callee, command
    slot.arm(timeout_s, callee.runtime.now_s())
    if callee.lane is None:
        callee.lane = SystemLane(callee)
    callee.lane.put(slot)
    result: R = await slot.wait()
    return result


class SystemLane:
    """The commands, the hooks and the suspension of one incarnation; made at the first command.

    While `is_needed`, the incarnation's alarm stays on, so its loop comes by before each message.
    That is how all this costs nothing where it is not used.
    """

    def __init__(self, owner: Incarnation) -> None:
        self.owner = owner
        self.is_suspended: bool = False
        self._commands: deque[ReplyTo] = deque()
        self._hooks: dict[str, Hook] = {}
        self._is_handling = False
        self._slot: _HookedSlot | None = None
        self._lot = trio.lowlevel.ParkingLot()

    @property
    def is_needed(self) -> bool:
        """There is something to do before the next message is taken."""
        return bool(self._commands or self._hooks or self.is_suspended)

    def put(self, slot: ReplyTo) -> None:
        """Queue a command, which is the slot's message, and wake the actor."""
        self._commands.append(slot)
        self.owner.alarm = True
        self.owner.mailbox.wake()
        self.wake()

    def wake(self) -> None:
        """Let a suspended actor look again."""
        self._lot.unpark_all()

    async def serve(self) -> None:
        """Serve all commands; return when the actor may take its next message, or has to stop."""
        self._end_of_message()
        while True:
            while self._commands:
                self._serve(self._commands.popleft())
            if not self.is_suspended or self.owner.asked is not None:
                break
            await self._lot.park()
        if self._hooks:
            self._show_next()

    def _serve(self, slot: ReplyTo) -> None:
        if not slot.is_wanted:
            return
        command: Any = slot.message
        try:
            result = self._obey(command)
        except Exception as error:  # noqa: BLE001 - the command's fault, raised in its caller
            slot.fail(error)
        else:
            slot.reply(result)

    def _obey(self, command: SystemCommand) -> object:
        behaviour = self.owner.behaviour
        match command:
            case Suspend():
                self.is_suspended = True
            case Resume():
                self.is_suspended = False
            case GetState():
                return behaviour.describe()
            case ReplaceState(change):
                behaviour.replace_state(change)
                return behaviour.describe()
            case InstallHook(id_, hook):
                return self._hooks.setdefault(id_, hook) is hook
            case RemoveHook(id_):
                return self._hooks.pop(id_, None) is not None
            case RemoveHooks():
                self._hooks.clear()
            case _:
                assert_never(command)
        return None

    # Hooks

    def _show_next(self) -> None:
        """Show the message that will be taken now, and have its replies come by here."""
        queue = self.owner.mailbox.queue
        if not queue:
            return
        kind, message, slot, trace = queue[0]
        peer = None
        if slot is not None:
            peer = None if slot.caller is None else slot.caller.path
            slot = self._slot = _HookedSlot(slot, self, peer)
            queue[0] = (kind, message, slot, trace)
        self._is_handling = True
        self.tell("in", self.show(message), peer)

    def _end_of_message(self) -> None:
        if self._is_handling and (self._slot is None or not self._slot.is_answered):
            self.tell("noreply", None, None)
        self._is_handling, self._slot = False, None

    def show(self, message: object) -> object:
        """Ask the actor what may be seen of it; a broken answer must not harm the actor."""
        return describe_safely(self.owner.behaviour.describe_message, message)

    def tell(self, kind: HookEventKind, shown: object, peer: str | None) -> None:
        """Call every hook."""
        owner = self.owner
        event = HookEvent(owner.path, kind, shown, peer, owner.runtime.now_s())
        for id_, hook in tuple(self._hooks.items()):
            try:
                is_done = hook(event) is DONE
            except Exception as error:  # noqa: BLE001 - a hook must not harm what it looks at
                is_done = True
                emit("actor.hook_failed", path=owner.path, id=id_, error=error)
            if is_done:
                self._hooks.pop(id_, None)


class _HookedSlot(ReplyTo):
    """Stands in for a caller's slot, to show what is replied."""

    def __init__(self, slot: ReplyTo, lane: SystemLane, peer: str | None) -> None:
        self.callee, self.message, self.deadline_s = slot.callee, slot.message, slot.deadline_s
        self.is_answered = False
        self._slot = slot
        self._lane = lane
        self._peer = peer

    @property
    def is_wanted(self) -> bool:
        return self._slot.is_wanted

    def reply(self, value: object) -> None:
        self._show(value)
        self._slot.reply(value)

    def fail(self, error: BaseException) -> None:
        self._show(error)
        self._slot.fail(error)

    def release_caller(self) -> None:
        self._slot.release_caller()

    def _show(self, answer: object) -> None:
        self.is_answered = True
        self._lane.tell("out", self._lane.show(answer), self._peer)
