"""Carries JSON-RPC between a client's lines and a server's `/mcp`, as it is.

Whatever the server offers comes through: only what HTTP needs is read of a message, its id, its
method and its protocol version. The SDK's client transport was tried and left: it hides what the
server says behind an error of its own, and its import costs each start over a second.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol, cast

import attrs
import httpx2
import trio

from autonomics.errors import CommandFailed
from autonomics.http.mcp import INVALID_REQUEST, PARSE_ERROR, PATH, TENANT_HEADER
from autonomics.http.problem import PROBLEMS
from autonomics.http.socket_path import short_address

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
VERSION_HEADER: Final = "mcp-protocol-version"
NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
ENDLESS: Final = "subscriptions/listen"
INTERNAL_ERROR: Final = -32603
CONNECTION_CLOSED: Final = -32000
PATIENCE_S: Final = 2.0
"""How long a server that nobody finds may take to come back, as one that is restarted does."""
RETRY_S: Final = 0.05
LAST_ANSWERS_S: Final = 10.0
"""What answers on their way get once the client has said all."""
READ_TIMEOUT_S: Final = 60.0
LINE_LIMIT_BYTES: Final = 4 * 1024 * 1024
SOCKET_URL: Final = "http://autonomics"
_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class LineTooLong(Exception):
    """A line of the client's is longer than the limit; it was passed over."""


class Lines(Protocol):
    """The client's end: a line is one message, without its newline."""

    async def next_line(self) -> bytes | None:
        """Return the next line; None at the end. Raises LineTooLong."""
        ...

    async def write_line(self, line: bytes) -> None:
        """Write a line, whole."""
        ...


