"""The servers as children of a tree."""

from __future__ import annotations

import os
import socket
import stat
import tarfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
import trio
from quart_trio import QuartTrio

from autonomics.actors.control_plane import ControlPlane
from autonomics.errors import CommandFailed, StartFailed
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.http.client import open_client
from autonomics.http.server import ControlSocket, HttpServer
from autonomics.http.socket_path import NAME, is_serving
from autonomics.runtime import Crash, open_runtime
from autonomics.testing.door import House, Served, serve
from autonomics.testing.memory_control_plane import MemoryControlPlane

SIGNAL = {"severity": "ERROR"}


def control_app(control: ControlPlane) -> Callable[[], QuartTrio]:
    return partial(create_app, control, principal=SOCKET_PRINCIPAL)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder whose path no socket address can hold."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    return folder


async def until_received(memory: MemoryControlPlane) -> None:
    """Return once acme's signal is in."""
    tenant = await memory.tenant("acme")
    assert tenant is not None
    while not any(row.kind == "received" for row in await memory.receipts(tenant.handle, 0, 9)):
        await trio.lowlevel.checkpoint()


def cause_of(failed: pytest.ExceptionInfo[StartFailed]) -> BaseException:
    reason = failed.value.reason
    assert isinstance(reason, Crash)
    return reason.error


