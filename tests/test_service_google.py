"""How the composition root wires whoever speaks to Google, and lets go of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomics.config import Settings, load_settings
from autonomics.errors import InvalidConfig
from autonomics.integrations.google_run import GoogleRun
from autonomics.service import open_parts, open_service


def settings(folder: Path, **options: str) -> Settings:
    return load_settings({"data": folder / "data", "store": "memory", **options}, environ={})


def test_credentials_wire_an_effector_and_its_readers_to_one_client(tmp_path: Path) -> None:
    with open_parts(settings(tmp_path, google_credentials="metadata")) as parts:
        assert isinstance(parts.effectors["run"], GoogleRun)
        assert set(parts.effectors) == {"run"}
        assert set(parts.readers) == {"run", "monitoring"}
        assert parts.readers["run"] is parts.effectors["run"]
        assert parts.client is not None
        assert parts.dry == ()


def test_without_credentials_nobody_speaks_to_google(tmp_path: Path) -> None:
    with open_parts(settings(tmp_path)) as parts:
        assert (parts.effectors, parts.readers, parts.client) == ({}, {}, None)
        assert "run.oom_memory_limit" in parts.dry


@pytest.mark.parametrize("given", [{"effectors": {}}, {"readers": {}}])
def test_whoever_is_given_stands_in_place_of_the_settings(
    given: dict[str, Any], tmp_path: Path
) -> None:
    with open_parts(settings(tmp_path, google_credentials="metadata"), **given) as parts:
        assert (parts.effectors, parts.readers, parts.client) == ({}, {}, None)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_client_and_its_connections_live_as_long_as_the_service(
    tmp_path: Path, is_cancelled: bool
) -> None:
    hung_up = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        hung_up.set()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        with open_parts(settings(tmp_path, google_credentials="metadata")) as parts:
            client = parts.client
            assert client is not None
            with trio.CancelScope() as scope:
                async with open_service(parts):
                    await client.get(url)
                    assert not hung_up.is_set()
                    if is_cancelled:
                        scope.cancel()
                        await trio.sleep_forever()
            assert client.is_closed
        with trio.fail_after(5):
            await hung_up.wait()
        nursery.cancel_scope.cancel()


def test_credentials_that_can_not_be_used_leave_the_folder_as_it_was(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.json")
    wrong = settings(tmp_path, google_credentials=absent)
    with pytest.raises(InvalidConfig, match=r"can't read .*absent\.json"), open_parts(wrong):
        pass
    assert list(tmp_path.iterdir()) == []
