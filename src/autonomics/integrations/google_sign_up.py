"""Google's sign-up token: a JWT that a customer's browser brings from the marketplace.

https://cloud.google.com/marketplace/docs/partners/integrated-saas/frontend-integration

The keys come from a file alone. A token names its issuer's URL, and may name others in its header:
nothing is ever fetched from them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol, cast

from joserfc import jws
from joserfc.errors import JoseError

from autonomics.errors import InvalidInput, TokenRefused
from autonomics.integrations.key_set_file import PublicKey
from autonomics.tenancy.sign_up import Account

ALGORITHM: Final = "RS256"
TOKEN_LIMIT: Final = 8 * 1024
HEADER_LIMIT: Final = 512
SKEW_S: Final = 60
MOST_AUDIENCES: Final = 16
MOST_NESTED: Final = 64
# Members of the header that nobody knows are passed over (RFC 7515, 4); `crit` is refused above.
_REGISTRY: Final = jws.JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)
_SHAPE: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_NESTING: Final = re.compile(rb"[\[{]")


class KeySet(Protocol):
    """Public keys by id."""

    def find(self, kid: str) -> PublicKey | None:
        """Return the key of that id, or None."""
        ...


class GoogleSignUp:
    """`SignUpVerifier` for one product's tokens."""

    def __init__(
        self, keys: KeySet, *, issuer: str, audience: str, clock: Callable[[], datetime]
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def verify(self, token: str) -> Account:
        """Return the account for which the token speaks; TokenRefused with one word for why not.

        The signature is checked before a claim is looked at. Clocks may differ by 60 seconds.
        """
        if len(token) > TOKEN_LIMIT:
            raise TokenRefused("too_long")
        now = self._clock()
        claims = _check_signature(token, self._key(_read_header(token), now))
        self._check_claims(claims, now.timestamp())
        return _read_account(claims)

    def _key(self, header: dict[str, Any], now: datetime) -> PublicKey:
        if header.get("alg") != ALGORITHM:
            raise TokenRefused("wrong_algorithm")
        if header.get("typ", "JWT") != "JWT" or "crit" in header or "b64" in header:
            raise TokenRefused("wrong_header")
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) else None
        if key is None:
            raise TokenRefused("unknown_key")
        if not key.holds_at(now):
            raise TokenRefused("expired_key")
        return key

    def _check_claims(self, claims: dict[str, Any], now_s: float) -> None:
        if claims.get("iss") != self._issuer:
            raise TokenRefused("wrong_issuer")
        if not _names(claims.get("aud"), self._audience):
            raise TokenRefused("wrong_audience")
        if now_s >= _read_time(claims, "exp") + SKEW_S:
            raise TokenRefused("expired")
        if _read_time(claims, "iat") > now_s + SKEW_S:
            raise TokenRefused("from_the_future")
        if "nbf" in claims and _read_time(claims, "nbf") > now_s + SKEW_S:
            raise TokenRefused("from_the_future")


def _read_header(token: str) -> dict[str, Any]:
    """Return the header of three parts, each the one base64url form of its bytes.

    The last character of a signature has bits that no byte holds: without this check sixteen
    different tokens would carry one signature (RFC 4648, 3.5).
    """
    found = _SHAPE.fullmatch(token)
    if found is None:
        raise TokenRefused("malformed")
    parts = [_decode(part) for part in found.groups()]
    if len(found[1]) > HEADER_LIMIT:
        raise TokenRefused("too_long")
    return _read_object(parts[0])


def _decode(part: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenRefused("malformed") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise TokenRefused("malformed")
    return data


def _read_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object that does not nest deep enough to trouble any parser."""
    if len(_NESTING.findall(data)) > MOST_NESTED:
        raise TokenRefused("malformed")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise TokenRefused("malformed") from None
    if not isinstance(value, dict):
        raise TokenRefused("malformed")
    return cast("dict[str, Any]", value)


def _check_signature(token: str, key: PublicKey) -> dict[str, Any]:
    try:
        signed = jws.deserialize_compact(token, key.key, registry=_REGISTRY)
    except (JoseError, ValueError):
        raise TokenRefused("wrong_signature") from None
    return _read_object(signed.payload)


def _names(audience: object, ours: str) -> bool:
    """Say whether an `aud` claim, a text or a list of texts (RFC 7519, 4.1.3), names us."""
    if isinstance(audience, list):
        names = cast("list[object]", audience)
        return len(names) <= MOST_AUDIENCES and ours in names
    return audience == ours


def _read_time(claims: dict[str, Any], name: str) -> float:
    """Read a NumericDate (RFC 7519, 2): seconds since 1970, here until the year 9999."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**38:
        raise TokenRefused(f"wrong_{name}")
    return float(value)


def _read_account(claims: dict[str, Any]) -> Account:
    subject = claims.get("sub")
    try:
        if not isinstance(subject, str):
            raise InvalidInput("the token has no subject")
        return Account(subject)
    except InvalidInput:
        raise TokenRefused("wrong_subject") from None
