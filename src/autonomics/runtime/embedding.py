"""The tree of a runtime that lives in another program, whatever drives that program."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any, Literal, TypeVar, TypeVarTuple, overload

import trio
from outcome import Error, Outcome, Value

from autonomics.errors import ActorDied, RuntimeUnusable
from autonomics.runtime.context import tracing
from autonomics.runtime.host import Runtime, open_runtime
from autonomics.runtime.reason import ExitReason, Normal, Shutdown, iter_leaves
from autonomics.runtime.ref import A, ActorRef, Address
from autonomics.runtime.reply import died_of

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Setup = Callable[[Runtime], Awaitable[object]]
"""Starts the roots of a tree. The same function serves a trio program and every other host."""

State = Literal["unopened", "starting", "serving", "closed"]

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

    calls: trio.Nursery

    def __init__(
        self,
        setup: Setup,
        stop_within_s: float,
        runner: HostRunner,
        blocked_after_s: float | None = None,
    ) -> None:
        self._setup = setup
        self._stop_within_s = stop_within_s
        self._blocked_after_s = blocked_after_s
        self._runner = runner
        self._pid: int | None = None
        self._runtime: Runtime | None = None
        self._block = trio.CancelScope()
        self._state: State = "unopened"
        self._stop_asked = False
        self._lost: tuple[ActorRef, ExitReason] | None = None
        self._roots: frozenset[ActorRef] = frozenset()

    @property
    def runtime(self) -> Runtime:
        """The runtime; raises RuntimeUnusable before there is one."""
        if self._runtime is None:
            raise self.explain()
        return self._runtime

    def open(self) -> None:
        """Belong to this process; raises RuntimeUnusable the second time."""
        self.check_process()
        if self._pid is not None:
            raise RuntimeUnusable(
                "expected a runtime to be opened once, got one that has been opened before"
            )
        self._pid = os.getpid()
        self._state = "starting"

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
                async with open_runtime(
                    stop_within_s=self._stop_within_s, blocked_after_s=self._blocked_after_s
                ) as runtime:
                    self._runtime = runtime
                    runtime.root_ended = self._note_end
                    with self._block:
                        await self._setup(runtime)
                        self._roots = frozenset(runtime.roots())
                        self._state = "serving"
                        serving()
                        await trio.sleep_forever()
            except BaseException as error:  # noqa: BLE001 - raised below, outside the nursery
                failure = error
            self.note_down()
            self.calls.cancel_scope.cancel(reason="the tree is down")
        if failure is not None:
            raise failure
        if not self._stop_asked:
            raise self.explain()

    def enter(self) -> None:
        """Let `run_in_host` find the host from the current task and from those that it starts."""
        _HOST.set(self._runner)

    def stop(self) -> None:
        """Have the tree stopped in order."""
        if self._lost is None:
            self._stop_asked = True
        self.note_down()
        self._block.cancel(reason="the host stops the tree")

    def note_down(self) -> None:
        """Let nothing be called or cast from here on."""
        self._state = "closed"

    def hurry(self) -> None:
        """Cancel what an ordered stop still waits for."""
        for ref in self.runtime.living():
            ref.kill("the host would not wait for the ordered stop")

    def check_usable(self) -> None:
        """Raise RuntimeUnusable in a forked process and unless open, ActorDied if a root died."""
        self.check_process()
        if not self.is_serving():
            raise self.explain()

    def is_serving(self) -> bool:
        """True from the end of the setup to the beginning of the stop."""
        return self._state == "serving"

    def check_process(self) -> None:
        """Raise RuntimeUnusable in another process than the one that opened the runtime."""
        if not self.is_at_home():
            raise RuntimeUnusable(
                f"expected the runtime to be opened after the fork, in process {os.getpid()}, "
                f"got one of process {self._pid} (gunicorn: open it in post_fork)"
            )

    def is_at_home(self) -> bool:
        """False in a process that was forked off the one that opened the runtime."""
        return self._pid in (None, os.getpid())

    def find(self, address: str | Address[A]) -> Address[A]:
        """Take a string as a name."""
        return self.runtime.named(address) if isinstance(address, str) else address

    def explain(self) -> ActorDied | RuntimeUnusable:
        """Build the error that says why the tree does not serve."""
        if self._lost is not None:
            root, reason = self._lost
            return died_of(f"{root.path}, a root of the tree, ended: {reason}", reason)
        if self._runtime is not None and self._runtime.interrupted_by is not None:
            return RuntimeUnusable(f"the runtime was interrupted: {self._runtime.interrupted_by}")
        return RuntimeUnusable(f"expected the runtime to be open, got one that is {self._state}")

    async def carry(
        self,
        scope: trio.CancelScope,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
    ) -> Outcome[Any]:
        """Run a function for the host, which may cancel it by `scope`; what it came to."""
        self.enter()
        try:
            with scope:
                return Value(await function(*args))
        except BaseException as error:  # noqa: BLE001 - raised in the host
            if all(isinstance(leaf, trio.Cancelled) for leaf in iter_leaves(error)):
                self.note_down()  # nobody else cancels it
                return Error(self.explain())
            return Error(error)
        return Value(None)  # nobody waits for it

    def _note_end(self, root: ActorRef, reason: ExitReason) -> None:
        """Stop the tree when one of the setup's roots is gone, also while it is set up."""
        # A supervisor that gives up says why in `info`; one that was asked to stop has none.
        expected = isinstance(reason, Normal) or reason == Shutdown()
        is_ours = self._state == "starting" or (self.is_serving() and root in self._roots)
        if is_ours and not expected:
            self._lost = (root, reason)
            self.stop()


def conclude(failure: BaseException | None, own: BaseException | None) -> None:
    """Raise how the tree ended, unless the host's block raises: then note it there."""
    if failure is None:
        return
    if own is None:
        raise failure
    own.add_note(f"the tree ended by {type(failure).__name__}: {failure}")
