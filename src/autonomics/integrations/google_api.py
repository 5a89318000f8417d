"""One request to a Google API, and what became of it.

EffectFailed: it was not carried out. EffectUnknown: it may have been. Nothing is sent twice.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

import httpx2
import trio

from autonomics.errors import EffectFailed, EffectUnknown
from autonomics.integrations.google_credential import TokenSource

SIZE_LIMIT_BYTES: Final = 4 * 2**20
MESSAGE_LIMIT: Final = 300
SECRET_LEAST: Final = 4
CONNECT_S: Final = 5.0
READ_S: Final = 30.0
MOST_CONNECTIONS: Final = 32
_STATUS: Final = re.compile(r"[A-Z_]{1,40}")
_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Raised before a byte of the request has left.
_NOT_SENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
# An end that gave up waiting (408) or was cancelled (499) may have begun all the same.
_GAVE_UP: Final = frozenset({408, 499})


def open_client(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """Make the one client that all adapters speak through; whoever makes it closes it.

    The environment gives it no proxy and no credentials, and a redirect is an answer like another.
    """
    return httpx2.AsyncClient(
        transport=transport,
        timeout=_bound(READ_S),
        limits=httpx2.Limits(
            max_connections=MOST_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=20.0
        ),
        follow_redirects=False,
        trust_env=False,
    )


def _bound(silence_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(silence_s, connect=CONNECT_S, pool=CONNECT_S)


class GoogleApi:
    """Sends requests to one base URL, each with a token."""

    def __init__(self, client: httpx2.AsyncClient, *, base_url: str, tokens: TokenSource) -> None:
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._tokens = tokens

    async def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        body: Mapping[str, Any] | None = None,
        secrets: Iterable[str] = (),
        timeout_s: float = READ_S,
    ) -> dict[str, Any]:
        """Send once and return the answer's object.

        `path` is made of checked names; `timeout_s` bounds the silence of an end, not the whole.
        An error's text holds none of `secrets`, nor the token.
        """
        content = None if body is None else _encode(body)
        token = await self._tokens.token()
        request = self._client.build_request(
            method,
            f"{self._base_url}{path}",
            params=params,
            content=content,
            headers=_headers(token),
            timeout=_bound(timeout_s),
        )
        if body is not None:
            request.headers["Content-Type"] = "application/json"
        status, headers, data = await exchange(self._client, request)
        if status == 401 and token is not None:
            self._tokens.drop(token)
        if not 200 <= status < 300:
            raise _refusal(status, headers, data, [*secrets, token or ""])
        found = decode_object(data)
        if found is None:
            raise EffectUnknown(f"{status}: expected the answer to be a JSON object")
        return found


async def exchange(
    client: httpx2.AsyncClient, request: httpx2.Request
) -> tuple[int, httpx2.Headers, bytes]:
    """Send a request and return status, headers and body of its answer.

    Raises EffectFailed if no connection came about, EffectUnknown if it ended without an answer.
    """
    host = request.url.host
    try:
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            return response.status_code, response.headers, await _read_bounded(response)
        finally:
            await response.aclose()
    except _NOT_SENT as error:
        raise EffectFailed(f"no connection to {host}: {_describe(error)}") from None
    except httpx2.RequestError as error:
        raise EffectUnknown(f"no answer from {host}: {_describe(error)}") from None


def _headers(token: str | None) -> dict[str, str]:
    # Nothing is unpacked, so that a small answer stays small.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    return headers if token is None else {**headers, "Authorization": f"Bearer {token}"}


def _describe(error: httpx2.RequestError) -> str:
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{kind}: {one_line(str(error))}" if str(error) else kind


async def _read_bounded(response: httpx2.Response) -> bytes:
    """Read an answer as it was sent; one that is too long or packed is empty, so unreadable."""
    data = bytearray()
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return b""
    # To leave the loop would leave the generators below it open: they unwind from their inside.
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_bytes():
            if len(data) > SIZE_LIMIT_BYTES:
                reading.cancel(reason="the answer is too long")
            else:
                data += chunk
    return b"" if len(data) > SIZE_LIMIT_BYTES else bytes(data)


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise EffectFailed(f"the request can't be written: {error}") from None


def decode_object(data: bytes) -> dict[str, Any] | None:
    """Read an object whose numbers are all finite; None if it is anything else."""
    try:
        value = json.loads(data, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Give a text of somebody else as one line of printable characters, cut to a limit."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else f"{line[:limit]}..."


def _refusal(
    status: int, headers: httpx2.Headers, data: bytes, secrets: Iterable[str]
) -> EffectFailed:
    """Build the error of an answer: `<code> <STATUS>: <message> (retry after N s)`."""
    error = (decode_object(data) or {}).get("error")
    found = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    name = found.get("status")
    if not isinstance(name, str) or _STATUS.fullmatch(name) is None:
        name = _NAMES.get(status, "UNKNOWN")
    message = found.get("message")
    text = f"{status} {name}: {conceal(message, secrets)}" if message else f"{status} {name}"
    wait_s = _retry_after_s(headers)
    if wait_s is not None:
        text += f" (retry after {wait_s} s)"
    is_refused = 400 <= status < 500 and status not in _GAVE_UP
    return EffectFailed(text) if is_refused else EffectUnknown(text)


def conceal(message: object, secrets: Iterable[str]) -> str:
    """Give a message in one line, with secrets that it repeats struck out."""
    text = str(message)
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_LEAST:
            text = text.replace(secret, "***")
    return one_line(text)


def _retry_after_s(headers: httpx2.Headers) -> int | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date, here against the answer's own."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) <= 9 else None
    try:
        at = parsedate_to_datetime(text)
        wait_s = (at - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return max(0, math.ceil(wait_s))
