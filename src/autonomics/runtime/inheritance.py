"""What one life in a task may leave behind for the next one: nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from operator import attrgetter
from typing import Final

import trio

# Who holds a lock, which trio breaks when the holder's task ends.
_HOLDERS: Final[Container[trio.lowlevel.Task] | None] = getattr(
    sys.modules.get("trio._core._parking_lot"), "GLOBAL_PARKING_LOT_BREAKER", None
)
_find_innermost: Callable[[trio.lowlevel.Task | trio.CancelScope], object] = attrgetter(
    "_cancel_status"
)


def is_as_new(scope: trio.CancelScope) -> bool:
    """Decide whether the current task is as `scope`, its outermost, was entered: fit for another.

    A careless life may leave a nursery or a scope open, such as that of an async generator in whose
    loop it crashed, or a lock held: trio reports that at the end of a task. Scopes and locks it
    shows only privately. Where a release has other names for them nothing is fit, which costs time
    alone.
    """
    task = trio.lowlevel.current_task()
    try:
        return (
            _find_innermost(task) is _find_innermost(scope)
            and _HOLDERS is not None
            and task not in _HOLDERS
        )
    except AttributeError:
        return False
