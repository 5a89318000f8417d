"""Pub/Sub push envelopes: wrapped ones and unwrapped ones give one kind of message.

Facts: `message.data` is base64 and may be absent; Google sends both `messageId` and `message_id`.
An unwrapped push carries the same in headers, and the data as its body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import attrs

from autonomics.errors import DoorRefused
from autonomics.http.json_body import DEPTH_LIMIT, read_json_object

SUBSCRIPTION_HEADER: Final = "x-goog-pubsub-subscription-name"
MESSAGE_ID_HEADER: Final = "x-goog-pubsub-message-id"
PUBLISH_TIME_HEADER: Final = "x-goog-pubsub-publish-time"
TENANT_ATTRIBUTE: Final = "tenant"
UNKNOWN_SOURCE: Final = "pubsub"
NAME_LIMIT: Final = 512
_BASE64: Final = frozenset((string.ascii_letters + string.digits + "+/-_=").encode())


@attrs.frozen(kw_only=True)
class Pushed:
    """One message out of its envelope; `data` is the bytes that were published."""

    source: str
    message_id: str
    data: bytes
    attributes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    published_at: datetime | None = None
    fault: str | None = None
    """Why it can't be read as a signal; None for one that can."""


def open_push(headers: Mapping[str, str], body: bytes, depth_limit: int = DEPTH_LIMIT) -> Pushed:
    """Take a push out of its envelope; header names are lower-case.

    What can't be read comes back too, with its `fault` and a message id of its own, so that it
    can be parked and a redelivery be known again.
    """
    if SUBSCRIPTION_HEADER in headers:
        pushed = _open_unwrapped(headers, body)
    else:
        pushed = _open_wrapped(body, depth_limit)
    if pushed.fault is None:
        pushed = attrs.evolve(pushed, fault=_fault_of(pushed, depth_limit))
    return pushed


def _open_unwrapped(headers: Mapping[str, str], body: bytes) -> Pushed:
    source = headers[SUBSCRIPTION_HEADER]
    message_id = headers.get(MESSAGE_ID_HEADER) or _own_id(body)
    attributes = {TENANT_ATTRIBUTE: headers["tenant"]} if "tenant" in headers else {}
    try:
        published_at = _read_time(headers.get(PUBLISH_TIME_HEADER))
    except DoorRefused as error:
        return _unreadable(str(error), body, source, message_id)
    return Pushed(
        source=source,
        message_id=message_id,
        data=body,
        attributes=attributes,
        published_at=published_at,
    )


def _open_wrapped(body: bytes, depth_limit: int) -> Pushed:
    source, message_id = UNKNOWN_SOURCE, _own_id(body)
    try:
        envelope = read_json_object(body, depth_limit=depth_limit, size_limit_bytes=len(body))
        source = _text(envelope, "subscription") or UNKNOWN_SOURCE
        message = envelope.get("message")
        if not isinstance(message, dict):
            raise _fault("message", "an object", message)
        row = cast("dict[str, Any]", message)
        message_id = _text(row, "messageId") or _text(row, "message_id") or message_id
        return Pushed(
            source=source,
            message_id=message_id,
            data=_decode(row.get("data", "")),
            attributes=_attributes(row.get("attributes")),
            published_at=_read_time(_text(row, "publishTime") or _text(row, "publish_time")),
        )
    except DoorRefused as error:
        return _unreadable(str(error), body, source, message_id)


def _unreadable(why: str, body: bytes, source: str, message_id: str) -> Pushed:
    return Pushed(source=source, message_id=message_id, data=body, fault=why)


def _fault_of(pushed: Pushed, depth_limit: int) -> str | None:
    for name, value in (("subscription", pushed.source), ("messageId", pushed.message_id)):
        if len(value) > NAME_LIMIT:
            return f"expected {name} to be at most {NAME_LIMIT} characters, got {len(value)}"
    if not pushed.data:
        return "expected the message to have data, got none"
    try:
        read_json_object(pushed.data, depth_limit=depth_limit, size_limit_bytes=len(pushed.data))
    except DoorRefused as error:
        return str(error).replace("the body", "the message's data", 1)
    return None


def _own_id(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    if not isinstance(value, str):
        raise _fault(name, "a string", value)
    return value


def _decode(value: object) -> bytes:
    if not isinstance(value, str):
        raise _fault("message.data", "a base64 string", value)
    raw = value.encode("utf-8", "surrogatepass")
    if not _BASE64.issuperset(raw):
        raise _fault("message.data", "a base64 string", value)
    try:
        # Both alphabets: protobuf's JSON form lets a sender use either.
        return base64.b64decode(raw.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
    except binascii.Error:
        raise _fault("message.data", "a base64 string", value) from None


def _attributes(value: object) -> dict[str, str]:
    if value is None:
        return {}
    fault = _fault("message.attributes", "an object of strings", value)
    if not isinstance(value, dict):
        raise fault
    found: dict[str, str] = {}
    for name, text in cast("dict[str, object]", value).items():
        if not isinstance(text, str):
            raise fault
        found[name] = text
    return found


def _read_time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _fault("publishTime", "an RFC 3339 time", text)
    return at.astimezone(UTC)


def _fault(name: str, constraint: str, value: object) -> DoorRefused:
    shown = ascii(value)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}..."
    return DoorRefused(f"expected {name} to be {constraint}, got {shown}", "unreadable")
