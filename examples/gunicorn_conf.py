"""Gunicorn for the Flask and the Django example: one tree in each worker."""

from __future__ import annotations

import trio

from shop_portal import close_portal, get_portal
from shop_stock import PATIENCE_S

workers = 2
threads = 24

# Longer than any request may wait: gunicorn gives a worker no more time than the worker gives its
# requests, and what still runs then is killed, with no end for the actors.
graceful_timeout = PATIENCE_S + 10


def post_fork(_server: object, _worker: object) -> None:
    """Open it before the first request; if the tree can't start, neither does the service.

    One that was opened before the fork, by an import under `--preload`, is refused here.
    """
    get_portal().run(trio.lowlevel.checkpoint)


def worker_exit(_server: object, _worker: object) -> None:
    """Close it when the worker has answered what it had begun."""
    close_portal()
