"""What stands between the server and the framework: ids, bounds, the access event, the last catch.

Guards against defects that were measured: hypercorn leaves a connection stuck when a request is
answered before its body was read, and its access log copies the environment into each record.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias, cast

import attrs
import trio

from autonomics.actors.message import Principal
from autonomics.http.credential import read_request_id, read_trace
from autonomics.http.problem import MEDIA_TYPE, Problem, internal_problem, make_problem
from autonomics.telemetry import declare, emit

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MARK: Final = "autonomics.mark"
PATH_SHOWN: Final = 200
LINGER_S: Final = 1.0
"""How long an early answer waits for the rest of the body, so that a reset does not overtake it."""
LAST_SEND_S: Final = 10.0

declare(
    "http.request",
    "A request was answered.",
    method="its method",
    path="its path without the query, at most 200 characters",
    route="name of the route, or None",
    status="HTTP status, or None where the peer left first",
    duration_s="seconds from its head to the end of the answer",
    request_id="id of the request",
    trace="W3C trace id, or None",
    key_id="id of the key that was used, or None",
)
declare(
    "http.failed",
    "A request ran into an error of ours; it was answered with 500, or cut off.",
    route="name of the route, or None",
    request_id="id of the request",
    trace="W3C trace id, or None",
    error="what was raised",
)


@attrs.define
class Mark:
    """What is known of a request before and after the framework has it."""

    request_id: str
    trace: str | None
    headers: dict[str, str] = attrs.field(repr=False)
    route: str | None = None
    principal: Principal | None = None
    status: int | None = None

    @property
    def key_id(self) -> str | None:
        """Id of the key, once it is known."""
        return (self.principal.key_id or None) if self.principal else None


class Guard:
    """ASGI wrapper of one app."""

    def __init__(self, app: AsgiApp, *, new_id: Callable[[], str], requests_in_flight: int) -> None:
        self._app = app
        self._new_id = new_id
        self._limit = requests_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let HTTP and lifespan through; there are no websockets here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await self._guard(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _guard(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = join_headers(scope["headers"])
        mark = Mark(read_request_id(headers) or self._new_id(), read_trace(headers), headers)
        wire = _Wire(scope, receive, send, mark)
        started = trio.current_time()
        self._in_flight += 1
        try:
            if self._in_flight > self._limit and scope["path"] != "/health/live":
                detail = f"the door takes {self._limit} requests at a time"
                await wire.send_problem(make_problem("door_full", detail))
            else:
                await self._run({**scope, MARK: mark}, wire)
        finally:
            self._in_flight -= 1
            emit(
                "http.request",
                method=scope["method"],
                path=scope["path"][:PATH_SHOWN],
                route=mark.route,
                status=mark.status,
                duration_s=trio.current_time() - started,
                request_id=mark.request_id,
                trace=mark.trace,
                key_id=mark.key_id,
            )

    async def _run(self, scope: Message, wire: _Wire) -> None:
        mark = wire.mark
        try:
            await self._app(scope, wire.receive, wire.send)
        except Exception as error:
            # The boundary: whatever went wrong in there, the asker gets an answer and the server
            # lives. `rulings` allow a broad except in this place.
            emit(
                "http.failed",
                route=mark.route,
                request_id=mark.request_id,
                trace=mark.trace,
                error=_lone(error),
            )
            if mark.status is not None:
                raise  # The head is out: cutting the connection is all that is left to say.
            await wire.send_problem(internal_problem())


class _Wire:
    """`receive` and `send` of one request, with an eye on whether its body was read."""

    def __init__(self, scope: Message, receive: Receive, send: Send, mark: Mark) -> None:
        self.mark = mark
        self._receive = receive
        self._send = send
        self._is_http1 = str(scope["http_version"]).startswith("1")
        self._was_read = trio.Event()
        # A request that announces no body has none (RFC 9112, 6.3).
        announced = "transfer-encoding" in mark.headers or mark.headers.get("content-length")
        if announced in (False, None, "0"):
            self._was_read.set()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._was_read.set()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.mark.status = message["status"]
            message = {**message, "headers": self._head(message["headers"])}
        elif not message.get("more_body") and not self._was_read.is_set():
            # What was said already goes out first; then the peer may finish its sending, which
            # the framework's reader takes in meanwhile.
            await self._send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
            with trio.move_on_after(LINGER_S):
                await self._was_read.wait()
        await self._send_whole(message)

    async def _send_whole(self, message: Message) -> None:
        """Send, and let the last message of an answer be carried out whole.

        Where the connection is to be closed, hypercorn does so inside the last send, and first
        says http.disconnect; the framework takes that for the peer's leaving and cancels this very
        send. The socket would stay open for as long as the peer waits for its end.
        """
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if not is_last:
            await self._send(message)
            return
        with trio.move_on_after(LAST_SEND_S) as scope:
            scope.shield = True
            await self._send(message)

    def _head(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        ours = [
            *headers,
            (b"x-request-id", self.mark.request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        if self._is_http1 and not self._was_read.is_set():
            ours = [pair for pair in ours if pair[0].lower() != b"connection"]
            ours.append((b"connection", b"close"))
        return ours

    async def send_problem(self, problem: Problem) -> None:
        """Answer without the framework, and read what it would have read."""
        body = json.dumps(problem.document(self.mark.request_id)).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *((name.lower().encode(), text.encode()) for name, text in problem.headers.items()),
        ]
        start = {"type": "http.response.start", "status": problem.status, "headers": headers}
        await self.send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        with trio.move_on_after(LINGER_S):
            while not self._was_read.is_set():
                await self.receive()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def join_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; what comes several times is joined by commas."""
    joined: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _lone(error: Exception) -> Exception:
    """Return what a nursery wrapped, where it is one error."""
    wrapped = _wrapped(error)
    return _lone(wrapped[0]) if len(wrapped) == 1 else error


def _wrapped(error: object) -> tuple[Exception, ...]:
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).exceptions
    return ()
