"""An HTTP end inside this process: as a transport for httpx2, and as an ASGI application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx2
import trio
from attrs import frozen

from autonomics.testing.cloud_fault import STATUS_NAMES

SYSTEM_PARAMETERS: Final = frozenset({"fields", "alt", "prettyPrint", "quotaUser", "key"})
"""What every method of Google's APIs takes in its query, as far as it means anything here."""
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@frozen
class Request:
    """A request as it has arrived; the names of headers are in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    def parameters(self, known: frozenset[str]) -> dict[str, str]:
        """Give the query, of which each name is known and comes once; else raise Refused."""
        found: dict[str, str] = {}
        for name, value in self.query:
            if name not in known:
                raise Refused(400, f'Invalid JSON payload received. Unknown name "{name}".')
            if name in found:
                raise Refused(400, f'Invalid value for "{name}": it was given more than once.')
            found[name] = value
        return found

    def json(self) -> Any:
        """Parse the body; raise Refused if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, "Invalid JSON payload received. Unexpected token.") from None


@frozen
class Answer:
    """An answer in JSON."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = {}

    def content(self) -> bytes:
        """Write the body."""
        return json.dumps(self.body, separators=(",", ":")).encode()

    def all_headers(self) -> dict[str, str]:
        """Give the headers, with those that every answer has."""
        return {"content-type": "application/json; charset=UTF-8", **self.headers}


class Refused(Exception):
    """An answer that is an error: google.rpc.Status as the HTTP mapping writes it (AIP-193)."""

    def __init__(
        self,
        code: int,
        message: str,
        status: str | None = None,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        error: dict[str, Any] = {
            "code": code,
            "message": message,
            "status": STATUS_NAMES[code] if status is None else status,
        }
        if reason is not None:
            detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
            error["details"] = [{**detail, "domain": "googleapis.com"}]
        self.answer = Answer({"error": error}, code, headers or {})


class ConnectionCut(Exception):
    """The connection is to be broken in place of an answer."""


Handler = Callable[[Request], Awaitable[Answer]]


class LocalTransport(httpx2.AsyncBaseTransport):
    """Serves a client of this process, under trio's clock, whatever host its requests name."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer, or break off as a connection would; the client's read timeout holds."""
        body = await request.aread()
        arrived = Request(
            method=request.method,
            path=request.url.path,
            query=tuple(parse_qsl(request.url.query.decode(), keep_blank_values=True)),
            headers=dict(request.headers),
            body=body,
        )
        read_s = request.extensions.get("timeout", {}).get("read")
        try:
            with trio.fail_after(float("inf") if read_s is None else read_s):
                answer = await self._handler(arrived)
        except trio.TooSlowError:
            raise httpx2.ReadTimeout("", request=request) from None
        except ConnectionCut:
            message = "Server disconnected without sending a response."
            raise httpx2.RemoteProtocolError(message, request=request) from None
        return httpx2.Response(
            answer.status, headers=answer.all_headers(), content=answer.content()
        )


_STARTED: Final = {"startup": "lifespan.startup.complete", "shutdown": "lifespan.shutdown.complete"}


class AsgiApp:
    """Serves behind a real server. A caller that goes away ends the handling of its request."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection's scope, as ASGI 3 has it."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            async with trio.open_nursery() as nursery:
                request = await _read(scope, receive)
                nursery.start_soon(_wait_for_leave, receive, nursery.cancel_scope)
                await self._answer(request, send)
                nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, send: Send) -> None:
        try:
            answer = await self._handler(request)
        except ConnectionCut:
            # ASGI has no word for a broken connection. A body that is announced and does not come
            # makes the server close it, and the caller's library raise.
            await send(_start(200, {"content-length": "2"}))
            return
        content = answer.content()
        headers = {**answer.all_headers(), "content-length": str(len(content))}
        await send(_start(answer.status, headers))
        await send({"type": "http.response.body", "body": content})


def _start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _read(scope: Scope, receive: Receive) -> Request:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body", False):
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=tuple(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
        headers={name.decode().lower(): value.decode() for name, value in scope["headers"]},
        body=body,
    )


async def _wait_for_leave(receive: Receive, cancel_scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel_scope.cancel()


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"].rpartition(".")[2]
        await send({"type": _STARTED[kind]})
        if kind == "shutdown":
            return
