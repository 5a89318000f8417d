"""Asynchronous requests: a call whose sender goes on and asks for the reply later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import attrs
import trio
from outcome import Error, Outcome, Value

from autonomics.errors import CallFailed, CallTimedOut, InvalidInput, NoSuchActor
from autonomics.runtime.context import CURRENT, current_trace
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.interface import AnswersCall, Question
from autonomics.runtime.mailbox import CALL
from autonomics.runtime.promise import Promise, check_wait
from autonomics.runtime.ref import ActorRef, Address
from autonomics.runtime.reply import ReplyTo

M = TypeVar("M")
R = TypeVar("R")
L = TypeVar("L")


class Request(Generic[R]):
    """A call that has been sent; its reply is asked for by `wait` or `receive`, from any task.

    Whatever `call` would raise is raised there, and there only. The reply stays: asking a second
    time gives the same. If an actor sent it, it is abandoned when that actor ends.
    """

    __slots__ = ("_message", "_sender", "_slot", "_target", "promise")

    def __init__(self, target: str, message: Question[Any, R]) -> None:
        self.promise: Promise[Value[R] | Error] = Promise()
        self._target = target
        self._message = type(message).__name__
        self._sender = CURRENT.get()
        self._slot: _RequestSlot | None = None

    def __repr__(self) -> str:
        state = "answered" if self.is_answered else "pending"
        return f"<Request {self._message} to {self._target} {state}>"

    @property
    def is_answered(self) -> bool:
        """True when `wait` has something to return or to raise."""
        return self.promise.is_kept

    async def wait(self, timeout_s: float = 5.0) -> R:
        """Return the reply; CallTimedOut leaves the request valid, to be waited for again."""
        with nullcontext() if self._slot is None else self._slot.awaited():
            if not await self.promise.wait(timeout_s):
                raise self.timed_out(timeout_s)
        # Not by `unwrap`, which an outcome allows but once.
        result = self.promise.value
        if isinstance(result, Value):
            return result.value
        raise result.error

    async def receive(self, timeout_s: float = 5.0) -> R:
        """Return the reply; CallTimedOut abandons the request."""
        try:
            return await self.wait(timeout_s)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Want the reply no more: it is dropped and counted when it comes. Fine if answered.

        Who waits for it in another task gets CallFailed.
        """
        if not self.is_answered:
            assert self._slot is not None
            self._slot.close()
            self.keep(Error(CallFailed(f"{self._message} to {self._target} was abandoned")))

    # For this room

    def send(self, callee: Incarnation, message: Question[Any, R]) -> None:
        """Put it into the mailbox; called once."""
        slot = self._slot = _RequestSlot(callee, message, self.keep)
        if self._sender is not None:
            self._sender.traces[self] = self.abandon
        try:
            _post(callee, message, slot)
        except CallFailed as failure:
            slot.fail(failure)

    def keep(self, result: Value[Any] | Error) -> None:
        """Take the reply, or what there is instead."""
        if self._sender is not None:
            self._sender.traces.pop(self, None)
        self.promise.keep(result)

    def timed_out(self, timeout_s: float) -> CallTimedOut:
        """Word the error."""
        return CallTimedOut(f"{self._target} gave no reply to {self._message} in {timeout_s} s")


def send_request(address: Address[AnswersCall[M]], message: Question[M, R]) -> Request[R]:
    """Send a call without waiting; what fails is told by `wait` and `receive`.

    It keeps its place in the order of what the sender sends to this actor. Nobody is waiting yet,
    so an actor may ask itself, and may ask who asks it; only to wait there is refused, with
    CallingSelf or WouldDeadlock.
    """
    try:
        ref = address if isinstance(address, ActorRef) else address.resolve()
    except NoSuchActor as failure:
        request = Request(str(address), message)
        request.keep(Error(failure))
        return request
    request = Request(ref.path, message)
    request.send(ref.incarnation, message)
    return request


@attrs.frozen
class Replied(Generic[L, R]):
    """The reply to one request of a collection."""

    label: L
    reply: R


@attrs.frozen
class RequestFailed(Generic[L]):
    """Why one request of a collection has no reply: what `call` would have raised."""

    label: L
    error: BaseException


Response = Replied[L, R] | RequestFailed[L]


