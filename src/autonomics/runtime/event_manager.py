"""An event manager: one actor, any number of handlers, each of which may fail alone."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from autonomics.errors import (
    HandlerFailed,
    HandlerRefused,
    HandlerTaken,
    InvalidInput,
    NoSuchHandler,
)
from autonomics.runtime.actor import Actor
from autonomics.runtime.callback import settle
from autonomics.runtime.key import check_hashable
from autonomics.runtime.message import NO_REPLY, Call, Down
from autonomics.runtime.reason import Crash, ExitReason, NoProcess
from autonomics.runtime.ref import ActorRef, Monitor
from autonomics.runtime.reply import ReplyTo
from autonomics.telemetry import declare, emit

R_co = TypeVar("R_co", covariant=True)

_CRASHED: Final = declare(
    "event_manager.handler_crashed",
    "A handler raised or gave a bad answer; it alone was removed.",
    path="path of the event manager in the tree",
    handler="id of the handler",
    callback="which of its callbacks it was",
    error="the exception",
)


@attrs.frozen
class Deleted:
    """Why a handler ends: DeleteHandler, with its argument."""

    argument: object = None


@attrs.frozen
class Swapped:
    """Why a handler ends: SwapHandler put `successor` in its place."""

    successor: Hashable
    argument: object = None


@attrs.frozen
class Removed:
    """Why a handler ends: it answered Remove."""


@attrs.frozen
class OwnerDied:
    """Why a handler ends: so did the actor that owns it."""

    reason: ExitReason | NoProcess


@attrs.frozen
class ManagerStopped:
    """Why a handler ends: so does its event manager."""

    reason: ExitReason


HandlerEnd = Deleted | Swapped | Removed | OwnerDied | ManagerStopped | Crash


@attrs.frozen
class HandlerExit:
    """What the owner of a handler gets through `handle_info` when it has ended, for any reason.

    Not when the event manager is killed: an owner that must know monitors it.
    """

    handler: Hashable
    reason: HandlerEnd
    manager: ActorRef


@attrs.frozen
class Remove:
    """Answer of a handler: take me out; from `handle_call` with the reply."""

    reply: Any = None


class EventHandler:
    """Handles the events of a manager. Its callbacks may be plain functions or async ones.

    It lives inside the manager: while it waits, so do the other handlers, and it can't call its
    own manager. One that raises is removed, after its `terminate`.
    """

    manager: EventManager
    """Where it is installed; set before any callback runs."""

    def init(self, argument: object) -> Awaitable[None] | None:
        """Get ready. `argument` is AddHandler's, or what the predecessor's `terminate` returned.

        If that raised, it is the Crash.
        """
        return None

    def handle_event(self, event: Any) -> Remove | Awaitable[Remove | None] | None:
        """Handle what was notified."""
        raise NotImplementedError(f"{type(self).__name__} handles no event, got {event!r}")

    def handle_call(self, message: Call[Any]) -> object:
        """Answer a CallHandler: the value is the reply."""
        raise NotImplementedError(f"{type(self).__name__} answers no call, got {message!r}")

    def handle_info(self, message: object) -> Remove | Awaitable[Remove | None] | None:
        """Handle a message of the runtime to the manager; ignored by default."""
        return None

    def terminate(self, why: HandlerEnd) -> object:
        """Clean up. The value goes to whoever deleted it, or to its successor's `init`."""
        return None


def _check_handler(_: object, __: object, handler: EventHandler) -> None:
    if not isinstance(handler, EventHandler):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput.expected("handler", "an EventHandler", handler)


@attrs.frozen
class Notify:
    """Cast: give `event` to all handlers, the newest first."""

    event: object


@attrs.frozen
class SyncNotify(Call[None]):
    """Do the same, and answer when all have handled it."""

    event: object


@attrs.frozen
class AddHandler(Call[None]):
    """Install a handler under an id, ahead of the others.

    With an `owner` it is removed when that actor ends, and the owner is told by HandlerExit when
    the handler ends. Raises HandlerTaken if the id is in use, HandlerFailed if `init` raises.
    """

    id: Hashable = attrs.field(validator=check_hashable)
    handler: EventHandler = attrs.field(validator=_check_handler)
    argument: object = None
    owner: ActorRef | None = None


