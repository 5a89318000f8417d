"""`/mcp`: the agents' door, beside the framework and below the same guard.

The SDK answers; what comes before it is this door's, as for the other routes: method, host and
origin, key, body and its bounds. Each request has a session manager of its own, that ends with it:
there is nothing to start with the server, and a client that vanishes leaves nothing behind.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import attrs
import trio

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import Principal
from autonomics.errors import DoorRefused
from autonomics.http.admission import admit
from autonomics.http.credential import read_secret
from autonomics.http.guard import LINGER_S, MARK, AsgiApp, Mark, Message, Receive, Send
from autonomics.http.json_body import read_json
from autonomics.http.problem import (
    MEDIA_TYPE,
    PROBLEMS,
    Problem,
    make_problem,
)
from autonomics.http.setting import DoorSettings

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from autonomics.tools.caller import Caller

PATH: Final = "/mcp"
ROUTE: Final = "mcp"
TENANT_HEADER: Final = "autonomics-tenant"
TENANT_SHOWN: Final = 80
CALLER: Final = "autonomics.caller"
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
JSON_TYPES: Final = ("application/json", "application/*", "*/*")
EVENT_TYPES: Final = ("text/event-stream", "text/*", "*/*")


class McpDoor:
    """ASGI application that answers at `/mcp`, and hands all else to the one behind it."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        control: ControlPlane,
        settings: DoorSettings,
        principal: Principal | None,
    ) -> None:
        self._app = app
        self._control = control
        self._settings = settings
        self._principal = principal
        self._server: Server[Any] | None = None
        self._importing = trio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        wire = _Wire(receive, send, cast("Mark", scope[MARK]), self._settings)
        wire.mark.route = ROUTE
        try:
            await self._serve(scope, wire)
        except _Answered as answered:
            await answered.answer.give(wire)
        except _PeerLeft:
            pass

    async def _serve(self, scope: Message, wire: _Wire) -> None:
        headers = wire.mark.headers
        if self._principal is None:
            _expect_name(headers, self._settings.hosts)
        if scope["method"] != "POST":
            # There is no stream to open and no session to close: each request stands for itself.
            raise _refuse("method_not_allowed", f"{scope['method']} {PATH}", {"Allow": "POST"})
        caller = await self._admit(wire.mark)
        _expect_types(headers)
        message = await wire.read_message()
        server = await self._open_server()
        inside = {**scope, CALLER: caller}
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=self._settings.body_limit_bytes
        )
        async with manager.run():
            await manager.asgi_app(inside, _replay(message, wire.receive), wire.send)

    async def _admit(self, mark: Mark) -> Caller:
        from autonomics.tools.caller import Caller

        named = mark.headers.get(TENANT_HEADER, "")[:TENANT_SHOWN] or None
        principal = self._principal
        if principal is not None:
            mark.principal = principal
            return Caller(principal, principal.tenant_id or named)
        admitted = await admit(self._control, read_secret(mark.headers))
        if isinstance(admitted, Problem):
            raise _Answered(_Refused(admitted))
        mark.principal = admitted
        if admitted.role == "push":
            raise _refuse("role_may_not", f"a key of role {admitted.role} may not use {PATH}")
        if named is not None:
            raise _refuse("role_may_not", "only who comes by the control socket may name a tenant")
        return Caller(admitted, admitted.tenant_id)

    async def _open_server(self) -> Server[Any]:
        """Return the server; the first request imports the SDK, in a thread, for it takes a second.

        So that a server without the extra, or one that no agent ever asks, does without.
        """
        async with self._importing:
            if self._server is None:
                try:
                    module = await trio.to_thread.run_sync(_import_tools)
                except ModuleNotFoundError as error:
                    if str(error.name).startswith("autonomics"):
                        raise  # A fault of ours, which no installation mends.
                    raise _refuse("mcp_missing", f"{error.name} is not installed") from None
                build: Callable[..., Server[Any]] = module.build_server
                self._server = build(self._control, _identify)
        return self._server


def _import_tools() -> Any:
    import_module("mcp.server.streamable_http_manager")
    # Without a handler the standard library prints the SDK's warnings on stderr, in no form.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    return import_module("autonomics.tools.server")


def _identify(context: Any) -> Caller:
    caller: Caller = context.request.scope[CALLER]
    return caller


# What is refused before the SDK sees it


@attrs.frozen
class _Refused:
    """A problem, as the other routes give it."""

    problem: Problem

    async def give(self, wire: _Wire) -> None:
        document = self.problem.document(wire.mark.request_id)
        await wire.answer(self.problem.status, MEDIA_TYPE, document, self.problem.headers)


@attrs.frozen
class _Malformed:
    """An error of JSON-RPC, for what is no message of it; the id is null where none can be told."""

    code: int
    message: str
    why: str
    reason: str
    id: int | str | None = None

    async def give(self, wire: _Wire) -> None:
        data = {
            "code": self.why,
            "reason": self.reason,
            "next_step": PROBLEMS[self.why].next_step,
            "who": "caller",
        }
        error = {"code": self.code, "message": self.message, "data": data}
        body = {"jsonrpc": "2.0", "id": self.id, "error": error}
        await wire.answer(400, "application/json", body, {})


class _Answered(Exception):
    """The request has its answer."""

    def __init__(self, answer: _Refused | _Malformed) -> None:
        super().__init__(answer)
        self.answer = answer


class _PeerLeft(Exception):
    """The peer has gone; nobody waits for an answer."""


