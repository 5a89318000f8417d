"""The command line's way to a server: its control socket, or the app itself where none runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import attrs
import httpx2

from autonomics.errors import CommandFailed
from autonomics.http.socket_path import is_serving, short_address

Method: TypeAlias = Literal["GET", "POST", "DELETE"]
Query: TypeAlias = Mapping[str, str | int | None]
AsgiApp: TypeAlias = Callable[..., Any]

TIMEOUT_S = 60.0
BASE_URL = "http://autonomics"


@attrs.frozen
class Reply:
    """An answer as it came, also one that is a problem."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def is_problem(self) -> bool:
        """Tell whether it is an error."""
        return self.status >= 400


@attrs.frozen
class Client:
    """Asks the HTTP API; a problem is CommandFailed with its detail as one line."""

    _http: httpx2.AsyncClient

    async def ask(
        self,
        method: Method,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return whatever the server answers; CommandFailed only if it can't be asked.

        `body` is sent as JSON; `content` is a JSON text sent as it is.
        """
        sent: dict[str, Any] = {"params": _given(query), "headers": dict(headers or {})}
        if content is not None:
            sent["content"] = content
            sent["headers"].setdefault("Content-Type", "application/json")
        elif body is not None:
            sent["json"] = body
        try:
            response = await self._http.request(method, path, **sent)
        except httpx2.HTTPError as error:
            raise _unreachable(error) from None
        return _reply(response)

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON, or the text, at a path."""
        return _expect(await self.ask("GET", path, query=query))

    async def post(self, path: str, body: object = None, **query: str | int | None) -> Any:
        """Send JSON and return the answer's."""
        return _expect(await self.ask("POST", path, body=body, query=query))

    async def delete(self, path: str) -> Any:
        """Delete what is at a path and return the answer's JSON."""
        return _expect(await self.ask("DELETE", path))

    @asynccontextmanager
    async def download(self, path: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a stream of bytes, such as an export."""
        try:
            async with self._http.stream("GET", path) as response:
                if response.status_code >= 400:
                    await response.aread()
                    _expect(_reply(response))
                yield response.aiter_bytes()
        except httpx2.HTTPError as error:
            raise _unreachable(error) from None


@asynccontextmanager
async def open_client(
    socket: Path,
    *,
    start: Callable[[], AbstractAsyncContextManager[AsgiApp]] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> AsyncGenerator[Client]:
    """Open a client on the control socket, or where nobody serves there on the app of `start`.

    `start` is entered only then, and left with the client. CommandFailed if there is neither.
    """
    async with AsyncExitStack() as stack:
        transport: httpx2.AsyncBaseTransport
        if await is_serving(socket):
            address = stack.enter_context(short_address(socket))
            transport = httpx2.AsyncHTTPTransport(uds=address)
        elif start is not None:
            app = await stack.enter_async_context(start())
            # The guard inside has answered 500 already where the app failed.
            transport = httpx2.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        else:
            raise CommandFailed(f"no server runs on {socket.parent}")
        http = httpx2.AsyncClient(
            transport=transport, base_url=BASE_URL, timeout=timeout_s, trust_env=False
        )
        yield Client(await stack.enter_async_context(http))


def _given(query: Query | None) -> dict[str, str]:
    return {name: str(value) for name, value in (query or {}).items() if value is not None}


def _reply(response: httpx2.Response) -> Reply:
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json"):
        try:
            body: Any = response.json()
        except ValueError:
            raise CommandFailed("the server sent JSON that can't be read") from None
    else:
        body = response.text if kind.startswith("text/") else response.content
    return Reply(response.status_code, body, response.headers)


def _expect(reply: Reply) -> Any:
    if reply.is_problem:
        raise CommandFailed(describe_problem(reply))
    return reply.body


def describe_problem(reply: Reply) -> str:
    """Return a problem as one line: its detail, and what to do next."""
    body: object = reply.body
    members = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    detail = str(members.get("detail") or f"the server answered {reply.status}")
    step = members.get("next")
    return " ".join(f"{detail}; {step}".split()) if step else " ".join(detail.split())


def _unreachable(error: httpx2.HTTPError) -> CommandFailed:
    text = str(error) or type(error).__name__
    return CommandFailed(f"the server did not answer: {' '.join(text.split())}")
