"""What a request says about its sender: bearer key, idempotency key, request id, trace.

Header names are lower-case. Nothing here is ever logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from autonomics.errors import DoorRefused

SECRET_LIMIT: Final = 512
_BEARER: Final = re.compile(r"bearer[ \t]+([A-Za-z0-9._~+/=-]+)[ \t]*", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_RAW_KEY: Final = re.compile(r"[\x21\x23-\x7e][\x20-\x7e]{0,254}")
_QUOTED_KEY: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')


def read_secret(headers: Mapping[str, str], token: str | None = None) -> str | None:
    """Return the key of an Authorization header, else the token of a push URL, else None.

    A header that is there and is no bearer key gives "", which nobody holds: it does not fall
    back to the token.
    """
    header = headers.get("authorization")
    if header is not None:
        found = _BEARER.fullmatch(header) if len(header) <= SECRET_LIMIT else None
        return found[1] if found else ""
    if token is None:
        return None
    return token if len(token) <= SECRET_LIMIT and _TOKEN.fullmatch(token) else ""


def read_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the sender's X-Request-Id if it is safe to repeat, else None."""
    value = headers.get("x-request-id", "")
    return value if _REQUEST_ID.fullmatch(value) else None


def read_trace(headers: Mapping[str, str]) -> str | None:
    """Return the trace id of a W3C traceparent, else None; a broken one counts as absent."""
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    if not found[2].strip("0") or not found[3].strip("0"):
        return None
    return found[2]


def read_idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the Idempotency-Key, as the draft's quoted string or as most clients send it."""
    value = headers.get("idempotency-key")
    if value is None:
        return None
    quoted = _QUOTED_KEY.fullmatch(value)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if not _RAW_KEY.fullmatch(value):
        raise DoorRefused(
            f"expected Idempotency-Key to be 1 to 255 visible ASCII characters, got {value[:60]!a}",
            "bad_idempotency_key",
        )
    return value
