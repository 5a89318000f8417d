"""A runtime for synchronous programs: trio in a thread of its own, reached through a portal."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from inspect import iscoroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, overload

import trio

from autonomics.errors import InvalidInput, RuntimeUnusable
from autonomics.runtime.context import current_trace, tracing
from autonomics.runtime.embedding import HostedTree, Setup, conclude
from autonomics.runtime.host import Runtime
from autonomics.runtime.interface import AnswersCall, Question, TakesCast
from autonomics.runtime.message import Call
from autonomics.runtime.ref import Address

if TYPE_CHECKING:
    from outcome import Outcome

M = TypeVar("M")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class ThreadPortal:
    """The way from threads into the tree; see `open_in_thread`."""

    def __init__(self, setup: Setup, stop_within_s: float, blocked_after_s: float | None) -> None:
        self._tree = HostedTree(setup, stop_within_s, self._run_in_host, blocked_after_s)
        self._token: Future[trio.lowlevel.TrioToken] = Future()
        self._serving: Future[None] = Future()
        self._answers: set[Future[Outcome[Any]]] = set()
        self._failure: BaseException | None = None
        # Not anyio's start_blocking_portal: its `finally` talks to its thread, and would wait for
        # ever in a forked process, where there is none; and a call that meets its end leaves a
        # coroutine behind that was never awaited.
        self._thread = threading.Thread(target=self._live, name="autonomics", daemon=True)

    @property
    def runtime(self) -> Runtime:
        """The runtime: to be used inside `run` alone, for it belongs to its thread."""
        return self._tree.runtime

    @overload
    def call(self, address: str, message: Call[R], timeout_s: float = 5.0) -> R: ...

    @overload
    def call(
        self, address: Address[AnswersCall[M]], message: Question[M, R], timeout_s: float = 5.0
    ) -> R: ...

    def call(self, address: str | Address, message: Any, timeout_s: float = 5.0) -> Any:
        """Ask an actor, by name or reference, and wait for the reply; see ActorRef.call.

        Any thread may call, but the runtime's own: an actor awaits the call itself.
        """
        return self.run(self._call, address, message, timeout_s)

    @overload
    def cast(self, address: str, message: object) -> None: ...

    @overload
    def cast(self, address: Address[TakesCast[M]], message: M) -> None: ...

    def cast(self, address: str | Address, message: object) -> None:
        """Send to an actor, by name or reference; waits until it is in the mailbox or refused."""
        self.run(self._cast, address, message)

    def run(self, function: Callable[[*Ts], Awaitable[R]], *args: *Ts) -> R:
        """Run a trio function beside the tree, such as `runtime.await_name`.

        What a signal handler raises while this waits, such as KeyboardInterrupt, cancels it. Raises
        RuntimeUnusable if the tree is closed first.
        """
        self._tree.check_usable()
        self._check_thread()
        token, scope = self._token.result(), trio.CancelScope()
        answer: Future[Outcome[R]] = Future()

        def begin() -> None:
            if self._tree.is_serving():
                self._tree.calls.start_soon(self._carry, scope, answer, function, args)
            else:
                answer.cancel()

        self._answers.add(answer)
        try:
            token.run_sync_soon(contextvars.copy_context().run, begin)
            outcome = answer.result()
        except (trio.RunFinishedError, CancelledError):  # it has been closed since
            raise self._tree.explain() from None
        except BaseException:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(scope.cancel)
            raise
        finally:
            self._answers.discard(answer)
        return outcome.unwrap()

    def __enter__(self) -> Self:
        self._tree.open()
        try:
            self._thread.start()
            self._serving.result()
        except CancelledError:
            self._thread.join()
            assert self._failure is not None
            raise self._failure from None
        except BaseException:
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
            self._check_thread()
            self._stop()
            conclude(self._failure, own)

    def _stop(self) -> None:
        """Stop the tree and wait for its end; what a signal handler raises makes that short."""
        interrupt: BaseException | None = None
        step = self._tree.stop
        # Not `is_alive`, which is False while the interrupted start of a thread goes on.
        while self._thread in threading.enumerate():
            try:
                with suppress(trio.RunFinishedError, CancelledError):  # it is down already
                    self._token.result().run_sync_soon(step)
                self._thread.join()
            except BaseException as error:  # noqa: BLE001 - raised below, once the tree is down
                interrupt = error
                step = self._tree.hurry
        if interrupt is not None:
            raise interrupt

    def _check_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeUnusable(
                "expected a call from a thread of the host, got one from the runtime's own thread "
                "(an actor awaits `call` of the address)"
            )

    def _live(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the host
            self._failure = error
        self._tree.note_down()
        self._serving.cancel()  # whoever waits for the start waits in vain
        self._token.cancel()
        for answer in tuple(
            self._answers
        ):  # pragma: no cover - trio broke down: tested in a process
            answer.cancel()

    async def _serve(self) -> None:
        self._token.set_result(trio.lowlevel.current_trio_token())
        await self._tree.serve(partial(self._serving.set_result, None))

    async def _call(self, address: str | Address, message: Any, timeout_s: float) -> Any:
        return await self._tree.find(address).call(message, timeout_s)

    async def _cast(self, address: str | Address, message: object) -> None:
        self._tree.find(address).cast(message)

    async def _carry(
        self,
        scope: trio.CancelScope,
        answer: Future[Outcome[Any]],
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
    ) -> None:
        answer.set_result(await self._tree.carry(scope, function, args))

    async def _run_in_host(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        # As in a new thread, so without the context of the actor, whose code it would count as, or
        # of the request that happened to open the runtime and would be kept for ever.
        context, trace = contextvars.Context(), current_trace()

        def run() -> Any:
            return context.run(_run_traced, function, args, trace)

        return await trio.to_thread.run_sync(run)


def _run_traced(function: Callable[..., Any], args: tuple[Any, ...], trace: object) -> Any:
    with tracing(trace):
        answer = function(*args)
    if iscoroutine(answer):
        answer.close()
        raise InvalidInput.expected(
            "function", "a plain function, for this host has no event loop", function
        )
    return answer


def open_in_thread(
    setup: Setup, *, stop_within_s: float = 60.0, blocked_after_s: float | None = None
) -> ThreadPortal:
    """Open a runtime in a thread of its own for the length of a `with` block.

    `setup` starts the roots; what it raises comes out here. Leaving the block, by KeyboardInterrupt
    too, stops the tree in order; another KeyboardInterrupt kills what is left of it. When a root of
    the setup crashes, is killed or gives up, the tree stops, and ActorDied comes out of every call
    and of the block. Open it after a fork: in a forked process each use raises RuntimeUnusable. For
    `blocked_after_s` see `open_runtime`.
    """
    return ThreadPortal(setup, stop_within_s, blocked_after_s)