@attrs.frozen
class DeleteHandler(Call[object]):
    """Remove a handler; the reply is what its `terminate` returns.

    Raises NoSuchHandler, and HandlerFailed if `terminate` raises; it is removed then, too.
    """

    id: Hashable = attrs.field(validator=check_hashable)
    argument: object = None


@attrs.frozen
class SwapHandler(Call[None]):
    """Put a handler in the place of another, with no event between the two.

    What the old one's `terminate` returns is the argument of the new one's `init`. The new one is
    the newest. Raises NoSuchHandler and HandlerTaken, and nothing is changed then; HandlerFailed
    if `init` raises, and then the old one is gone nevertheless.
    """

    old: Hashable = attrs.field(validator=check_hashable)
    id: Hashable = attrs.field(validator=check_hashable)
    handler: EventHandler = attrs.field(validator=_check_handler)
    argument: object = None
    owner: ActorRef | None = None


@attrs.frozen
class CallHandler(Call[R_co]):
    """Ask one handler.

    Raises NoSuchHandler, and HandlerFailed if the handler raises; it is removed then.
    """

    id: Hashable = attrs.field(validator=check_hashable)
    message: Call[R_co]


@attrs.frozen
class WhichHandlers(Call[tuple[Hashable, ...]]):
    """List the ids of the handlers, the newest first."""


ManagerRequest = (
    SyncNotify | AddHandler | DeleteHandler | SwapHandler | CallHandler[Any] | WhichHandlers
)


@attrs.define(eq=False)
class _Installed:
    id: Hashable
    handler: EventHandler
    owner: ActorRef | None
    monitor: Monitor | None = None


