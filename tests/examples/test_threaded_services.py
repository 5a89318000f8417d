"""Flask and Django with a thread per request: on servers of their own and on a real gunicorn."""

from __future__ import annotations

import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .server_process import ServerProcess, python, serving, tool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")

COMMANDS = {
    "flask": python("flask_service.py", "0"),
    "django": python("django_service.py", "0"),
    "gunicorn": [
        *tool("gunicorn", "--config", "gunicorn_conf.py", "--bind", "127.0.0.1:0"),
        *("--no-control-socket", "--workers", "1", "django_service:application"),
    ],
}


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest) -> Generator[ServerProcess]:
    with serving(COMMANDS[request.param]) as running:
        yield running


def test_a_request_goes_into_the_tree_and_from_there_back_into_the_host(
    server: ServerProcess,
) -> None:
    assert server.ask("POST", "/take/4") == (200, {"left": 6})
    assert not server.count("ordered")
    assert server.ask("POST", "/take/4") == (200, {"left": 2})
    server.wait_for("ordered 8")
    assert server.ask("POST", "/deliver/8")[0] == 202
    assert server.ask("GET", "/wait/10") == (200, {"there": 10})
    assert server.stop() == 0
    assert server.count("locked up with 10 left") == 1


def test_twenty_threads_wait_in_the_tree_at_once(server: ServerProcess) -> None:
    with ThreadPoolExecutor(20) as clients:
        waits = [clients.submit(server.ask, "GET", "/wait/15") for _ in range(20)]
        server.wait_for("somebody waits for 15", 20)
        assert not server.count("and is gone")
        with ThreadPoolExecutor(1) as another:  # no thread of the server is free for it
            delivery = another.submit(server.ask, "POST", "/deliver/5")
            answers = [wait.result() for wait in waits]
            assert delivery.result()[0] == 202
    assert answers == [(200, {"there": 15})] * 20


@pytest.mark.parametrize("app", ["flask", "django"])
def test_who_still_waits_is_let_go_when_the_service_stops(app: str) -> None:
    with serving(COMMANDS[app]) as server:
        client = server.open()
        client.request("GET", "/wait/99")
        server.wait_for("somebody waits for 99")
        assert server.stop() == 0
        client.close()
        server.wait_for("and is gone")
        assert server.count("locked up with 10 left") == 1


def test_an_error_keeps_the_frames_of_the_actor(server: ServerProcess) -> None:
    assert server.ask("POST", "/take/11")[0] == 500
    server.wait_for(r"in handle_call\n.*\nLookupError: 11 pieces wanted, 10 there")
    server.wait_for(r"in take\n")
    server.wait_for(r"ActorDied: shop/stock ended before it replied")
    assert server.ask("POST", "/take/1") == (200, {"left": 9})