@asynccontextmanager
async def open_way(
    *,
    socket: Path | None = None,
    url: str | None = None,
    api_key: str | None = None,
    tenant_id: str | None = None,
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Open a client on a control socket, which takes a tenant, or on a URL, which takes a key."""
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    if tenant_id is not None:
        headers[TENANT_HEADER] = tenant_id
    if api_key is not None:
        headers["authorization"] = f"Bearer {api_key}"
    timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=PATIENCE_S, pool=None)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=4)
    with nullcontext() if socket is None else short_address(socket) as address:
        transport = httpx2.AsyncHTTPTransport(uds=address, limits=limits)
        async with httpx2.AsyncClient(
            transport=transport,
            base_url=url or SOCKET_URL,
            headers=headers,
            timeout=timeout,
            trust_env=False,
        ) as client:
            yield client


class Bridge:
    """One client's session: its lines to the server, the server's messages back as lines."""

    def __init__(self, lines: Lines, client: httpx2.AsyncClient) -> None:
        self._lines = lines
        self._client = client
        self._version: str | None = None
        self._asked: dict[str, _Sent] = {}

    async def run(self) -> None:
        """Carry until the client has said all and has its answers, or leaves.

        CommandFailed where the server has gone; whoever still waits for an answer is told first.
        """
        try:
            async with trio.open_nursery() as nursery:
                await self._read_all(nursery)
                for sent in list(self._asked.values()):
                    if sent.method == ENDLESS:
                        sent.scope.cancel(reason="the client has left")
                nursery.cancel_scope.deadline = trio.current_time() + LAST_ANSWERS_S
        except* BrokenPipeError:
            pass  # The client has left; nobody is there to be told anything.

    async def _read_all(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                line = await self._lines.next_line()
            except LineTooLong:
                detail = f"expected a message to be at most {LINE_LIMIT_BYTES} bytes"
                await self._say(None, INVALID_REQUEST, "body_too_large", detail)
                continue
            if line is None:
                return
            if line.strip():
                await self._take(line, nursery)

    async def _take(self, line: bytes, nursery: trio.Nursery) -> None:
        try:
            value = json.loads(line.decode())  # a guess at another encoding would be no help
        except (ValueError, RecursionError):
            detail = "expected a line to be one JSON value, of moderate depth"
            await self._say(None, PARSE_ERROR, "body_not_json", detail)
            return
        if not isinstance(value, dict):
            detail = "expected a line to be one JSON-RPC message, not a batch or another value"
            await self._say(None, INVALID_REQUEST, "body_not_object", detail)
            return
        message = cast("dict[str, Any]", value)
        if message.get("method") == "notifications/cancelled" and "id" not in message:
            self._cancel(message)
            return
        sent = _Sent(line, message.get("id"), message.get("method"), self._head(message))
        if sent.id is not None and sent.method is not None:
            self._asked[_name(sent.id)] = sent
        nursery.start_soon(self._exchange, sent)

    def _cancel(self, message: Mapping[str, Any]) -> None:
        """Close the request's connection: over HTTP that is how one cancels."""
        params = message.get("params")
        asked = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        sent = self._asked.get(_name(asked.get("requestId")))
        if sent is not None:
            sent.scope.cancel(reason="the client cancelled the request")

    def _head(self, message: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers that a message asks for; its version is the last one known."""
        params = _member(message, "params")
        version, method = _member(params, "_meta").get(VERSION_KEY), message.get("method")
        headers: dict[str, str] = {}
        if method == "initialize":
            self._version = None
        elif isinstance(version, str):
            self._version = version
            if isinstance(method, str):
                headers["mcp-method"] = _encode(method)
                name = params.get(NAMED_BY.get(method, ""))
                if isinstance(name, str):
                    headers["mcp-name"] = _encode(name)
        if self._version is not None and _PLAIN.fullmatch(self._version):
            headers[VERSION_HEADER] = self._version
        return headers

    async def _exchange(self, sent: _Sent) -> None:
        with sent.scope:
            try:
                await self._post(sent)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                await self._lose_server(error)
            except httpx2.HTTPError as error:
                detail = f"the connection ended without an answer: {_text(error)}"
                await self._fail(sent, "server_unreachable", detail)
                await self._expect_server()
            finally:
                self._settle(sent)

    async def _post(self, sent: _Sent) -> None:
        """Send a message and pass on what comes back; where nobody listens, look again a while."""
        deadline = trio.current_time() + PATIENCE_S
        while True:
            try:
                async with self._client.stream(
                    "POST", PATH, content=sent.line, headers=sent.headers
                ) as response:
                    await self._relay(sent, response)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if trio.current_time() >= deadline:
                    raise
            else:
                return
            await trio.sleep(RETRY_S)

    async def _expect_server(self) -> None:
        """Tell a connection that broke from a server that has gone."""
        deadline = trio.current_time() + PATIENCE_S
        while True:
            try:
                await self._client.get("/health/live")
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if trio.current_time() >= deadline:
                    await self._lose_server(error)
            except httpx2.HTTPError:
                pass
            else:
                return
            await trio.sleep(RETRY_S)

    async def _lose_server(self, error: httpx2.HTTPError) -> None:
        reason = f"the server has gone: {_text(error)}"
        for sent in list(self._asked.values()):
            await self._fail(sent, "server_unreachable", reason)
        raise CommandFailed(reason)

    async def _relay(self, sent: _Sent, response: httpx2.Response) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_success and kind == "text/event-stream":
            # To its end, also after the answer: left early, its generators would be left open.
            async for event in httpx2.EventSource(response, max_event_size=LINE_LIMIT_BYTES):
                if event.data:
                    await self._pass_on(sent, event.data)
            await self._fail(sent, "server_unreachable", "the stream ended without an answer")
            return
        body = await response.aread()
        if kind == "application/json":
            await self._pass_on(sent, body)
        elif not response.is_success:
            await self._explain(sent, response.status_code, body)
        await self._fail(sent, "server_unreachable", "the server gave no answer")

    async def _pass_on(self, sent: _Sent, text: str | bytes) -> None:
        """Write a message of the server's as a line; what is none of its is left out."""
        try:
            value = json.loads(text)
        except ValueError:
            return
        if not isinstance(value, dict):
            return
        message = cast("dict[str, Any]", value)
        if "method" not in message:
            if message.get("id") is None and sent.id is not None:
                message["id"] = sent.id  # it was refused before its id was read
            if sent.method == "initialize":
                version = _member(message, "result").get("protocolVersion")
                self._version = version if isinstance(version, str) else None
            self._settle(sent)
        await self._write(message)

    async def _explain(self, sent: _Sent, status: int, body: bytes) -> None:
        """Pass a problem on as an error of JSON-RPC."""
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        problem = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if not sent.is_settled and sent.id is not None:
            await self._say(
                sent.id,
                INVALID_REQUEST if status < 500 else INTERNAL_ERROR,
                str(problem.get("code", "server_unreachable")),
                str(problem.get("detail", f"the server answered with HTTP status {status}")),
                str(problem.get("next", "see that the URL is that of an Autonomics server")),
            )
            self._settle(sent)

    async def _fail(self, sent: _Sent, code: str, reason: str) -> None:
        """Answer in the server's place, where the client waits for an answer."""
        if not sent.is_settled and sent.method is not None and sent.id is not None:
            self._settle(sent)
            await self._say(sent.id, CONNECTION_CLOSED, code, reason)

    def _settle(self, sent: _Sent) -> None:
        sent.is_settled = True
        if self._asked.get(_name(sent.id)) is sent:
            del self._asked[_name(sent.id)]

    async def _say(
        self, id_: object, number: int, code: str, reason: str, next_step: str | None = None
    ) -> None:
        if next_step is None:
            next_step = PROBLEMS[code].next_step if code in PROBLEMS else "send it again"
        data = {"code": code, "reason": reason, "next_step": next_step, "who": "caller"}
        error = {"code": number, "message": reason, "data": data}
        await self._write({"jsonrpc": "2.0", "id": id_, "error": error})

    async def _write(self, message: Mapping[str, Any]) -> None:
        await self._lines.write_line(json.dumps(message, separators=(",", ":")).encode())


@attrs.define(eq=False)
class _Sent:
    """A message on its way; settled once the client has its answer."""

    line: bytes
    id: Any
    method: Any
    headers: dict[str, str]
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    is_settled: bool = False


def _name(id_: object) -> str:
    """Tell ids apart as JSON does: 1 is not "1"."""
    return json.dumps(id_, default=str)


def _member(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _encode(value: str) -> str:
    """Write a text so that a header can hold it (MCP 2026-07-28, custom headers)."""
    if _PLAIN.fullmatch(value) and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode(errors='replace')).decode()}?="


def _text(error: httpx2.HTTPError) -> str:
    return " ".join(str(error).split()) or type(error).__name__
