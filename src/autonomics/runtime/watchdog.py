"""A thread that notices a loop that stands still, and says whose code it stands in.

Its way of asking costs the loop one callback per look and the messages nothing: whose step it is
stands in the frames of the loop's thread, which nobody reads unless the loop is late. It runs on
wall time, whatever clock trio has.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final

import attrs
import trio

from autonomics.errors import InvalidInput
from autonomics.runtime.context import CURRENT
from autonomics.runtime.frame import find_answered, find_handled, list_callers, show_frames
from autonomics.telemetry import emit

LOOKS: Final = 4
"""How often the thread looks within the time after which a loop counts as blocked."""

LEAST_S: Final = 0.01

# A listener may hang in the thread, and the end of a tree must not hang with it.
JOIN_S: Final = 1.0

_ANY_COROUTINE: Final = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


@asynccontextmanager
async def open_watchdog(blocked_after_s: float | None) -> AsyncGenerator[None]:
    """Watch the current trio loop for the length of an `async with` block; None watches nothing.

    A step that holds the loop for longer than `blocked_after_s` is reported while it lasts, by the
    event `runtime.blocked` from the thread of the watchdog; one shorter than three quarters of that
    never is, nor is a loop that is only busy with many short steps. A C call that keeps the GIL (a
    regular expression that backtracks) keeps this thread from running too, so it is reported when
    it returns, and on Linux alone.
    """
    if blocked_after_s is None:
        yield
        return
    watchdog = Watchdog(blocked_after_s)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.close()


@attrs.define(eq=False)
class _Beat:
    """A callback that the loop is asked to run."""

    sent_s: float
    answered_s: float | None = None

    def answer(self) -> None:
        self.answered_s = time.perf_counter()


@attrs.define(eq=False)
class _Block:
    """One step that the loop has been found in by one look after the other."""

    step: FrameType | None
    since_s: float
    looks: int = 0
    report_at_s: float = 0.0
    told: Blocker | None = None


@attrs.frozen
class Blocker:
    """Whose step it is: the fields of `runtime.blocked`."""

    path: str | None
    task: str
    message_type: str | None
    stack: tuple[str, ...]


class Watchdog:
    """The thread; made and closed in the loop's own."""

    def __init__(self, blocked_after_s: float) -> None:
        if not (LEAST_S <= blocked_after_s < math.inf):
            raise InvalidInput.expected(
                "blocked_after_s",
                f"a finite number of seconds, at least {LEAST_S}",
                blocked_after_s,
            )
        self._blocked_after_s = blocked_after_s
        self._every_s = blocked_after_s / LOOKS
        self._read_cpu_s = _cpu_clock()
        self._token = trio.lowlevel.current_trio_token()
        root = trio.lowlevel.current_root_task()
        assert root is not None
        self._root = root
        self._loop = threading.get_ident()
        self._pid = os.getpid()
        self._closed = threading.Event()
        # A daemon: a program that ends without closing its runtime must not wait for this.
        self._thread = threading.Thread(target=self._watch, name="autonomics-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, which sleeps almost always; in a forked process there is none."""
        if os.getpid() == self._pid:
            self._closed.set()
            self._thread.join(JOIN_S)

    def _watch(self) -> None:
        beat = _Beat(0.0, 0.0)
        block: _Block | None = None
        now_s, used_s = time.perf_counter(), self._read_cpu_s()
        while not self._closed.wait(self._every_s):
            slept_from_s, used_before_s = now_s, used_s
            now_s, used_s = time.perf_counter(), self._read_cpu_s()
            # While the loop's thread was at work this one could not run: a call kept the GIL.
            kept_s = min(now_s - slept_from_s - self._every_s, used_s - used_before_s)
            was_kept = kept_s >= self._blocked_after_s
            is_late = beat.answered_s is None
            if beat.answered_s is not None:
                _end(block, beat.answered_s)
                block, beat = None, _Beat(now_s - kept_s if was_kept else now_s)
            if is_late or was_kept:
                block = self._look(now_s, beat, block, looks=LOOKS if was_kept else 1)
            try:
                self._token.run_sync_soon(beat.answer, idempotent=True)
            except trio.RunFinishedError:
                break  # a loop that broke down, and never closed this
        _end(block, beat.answered_s)

    def _look(self, now_s: float, beat: _Beat, block: _Block | None, looks: int) -> _Block:
        """Count looks, not seconds: a process that was stopped meanwhile has blocked nothing."""
        frames, step = _frames_of(self._loop)
        if block is None:
            block = _Block(step, beat.sent_s)
        elif block.step is not step:
            _end(block, now_s)
            block = _Block(step, now_s)
        block.looks += looks
        for_s = now_s - block.since_s
        if block.looks >= LOOKS - 1 and for_s >= block.report_at_s:
            block.report_at_s = 2 * for_s
            block.told = self._find_blocker(frames, step)
            emit("runtime.blocked", **attrs.asdict(block.told, recurse=False), for_s=for_s)
        return block

    def _find_blocker(self, frames: list[FrameType], step: FrameType | None) -> Blocker:
        if step is None:
            return Blocker(None, "host", None, show_frames(frames))
        task = next((t for t in _list_tasks(self._root) if t.coro.cr_frame is step), None)
        owner = None if task is None else task.context.get(CURRENT)
        handled = find_handled(frames)
        # The innermost counts: who answers on its caller's stack blocks, not the caller.
        for place in range(len(frames) - 1, -1, -1):
            answered = find_answered(frames[place])
            if answered is not None:
                (owner, handled), frames = answered, frames[place:]
                break
        return Blocker(
            path=None if owner is None else owner.path,
            task="unknown" if task is None else task.name,
            message_type=None if handled is None else type(handled.message).__qualname__,
            stack=show_frames(frames),
        )


def _cpu_clock() -> Callable[[], float]:
    """Return what tells how long the current thread has been at work, from any thread."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: 0.0
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def read() -> float:
        try:
            return time.clock_gettime(clock)
        except OSError:  # the thread has ended
            return 0.0

    return read


def _end(block: _Block | None, at_s: float | None) -> None:
    """Report the end of a block that was reported."""
    if block is not None and block.told is not None:
        until_s = time.perf_counter() if at_s is None else at_s
        told = block.told
        emit("runtime.unblocked", path=told.path, task=told.task, for_s=until_s - block.since_s)


def _frames_of(thread: int) -> tuple[list[FrameType], FrameType | None]:
    """Read the frames of trio's present step, the outermost first, and that one once more.

    It is the frame of the task's coroutine, and stands for the step: trio runs each task once per
    turn, and a turn of the loop answers. Where trio runs no step, these are the frames of whatever
    the thread does, and None.
    """
    frames = list_callers(sys._current_frames().get(thread))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - public by its documentation
    for place, frame in enumerate(frames):
        if frame.f_code.co_name == "unrolled_run" and frame.f_globals["__name__"].startswith(
            "trio"
        ):
            step = frames[place + 1 :]
            is_step = bool(step) and bool(step[0].f_code.co_flags & _ANY_COROUTINE)
            return step, step[0] if is_step else None
    return frames, None


def _list_tasks(root: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    # Trio hands out copies, each made in one step of the interpreter.
    found = [root]
    for task in found:
        for nursery in task.child_nurseries:
            found.extend(nursery.child_tasks)
    return found
