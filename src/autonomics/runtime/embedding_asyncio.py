"""A runtime inside an asyncio service: trio as a guest of the running loop, in the same thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, overload

import attrs
import trio
from outcome import Error, Outcome

from autonomics.errors import RuntimeUnusable, TaskFailed
from autonomics.runtime.context import current_trace
from autonomics.runtime.embedding import HostedTree, Setup, conclude, run_traced
from autonomics.runtime.host import Runtime
from autonomics.runtime.interface import AnswersCall, Question, TakesCast
from autonomics.runtime.message import Call
from autonomics.runtime.reason import Shutdown
from autonomics.runtime.ref import Address

M = TypeVar("M")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@attrs.define(eq=False)
class Errand:
    """A trio function that runs for an asyncio task, which waits for the answer.

    An awaited future ends with the task's cancellation, so the event tells of the function's end.
    `asyncio.wait` would need no event, and makes each call slower.
    """

    answer: asyncio.Future[Outcome[Any]]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    outcome: Outcome[Any] | None = None

    def finish(self, outcome: Outcome[Any]) -> None:
        """Tell the task, in whatever way it waits."""
        self.outcome = outcome
        self.ended.set()
        if not self.answer.done():
            self.answer.set_result(outcome)


class AsyncioBridge:
    """The way from asyncio into the tree; see `open_in_asyncio`."""

    _loop: asyncio.AbstractEventLoop
    _context: contextvars.Context
    _done: asyncio.Future[Outcome[None]]
    _keeper: AsyncGenerator[None]

    def __init__(self, setup: Setup, stop_within_s: float, blocked_after_s: float | None) -> None:
        self._tree = HostedTree(setup, stop_within_s, self._run_in_host, blocked_after_s)
        self._errands: set[Errand] = set()
        self._host: asyncio.Task[Any] | None = None
        self._cancels_before = 0
        self._is_cut_off = False

    @property
    def runtime(self) -> Runtime:
        """The runtime. Its synchronous methods may be used here; what waits goes through `run`."""
        return self._tree.runtime

    @overload
    async def call(self, address: str, message: Call[R], timeout_s: float = 5.0) -> R: ...

    @overload
    async def call(
        self, address: Address[AnswersCall[M]], message: Question[M, R], timeout_s: float = 5.0
    ) -> R: ...

    async def call(self, address: str | Address, message: Any, timeout_s: float = 5.0) -> Any:
        """Ask an actor, by name or reference, and wait for the reply; see ActorRef.call."""
        self._check_usable()
        return await self.run(self._tree.find(address).call, message, timeout_s)

    @overload
    def cast(self, address: str, message: object) -> None: ...

    @overload
    def cast(self, address: Address[TakesCast[M]], message: M) -> None: ...

    def cast(self, address: str | Address, message: object) -> None:
        """Send to an actor, by name or reference, without waiting; see ActorRef.cast."""
        self._check_usable()
        self._tree.find(address).cast(message)

    async def run(self, function: Callable[[*Ts], Awaitable[R]], *args: *Ts) -> R:
        """Run a trio function beside the tree, such as `runtime.await_name`.

        If the asyncio task is cancelled, so is the function, and its end is waited for. Raises
        RuntimeUnusable if the tree is closed first.
        """
        self._check_usable()
        if trio.lowlevel.in_trio_task():
            raise RuntimeUnusable(
                "expected a call from asyncio, got one from an actor (it awaits `call` of the "
                "address)"
            )
        errand = Errand(self._loop.create_future())
        self._errands.add(errand)
        self._tree.calls.start_soon(self._carry, errand, function, args)
        try:
            outcome = await errand.answer
        except asyncio.CancelledError as asked:
            errand.scope.cancel(reason="the asyncio task was cancelled")
            while not errand.ended.is_set():
                with suppress(asyncio.CancelledError):
                    await errand.ended.wait()
            raise asked from getattr(errand.outcome, "error", None)
        return outcome.unwrap()  # type: ignore[no-any-return]

    async def __aenter__(self) -> Self:
        if trio.lowlevel.in_trio_run():
            raise RuntimeUnusable("expected one runtime per thread, got a second one")
        self._tree.open()
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()
        serving: asyncio.Future[None] = self._loop.create_future()
        trio.lowlevel.start_guest_run(
            self._tree.serve,
            partial(serving.set_result, None),
            run_sync_soon_threadsafe=self._loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=self._loop.call_soon,
            host_uses_signal_set_wakeup_fd=True,
            done_callback=self._end,
        )
        self._keeper = self._keep()
        await anext(self._keeper)
        try:
            either: set[asyncio.Future[Any]] = {serving, self._done}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._keeper.aclose()
            raise
        if self._done.done():
            await self._keeper.aclose()
            self._done.result().unwrap()
        self._host = asyncio.current_task()
        assert self._host is not None
        self._cancels_before = self._host.cancelling()
        self._done.add_done_callback(self._cut_off)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        own: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._tree.is_at_home():
            return
        host, self._host = self._host, None
        await self._keeper.aclose()
        if self._is_cut_off and host is not None:
            still_asked = host.uncancel() > self._cancels_before
            if isinstance(own, asyncio.CancelledError) and not still_asked:
                own = None
        conclude(getattr(self._done.result(), "error", None), own)

    async def _keep(self) -> AsyncGenerator[None]:
        """Stop the tree, at the latest with the generators of the loop, that is at its end.

        A host that opened the block by hand may never come to leave it; a guest that outlives its
        loop is lost, with all that its actors had to tidy.
        """
        try:
            yield
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """Stop the tree and wait for its end; a cancellation meanwhile makes it short."""
        self._tree.stop()
        cancelled: asyncio.CancelledError | None = None
        # In a forked process nothing drives the tree to its end.
        while self._tree.is_at_home() and not self._done.done():
            try:
                await asyncio.wait({self._done})
            except asyncio.CancelledError as error:
                cancelled = error
                self._tree.hurry()
        if cancelled is not None:
            raise cancelled

    def _end(self, outcome: Outcome[None]) -> None:
        self._tree.note_down()
        for errand in self._errands:  # pragma: no cover - trio broke down: tested in a process
            errand.finish(Error(self._tree.explain()))
        self._done.set_result(outcome)

    def _cut_off(self, _: object) -> None:
        if self._host is not None:
            self._is_cut_off = self._host.cancel("the tree is down")

    def _check_usable(self) -> None:
        self._tree.check_usable()
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:
            raise RuntimeUnusable(
                "expected a call from the event loop of the runtime, got one from another loop or "
                "thread (asyncio.run_coroutine_threadsafe leads there)"
            )

    async def _carry(
        self, errand: Errand, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        errand.finish(await self._tree.carry(errand.scope, function, args))
        self._errands.discard(errand)

    async def _run_in_host(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        # In the context of the host: with the actor's own, whatever the host starts there would
        # count as this actor's code for as long as it lives.
        task = self._loop.create_task(
            run_traced(function, args, current_trace()), context=self._context.copy()
        )
        ended = trio.Event()
        task.add_done_callback(lambda _: ended.set())
        try:
            await ended.wait()
        except trio.Cancelled:
            task.cancel("the actor was cancelled")
            with trio.CancelScope(shield=True):
                await ended.wait()
            if not task.cancelled():
                task.result()
            raise
        if task.cancelled():
            raise TaskFailed("the host cancelled the task of an actor", Shutdown("cancelled"))
        return task.result()


def open_in_asyncio(
    setup: Setup, *, stop_within_s: float = 60.0, blocked_after_s: float | None = None
) -> AsyncioBridge:
    """Open a runtime inside the running asyncio loop for the length of an `async with` block.

    `setup` starts the roots; what it raises comes out here. Leaving the block, by whatever way,
    stops the tree in order; a cancellation during the stop kills what is left of it. When a root
    of the setup crashes, is killed or gives up, the block is cancelled and ActorDied comes out of
    it. Signals stay with the host: asyncio.run turns SIGINT into a cancellation. With
    `blocked_after_s`, see `open_runtime`, code of the host that holds the loop is told of as host.
    """
    return AsyncioBridge(setup, stop_within_s, blocked_after_s)