def _refuse(code: str, detail: str, headers: Mapping[str, str] | None = None) -> _Answered:
    return _Answered(_Refused(make_problem(code, detail, headers=headers)))


def _expect_name(headers: Mapping[str, str], hosts: tuple[str, ...]) -> None:
    """Refuse a name that is not the server's, and pages of other origins (DNS rebinding)."""
    host = headers.get("host", "")
    is_any = any(_stands_for_all(name) for name in hosts)
    if not host or not (
        is_any or _name_of(f"//{host}") in LOCAL_NAMES.union(map(str.lower, hosts))
    ):
        raise _refuse("wrong_host", f"there is no server named {host[:80]!a} here")
    origin = headers.get("origin")
    if origin is None or _host_of(origin) == host.lower():
        return
    if _name_of(origin) not in LOCAL_NAMES:
        raise _refuse("foreign_origin", f"a page of {origin[:80]!a} may not call {PATH}")


def _name_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin; None where it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _stands_for_all(name: str) -> bool:
    try:
        return ip_address(name).is_unspecified
    except ValueError:
        return False


def _expect_types(headers: Mapping[str, str]) -> None:
    declared = headers.get("content-type", "")
    if declared.partition(";")[0].strip().lower() != "application/json":
        raise _refuse(
            "unsupported_media_type",
            f"expected Content-Type to be application/json, got {declared[:60]!a}",
        )
    accepted = set(_read_types(headers.get("accept", "")))
    if not accepted.intersection(JSON_TYPES) or not accepted.intersection(EVENT_TYPES):
        raise _refuse(
            "not_acceptable",
            "expected Accept to name application/json and text/event-stream,"
            f" got {headers.get('accept', '')[:80]!a}",
        )


def _read_types(text: str) -> Iterator[str]:
    for item in text.split(","):
        yield item.partition(";")[0].strip().lower()


# The body


class _Wire:
    """`receive` and `send` of one request, bounded."""

    def __init__(self, receive: Receive, send: Send, mark: Mark, settings: DoorSettings) -> None:
        self.mark = mark
        self.receive = receive
        self._send = send
        self._settings = settings
        self._is_read = False

    async def read_message(self) -> bytes:
        """Return the body, once it is seen to be one message of JSON-RPC."""
        timeout_s = self._settings.body_timeout_s
        try:
            with trio.fail_after(timeout_s):
                body = await self._read()
        except trio.TooSlowError:
            detail = f"the body did not come within {timeout_s:g} s"
            raise _refuse("body_too_slow", detail) from None
        _expect_message(body, self._settings.body_depth)
        return body

    async def _read(self) -> bytes:
        limit = self._settings.body_limit_bytes
        body = bytearray()
        while not self._is_read:
            message = await self._take()
            body += message.get("body", b"")
            if len(body) > limit:
                raise _refuse("body_too_large", f"expected the body to be at most {limit} bytes")
        return bytes(body)

    async def _take(self) -> Message:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise _PeerLeft
        self._is_read = not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        """Send, to a peer that takes it within a time."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": _uncached(message["headers"])}
        with trio.fail_after(self._settings.send_timeout_s):
            await self._send(message)

    async def answer(
        self, status: int, media_type: str, value: object, headers: Mapping[str, str]
    ) -> None:
        """Answer with a JSON value; then take in what the peer is still sending, for a moment."""
        body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        head = {"content-type": media_type, "content-length": str(len(body)), **headers}
        pairs = [(name.lower().encode(), text.encode()) for name, text in head.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        with trio.move_on_after(LINGER_S):
            try:
                while not self._is_read:
                    await self._take()
            except _PeerLeft:
                return
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _uncached(headers: Any) -> list[tuple[bytes, bytes]]:
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    if not any(name.lower() == b"cache-control" for name, _ in pairs):
        pairs.append((b"cache-control", b"no-store"))
    return pairs


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def take() -> Message:
        return messages.pop() if messages else await receive()

    return take


def _expect_message(body: bytes, depth_limit: int) -> None:
    """Hold the body to the form of one request, notification or response (JSON-RPC 2.0)."""
    try:
        value = read_json(body, depth_limit=depth_limit, size_limit_bytes=len(body))
    except DoorRefused as error:
        raise _Answered(_Malformed(PARSE_ERROR, "Parse error", error.code, str(error))) from None
    if not isinstance(value, dict):
        kind = "a batch" if isinstance(value, list) else "another value"
        raise _malformed(f"expected the body to be one JSON-RPC message, got {kind}")
    message = cast("dict[str, Any]", value)
    id_ = message.get("id")
    if "id" in message and (isinstance(id_, bool) or not isinstance(id_, int | str)):
        raise _malformed(f"expected id to be a text or an integer, got {ascii(id_)[:60]}")
    if message.get("jsonrpc") != "2.0":
        got = ascii(message.get("jsonrpc"))[:60]
        raise _malformed(f"expected jsonrpc to be '2.0', got {got}", id_)
    method = message.get("method")
    is_response = "method" not in message and "id" in message
    if is_response and ("result" in message or "error" in message):
        return
    if not isinstance(method, str):
        raise _malformed(f"expected method to be a text, got {ascii(method)[:60]}", id_)
    if not isinstance(message.get("params", {}), dict):
        raise _malformed("expected params to be an object", id_)


def _malformed(reason: str, id_: int | str | None = None) -> _Answered:
    return _Answered(_Malformed(INVALID_REQUEST, "Invalid Request", "bad_request", reason, id_))
