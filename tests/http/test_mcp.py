"""Agents at `/mcp`: the SDK's client, raw requests, nonsense, and clients that vanish."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from quart_trio import QuartTrio

from autonomics.actors.message import Health
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.http.server import HttpServer
from autonomics.http.setting import DoorSettings
from autonomics.supervisors import ChildSpec
from autonomics.testing.door import House, Served, client_of, expect_problem, furnish, serve
from autonomics.testing.memory_control_plane import MemoryControlPlane
from autonomics.testing.tree import kill, start_tree

Heard = list[tuple[str, dict[str, Any]]]

# The SDK's client leaves the stream of an answer before its end.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

MODES = ("auto", "2026-07-28", "legacy")
VERSION = "2026-07-28"
TOOLS = ["health_check", "entitlement_check", "receipt_verify", "support_model"]
ACCEPT = {"accept": "application/json, text/event-stream"}
META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@asynccontextmanager
async def connect(url: str, headers: dict[str, str], mode: Any = "auto") -> AsyncGenerator[Client]:
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:
        target = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(target, mode=mode) as client:
            yield client


def stateless(method: str, **params: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of one request of the stateless protocol."""
    headers = {**ACCEPT, "mcp-protocol-version": VERSION, "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    params = {**params, "_meta": META}
    return headers, {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


async def ask(client: httpx2.AsyncClient, method: str, **params: Any) -> httpx2.Response:
    headers, body = stateless(method, **params)
    return await client.post("/mcp", headers=headers, json=body)


async def until_answered(heard: Heard) -> None:
    """Return once the access event of a request is there; it follows the answer."""
    while not any(event == "http.request" for event, _ in heard):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_lists_and_calls_every_tool(served: Served, mode: str) -> None:
    async with connect(served.url, served.house.headers("tenant"), mode) as client:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == TOOLS
        assert all(tool.input_schema and tool.output_schema for tool in listed)
        for tool, arguments in (
            ("health_check", {}),
            ("entitlement_check", {"recipe": "run.oom_memory_limit", "quota": "acts"}),
            ("receipt_verify", {"receipt": "t0001.0"}),
            ("support_model", {}),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error is False, result
            assert result.structured_content
        foreign = await client.call_tool("receipt_verify", {"receipt": "t0002.0"})
        assert foreign.is_error is True
        assert foreign.structured_content["code"] == "unknown_receipt"


@pytest.mark.parametrize("mode", MODES)
async def test_the_key_says_which_tenant_is_asked_for(served: Served, mode: str) -> None:
    for role, tenant, tier in (("tenant", "acme", "standard"), ("foreign", "globex", "evaluation")):
        async with connect(served.url, served.house.headers(role), mode) as client:
            held = await client.call_tool("entitlement_check", {})
            assert held.structured_content["tenant"] == tenant
            support = await client.call_tool("support_model", {})
            assert support.structured_content["tier"] == tier


async def test_a_raw_stateless_request_needs_no_handshake(served: Served) -> None:
    async with served.client("tenant") as client:
        called = await ask(client, "tools/call", name="health_check", arguments={})
        assert called.status_code == 200
        assert called.headers["content-type"] == "application/json"
        assert called.headers["cache-control"] == "no-store"
        assert called.headers["x-request-id"]
        assert "mcp-session-id" not in called.headers
        result = called.json()["result"]
        assert result["resultType"] == "complete"
        assert result["structuredContent"]["status"] == "ready"
        assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "autonomics"
        listed = (await ask(client, "tools/list")).json()["result"]
        assert (listed["ttlMs"], listed["cacheScope"]) == (60_000, "private")
        found = (await ask(client, "server/discover")).json()["result"]
        assert VERSION in found["supportedVersions"]
        assert "health_check" in found["instructions"]


async def test_headers_that_contradict_the_body_are_refused(served: Served) -> None:
    async with served.client("tenant") as client:
        headers, body = stateless("tools/call", name="health_check", arguments={})
        headers["mcp-name"] = "support_model"
        response = await client.post("/mcp", headers=headers, json=body)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == -32020


# Who is let in


@pytest.mark.parametrize("header", [None, "Bearer nobody", "Basic abc", "Bearer"])
async def test_a_stranger_is_turned_away_and_counted(
    served: Served, memory: MemoryControlPlane, header: str | None
) -> None:
    async with served.client() as client:
        headers, body = stateless("tools/list")
        if header is not None:
            headers["authorization"] = header
        response = await client.post("/mcp", headers=headers, json=body)
        expect_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert memory.strangers == 1


async def test_a_revoked_key_is_a_strangers(served: Served, memory: MemoryControlPlane) -> None:
    (key,) = [
        row for row in await memory.keys() if row.tenant_id == "acme" and row.role == "tenant"
    ]
    await memory.revoke_key(key.id, "test")
    async with served.client("tenant") as client:
        expect_problem(await ask(client, "tools/list"), 401, "unauthenticated")


async def test_a_push_key_may_not_ask(served: Served) -> None:
    async with served.client("push") as client:
        expect_problem(await ask(client, "tools/list"), 403, "role_may_not")


async def test_no_key_may_name_a_tenant(served: Served) -> None:
    for role in ("tenant", "admin"):
        async with served.client(role) as client:
            client.headers["autonomics-tenant"] = "globex"
            expect_problem(await ask(client, "tools/list"), 403, "role_may_not")


async def test_an_administrators_key_has_no_tenant(served: Served) -> None:
    async with connect(served.url, served.house.headers("admin")) as client:
        assert (await client.call_tool("health_check", {})).is_error is False
        refused = await client.call_tool("support_model", {})
        assert refused.structured_content["code"] == "tenant_not_named"


async def test_who_comes_by_the_control_socket_may_name_a_tenant(memory_house: House) -> None:
    async with memory_house.client("operator") as client:
        for name, code in (("acme", None), ("nobody", "unknown_tenant"), ("", "tenant_not_named")):
            client.headers["autonomics-tenant"] = name
            response = await ask(client, "tools/call", name="support_model", arguments={})
            result = response.json()["result"]
            assert result["structuredContent"].get("code") == code, result


@pytest.mark.parametrize(
    ("host", "hosts", "status"),
    [
        ("127.0.0.1:8080", (), 401),
        ("localhost", (), 401),
        ("LOCALHOST:1", (), 401),
        ("[::1]:80", (), 401),
        ("evil.example", (), 421),
        ("127.0.0.1.evil.example", (), 421),
        ("localhost@evil.example", (), 421),
        ("[::1", (), 421),
        ("ledger.example:443", ("Ledger.example",), 401),
        ("evil.example", ("ledger.example",), 421),
        ("evil.example", ("0.0.0.0",), 401),
        ("evil.example", ("::",), 401),
    ],
)
async def test_a_name_that_is_not_the_servers_is_refused(
    memory_house: House, host: str, hosts: tuple[str, ...], status: int
) -> None:
    settings = DoorSettings(hosts=hosts)
    async with memory_house.client(settings=settings, headers={"host": host}) as client:
        response = await ask(client, "tools/list")
        code = {401: "unauthenticated", 421: "wrong_host"}[status]
        expect_problem(response, status, code)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:6274", 200),
        ("http://127.0.0.1", 200),
        ("https://ledger.example", 200),
        ("https://LEDGER.example", 200),
        ("https://evil.example", 403),
        ("https://ledger.example.evil.example", 403),
        ("null", 403),
        ("https://[::1", 403),
    ],
)
async def test_a_page_of_another_origin_is_refused(
    memory_house: House, origin: str, status: int
) -> None:
    settings = DoorSettings(hosts=("ledger.example",))
    headers = {"host": "ledger.example", "origin": origin}
    async with memory_house.client("tenant", settings=settings, headers=headers) as client:
        response = await ask(client, "tools/list")
        assert response.status_code == status
        if status == 403:
            expect_problem(response, 403, "foreign_origin")


# Nonsense


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_there_is_nothing_but_post(served: Served, method: str) -> None:
    async with served.client("tenant") as client:
        response = await client.request(method, "/mcp", headers={"accept": "text/event-stream"})
        expect_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "POST"


async def test_what_lies_beside_is_not_the_agents_door(served: Served) -> None:
    async with served.client("tenant") as client:
        for path in ("/mcp/", "/mcp/x", "/MCP", "/mcpx"):
            expect_problem(await client.post(path, json={}), 404, "unknown_path")


BODIES = {
    "not JSON": (b"{", -32700, "body_not_json"),
    "nothing": (b"", -32700, "body_not_json"),
    "not UTF-8": (b'"\xff"', -32700, "body_not_utf8"),
    "too deep": (b"[" * 65 + b"]" * 65, -32700, "body_too_deep"),
    "much too deep": (b"[" * 100_000, -32700, "body_too_deep"),
    "a key twice": (b'{"id":1,"id":2}', -32700, "duplicate_key"),
    "no number": (b'{"id":NaN}', -32700, "number_out_of_range"),
    "half a surrogate": (b'{"method":"\\ud800"}', -32700, "body_not_json"),
    "a batch": (b"[]", -32600, "bad_request"),
    "a number": (b"7", -32600, "bad_request"),
    "no version": (b'{"id":1,"method":"ping"}', -32600, "bad_request"),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, "bad_request"),
    "no method": (b'{"jsonrpc":"2.0","id":1}', -32600, "bad_request"),
    "a method of numbers": (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600, "bad_request"),
    "an id of truth": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, "bad_request"),
    "an id of nothing": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, "bad_request"),
    "a list of params": (
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
        -32600,
        "bad_request",
    ),
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("version", [None, "2025-06-18", VERSION, "1999-01-01"])
async def test_what_is_no_message_is_an_error_of_json_rpc(
    served: Served, body: str, version: str | None
) -> None:
    content, number, code = BODIES[body]
    headers = {**ACCEPT, "content-type": "application/json"}
    if version is not None:
        headers["mcp-protocol-version"] = version
    async with served.client("tenant") as client:
        response = await client.post("/mcp", content=content, headers=headers)
        assert response.status_code == 400
        answer = response.json()
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] in (None, 1)
        assert answer["error"]["code"] == number
        assert answer["error"]["data"]["code"] == code
        assert answer["error"]["data"]["reason"]
        assert answer["error"]["data"]["next_step"]
        assert (await ask(client, "tools/list")).status_code == 200


