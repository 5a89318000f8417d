"""The client on a real wire: what it takes from an end, and what it does not do by itself."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from autonomics.errors import EffectFailed, EffectUnknown
from autonomics.integrations.google_api import SIZE_LIMIT_BYTES, GoogleApi, open_client
from autonomics.integrations.google_credential import NoToken

from .google_end import FixedToken

Talk = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def wire(talk: Talk, base: str = "") -> AsyncGenerator[tuple[GoogleApi, list[bytes]]]:
    """A server that answers each request as `talk` does."""
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            while request := await read_request(stream):
                seen.append(request)
                try:
                    await talk(stream)
                except trio.BrokenResourceError:
                    return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with open_client() as client:
            url = f"http://127.0.0.1:{port}{base}"
            yield GoogleApi(client, base_url=url, tokens=NoToken()), seen
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    """Read head and body; nothing if the peer has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := await stream.receive_some()):
            return b""
        data += more
    length = re.search(rb"content-length: (\d+)", data.lower())
    whole = data.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(data) < whole:
        data += await stream.receive_some()
    return data


def say(text: str) -> Talk:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(text.replace("\n", "\r\n").encode())

    return talk


async def test_an_object_is_read_and_its_connection_used_again() -> None:
    async with wire(say('HTTP/1.1 200 OK\nContent-Length: 8\n\n{"a": 1}'), "/base/") as (api, seen):
        assert await api.send("GET", "/v2/x", {"fields": "a,b"}) == {"a": 1}
        assert await api.send("GET", "/v2/y", {}) == {"a": 1}
    assert seen[0].startswith(b"GET /base/v2/x?fields=a%2Cb HTTP/1.1\r\n")
    assert b"accept-encoding: identity\r\n" in seen[0].lower()
    assert seen[1].startswith(b"GET /base/v2/y HTTP/1.1\r\n")


async def test_an_answer_without_end_is_left() -> None:
    sent = 0

    async def flood(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536

    async with wire(flood) as (api, _):
        with pytest.raises(EffectUnknown, match="200: expected the answer to be a JSON object"):
            await api.send("GET", "/v2/x", {})
    assert sent < 4 * SIZE_LIMIT_BYTES


async def test_a_redirect_is_not_followed_for_it_could_carry_the_token_away() -> None:
    talk = say("HTTP/1.1 307 Go\nLocation: /elsewhere\nContent-Length: 0\n\n")
    async with wire(talk) as (api, seen):
        with pytest.raises(EffectUnknown, match="307"):
            await api.send("PATCH", "/v2/x", {}, body={})
    assert len(seen) == 1


async def test_a_connection_closed_without_an_answer_leaves_it_unknown() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with wire(hang_up) as (api, seen):
        with pytest.raises(EffectUnknown, match=r"no answer from 127\.0\.0\.1: "):
            await api.send("PATCH", "/v2/x", {}, body={"a": 1})
    assert seen[0].endswith(b'{"a":1}')
    assert len(seen) == 1


async def test_where_nobody_listens_nothing_was_sent() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with open_client() as client:
        api = GoogleApi(client, base_url=f"http://127.0.0.1:{port}", tokens=NoToken())
        with pytest.raises(EffectFailed, match=r"no connection to 127\.0\.0\.1: ") as caught:
            await api.send("PATCH", "/v2/x", {}, body={})
    assert caught.type is EffectFailed


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with wire(say("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")) as (api, _):
        assert await api.send("GET", "/v2/x", {}) == {}


async def test_a_body_that_can_not_be_written_is_not_sent() -> None:
    async with open_client() as client:
        api = GoogleApi(client, base_url="http://127.0.0.1:1", tokens=FixedToken())
        with pytest.raises(EffectFailed, match="can't be written") as caught:
            await api.send("PATCH", "/v2/x", {}, body={"a": math.inf})
    assert caught.type is EffectFailed