class EventManager(Actor):
    """Passes events on to handlers that come and go at run time.

    `handlers` maps ids to what makes a handler; those are installed in this order at each start,
    so a restarted manager has them again. All others are gone with the incarnation that they were
    added to.

    Source: OTP's gen_event. Other than there, an id is in use once only, and a swap needs the old
    handler to be there.
    """

    def __init__(self, handlers: Mapping[Any, Callable[[], EventHandler]] | None = None) -> None:
        self._factories = dict(handlers or {})
        # Oldest first; whoever runs through them reverses a copy.
        self._installed: dict[Hashable, _Installed] = {}

    async def init(self) -> None:
        """Install the handlers that it always has; if one can't be, end the others and fail."""
        try:
            for id_, factory in self._factories.items():
                await self._install(_Installed(id_, factory(), None), None)
        except Exception as error:
            await self.terminate(Crash(error))
            raise

    async def handle_cast(self, message: Notify) -> None:
        """Pass a Notify on; a stray message must not cost all handlers their state."""
        if isinstance(message, Notify):  # pyright: ignore[reportUnnecessaryIsInstance]
            await self._publish("handle_event", message.event)
        else:
            kind = type(message).__qualname__
            emit("actor.unexpected_message", path=self.path, message_type=kind)

    async def handle_call(self, message: ManagerRequest, reply_to: ReplyTo) -> object:
        """Obey, or say why not; a bad call harms nobody but its caller."""
        try:
            reply = await self._obey(message)
        except (HandlerRefused, InvalidInput) as refusal:
            reply_to.fail(refusal)
        else:
            reply_to.reply(reply)
        return NO_REPLY

    async def handle_info(self, message: object) -> None:
        """Remove the handler of a dead owner; anything else is for the handlers."""
        if isinstance(message, Down) and isinstance(message.tag, _Installed):
            await self._remove(message.tag, OwnerDied(message.reason))
        else:
            await self._publish("handle_info", message)

    async def terminate(self, reason: ExitReason) -> None:
        """End all handlers, the newest first."""
        for installed in self._newest_first():
            await self._remove(installed, ManagerStopped(reason))

    def describe(self) -> tuple[Hashable, ...]:
        """List the ids of the handlers, the newest first."""
        return tuple(installed.id for installed in self._newest_first())

    async def _obey(self, message: ManagerRequest) -> object:
        match message:
            case SyncNotify(event):
                await self._publish("handle_event", event)
            case CallHandler(id_, asked):
                return await self._ask(self._find(id_), asked)
            case AddHandler(id_, handler, argument, owner):
                await self._add(_Installed(id_, handler, owner), argument)
            case DeleteHandler(id_, argument):
                return await self._delete(self._find(id_), argument)
            case SwapHandler(old, id_, handler, argument, owner):
                await self._swap(self._find(old), _Installed(id_, handler, owner), argument)
            case WhichHandlers():
                return self.describe()
            case _:
                raise InvalidInput.expected("a call", "one that event managers answer", message)
        return None

    async def _publish(self, callback: str, message: object) -> None:
        for installed in self._newest_first():
            handle = partial(getattr(installed.handler, callback), message)
            answer, _ = await self._run(installed, callback, handle, none_or_remove=True)
            if isinstance(answer, Remove):
                await self._remove(installed, Removed())

    async def _ask(self, installed: _Installed, message: Call[Any]) -> object:
        handle = partial(installed.handler.handle_call, message)
        answer, error = await self._run(installed, "handle_call", handle)
        if error is not None:
            raise self._failure(installed.id, "handle_call", error) from error
        if isinstance(answer, Remove):
            await self._remove(installed, Removed())
            return answer.reply
        return answer

    async def _delete(self, installed: _Installed, argument: object) -> object:
        left, error = await self._remove(installed, Deleted(argument))
        if error is not None:
            raise self._failure(installed.id, "terminate", error) from error
        return left

    async def _swap(self, old: _Installed, new: _Installed, argument: object) -> None:
        if new.id != old.id:
            self._check_free(new.id)
        left, error = await self._remove(old, Swapped(new.id, argument))
        await self._add(new, left if error is None else Crash(error))

    async def _add(self, installed: _Installed, argument: object) -> None:
        self._check_free(installed.id)
        try:
            await self._install(installed, argument)
        except Exception as error:
            raise self._failure(installed.id, "init", error) from error

    async def _install(self, installed: _Installed, argument: object) -> None:
        installed.handler.manager = self
        await settle(installed.handler.init(argument))
        if installed.owner is not None:
            installed.monitor = installed.owner.monitor(installed)
        self._installed[installed.id] = installed

    async def _remove(
        self, installed: _Installed, why: HandlerEnd
    ) -> tuple[object, Exception | None]:
        del self._installed[installed.id]
        if installed.monitor is not None:
            # A Down that is still unread would remove its namesake.
            installed.monitor.cancel(flush=True)
        try:
            return await settle(installed.handler.terminate(why)), None
        except Exception as error:  # noqa: BLE001 - see _run
            self._report(installed, "terminate", error)
            return None, error
        finally:
            owner = installed.owner
            if owner is not None and owner.is_alive():
                self.runtime.send_after(0, owner, HandlerExit(installed.id, why, self.ref))

    async def _run(
        self,
        installed: _Installed,
        callback: str,
        handle: Callable[[], object],
        *,
        none_or_remove: bool = False,
    ) -> tuple[object, Exception | None]:
        try:
            answer = await settle(handle())
            if none_or_remove and answer is not None and not isinstance(answer, Remove):
                name = f"the return value of {callback}"
                raise InvalidInput.expected(name, "None or Remove", answer)
        except Exception as error:  # noqa: BLE001 - observers must neither harm each other nor the manager
            self._report(installed, callback, error)
            await self._remove(installed, Crash(error))
            return None, error
        return answer, None

    def _newest_first(self) -> list[_Installed]:
        return [*reversed(self._installed.values())]

    def _find(self, id: Hashable) -> _Installed:  # noqa: A002 - the word of the field
        found = self._installed.get(id)
        if found is None:
            known = [key for key in self._installed if isinstance(key, str)]
            close = difflib.get_close_matches(id, known, n=1) if isinstance(id, str) else []
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise NoSuchHandler(f"{self.path} has no handler {id!r}{hint}")
        return found

    def _check_free(self, id: Hashable) -> None:  # noqa: A002 - the word of the field
        if id in self._installed:
            raise HandlerTaken(f"{self.path} has a handler {id!r} already")

    def _failure(self, id: Hashable, callback: str, error: Exception) -> HandlerFailed:  # noqa: A002 - the word of the field
        text = f"handler {id!r} of {self.path} failed in {callback}: {error!r}"
        return HandlerFailed(text, error)

    def _report(self, installed: _Installed, callback: str, error: Exception) -> None:
        emit(_CRASHED.name, path=self.path, handler=installed.id, callback=callback, error=error)
