"""The wire's own rules, on a real server with a real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from autonomics.http.problem import MEDIA_TYPE
from autonomics.http.setting import DoorSettings
from autonomics.testing.door import Served, expect_problem, serve

Heard = list[tuple[str, dict[str, Any]]]

SIGNAL = {"severity": "ERROR"}


async def converse(stream: trio.SocketStream, sent: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Send raw bytes and read one whole response."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    await stream.send_all(sent)
    status = 0
    headers: dict[bytes, bytes] = {}
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Response):
            status, headers = event.status_code, dict(event.headers)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return status, headers


@pytest.mark.parametrize("role", ["tenant", None])
async def test_a_connection_lives_on_after_an_early_answer(served: Served, role: Any) -> None:
    """hypercorn left it stuck in most of these cases."""
    status = {"PATCH": 405, "POST": 404} if role else {"PATCH": 401, "POST": 401}
    for method, path, body in (
        ("PATCH", "/health/live", b"{}"),
        ("POST", "/nope", b"{}"),
        ("POST", "/nope", b"x" * 200_000),
    ):
        for _ in range(10):
            async with served.client(role) as client:
                early = await client.request(method, path, content=body)
                assert early.status_code == status[method]
                assert (await client.get("/health/live")).status_code == 200


async def test_a_body_over_the_limit_is_413_and_the_client_goes_on(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1100):
            yield b"y" * 1000

    for content in (b"x" * 5_000_000, None):
        for _ in range(5):
            async with served.client("tenant") as client:
                body = content or chunks()
                headers = {"Content-Type": "application/json"}
                response = await client.post("/v1/signals", content=body, headers=headers)
                expect_problem(response, 413, "body_too_large")
                assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("path", [b"/health/live", b"/nope", b"/v1/tenants/acme/export"])
async def test_a_connection_that_the_peer_wants_closed_is_closed(
    served: Served, version: bytes, path: bytes
) -> None:
    """hypercorn was cut off in the middle of closing it, by the framework that it serves."""
    async with served.client("tenant") as client:
        await client.post("/v1/signals", json=SIGNAL)
    key = served.house.keys["tenant"].encode()
    request = (
        b"GET " + path + b" HTTP/" + version + b"\r\nhost: x\r\nconnection: close\r\n"
        b"authorization: Bearer " + key + b"\r\n\r\n"
    )
    async with await served.connect() as stream:
        await stream.send_all(request)
        with trio.fail_after(10):
            received = b"".join([chunk async for chunk in stream])
    assert received.startswith(b"HTTP/1.1 ")


async def test_an_early_answer_lets_the_peer_finish_its_sending(served: Served) -> None:
    """A connection closed at once would be reset under the peer, and the answer with it."""
    head = b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"
    async with await served.connect() as stream:
        status, headers = await converse(stream, head)
        assert (status, headers[b"connection"]) == (401, b"close")
        await wait_all_tasks_blocked(0.05)  # A server that would close has closed by now.
        with trio.fail_after(10):
            for _ in range(4):
                await stream.send_all(b"x" * 50_000)
            assert await stream.receive_some() == b""


async def test_a_request_without_a_body_keeps_its_connection(served: Served) -> None:
    stream = await served.connect()
    async with stream:
        for path in (b"/health/live", b"/nope", b"/v1/line"):
            request = b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n"
            for _ in range(5):
                _, headers = await converse(stream, request)
                assert b"connection" not in headers


async def test_a_body_that_never_comes_is_408(served: Served) -> None:
    key = served.house.keys["tenant"].encode()
    head = (
        b"POST /v1/signals HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer " + key + b"\r\ncontent-length: 10\r\n\r\n{"
    )
    settings = DoorSettings(body_timeout_s=0.05)
    async with serve(served.house, settings=settings) as slow, await slow.connect() as stream:
        status, headers = await converse(stream, head)
    assert (status, headers[b"content-type"]) == (408, MEDIA_TYPE.encode())
    assert headers[b"connection"] == b"close"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{bad", "body_not_json"),
        (b'{"a": 1} tail', "body_not_json"),
        (b'{"a": "\xff"}', "body_not_utf8"),
        (b"[" * 100_000, "body_too_deep"),
        (b'{"a": NaN}', "number_out_of_range"),
        (b'{"a": 1e999}', "number_out_of_range"),
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b"[1]", "body_not_object"),
        (b"", "body_not_json"),
    ],
)
async def test_a_signal_that_is_not_strict_json_is_400(
    served: Served, content: Any, code: str
) -> None:
    async with served.client("tenant") as client:
        headers = {"Content-Type": "application/json"}
        response = await client.post("/v1/signals", content=content, headers=headers)
        expect_problem(response, 400, code)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON; Charset="UTF-8"', 200),
        ("application/cloudevents+json", 200),
        ("text/plain", 415),
        ("application/json; charset=latin-1", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_a_signal_has_to_be_declared_as_json(served: Served, kind: str, status: int) -> None:
    async with served.client("tenant") as client:
        headers = {"Content-Type": kind}
        response = await client.post("/v1/signals", content=b'{"a":1}', headers=headers)
    assert response.status_code == status
    if status == 415:
        expect_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "//health", "/health/", "/v1/receipts/", "/%ff", "/v1/tenants/%00", "/static/x"],
)
async def test_an_unknown_path_is_404_and_never_a_redirect(served: Served, path: str) -> None:
    async with served.client("tenant") as client:
        response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == MEDIA_TYPE


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/health", "GET, HEAD"),
        ("GET", "/pubsub", "POST"),
        ("OPTIONS", "/v1/signals", "POST"),
        ("PUT", "/v1/tenants", "GET, HEAD, POST"),
        ("BREW", "/v1/line", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_with_what_is_allowed(
    served: Served, method: str, path: str, allow: str
) -> None:
    async with served.client("admin") as client:
        response = await client.request(method, path)
    expect_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allow


async def test_head_answers_as_get_without_a_body(served: Served) -> None:
    async with served.client() as client:
        for _ in range(3):
            response = await client.head("/health/live")
            assert (response.status_code, response.content) == (200, b"")


async def test_a_websocket_is_refused(served: Served) -> None:
    async with await served.connect() as stream:
        status, _ = await converse(
            stream,
            b"GET /health HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n",
        )
    assert status == 403


async def test_ids_come_back_and_stand_in_the_event(served: Served, heard: Heard) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"X-Request-Id": "mine-1", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    async with served.client("tenant") as client:
        response = await client.post("/v1/signals?tenant=acme", json=SIGNAL, headers=headers)
        other = await client.get("/v1/line", headers={"X-Request-Id": "not sane"})
        receipt = response.json()["receipts"]["received"]
        shown = (await client.get(f"/v1/receipts/{receipt}")).json()
    await served.ref.stop()
    assert response.headers["x-request-id"] == "mine-1"
    assert len(other.headers["x-request-id"]) == 32
    assert shown["fields"]["trace"] == trace
    event = next(fields for name, fields in heard if name == "http.request")
    assert event["duration_s"] >= 0
    assert {**event, "duration_s": 0} == {
        "method": "POST",
        "path": "/v1/signals",
        "route": "signal",
        "status": 200,
        "duration_s": 0,
        "request_id": "mine-1",
        "trace": trace,
        "key_id": served.house.keys["tenant"].split("_")[1],
    }


async def test_no_secret_is_in_any_event(served: Served, heard: Heard) -> None:
    push = served.house.keys["push"]
    async with served.client() as client:
        assert (await client.post(f"/pubsub?token={push}", json={})).status_code == 202
        wrong = await client.get("/v1/line", headers={"Authorization": "Bearer hunter2"})
        assert wrong.status_code == 401
    await served.ref.stop()  # An event may come after the answer that it tells of.
    told = repr(heard)
    assert push not in told
    assert "hunter2" not in told
    assert len([name for name, _ in heard if name == "http.request"]) == 2


async def test_an_export_is_streamed_in_one_piece(served: Served) -> None:
    async with served.client("tenant") as client:
        for _ in range(20):
            await client.post("/v1/signals", json=SIGNAL)
        response = await client.get("/v1/tenants/acme/export")
    assert response.status_code == 200
    assert len(response.content) % 10240 == 0