async def test_an_oversized_body_is_413_and_the_client_goes_on(served: Served) -> None:
    headers, body = stateless("tools/call", name="receipt_verify", arguments={"proof": "x" * 2**20})
    async with served.client("tenant") as client:
        response = await client.post("/mcp", headers=headers, json=body)
        expect_problem(response, 413, "body_too_large")
        assert (await ask(client, "tools/list")).status_code == 200


async def test_a_body_that_comes_too_slowly_is_408(memory_house: House) -> None:
    key = memory_house.keys["tenant"].encode()
    async with (
        serve(memory_house, settings=DoorSettings(body_timeout_s=0.05)) as served,
        await served.connect() as stream,
    ):
        await stream.send_all(
            b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"accept: */*\r\nauthorization: Bearer " + key + b"\r\ncontent-length: 9\r\n\r\n{"
        )
        assert b" 408 " in await stream.receive_some(65536)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({**ACCEPT, "content-type": "text/plain"}, 415, "unsupported_media_type"),
        ({"accept": "application/json"}, 406, "not_acceptable"),
        ({"accept": "text/event-stream"}, 406, "not_acceptable"),
        ({"accept": "text/html"}, 406, "not_acceptable"),
    ],
)
async def test_types_that_do_not_fit_are_refused(
    served: Served, headers: dict[str, str], status: int, code: str
) -> None:
    async with served.client("tenant") as client:
        given = {"content-type": "application/json", **headers}
        response = await client.post("/mcp", headers=given, content=b"{}")
        expect_problem(response, status, code)


