"""Signals as stop requests: the first stops the tree in order, the second ends the process."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from autonomics.runtime.frame import list_callers, show_frames
from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def obey_signals(
    runtime: Runtime, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Receive SIGINT and SIGTERM for the runtime until cancelled.

    With a receiver no child ever sees KeyboardInterrupt. A tree whose child shields itself for
    ever can't be stopped at all, so the second signal says what is stuck and leaves by `os._exit`:
    nothing gentler gets past a task that will not end.
    """
    with trio.open_signal_receiver(*SIGNALS) as signals:
        _insist(runtime)
        task_status.started()
        async for number in signals:
            runtime.interrupt(signal.Signals(number).name)


def _insist(runtime: Runtime) -> None:
    """Take a second signal where it arrives: the loop, which hears of the first, may be blocked.

    The receiver takes its handlers back at its end, and these with them.
    """
    received: list[int] = []
    receivers = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        if received or runtime.interrupted_by is not None:  # pragma: no cover - see _leave
            _leave(runtime, 128 + number, frame)
        received.append(number)
        receive = receivers[signal.Signals(number)]
        assert callable(receive)
        receive(number, frame)

    for number in SIGNALS:
        signal.signal(number, handle)


def _leave(
    runtime: Runtime, exit_code: int, frame: FrameType | None
) -> NoReturn:  # pragma: no cover
    # Not covered, since it ends the process: its test runs it in another one.
    paths = tuple(ref.path for ref in runtime.living())
    emit("runtime.forced_exit", paths=paths, exit_code=exit_code)
    told = "autonomics: second signal, giving up on these:\n"
    told += "".join(f"  {path}\n" for path in paths)
    if runtime.interrupted_by is None:
        told += "the loop has not heard of the first, for it stands here:\n"
        told += "".join(f"  {line}\n" for line in show_frames(list_callers(frame)))
    # Not by sys.stderr, in the middle of whose own code the signal may have come.
    os.write(2, told.encode())
    os._exit(exit_code)