class RequestCollection(Generic[L, R]):
    """Requests under labels of one's own; their responses come in the order of completion."""

    def __init__(self) -> None:
        self._pending: dict[Request[R], tuple[L, Callable[[], None]]] = {}
        self._ready: deque[Request[R]] = deque()
        self._news = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many responses are still to be had."""
        return len(self._pending)

    def send(
        self, label: L, address: Address[AnswersCall[M]], message: Question[M, R]
    ) -> Request[R]:
        """Send a request and add it."""
        request = send_request(address, message)
        self.add(label, request)
        return request

    def add(self, label: L, request: Request[R]) -> None:
        """Add a request that has been sent; labels need not be unique."""
        if request in self._pending:
            raise InvalidInput.expected("request", "one that is not in the collection", request)

        def note() -> None:
            self._ready.append(request)
            self._news.unpark_all()

        self._pending[request] = (label, note)
        request.promise.when_kept(note)

    async def wait(self, timeout_s: float = 5.0) -> Response[L, R] | None:
        """Take the next response; None if there is none to be had.

        CallTimedOut leaves all requests valid, to be waited for again.
        """
        if not self._pending:
            await trio.lowlevel.checkpoint()
            return None
        if not await self._until_ready(timeout_s):
            raise CallTimedOut(f"none of {len(self)} requests was answered in {timeout_s} s")
        return self._take_ready()

    def receive(self, timeout_s: float = 5.0) -> Responses[L, R]:
        """Take all responses, by `async for`, until a common deadline.

        What is not answered by then is abandoned, and its response is a CallTimedOut.
        """
        return Responses(self, timeout_s)

    def abandon(self) -> None:
        """Abandon and forget all that is not answered."""
        while (late := self._take_late()) is not None:
            late[1].abandon()

    async def _until_ready(self, timeout_s: float) -> bool:
        if self._ready:
            await trio.lowlevel.checkpoint()
            return True
        with trio.move_on_after(timeout_s):
            while not self._ready:
                await self._news.park()
        return bool(self._ready)

    def _take_ready(self) -> Response[L, R]:
        request = self._ready.popleft()
        label, _ = self._pending.pop(request)
        result = request.promise.value
        if isinstance(result, Value):
            return Replied(label, result.value)
        return RequestFailed(label, result.error)

    def _take_late(self) -> tuple[L, Request[R]] | None:
        for request, (label, note) in self._pending.items():
            if not request.is_answered:
                request.promise.forget(note)
                del self._pending[request]
                return label, request
        return None

    async def next_by(self, deadline_s: float, timeout_s: float) -> Response[L, R] | None:
        """Take the next response or, after the deadline, the next that is late."""
        if not self._pending:
            await trio.lowlevel.checkpoint()
            return None
        if await self._until_ready(max(0.0, deadline_s - trio.current_time())):
            return self._take_ready()
        late = self._take_late()
        assert late is not None
        label, request = late
        request.abandon()
        return RequestFailed(label, request.timed_out(timeout_s))


class Responses(Generic[L, R]):
    """Iterates over a collection; an object and no generator, so leaving the loop is safe."""

    def __init__(self, collection: RequestCollection[L, R], timeout_s: float) -> None:
        self._collection = collection
        self._timeout_s = timeout_s
        self._deadline_s = trio.current_time() + timeout_s

    def __aiter__(self) -> Responses[L, R]:
        return self

    async def __anext__(self) -> Response[L, R]:
        response = await self._collection.next_by(self._deadline_s, self._timeout_s)
        if response is None:
            raise StopAsyncIteration
        return response


class _RequestSlot(ReplyTo):
    """The slot of a caller that does not sleep: what fills it is kept.

    It has a `caller`, and with it an edge of who waits for whom, only while somebody waits.
    """

    _is_released = False

    def __init__(
        self, callee: Incarnation, message: object, keep: Callable[[Value[Any] | Error], None]
    ) -> None:
        self.callee = callee
        self.message = message
        self._keep = keep
        callee.pending[self] = None

    @contextmanager
    def awaited(self) -> Generator[None]:
        """Show that the current actor waits, unless somebody else than the callee may answer."""
        waiter = CURRENT.get()
        if waiter is None or self.caller is not None or self._is_released or not self.is_open:
            yield
            return
        check_wait(waiter, self.callee)
        self.caller = waiter
        waiter.waits_for.append(self.callee)
        try:
            yield
        finally:
            super().release_caller()

    def release_caller(self) -> None:
        """Have no edge from now on, also if somebody waits only later."""
        self._is_released = True
        super().release_caller()

    def _fill(self, result: Outcome[object]) -> None:
        if not self.is_open:
            self.callee.runtime.late_replies += 1
            return
        assert isinstance(result, Value | Error)
        self.close()
        self._keep(result)


def _post(callee: Incarnation, message: object, slot: ReplyTo) -> None:
    """Do what a call does up to the point where its caller would fall asleep."""
    if not callee.is_alive:
        raise NoSuchActor(f"{callee.path} is not alive: {callee.exit_reason!r}")
    if not callee.behaviour.takes_mail:
        raise CallFailed(f"{callee.path} is a worker and answers no calls")
    mailbox = callee.mailbox
    envelope = (CALL, message, slot, current_trace())
    if mailbox.has_room or mailbox.find_room():
        mailbox.put(envelope)
    elif mailbox.spec.on_full == "block" and not mailbox.is_crowded:
        callee.note_overload()
        mailbox.put_when_room(envelope, slot)
    else:
        callee.make_room()
        mailbox.put(envelope)
