"""What the bridge makes of lines, and of whatever a server may answer."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from autonomics.errors import CommandFailed
from autonomics.http.mcp_bridge import Bridge, LineTooLong, open_way

VERSION = "2026-07-28"
Answer = Callable[[httpx2.Request], Any]


@attrs.define
class Script:
    """The client's end: says its lines, and keeps what it hears."""

    lines: trio.MemoryReceiveChannel[bytes | type[Exception]]
    heard: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]])
    has_left: bool = False

    async def next_line(self) -> bytes | None:
        try:
            line = await self.lines.receive()
        except trio.EndOfChannel:
            return None
        if isinstance(line, bytes):
            return line
        raise line

    async def write_line(self, line: bytes) -> None:
        if self.has_left:
            raise BrokenPipeError
        assert b"\n" not in line
        self.heard.append(json.loads(line))


class Stage:
    """A bridge between a scripted client and a scripted server."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[httpx2.Request] = []
        self.say, receive = trio.open_memory_channel[Any](math.inf)
        self.client = Script(receive)

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        given = self.answer(request)
        if isinstance(given, Exception):
            raise given
        if isinstance(given, httpx2.Response):
            return given
        response: httpx2.Response = await given
        return response

    async def run(self) -> None:
        transport = httpx2.MockTransport(self._handle)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as http:
            await Bridge(self.client, http).run()

    async def converse(self, *lines: bytes | type[Exception]) -> list[dict[str, Any]]:
        """Say lines, leave, and return what was heard."""
        for line in lines:
            self.say.send_nowait(line)
        self.say.close()
        await self.run()
        return self.client.heard


def request(id_: Any = 1, method: str = "tools/call", **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


def result(id_: Any = 1, **members: Any) -> httpx2.Response:
    return httpx2.Response(200, json={"jsonrpc": "2.0", "id": id_, "result": members})


def events(*messages: Any) -> httpx2.Response:
    text = "".join(f"event: message\r\ndata: {json.dumps(row)}\r\n\r\n" for row in messages)
    return httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, content=f": ping\r\n\r\n{text}"
    )


async def test_a_line_goes_out_as_it_came() -> None:
    stage = Stage(lambda _: result(1, big=2**70, text="é"))
    line = b'{"jsonrpc": "2.0","id":1,  "method":"ping", "x-unknown": 1e3}'
    heard = await stage.converse(line)
    assert stage.seen[0].content == line
    assert stage.seen[0].url.path == "/mcp"
    assert heard == [{"jsonrpc": "2.0", "id": 1, "result": {"big": 2**70, "text": "é"}}]


async def test_the_headers_say_what_the_body_does() -> None:
    stage = Stage(lambda _: result())
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION}
    await stage.converse(
        request(1, name="health_check", _meta=meta),
        request(2, "resources/read", uri="receipt://é", _meta=meta),
        request(3, "tools/list", _meta=meta),
    )
    sent = {json.loads(row.content)["id"]: row.headers for row in stage.seen}
    assert all(row["mcp-protocol-version"] == VERSION for row in sent.values())
    assert (sent[1]["mcp-method"], sent[1]["mcp-name"]) == ("tools/call", "health_check")
    assert sent[2]["mcp-name"] == "=?base64?cmVjZWlwdDovL8Op?="
    assert "mcp-name" not in sent[3]


async def test_the_version_of_a_handshake_stands_in_what_follows() -> None:
    def answer(asked: httpx2.Request) -> httpx2.Response:
        message = json.loads(asked.content)
        if message["method"] == "initialize":
            return events({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25"}})
        return result(message.get("id"))

    stage = Stage(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        stage.say.send_nowait(request(1, "initialize"))
        await wait_all_tasks_blocked()
        stage.say.send_nowait(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        stage.say.send_nowait(request(2))
        stage.say.close()
    first, *others = stage.seen
    assert "mcp-protocol-version" not in first.headers
    assert {row.headers["mcp-protocol-version"] for row in others} == {"2025-11-25"}
    assert all("mcp-method" not in row.headers for row in stage.seen)


async def test_a_version_that_no_header_can_hold_is_left_to_the_server() -> None:
    stage = Stage(lambda _: result())
    meta = {"io.modelcontextprotocol/protocolVersion": "1\r\nx-evil: 1"}
    await stage.converse(request(1, _meta=meta))
    assert "mcp-protocol-version" not in stage.seen[0].headers
    assert "x-evil" not in stage.seen[0].headers


async def test_all_messages_of_a_stream_come_through_in_order() -> None:
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    stage = Stage(lambda _: events(progress, {"jsonrpc": "2.0", "id": 1, "result": {}}))
    assert await stage.converse(request()) == [progress, {"jsonrpc": "2.0", "id": 1, "result": {}}]


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (events(), "server_unreachable"),
        (httpx2.Response(202), "server_unreachable"),
        (httpx2.Response(200, text="hello"), "server_unreachable"),
        (httpx2.Response(200, headers={"content-type": "application/json"}), "server_unreachable"),
        (httpx2.Response(200, json=[]), "server_unreachable"),
        (httpx2.Response(307, headers={"location": "http://evil"}), "server_unreachable"),
        (httpx2.Response(500, text="oh"), "server_unreachable"),
        (
            httpx2.Response(
                503,
                headers={"content-type": "application/problem+json"},
                content=json.dumps({"code": "door_full", "detail": "full", "next": "again"}),
            ),
            "door_full",
        ),
        (httpx2.Response(500, headers={"content-type": "application/problem+json"}), None),
    ],
)
async def test_whoever_asks_gets_an_answer_whatever_the_server_says(
    response: httpx2.Response, code: str | None
) -> None:
    (answer,) = await Stage(lambda _: response).converse(request("a"))
    assert answer["id"] == "a"
    assert answer["error"]["data"]["code"] == (code or "server_unreachable")
    assert answer["error"]["data"]["next_step"]


async def test_an_error_without_an_id_is_given_that_of_the_request() -> None:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "m"}}
    stage = Stage(lambda _: httpx2.Response(400, json=error))
    assert await stage.converse(request(5)) == [{**error, "id": 5}]


async def test_who_asks_nothing_gets_no_answer() -> None:
    stage = Stage(lambda _: httpx2.Response(500, text="oh"))
    assert await stage.converse(b'{"jsonrpc":"2.0","method":"notifications/x"}') == []


async def test_a_cancellation_closes_the_connection_of_its_request() -> None:
    ended = trio.Event()

    async def hang() -> httpx2.Response:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    stage = Stage(lambda row: hang() if json.loads(row.content)["id"] == 1 else result("1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        stage.say.send_nowait(request(1))
        await wait_all_tasks_blocked()
        for id_ in (b"2", b'"1"', b"null", b"1"):  # no other id is meant
            assert not ended.is_set()
            stage.say.send_nowait(
                b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}'
                % id_
            )
            await wait_all_tasks_blocked()
        assert ended.is_set()
        stage.say.send_nowait(request("1"))
        stage.say.close()
    assert [row["id"] for row in stage.client.heard] == ["1"]
    assert len(stage.seen) == 2


async def test_a_connection_that_broke_is_told_and_the_session_goes_on() -> None:
    def answer(asked: httpx2.Request) -> Any:
        if asked.method == "GET":
            return httpx2.Response(200)
        id_ = json.loads(asked.content)["id"]
        return httpx2.ReadError("reset") if id_ == 1 else result(id_)

    stage = Stage(answer)
    first, second = await stage.converse(request(1), request(2))
    told = {row["id"]: row for row in (first, second)}
    assert "reset" in told[1]["error"]["data"]["reason"]
    assert "result" in told[2]


async def test_a_server_that_is_away_for_a_moment_is_asked_again(autojump_clock: Any) -> None:
    def answer(_: httpx2.Request) -> Any:
        return result() if trio.current_time() >= 1.0 else httpx2.ConnectError("refused")

    (heard,) = await Stage(answer).converse(request())
    assert "result" in heard


async def test_a_server_that_has_gone_ends_the_session_and_all_are_told(
    autojump_clock: Any,
) -> None:
    stage = Stage(lambda _: httpx2.ConnectError("refused"))
    with pytest.RaisesGroup(
        pytest.RaisesExc(CommandFailed, match="the server has gone: refused"),
        flatten_subgroups=True,
    ):
        await stage.converse(request(1), request(2))
    assert sorted(row["id"] for row in stage.client.heard) == [1, 2]
    assert {row["error"]["data"]["code"] for row in stage.client.heard} == {"server_unreachable"}


async def test_answers_on_their_way_have_a_time_once_the_client_has_left(
    autojump_clock: Any,
) -> None:
    async def late(delay_s: float) -> httpx2.Response:
        await trio.sleep(delay_s)
        return result(delay_s)

    stage = Stage(lambda row: late(json.loads(row.content)["id"]))
    started = trio.current_time()
    heard = await stage.converse(request(2), request(50))
    assert [row["id"] for row in heard] == [2]
    assert trio.current_time() - started == pytest.approx(10)


async def test_nobody_waits_for_the_end_of_a_subscription(autojump_clock: Any) -> None:
    async def endless() -> httpx2.Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b": ping\r\n\r\n"
            await trio.sleep_forever()

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream())

    stage = Stage(lambda _: endless())
    started = trio.current_time()
    assert await stage.converse(request(1, "subscriptions/listen")) == []
    assert trio.current_time() == started


async def test_a_client_that_has_left_is_told_nothing_more() -> None:
    stage = Stage(lambda _: result())
    stage.client.has_left = True
    stage.say.send_nowait(request())
    await stage.run()


async def test_a_line_that_is_too_long_is_passed_over_and_told() -> None:
    stage = Stage(lambda _: result())
    first, second = await stage.converse(LineTooLong, request())
    assert (first["id"], first["error"]["data"]["code"]) == (None, "body_too_large")
    assert "result" in second


async def test_the_way_carries_tenant_or_key_and_never_looks_at_proxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with open_way(socket=tmp_path / "s", tenant_id="acme") as client:
        assert client.headers["autonomics-tenant"] == "acme"
        assert "authorization" not in client.headers
    async with open_way(url="http://127.0.0.1:1/prefix", api_key="k") as client:
        assert client.headers["authorization"] == "Bearer k"
        assert client.base_url.path == "/prefix/"
        assert client.trust_env is False
