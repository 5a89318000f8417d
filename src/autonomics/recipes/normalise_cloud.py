"""Cloud Logging entries, audit events, API errors and free text."""

from __future__ import annotations

from typing import Any, Final

from autonomics.recipes.normalise_field import (
    join_text,
    take_code,
    take_labels,
    take_moment,
    take_name,
    take_object,
)
from autonomics.recipes.signal import Json

_PAYLOADS: Final = ("textPayload", "jsonPayload", "protoPayload")
_MARKS: Final = ("logName", "insertId", "resource", "receiveTimestamp")

# google.rpc.Code, by number.
RPC_CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_TEXT_KEYS: Final = frozenset(
    {"text", "message", "severity", "status", "product", "timestamp", "resource"}
)


def read_log_entry(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read a google.logging.v2.LogEntry; an audit event has a kind of its own."""
    has_payload = any(name in tree for name in _PAYLOADS) or "httpRequest" in tree
    if not has_payload or not any(name in tree for name in _MARKS):
        return None
    resource = take_object(tree, "resource")
    proto = take_object(tree, "protoPayload")
    structured = take_object(tree, "jsonPayload")
    outcome = take_object(proto, "status")
    return {
        "kind": "gcp_audit_event" if _is_audit(proto) else "gcp_log_entry",
        "resource_type": take_name(resource, "type"),
        "labels": take_labels(resource, "labels"),
        # Cloud Logging's own default for an entry that names none.
        "severity": take_name(tree, "severity") or "DEFAULT",
        "status": take_code(take_object(tree, "httpRequest"), "status")
        or take_code(outcome, "code"),
        "text": join_text(
            tree.get("textPayload"),
            structured.get("message"),
            structured.get("msg"),
            outcome.get("message"),
        ),
        "event_at": take_moment(tree, "timestamp") or take_moment(tree, "receiveTimestamp"),
        "own_id": take_name(tree, "insertId"),
    }


def _is_audit(proto: dict[str, Json]) -> bool:
    named = take_name(proto, "@type") or take_name(proto, "at_sign_type")
    if named:
        return named.endswith("google.cloud.audit.AuditLog")
    return bool(take_name(proto, "methodName"))


def read_api_error(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read an API's error body, a bare google.rpc.Status, or an HTTP code with its body."""
    error = tree.get("error")
    if isinstance(error, dict) and ("code" in error or "status" in error):
        return _error(error, error.get("message"))
    if isinstance(tree.get("message"), str) and _is_rpc_code(tree.get("code")):
        return _error(tree, tree.get("message"))
    if isinstance(tree.get("body"), str) and take_code(tree, "code").isdigit():
        return _error(tree, tree.get("body"))
    return None


def _is_rpc_code(code: Json) -> bool:
    return isinstance(code, int) and not isinstance(code, bool) and 0 <= code < len(RPC_CODES)


def _error(error: dict[str, Json], text: Json) -> dict[str, Any]:
    code = error.get("code")
    named = take_name(error, "status")
    if not named and isinstance(code, int) and _is_rpc_code(code):
        named = RPC_CODES[code]
    return {
        "kind": "api_error",
        "status": named or take_code(error, "code"),
        "text": join_text(text),
    }


def read_text(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read a text that came alone, with at most a severity, status, product, time or resource."""
    text = tree.get("text", tree.get("message"))
    if not isinstance(text, str) or not set(tree) <= _TEXT_KEYS:
        return None
    resource = take_object(tree, "resource")
    return {
        "kind": "text",
        "resource_type": take_name(resource, "type"),
        "labels": take_labels(resource, "labels"),
        "severity": take_name(tree, "severity"),
        "status": take_code(tree, "status"),
        "text": join_text(text),
        "event_at": take_moment(tree, "timestamp"),
    }
