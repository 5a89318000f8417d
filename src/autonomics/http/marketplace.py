"""`POST /marketplace`: a customer comes from the marketplace with Google's sign-up token."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

from autonomics.errors import CallFailed, DoorRefused, LedgerError, TokenRefused
from autonomics.http.exchange import Answer, Exchange, Refused
from autonomics.http.problem import make_problem
from autonomics.http.route import EVERYBODY, Route
from autonomics.telemetry import declare, emit

FIELD: Final = "x-gcp-marketplace-token"
BODY_LIMIT_BYTES: Final = 16 * 1024
MOST_FIELDS: Final = 16
KEYS_SETTING: Final = "marketplace_keys"
_FORM_TYPE: Final = re.compile(
    r"application/x-www-form-urlencoded[ \t]*(?:;[ \t]*charset=\"?utf-?8\"?[ \t]*)?", re.IGNORECASE
)
_NEXT: Final = {
    "pending": "wait until the operator activates the tenant; its signals are received meanwhile",
    "active": "use the keys that the operator has handed out",
    "suspended": "ask the operator why the tenant is suspended",
    "closed": "ask the operator: a closed tenant stays closed, and its log stays readable",
}

declare(
    "marketplace.refused",
    "A sign-up was turned away.",
    reason="one word for why",
    setting="the setting to look at, where nothing is configured",
    request_id="id of the request",
)


async def answer_sign_up(exchange: Exchange) -> Answer | Refused:
    """Make the account of a valid token a pending tenant: once, however often it comes."""
    token = await _read_token(exchange)
    verifier = exchange.settings.sign_up
    try:
        if verifier is None:
            raise TokenRefused("not_configured")
        if token is None:
            raise TokenRefused("no_token")
        account = verifier.verify(token)
    except TokenRefused as error:
        return await _turn_away(exchange, error.reason)
    signed_up = await exchange.control.sign_up(account)
    tenant, receipt = signed_up.tenant, signed_up.receipt
    return Answer(
        status=200 if signed_up.duplicate else 201,
        body={
            "tenant": tenant.id,
            "state": tenant.state,
            "receipt": receipt.id,
            "duplicate": signed_up.duplicate,
            "next": _NEXT[tenant.state],
        },
        headers={"Receipt-Id": receipt.id, "Location": f"/v1/tenants/{tenant.id}"},
    )


async def _turn_away(exchange: Exchange, reason: str) -> Refused:
    """Tell the operator why, and the stranger only that: a reason would help to try again."""
    emit(
        "marketplace.refused",
        reason=reason,
        setting=KEYS_SETTING if reason == "not_configured" else None,
        request_id=exchange.request_id,
    )
    with suppress(CallFailed, LedgerError):  # the stranger is turned away with the count or without
        await exchange.control.count_stranger(f"sign_up_{reason}")
    return Refused(make_problem("sign_up_refused", "the sign-up token was not accepted"))


async def _read_token(exchange: Exchange) -> str | None:
    """Return the field of the form, or None; whatever is no plain form is refused."""
    declared = exchange.headers.get("content-type", "")
    if not _FORM_TYPE.fullmatch(declared.strip()):
        raise DoorRefused(
            f"expected Content-Type to be application/x-www-form-urlencoded, got {declared[:60]!a}",
            "not_a_form",
        )
    announced = exchange.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > BODY_LIMIT_BYTES:
        raise _too_large()
    body = await exchange.read_body()
    if len(body) > BODY_LIMIT_BYTES:
        raise _too_large()
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise DoorRefused(
            f"expected the body to be a form of at most {MOST_FIELDS} fields, got something else",
            "bad_request",
        ) from None
    found = [value for name, value in pairs if name == FIELD]
    if len(found) > 1:
        raise DoorRefused(f"expected {FIELD} once, got it {len(found)} times", "bad_request")
    return found[0] if found else None


def _too_large() -> DoorRefused:
    return DoorRefused(
        f"expected the body to be at most {BODY_LIMIT_BYTES} bytes, got more", "body_too_large"
    )


ROUTES = (
    Route(
        method="POST",
        path="/marketplace",
        name="sign_up",
        roles=EVERYBODY,
        answer=answer_sign_up,
        about="Google's sign-up token: makes a pending tenant, once.",
    ),
)
