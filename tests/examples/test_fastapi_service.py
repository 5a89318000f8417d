"""FastAPI on a real uvicorn, on both loops, asked by real clients."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest

from .server_process import EXAMPLES, ServerProcess, python, serving, tool


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Generator[ServerProcess]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    with serving(python("fastapi_service.py", "0", request.param)) as running:
        yield running


def test_a_request_goes_into_the_tree_and_from_there_back_into_the_host(
    server: ServerProcess,
) -> None:
    assert server.ask("POST", "/take/4") == (200, {"left": 6})
    assert not server.count("ordered")
    assert server.ask("POST", "/take/4") == (200, {"left": 2})
    server.wait_for("ordered 8")
    assert server.ask("POST", "/deliver/8") == (202, None)
    assert server.ask("GET", "/wait/10") == (200, {"there": 10})


def test_a_client_that_hangs_up_cancels_what_it_waits_for(server: ServerProcess) -> None:
    client = server.open()
    client.request("GET", "/wait/99")
    server.wait_for("somebody waits for 99")
    assert not server.count("and is gone")
    client.close()
    server.wait_for("and is gone")
    assert server.stop() == 0
    assert not server.count("Traceback")


def test_an_error_keeps_the_frames_of_the_actor(server: ServerProcess) -> None:
    assert server.ask("POST", "/take/11")[0] == 500
    server.wait_for(r"in handle_call\n.*\nLookupError: 11 pieces wanted, 10 there")
    server.wait_for(r"in take\n")
    server.wait_for(r"ActorDied: shop/stock ended before it replied")
    assert server.ask("POST", "/take/1") == (200, {"left": 9})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_tree_in_order(server: ServerProcess, number: int) -> None:
    assert server.ask("POST", "/take/1") == (200, {"left": 9})
    assert server.stop(number) == 0
    assert server.count("locked up with 9 left") == 1
    assert not server.count("Traceback")


def test_a_tree_that_is_lost_ends_who_waits_and_the_service(server: ServerProcess) -> None:
    client = server.open()
    client.request("GET", "/wait/99")
    server.wait_for("somebody waits for 99")
    for _ in range(4):
        assert server.ask("POST", "/take/11")[0] == 500
    assert client.getresponse().status == 500
    client.close()
    assert server.wait() == 1
    server.wait_for("ActorDied: shop, a root of the tree, ended")


def test_who_still_waits_is_cancelled_when_the_service_stops() -> None:
    """Under uvicorn's own command, which ends as it was asked to: by the signal."""
    app = ("--app-dir", str(EXAMPLES), "fastapi_service:app")
    limit = ("--timeout-graceful-shutdown", "1")
    with serving(tool("uvicorn", "--port", "0", *limit, *app), PYTHONUNBUFFERED="1") as server:
        client = server.open()
        client.request("GET", "/wait/99")
        server.wait_for("somebody waits for 99")
        assert server.stop() == -signal.SIGTERM
        client.close()
        server.wait_for("and is gone")
        assert server.count("locked up with 10 left") == 1
