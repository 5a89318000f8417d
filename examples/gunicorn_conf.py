"""Gunicorn for the Flask and the Django example: one tree in each worker."""

from __future__ import annotations

import trio

from shop_portal import close_portal, get_portal

workers = 2
threads = 24

# Who still waits when the service stops holds it up for as long.
graceful_timeout = 5


def post_fork(_server: object, _worker: object) -> None:
    """Open it before the first request; if the tree can't start, neither does the service.

    One that was opened before the fork, by an import under `--preload`, is refused here.
    """
    get_portal().run(trio.lowlevel.checkpoint)


def worker_exit(_server: object, _worker: object) -> None:
    """Close it when the worker has answered what it had begun."""
    close_portal()
