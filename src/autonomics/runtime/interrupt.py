"""Signals as stop requests: the first stops the tree in order, the second ends the process."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import trio

from autonomics.telemetry import emit

if TYPE_CHECKING:
    from autonomics.runtime.host import Runtime


async def obey_signals(
    runtime: Runtime, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Receive SIGINT and SIGTERM for the runtime until cancelled.

    With a receiver no child ever sees KeyboardInterrupt. A tree whose child shields itself for
    ever can't be stopped at all, so the second signal says what is stuck and leaves by `os._exit`:
    nothing gentler gets past a task that will not end.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if runtime.interrupted_by is None:
                runtime.interrupt(signal.Signals(number).name)
            else:  # pragma: no cover - see _leave
                _leave(runtime, 128 + number)


def _leave(runtime: Runtime, exit_code: int) -> NoReturn:  # pragma: no cover
    # Not covered, since it ends the process: its test runs it in another one.
    paths = tuple(ref.path for ref in runtime.living())
    emit("runtime.forced_exit", paths=paths, exit_code=exit_code)
    listing = "".join(f"  {path}\n" for path in paths)
    sys.stderr.write(f"autonomics: second signal, giving up on these:\n{listing}")
    sys.stderr.flush()
    os._exit(exit_code)