@pytest.mark.parametrize("mode", MODES)
async def test_what_the_protocol_does_not_know_is_its_error_with_a_next_step(
    served: Served, mode: str
) -> None:
    async with connect(served.url, served.house.headers("tenant"), mode) as client:
        with pytest.raises(MCPError) as failed:
            await client.call_tool("no_such_tool", {})
        assert failed.value.error.code == -32602
        assert failed.value.error.data["code"] == "unknown_tool"
        refused = await client.call_tool("entitlement_check", {"recipe": 7, "x": [1]})
        assert refused.is_error is True
        assert refused.structured_content["code"] == "invalid_arguments"
        with pytest.raises(MCPError) as unserved:
            await client.list_prompts()
        assert unserved.value.error.code == -32601


async def test_unknown_methods_and_malformed_params_are_told_apart(served: Served) -> None:
    async with served.client("tenant") as client:
        unknown = await ask(client, "tools/burn")
        assert unknown.status_code == 404
        assert unknown.json()["error"]["data"]["code"] == "unknown_method"
        for params in ({}, {"name": 7}, {"name": "health_check", "arguments": [1]}):
            headers, body = stateless("tools/call", **{"arguments": {}, **params, "x": 1})
            headers.pop("mcp-name", None)
            response = await client.post("/mcp", headers=headers, json=body)
            assert response.status_code == 400, response.text
            assert response.json()["error"]["code"] in (-32602, -32020)
            assert "pydantic" not in response.text


