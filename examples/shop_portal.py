"""The one portal of a process that serves requests by threads, under whatever server.

Opened on first use, or by a hook of the server; always after a fork, for threads don't survive one.
"""

from __future__ import annotations

import atexit
import threading
from contextlib import ExitStack
from typing import NoReturn

from autonomics.runtime import ThreadPortal, open_in_thread
from shop_stock import make_setup

_lock = threading.Lock()
_stack = ExitStack()
_opened: list[ThreadPortal] = []


def order(pieces: int) -> str:
    """Order pieces, by whatever blocks; it has a thread for that."""
    return f"ordered {pieces}"


def get_portal() -> ThreadPortal:
    """Return the portal, open."""
    with _lock:
        if not _opened:
            _opened.append(_stack.enter_context(open_in_thread(make_setup(order))))
            # For where no hook of the server closes it; twice does no harm.
            atexit.register(close_portal)
        return _opened[0]


def close_portal() -> None:
    """Stop the tree in order, and wait for its end."""
    _stack.close()


def leave(_number: int, _frame: object) -> NoReturn:
    """End the program in order; for SIGTERM."""
    raise SystemExit(0)
