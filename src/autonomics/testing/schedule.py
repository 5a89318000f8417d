"""Trio's choices drawn from a seed: a run in another order, and the same run once more."""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from importlib import import_module
from random import Random
from typing import Any, Generic, TypeVar, cast

import attrs
import trio
from trio.abc import Clock
from trio.testing import MockClock

T = TypeVar("T")
S = TypeVar("S")

_SCHEDULER: dict[str, Any] = import_module("trio._core._run").__dict__
_IS_SORTED = "_ALLOW_DETERMINISTIC_SCHEDULING"  # before it is shuffled, so that a seed is enough
_RANDOM: Random = _SCHEDULER["_r"]


@contextmanager
def seeded_schedule(seed: int) -> Generator[None]:
    """Draw the order of tasks in the runs of a `with` block from a seed, and add it to any error.

    Trio shuffles the tasks that are ready at the same time. It has no public way to repeat that;
    this is what its own tests and its plugin for hypothesis do. Threads and real sockets stay as
    random as they are.
    """
    before, state = _SCHEDULER[_IS_SORTED], _RANDOM.getstate()
    _SCHEDULER[_IS_SORTED] = True
    _RANDOM.seed(seed)
    try:
        yield
    except BaseException as error:
        error.add_note(_name(seed))
        raise
    finally:
        _SCHEDULER[_IS_SORTED] = before
        _RANDOM.setstate(state)


def run_seeded(main: Callable[[], Awaitable[T]], seed: int, *, clock: Clock | None = None) -> T:
    """Run an async function under `seeded_schedule`, on a virtual clock that jumps when idle."""
    with seeded_schedule(seed):
        return trio.run(main, clock=clock or MockClock(autojump_threshold=0))


def _name(seed: int) -> str:
    return f"the schedule of trio's tasks: seed={seed}"


@attrs.frozen
class Done(Generic[T]):
    """How one step ended."""

    result: T | None = None
    error: Exception | None = None


class SteppedRun(Generic[S]):
    """A seeded run that stands still between the steps of a synchronous test.

    For a state machine of hypothesis: what `open_place` opens lives from one rule to the next, and
    nothing happens in it, nor does its clock move, but while `step` runs. It has a thread of its
    own, and only one of the two ever runs.
    """

    def __init__(self, open_place: Callable[[], AbstractAsyncContextManager[S]], seed: int) -> None:
        self._open_place = open_place
        self._seed = seed
        self._jobs: queue.SimpleQueue[Callable[[S], Awaitable[Any]] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Done[Any] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"seeded run {seed}")
        self._thread.start()

    def step(self, do: Callable[[S], Awaitable[T]]) -> T:
        """Run an async function on the place until its end; raises what it raises.

        If the run ends meanwhile its error is raised, and RuntimeError for steps after the end.
        """
        if not self._thread.is_alive():
            raise RuntimeError(f"expected the seeded run {self._seed} to be open, got a closed one")
        self._jobs.put(do)
        done: Done[T] | None = self._done.get()
        if done is None:
            self._join()
            raise RuntimeError(f"the seeded run {self._seed} ended during a step")
        if done.error is not None:
            raise done.error
        return cast("T", done.result)

    def close(self) -> None:
        """Leave the place and end the run; raises what that raises. May be repeated."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._join()

    def _join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            run_seeded(self._serve, self._seed)
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits for it
            self._error = error
        finally:
            self._done.put(None)

    async def _serve(self) -> None:
        async with self._open_place() as place:
            while (do := self._jobs.get()) is not None:
                try:
                    done = Done(await do(place))
                except Exception as error:  # noqa: BLE001 - as above
                    error.add_note(_name(self._seed))
                    done = Done[Any](error=error)
                self._done.put(done)
