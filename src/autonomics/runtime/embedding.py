"""The tree of a runtime that lives in another program, whatever drives that program."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, TypeVar, TypeVarTuple, overload

import trio

from autonomics.errors import ActorDied, RuntimeUnusable
from autonomics.runtime.context import tracing
from autonomics.runtime.host import Runtime, open_runtime
from autonomics.runtime.reason import Crash, ExitReason, Normal, Shutdown
from autonomics.runtime.ref import ActorRef, Address

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Setup = Callable[[Runtime], Awaitable[object]]
"""Starts the roots of a tree. The same function serves a trio program and every other host."""

HostRunner = Callable[[Callable[..., Any], tuple[Any, ...]], Awaitable[Any]]

_HOST: ContextVar[HostRunner | None] = ContextVar("autonomics_host", default=None)


@overload
async def run_in_host(function: Callable[[*Ts], Awaitable[R]], /, *args: *Ts) -> R: ...


@overload
async def run_in_host(function: Callable[[*Ts], R], /, *args: *Ts) -> R: ...


async def run_in_host(function: Callable[[*Ts], Any], /, *args: *Ts) -> Any:
    """Run a function of the host for an actor, and wait for what it returns or raises.

    In asyncio it is a coroutine function, run as a task of the loop, or a short plain one. A
    synchronous host runs a plain function in a thread of its own. A trio program awaits it here.
    An actor that is cancelled cancels the task and waits for its end; a thread it can only wait
    for. Raises TaskFailed if the host cancels the task.
    """
    runner = _HOST.get()
    if runner is None:
        answer = function(*args)
        return await answer if isawaitable(answer) else answer
    return await runner(function, args)


async def run_traced(function: Callable[..., Any], args: tuple[Any, ...], trace: object) -> Any:
    """Call a function, plain or async, as part of the work that asked for it."""
    with tracing(trace):
        answer = function(*args)
        return await answer if isawaitable(answer) else answer


class HostedTree:
    """A runtime with its roots, from their start until whoever hosts it wants it stopped."""

    runtime: Runtime
    calls: trio.Nursery

    def __init__(self, setup: Setup, stop_within_s: float, runner: HostRunner) -> None:
        self._setup = setup
        self._stop_within_s = stop_within_s
        self._runner = runner
        self._pid = os.getpid()
        self._block = trio.CancelScope()
        self._is_serving = False
        self._stop_asked = False
        self._lost: tuple[ActorRef, ExitReason] | None = None

    async def serve(self, serving: Callable[[], None]) -> None:
        """Start the tree, say so, and keep it until `stop`.

        Raises what the setup raises, ActorDied when a root ends by itself, and RuntimeUnusable
        when the runtime is interrupted.
        """
        self.enter()
        failure: BaseException | None = None
        # Around the runtime, so that calls still hear how their actors end.
        async with trio.open_nursery() as self.calls:
            try:
                async with open_runtime(stop_within_s=self._stop_within_s) as self.runtime:
                    with self._block:
                        await self._setup(self.runtime)
                        for root in self.runtime.roots():
                            self.calls.start_soon(self._watch, root)
                        self._is_serving = True
                        serving()
                        await trio.sleep_forever()
            except BaseException as error:  # noqa: BLE001 - raised below, outside the nursery
                failure = error
            self._is_serving = False
            self.calls.cancel_scope.cancel(reason="the tree is down")
        if failure is not None:
            raise failure
        if not self._stop_asked:
            raise self.explain()

    def enter(self) -> None:
        """Let `run_in_host` find the host from the current task and from those that it starts."""
        _HOST.set(self._runner)

    def stop(self) -> None:
        """Have the tree stopped in order; nothing is called or cast from here on."""
        if self._lost is None:
            self._stop_asked = True
        self._is_serving = False
        self._block.cancel(reason="the host stops the tree")

    def hurry(self) -> None:
        """Cancel what an ordered stop still waits for."""
        for ref in self.runtime.living():
            ref.kill("the host would not wait for the ordered stop")

    def check_usable(self) -> None:
        """Raise RuntimeUnusable in a forked process and when closed, ActorDied if a root died."""
        self.check_process()
        if not self._is_serving:
            raise self.explain()

    def check_process(self) -> None:
        """Raise RuntimeUnusable in another process than the one that opened the runtime."""
        if not self.is_at_home():
            raise RuntimeUnusable(
                f"expected the runtime to be opened after the fork, in process {os.getpid()}, "
                f"got one of process {self._pid} (gunicorn: open it in post_fork)"
            )

    def is_at_home(self) -> bool:
        """False in a process that was forked off the one that opened the runtime."""
        return os.getpid() == self._pid

    def find(self, address: str | Address) -> Address:
        """Take a string as a name."""
        return self.runtime.named(address) if isinstance(address, str) else address

    def explain(self) -> ActorDied | RuntimeUnusable:
        """Build the error that says why the tree does not serve."""
        if self._lost is None:
            interrupted_by = self.runtime.interrupted_by
            if interrupted_by is None:
                return RuntimeUnusable("expected the runtime to be open, got one that is closed")
            return RuntimeUnusable(f"the runtime was interrupted: {interrupted_by}")
        root, reason = self._lost
        error = ActorDied(f"{root.path}, a root of the tree, ended: {reason}", reason)
        if isinstance(reason, Crash):
            error.__cause__ = reason.error
        return error

    async def _watch(self, root: ActorRef) -> None:
        reason = await root.wait_down()
        # A supervisor that gives up says why in `info`; one that was asked to stop has none.
        expected = isinstance(reason, Normal) or reason == Shutdown()
        if self._is_serving and not expected:
            self._lost = (root, reason)
            self.stop()


def conclude(failure: BaseException | None, own: BaseException | None) -> None:
    """Raise how the tree ended, unless the host's block raises: then note it there."""
    if failure is None:
        return
    if own is None:
        raise failure
    own.add_note(f"the tree ended by {type(failure).__name__}: {failure}")
