"""Task streams: one function over many items, some at a time, each item in a task of its own."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Generic, TypeVar, cast

import attrs
import trio

from autonomics.errors import InvalidInput
from autonomics.runtime import ActorRef, Address, Request, Shutdown, send_request
from autonomics.runtime.promise import shown_waiting
from autonomics.supervisors.spec import check_seconds
from autonomics.supervisors.task import (
    StartTask,
    Task,
    TaskOutcome,
    TaskRun,
    TaskSupervisor,
    name_of,
)

Item = TypeVar("Item")
T = TypeVar("T")

_END: Final = object()


@attrs.frozen
class StreamResult(Generic[Item, T]):
    """How the task of one item ended."""

    item: Item
    outcome: TaskOutcome[T]


class TaskStream(Generic[Item, T]):
    """Iterates over the results; made by `open_task_stream`.

    All of it happens in the step that asks for the next result: there is no feeder that runs ahead
    of its consumer, and no generator that could be left in the middle of a nursery.
    """

    def __init__(
        self,
        supervisor: Address[TaskSupervisor],
        function: Callable[[Item], Awaitable[T]],
        items: Iterable[Item],
        *,
        max_concurrency: int,
        ordered: bool,
        timeout_s: float,
        grace_s: float,
    ) -> None:
        self._supervisor = supervisor
        self._function = function
        self._items = iter(items)
        self._max_concurrency = max_concurrency
        self._ordered = ordered
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        # Invariant: what runs and what has ended but was not taken are together never more than
        # `max_concurrency`. That is the back-pressure.
        self._in_flight: dict[Task[T], Item] = {}
        self._starting: tuple[Item, Task[T], Request[ActorRef[TaskRun]]] | None = None
        self._ready: deque[Task[T]] = deque()
        self._news = trio.lowlevel.ParkingLot()

    def __aiter__(self) -> TaskStream[Item, T]:
        return self

    async def __anext__(self) -> StreamResult[Item, T]:
        await self._fill()
        if not self._in_flight:
            raise StopAsyncIteration
        task = await (self._await_first() if self._ordered else self._await_any())
        return StreamResult(self._in_flight.pop(task), task.promise.value)

    async def close(self) -> None:
        """End what still runs, and wait for that."""
        if self._starting is not None:
            self._starting[1].give_up()
        # Each confirm has its deadline, and whoever outlives it is a zombie that is reported.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for task in self._in_flight:
                    nursery.start_soon(task.incarnation.stop, Shutdown(), 0.0)

    async def _fill(self) -> None:
        while len(self._in_flight) < self._max_concurrency:
            if self._starting is None:
                item = next(self._items, _END)
                if item is _END:
                    return
                self._starting = self._send_start(cast("Item", item))
            item, task, request = self._starting
            try:
                await request.wait(math.inf)
            except Exception:
                self._starting = None
                raise
            # Not when cancelled: the next step then waits for the same start, and no item is lost.
            self._starting = None
            self._in_flight[task] = item
            task.go()
            if self._timeout_s != math.inf:
                task.limit(self._timeout_s)
            task.promise.when_kept(partial(self._note, task))

    def _send_start(self, item: Item) -> tuple[Item, Task[T], Request[ActorRef[TaskRun]]]:
        task = Task[T](None, linked=False, notify=False)
        run = partial(TaskRun, task, partial(self._function, item))
        message = StartTask(name_of(self._function), run, self._grace_s)
        return item, task, send_request(self._supervisor, message)

    def _note(self, task: Task[T]) -> None:
        self._ready.append(task)
        self._news.unpark()

    async def _await_first(self) -> Task[T]:
        task = next(iter(self._in_flight))
        with shown_waiting(task.incarnation):
            await task.promise.wait(math.inf)
        return task

    async def _await_any(self) -> Task[T]:
        while not self._ready:
            await self._news.park()
        return self._ready.popleft()


@asynccontextmanager
async def open_task_stream(
    supervisor: Address[TaskSupervisor],
    function: Callable[[Item], Awaitable[T]],
    items: Iterable[Item],
    *,
    max_concurrency: int,
    ordered: bool = True,
    timeout_s: float = 5.0,
    grace_s: float = 5.0,
) -> AsyncGenerator[TaskStream[Item, T]]:
    """Run `await function(item)` for each item as a task, and iterate over the results.

    `async with open_task_stream(...) as results: async for result in results: ...`

    Results come in the order of the items, or of their ends. A task that fails, or takes more than
    `timeout_s` seconds and is killed, is a result like any other. Items are taken one by one, when
    there is need: at most `max_concurrency` run or wait to be taken. Leaving the block, in whatever
    way, ends what still runs and waits for that.

    Iterating raises what taking an item raises, and what starting a task does.
    """
    if type(max_concurrency) is not int or max_concurrency < 1:
        raise InvalidInput.expected("max_concurrency", "an integer of at least 1", max_concurrency)
    check_seconds("timeout_s", timeout_s)
    stream = TaskStream(
        supervisor,
        function,
        items,
        max_concurrency=max_concurrency,
        ordered=ordered,
        timeout_s=timeout_s,
        grace_s=grace_s,
    )
    try:
        yield stream
    finally:
        await stream.close()