async def test_a_handshake_client_gets_errors_with_a_next_step_too(served: Served) -> None:
    headers = {**ACCEPT, "mcp-protocol-version": "2025-11-25"}
    async with served.client("tenant") as client:
        for method, code in (("tools/burn", "unknown_method"), ("tools/call", "invalid_params")):
            content = f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}'
            given = {**headers, "content-type": "application/json"}
            response = await client.post("/mcp", headers=given, content=content)
            (line,) = [row for row in response.text.splitlines() if row.startswith("data: {")]
            assert json.loads(line[6:])["error"]["data"]["code"] == code


async def test_an_early_answer_leaves_the_connection_usable(served: Served) -> None:
    async with served.client() as client:
        for body in (b"{}", b"x" * 200_000):
            for _ in range(3):
                early = await client.post("/mcp", content=body)
                assert early.status_code == 401
                assert (await client.get("/health/live")).status_code == 200


# Clients that vanish, servers that restart


class Slow(MemoryControlPlane):
    """A control plane that never says how it is."""

    asked: trio.Event
    left: trio.Event

    async def health(self) -> Health:
        self.asked.set()
        try:
            await trio.sleep_forever()
        finally:
            self.left.set()
        raise AssertionError


@pytest.mark.parametrize("mode", [VERSION, "2025-11-25"])
async def test_a_client_that_vanishes_in_mid_call_leaves_nothing_behind(
    mode: str, heard: Heard
) -> None:
    control = Slow()
    control.asked, control.left = trio.Event(), trio.Event()
    house = await furnish(control)
    headers, body = stateless("tools/call", name="health_check", arguments={})
    headers["mcp-protocol-version"] = mode
    if mode != VERSION:
        body["params"] = {"name": "health_check", "arguments": {}}
    async with serve(house) as served:
        # The nursery within the client: closing that under a request is another error than leaving.
        async with served.client("tenant") as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.post, "/mcp", headers=headers, json=body))
            await control.asked.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await control.left.wait()
            await until_answered(heard)
        async with served.client("tenant") as client:
            assert (await ask(client, "tools/list")).status_code == 200


