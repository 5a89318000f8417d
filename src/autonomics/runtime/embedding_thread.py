"""A runtime for synchronous programs: trio in a thread of its own, reached through a portal."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple

import trio

from autonomics.errors import InvalidInput, RuntimeUnusable
from autonomics.runtime.context import current_trace, tracing
from autonomics.runtime.embedding import HostedTree, Setup, conclude
from autonomics.runtime.host import Runtime
from autonomics.runtime.message import Call
from autonomics.runtime.ref import Address

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class ThreadPortal:
    """The way from threads into the tree; see `open_in_thread`."""

    def __init__(self, setup: Setup, stop_within_s: float) -> None:
        self._tree = HostedTree(setup, stop_within_s, self._run_in_host)
        self._context = contextvars.copy_context()
        self._portal: Future[BlockingPortal] = Future()
        self._serving: Future[None] = Future()
        self._failure: BaseException | None = None
        # anyio's start_blocking_portal has a `finally` that talks to its thread; in a forked
        # process, where there is no such thread, it would wait for ever.
        self._thread = threading.Thread(target=self._live, name="autonomics", daemon=True)

    @property
    def runtime(self) -> Runtime:
        """The runtime: to be used inside `run` alone, for it belongs to its thread."""
        return self._tree.runtime

    def call(self, address: str | Address, message: Call[R], timeout_s: float = 5.0) -> R:
        """Ask an actor, by name or reference, and wait for the reply; see ActorRef.call.

        Any thread may call, but the runtime's own: an actor awaits the call itself.
        """
        return self.run(self._call, address, message, timeout_s)

    def cast(self, address: str | Address, message: object) -> None:
        """Send to an actor, by name or reference; waits until it is in the mailbox or refused."""
        self.run(self._cast, address, message)

    def run(self, function: Callable[[*Ts], Awaitable[R]], *args: *Ts) -> R:
        """Run a trio function beside the tree, such as `runtime.await_name`.

        A KeyboardInterrupt while waiting cancels it. Raises RuntimeUnusable if the tree is closed
        first.
        """
        self._tree.check_usable()
        if threading.current_thread() is self._thread:
            raise RuntimeUnusable(
                "expected a call from a thread of the host, got one from the runtime's own thread "
                "(an actor awaits `call` of the address)"
            )
        try:
            future = self._portal.result().start_task_soon(self._carry, function, args)
        except RuntimeError:  # it has been closed since
            raise self._tree.explain() from None
        try:
            value, error = future.result()
        except CancelledError:
            raise self._tree.explain() from None
        except KeyboardInterrupt:
            future.cancel()
            raise
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def __enter__(self) -> Self:
        self._tree.check_process()
        try:
            self._thread.start()
            self._serving.result()
        except CancelledError:
            self._thread.join()
            assert self._failure is not None
            raise self._failure from None
        except KeyboardInterrupt:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        own: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tree.is_at_home():
            self._stop()
            conclude(self._failure, own)

    def _stop(self) -> None:
        """Stop the tree and wait for its end; KeyboardInterrupt meanwhile makes it short."""
        interrupt: KeyboardInterrupt | None = None
        step = self._tree.stop
        # Not `is_alive`, which is False while the interrupted start of a thread goes on.
        while self._thread in threading.enumerate():
            try:
                with suppress(RuntimeError, CancelledError):  # it is down already
                    self._portal.result().start_task_soon(step)
                self._thread.join()
            except KeyboardInterrupt as error:
                interrupt = error
                step = self._tree.hurry
        if interrupt is not None:
            raise interrupt

    def _live(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the host
            self._failure = error
        self._serving.cancel()  # whoever waits for the start waits in vain
        self._portal.cancel()

    async def _serve(self) -> None:
        from anyio.from_thread import BlockingPortal

        failure: BaseException | None = None
        async with BlockingPortal() as portal:
            self._portal.set_result(portal)
            try:
                await self._tree.serve(partial(self._serving.set_result, None))
            except BaseException as error:  # noqa: BLE001 - raised below, outside the portal
                failure = error
            await portal.stop(cancel_remaining=True)
        if failure is not None:
            raise failure

    async def _call(self, address: str | Address, message: Call[R], timeout_s: float) -> R:
        return await self._tree.find(address).call(message, timeout_s)

    async def _cast(self, address: str | Address, message: object) -> None:
        self._tree.find(address).cast(message)

    async def _carry(
        self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> tuple[Any, BaseException | None]:
        self._tree.enter()
        try:
            return await function(*args), None
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            return None, error

    async def _run_in_host(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if iscoroutinefunction(function):
            raise InvalidInput.expected(
                "function", "a plain function, for this host has no event loop", function
            )
        # In the context of the host, not of the actor: a call back is the host's.
        context, trace = self._context.copy(), current_trace()

        def run() -> Any:
            return context.run(_run_traced, function, args, trace)

        return await trio.to_thread.run_sync(run)


def _run_traced(function: Callable[..., Any], args: tuple[Any, ...], trace: object) -> Any:
    with tracing(trace):
        return function(*args)


def open_in_thread(setup: Setup, *, stop_within_s: float = 60.0) -> ThreadPortal:
    """Open a runtime in a thread of its own for the length of a `with` block.

    `setup` starts the roots; what it raises comes out here. Leaving the block, by KeyboardInterrupt
    too, stops the tree in order; another KeyboardInterrupt kills what is left of it. When a root of
    the setup crashes, is killed or gives up, the tree stops, and ActorDied comes out of every call
    and of the block. Open it after a fork: in a forked process each use raises RuntimeUnusable.
    """
    return ThreadPortal(setup, stop_within_s)
