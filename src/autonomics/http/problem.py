"""Every error is one RFC 9457 document; the tables here say which, and with what status.

Codes that the catalogue of refusals has are taken from there, so that a door and a gate never
give one code two meanings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from autonomics.errors import (
    AutonomicsError,
    CallFailed,
    CallTimedOut,
    ChildRefused,
    DoorRefused,
    Fenced,
    IdempotencyConflict,
    InvalidInput,
    LedgerError,
    NoSuchTenant,
    Overloaded,
    ParkingFull,
    StoreUnavailable,
    TenantRefused,
    TenantUnavailable,
    TokenRefused,
)
from autonomics.gates.refusal import CATALOGUE

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:problem-type:autonomics:"
CHALLENGE: Final = 'Bearer realm="autonomics"'
RETRY_AFTER_S: Final = 1


@attrs.frozen
class ProblemKind:
    """One row: a stable code, its HTTP status, a title, and what to do next."""

    code: str
    status: int
    title: str
    next_step: str


def _title(rule: str) -> str:
    return rule[:1].upper() + rule[1:]


_ROWS: Final = (
    ("body_not_utf8", 400, "The body is not UTF-8", "send UTF-8"),
    ("body_not_json", 400, "The body is not JSON", "send one JSON value and nothing after it"),
    ("body_too_deep", 400, "The body nests too deep", "send a flatter value"),
    ("body_not_object", 400, "The body is not a JSON object", "send an object"),
    ("duplicate_key", 400, "An object has a key twice", "send each key once"),
    ("number_out_of_range", 400, "A number is out of range", "send large numbers as strings"),
    ("bad_request", 400, "The request can't be read", "correct the request as the detail says"),
    ("bad_idempotency_key", 400, "The Idempotency-Key is malformed", "send 1 to 255 characters"),
    ("unreadable", 400, "The message can't be read", "send a JSON object"),
    ("sign_up_refused", 401, "The sign-up was not accepted", "start again at the marketplace"),
    ("foreign_origin", 403, "The page's origin may not call this", "call it from no web page"),
    ("role_may_not", 403, "The key's role may not do this", "use a key of another role"),
    ("unknown_path", 404, "There is nothing at this path", "see the list of routes"),
    ("unknown_receipt", 404, "There is no such receipt", "look the receipt's id up"),
    ("unknown_actor", 404, "There is no such actor", "see the tree for the paths"),
    ("unknown_key", 404, "There is no such key", "list the keys"),
    ("unknown_subject", 404, "No payload names this person", "see how subjects are found"),
    ("method_not_allowed", 405, "The path has no such method", "use a method from Allow"),
    ("not_acceptable", 406, "The answer's types are not accepted", "accept JSON and events"),
    ("body_too_slow", 408, "The body came too slowly", "send the request again"),
    ("conflict", 409, "The request does not fit the present state", "look at the state first"),
    ("body_too_large", 413, "The body is too large", "send a smaller body"),
    ("unsupported_media_type", 415, "The body is not declared as JSON", "send application/json"),
    ("wrong_host", 421, "The server does not go by this name", "use its name, or set mcp_hosts"),
    ("not_a_form", 415, "The body is not declared as a form", "send it as HTML forms are sent"),
    ("invalid_input", 422, "A value breaks a constraint", "correct the value and send it again"),
    ("tenant_not_named", 422, "The request names no tenant", "name one with ?tenant="),
    ("refused", 422, "The act was refused", "see the verdicts of the decision"),
    ("parking_full", 429, "The sender has parked too much", "create the tenant, or stop sending"),
    ("internal", 500, "The request failed here", "look the request id up in the log"),
    ("mcp_missing", 501, "MCP is not installed here", "pip install 'autonomics[mcp]'"),
    ("busy", 503, "The part that answers is starting again", "send the request again"),
    ("door_full", 503, "Too many requests are in flight", "send the request again"),
    ("not_ready", 503, "The control plane is not ready", "ask again later"),
    ("store_unavailable", 503, "The store can't take writes now", "send the request again"),
    ("ledger_error", 503, "The ledger can't do this now", "look at the health of the store"),
    ("tenant_unavailable", 503, "The tenant can't take messages now", "send it again later"),
    ("timed_out", 504, "The answer did not come in time", "send it again with the same key"),
)
_SHARED: Final = ("unauthenticated", "unknown_tenant", "idempotency_conflict", "mailbox_full")

PROBLEMS: Final[Mapping[str, ProblemKind]] = MappingProxyType(
    {
        **{row[0]: ProblemKind(*row) for row in _ROWS},
        **{
            code: ProblemKind(
                code,
                CATALOGUE[code].status,
                _title(CATALOGUE[code].rule),
                CATALOGUE[code].next.step,
            )
            for code in _SHARED
        },
    }
)

# The first row that fits decides: a class stands above its parents.
ERRORS: Final[tuple[tuple[type[AutonomicsError], str], ...]] = (
    (IdempotencyConflict, "idempotency_conflict"),
    (StoreUnavailable, "store_unavailable"),
    (Fenced, "busy"),
    (LedgerError, "ledger_error"),
    (NoSuchTenant, "unknown_tenant"),
    (TenantUnavailable, "tenant_unavailable"),
    (ParkingFull, "parking_full"),
    (TenantRefused, "conflict"),
    (TokenRefused, "sign_up_refused"),
    (Overloaded, "mailbox_full"),
    (CallTimedOut, "timed_out"),
    (CallFailed, "busy"),
    (ChildRefused, "conflict"),
    (InvalidInput, "invalid_input"),
)

# What the framework raises before any of our code runs.
STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        404: "unknown_path",
        405: "method_not_allowed",
        408: "body_too_slow",
        413: "body_too_large",
        415: "unsupported_media_type",
    }
)


@attrs.frozen(kw_only=True)
class Problem:
    """One error as its asker sees it; `members` are further members of the document."""

    code: str
    status: int
    title: str
    detail: str
    next_step: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    members: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the members in the order that reads best."""
        return {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "next": self.next_step,
            "request_id": request_id,
            **self.members,
        }


def make_problem(
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
    retry_after_s: float = RETRY_AFTER_S,
) -> Problem:
    """Build the problem of a code, with the headers that its status asks for."""
    kind = PROBLEMS[code]
    return Problem(
        code=code,
        status=kind.status,
        title=kind.title,
        detail=detail,
        next_step=kind.next_step,
        headers={**status_headers(kind.status, retry_after_s), **(headers or {})},
        members=members or {},
    )


def problem_for(error: AutonomicsError) -> Problem:
    """Build the problem of an error; one that has no row is `internal`, without its text."""
    if isinstance(error, DoorRefused):
        return make_problem(error.code, str(error))
    for kind, code in ERRORS:
        if isinstance(error, kind):
            after = error.retry_after_s if isinstance(error, TenantUnavailable) else RETRY_AFTER_S
            return make_problem(code, str(error) or PROBLEMS[code].title, retry_after_s=after)
    return internal_problem()


def internal_problem() -> Problem:
    """Build the answer to a fault of ours: it says nothing of what is inside."""
    return make_problem("internal", "the request failed for a reason that only the log tells")


def status_headers(status: int, retry_after_s: float = RETRY_AFTER_S) -> dict[str, str]:
    """Return the headers that HTTP asks for with a status; Retry-After is in whole seconds."""
    if status == 401:
        return {"WWW-Authenticate": CHALLENGE}
    if status in (429, 503):
        return {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    return {}