async def test_a_server_that_was_killed_answers_agents_again(memory_house: House) -> None:
    urls: list[str] = []

    def make() -> HttpServer:
        make_app = partial(create_app, memory_house.control)
        return HttpServer(make_app, host="127.0.0.1", port=0, on_bound=urls.append)

    async def call() -> Any:
        async with connect(urls[-1], memory_house.headers("tenant")) as client:
            return (await client.call_tool("support_model", {})).structured_content["tier"]

    async with start_tree([ChildSpec(id="http", start=make)]) as tree:
        assert await call() == "standard"
        await kill(tree.child("http"))
        with trio.fail_after(5):
            while len(urls) < 2:
                await trio.lowlevel.checkpoint()
        assert await call() == "standard"


async def test_a_stop_lets_a_call_in_flight_be_answered(memory_house: House) -> None:
    async with serve(memory_house) as served:
        async with connect(served.url, memory_house.headers("tenant")) as client:
            assert (await client.call_tool("support_model", {})).is_error is False
            await served.ref.stop()
        assert not served.ref.is_alive()


async def test_each_request_is_an_event_with_its_key(served: Served, heard: Heard) -> None:
    async with served.client("tenant") as client:
        await ask(client, "tools/call", name="support_model", arguments={})
    await until_answered(heard)
    (request,) = [fields for event, fields in heard if event == "http.request"]
    (called,) = [fields for event, fields in heard if event == "tool.called"]
    assert (request["route"], request["path"], request["status"]) == ("mcp", "/mcp", 200)
    assert request["key_id"] == called["key_id"]
    assert (called["tenant"], called["outcome"]) == ("acme", "answered")


async def test_the_doors_limit_holds_for_agents(memory_house: House) -> None:
    control = Slow()
    control.asked, control.left = trio.Event(), trio.Event()
    house = await furnish(control)
    async with (
        serve(house, settings=DoorSettings(requests_in_flight=1)) as served,
        trio.open_nursery() as nursery,
        served.client("tenant") as client,
    ):
        nursery.start_soon(partial(ask, client, "tools/call", name="health_check", arguments={}))
        await control.asked.wait()
        async with served.client("tenant") as other:
            expect_problem(await ask(other, "tools/list"), 503, "door_full")
        nursery.cancel_scope.cancel()


# Without the extra


async def test_without_the_extra_agents_are_told_what_to_install(
    memory_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http_manager", None)
    async with memory_house.client("operator") as client:
        response = await ask(client, "tools/list")
        problem = expect_problem(response, 501, "mcp_missing")
        assert "autonomics[mcp]" in problem["next"]
        assert (await client.get("/health")).status_code == 200


HIDDEN = """
import sys
sys.modules["mcp"] = sys.modules["mcp_types"] = sys.modules["pydantic"] = None
import trio
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.testing.door import client_of, furnish
from autonomics.testing.memory_control_plane import MemoryControlPlane

async def main():
    house = await furnish(MemoryControlPlane())
    async with house.client("operator") as client:
        headers = {"accept": "*/*"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        print((await client.post("/mcp", headers=headers, json=body)).status_code)
        print((await client.get("/health")).status_code)

trio.run(main)
"""


def test_a_server_runs_where_nothing_of_the_extra_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["501", "200"]


def test_a_server_that_no_agent_asks_never_imports_the_sdk() -> None:
    code = (
        "import sys, autonomics.http.app, autonomics.http.mcp_bridge, autonomics.cli.mcp\n"
        "print([m for m in ('mcp', 'pydantic', 'starlette') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


async def test_the_app_in_process_serves_agents_without_a_lifespan(memory_house: House) -> None:
    app: QuartTrio = create_app(memory_house.control, principal=SOCKET_PRINCIPAL)
    async with client_of(app) as client:
        response = await client.post("/mcp", headers=ACCEPT, json=INITIALIZE)
        assert response.status_code == 200
        assert "2025-11-25" in response.text