async def test_a_request_in_flight_at_the_stop_is_answered(
    served: Served, memory: MemoryControlPlane
) -> None:
    memory.deciding = trio.Event()
    answers: list[int] = []

    async def post() -> None:
        async with served.client("tenant") as client:
            answers.append((await client.post("/v1/signals", json=SIGNAL)).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        await until_received(memory)
        nursery.start_soon(served.ref.stop)
        # Nobody new gets in, while the one that is in waits for its decision.
        while True:
            try:
                async with await served.connect():
                    await trio.lowlevel.checkpoint()
            except OSError:
                break
        assert served.ref.is_alive()
        assert not answers
        memory.deciding.set()
    assert answers == [200]
    assert not served.ref.is_alive()


async def test_a_request_that_outlives_the_drain_is_cut_off(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    memory.deciding = trio.Event()
    async with serve(memory_house, drain_s=0.05) as served:
        key = memory_house.keys["tenant"].encode()
        async with await served.connect() as stream:
            await stream.send_all(
                b"POST /v1/signals HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"authorization: Bearer " + key + b"\r\ncontent-length: 2\r\n\r\n{}"
            )
            await until_received(memory)
            await served.ref.stop()
            assert await stream.receive_some() == b""
    assert not served.ref.is_alive()


async def test_a_port_in_use_is_one_clear_line(served: Served) -> None:
    async with open_runtime() as runtime:
        make_app = partial(create_app, served.house.control)
        with pytest.raises(StartFailed) as failed:
            await runtime.start(
                lambda: HttpServer(make_app, host="127.0.0.1", port=served.port), name="second"
            )
    error = cause_of(failed)
    assert isinstance(error, CommandFailed)
    assert str(error) == f"can't listen on 127.0.0.1:{served.port}: address already in use"


async def test_a_host_that_is_not_ours_is_one_clear_line(memory: MemoryControlPlane) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(StartFailed) as failed:
            await runtime.start(
                lambda: HttpServer(partial(create_app, memory), host="192.0.2.1", port=0),
                name="http",
            )
    assert "can't listen on 192.0.2.1:0: " in str(cause_of(failed))


async def test_a_server_can_be_started_again_on_its_port(
    served: Served, memory: MemoryControlPlane
) -> None:
    await served.ref.stop()
    async with open_runtime() as runtime:
        make_app = partial(create_app, memory)
        await runtime.start(
            lambda: HttpServer(make_app, host="127.0.0.1", port=served.port), name="again"
        )
        async with served.client() as client:
            assert (await client.get("/health/live")).status_code == 200


async def test_the_control_socket_is_the_operators_and_the_owners_alone(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    async with open_runtime() as runtime:
        ref = await runtime.start(
            lambda: ControlSocket(control_app(memory), path=path), name="socket"
        )
        mode = path.lstat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        async with open_client(path) as client:
            created = await client.post("/v1/tenants", {"id": "acme"})
            assert created["tenant"]["id"] == "acme"
            rows = await client.get("/v1/receipts", log="platform")
            assert b"control-socket" in repr(rows).encode()
        assert ref.is_alive()
        await ref.stop()
        assert not path.exists()
        assert not await is_serving(path)


async def test_the_mask_of_the_process_is_left_as_it_was(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    before = os.umask(0o022)
    try:
        async with open_runtime() as runtime:
            await runtime.start(
                lambda: ControlSocket(control_app(memory), path=tmp_path / NAME), name="socket"
            )
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


async def test_a_stale_socket_file_is_replaced(memory: MemoryControlPlane, tmp_path: Path) -> None:
    path = tmp_path / NAME
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert not await is_serving(path)
    async with open_runtime() as runtime:
        await runtime.start(lambda: ControlSocket(control_app(memory), path=path), name="socket")
        assert await is_serving(path)


async def test_a_socket_that_is_served_already_is_left_alone(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    async with open_runtime() as runtime:
        await runtime.start(lambda: ControlSocket(control_app(memory), path=path), name="one")
        with pytest.raises(StartFailed) as failed:
            await runtime.start(lambda: ControlSocket(control_app(memory), path=path), name="two")
        assert "another process serves on" in str(cause_of(failed))
        assert await is_serving(path)


async def test_a_file_in_the_sockets_place_is_not_deleted(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_text("mine")
    async with open_runtime() as runtime:
        with pytest.raises(StartFailed):
            await runtime.start(
                lambda: ControlSocket(control_app(memory), path=path), name="socket"
            )
    assert path.read_text() == "mine"


async def test_a_folder_that_is_missing_is_one_clear_line(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(StartFailed) as failed:
            await runtime.start(
                lambda: ControlSocket(control_app(memory), path=tmp_path / "no" / NAME), name="s"
            )
    assert "can't make the control socket" in str(cause_of(failed))


async def test_a_path_longer_than_a_socket_address_does(
    memory: MemoryControlPlane, deep: Path
) -> None:
    path = deep / NAME
    assert len(str(path)) > 107
    async with open_runtime() as runtime:
        ref = await runtime.start(
            lambda: ControlSocket(control_app(memory), path=path), name="socket"
        )
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        async with open_client(path) as client:
            for _ in range(3):
                assert (await client.get("/health"))["status"] == "ready"
        await ref.stop()
        assert not path.exists()


async def test_without_a_server_the_client_asks_the_app_itself(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def start() -> AsyncGenerator[QuartTrio]:
        opened.append("up")
        yield control_app(memory)()
        opened.append("down")

    async with open_client(tmp_path / NAME, start=start) as client:
        created = await client.post("/v1/tenants", {"id": "acme"})
        assert created["tenant"]["state"] == "active"
        vkey = await client.get("/v1/tenants/acme/vkey")
        assert vkey.startswith("memory.test/")
        async with client.download("/v1/tenants/acme/export") as chunks:
            data = b"".join([chunk async for chunk in chunks])
    assert opened == ["up", "down"]
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        assert "checkpoint" in archive.getnames()


async def test_a_problem_is_one_line_for_the_command_line(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    async with open_runtime() as runtime:
        await runtime.start(lambda: ControlSocket(control_app(memory), path=path), name="socket")
        async with open_client(path) as client:
            with pytest.raises(CommandFailed) as failed:
                await client.get("/v1/tenants/nobody")
            assert str(failed.value) == "there is no tenant 'nobody'; create the tenant"
            reply = await client.ask("GET", "/v1/tenants/nobody")
            assert (reply.status, reply.body["code"]) == (404, "unknown_tenant")
            with pytest.raises(CommandFailed, match="no tenant"):
                async with client.download("/v1/tenants/nobody/export"):
                    raise AssertionError("there is nothing to download")
            await client.post("/v1/tenants", {"id": "acme"})
            signal = await client.ask(
                "POST", "/v1/signals", query={"tenant": "acme"}, content=b'{"a":1}'
            )
            assert signal.status == 200


async def test_with_neither_server_nor_app_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no server runs on"):
        async with open_client(tmp_path / NAME):
            raise AssertionError("there is nobody to ask")


async def test_a_server_that_goes_away_is_one_line(
    memory: MemoryControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    async with open_runtime() as runtime:
        ref = await runtime.start(
            lambda: ControlSocket(control_app(memory), path=path), name="socket"
        )
        async with open_client(path) as client:
            await ref.stop()
            with pytest.raises(CommandFailed, match="did not answer"):
                await client.get("/health")


def test_the_memory_plane_is_a_control_plane() -> None:
    plane: ControlPlane = MemoryControlPlane()
    assert plane
