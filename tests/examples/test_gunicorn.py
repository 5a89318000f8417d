"""A real gunicorn with several workers, each with a tree of its own; preloaded or not."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .server_process import ServerProcess, serving, tool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")

READY = """
from shop_stock import tell

def post_worker_init(worker):
    tell(f"ready: {worker.pid}")
"""
BY_HOOKS = f"from gunicorn_conf import *\n{READY}"
ON_FIRST_USE = f"threads = 4\nworkers = 2\n{READY}"

OPENED_EARLY = """
from shop_portal import get_portal
get_portal()
from flask_service import app
"""

Gunicorn = Callable[..., list[str]]


@pytest.fixture
def gunicorn(tmp_path: Path) -> Gunicorn:
    def command(conf: str, *args: str, app: str = "flask_service:app") -> list[str]:
        file = tmp_path / "conf.py"
        file.write_text(conf)
        return tool(
            "gunicorn",
            *("--config", str(file), "--bind", "127.0.0.1:0", "--no-control-socket"),
            *("--pythonpath", str(tmp_path), *args, app),
        )

    return command


def read_workers(server: ServerProcess, count: int = 2) -> list[int]:
    """Wait until so many workers serve, and obey signals; their process numbers."""
    return [int(number) for number in server.wait_for(r"ready: (\d+)", count)]


@pytest.mark.parametrize("args", [(), ("--preload",)])
def test_each_worker_opens_its_tree_after_the_fork_and_closes_it_at_its_exit(
    gunicorn: Gunicorn, args: tuple[str, ...]
) -> None:
    with serving(gunicorn(BY_HOOKS, *args)) as server:
        read_workers(server)
        assert server.ask("POST", "/take/1") == (200, {"left": 9})
        assert server.stop(signal.SIGTERM) == 0
        assert server.count("locked up with 9 left") == 1, server.text
        assert server.count("locked up with 10 left") == 1, server.text
        assert not server.count("Traceback")


def test_a_quick_stop_closes_the_trees_too(gunicorn: Gunicorn) -> None:
    """Without a request before it.

    Where the signal comes while a worker hands a request to a thread, gunicorn 27 waits in its
    signal handler for the lock that it has interrupted, until its master kills the worker.
    """
    with serving(gunicorn(BY_HOOKS)) as server:
        read_workers(server)
        assert server.stop(signal.SIGINT) == 0
        assert server.count("locked up with 10 left") == 2, server.text
        assert not server.count("Traceback")


def test_without_hooks_a_worker_opens_it_on_first_use(gunicorn: Gunicorn) -> None:
    with serving(gunicorn(ON_FIRST_USE, "--preload")) as server:
        read_workers(server)
        assert server.ask("POST", "/take/1") == (200, {"left": 9})
        assert server.stop() == 0
        assert server.count("locked up") == 1
        assert not server.count("Traceback")


def test_one_that_was_opened_before_the_fork_is_refused_by_the_hook(
    gunicorn: Gunicorn, tmp_path: Path
) -> None:
    (tmp_path / "early.py").write_text(OPENED_EARLY)
    with serving(gunicorn(BY_HOOKS, "--preload", app="early:app")) as server:
        assert server.wait() == 3
        server.wait_for("RuntimeUnusable: expected the runtime to be opened after the fork")
        server.wait_for("Worker failed to boot")
        assert server.count("locked up") == 1


def test_without_hooks_each_request_says_that_it_was_opened_before_the_fork(
    gunicorn: Gunicorn, tmp_path: Path
) -> None:
    (tmp_path / "early.py").write_text(OPENED_EARLY)
    with serving(gunicorn(ON_FIRST_USE, "--preload", app="early:app")) as server:
        read_workers(server)
        assert server.ask("POST", "/take/1")[0] == 500
        server.wait_for("RuntimeUnusable: expected the runtime to be opened after the fork")
        assert server.stop() == 0
        assert server.count("locked up with 10 left") == 1


def test_a_worker_that_is_replaced_closes_its_tree(gunicorn: Gunicorn) -> None:
    with serving(gunicorn(BY_HOOKS)) as server:
        os.kill(read_workers(server)[0], signal.SIGTERM)
        read_workers(server, 3)
        server.wait_for("locked up with 10 left")
        assert server.ask("POST", "/take/1") == (200, {"left": 9})
        assert server.stop() == 0
        assert server.count("locked up") == 3


def test_a_worker_answers_who_still_waits_before_it_closes_its_tree(gunicorn: Gunicorn) -> None:
    impatient = "import shop_stock\nshop_stock.PATIENCE_S = 1\n"
    with serving(gunicorn(BY_HOOKS + impatient, "--workers", "1")) as server:
        read_workers(server, 1)
        client = server.open()
        client.request("GET", "/wait/99")
        server.wait_for("somebody waits for 99")
        assert server.stop() == 0
        assert client.getresponse().status == 500
        client.close()
        server.wait_for(r"CallTimedOut: .*\n(?:.*\n)*locked up with 10 left")
