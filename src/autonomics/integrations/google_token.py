"""Access tokens that are fetched: from the metadata server, or for a service account's key.

https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
from joserfc import jwt

from autonomics.config import Settings
from autonomics.errors import EffectFailed, TokenUnavailable
from autonomics.integrations.google_api import decode_object, exchange, one_line
from autonomics.integrations.google_credential import NoToken, Token, TokenCache, TokenSource
from autonomics.integrations.google_service_account import ServiceAccount, read_service_account

SCOPES: Final = (
    "https://www.googleapis.com/auth/run",
    "https://www.googleapis.com/auth/monitoring.read",
)
"""What the calls here need, and no more; a metadata server gives what its machine was given."""
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
FLAVOR: Final = "Metadata-Flavor"
ASSERTION_LIFE_S: Final = 3600
TIMEOUT_S: Final = 10.0
LONGEST_LIFE_S: Final = 86_400
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")  # RFC 6750, 2.1


class MetadataToken:
    """`TokenSource` of a machine at Google: its metadata server knows the machine's account."""

    def __init__(
        self, client: httpx2.AsyncClient, *, base_url: str, clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._url = f"{base_url.rstrip('/')}{METADATA_PATH}"
        self._clock = clock
        self._cache = TokenCache(self._fetch, clock)

    async def token(self) -> str:
        """Return a token in force; raises TokenUnavailable."""
        return await self._cache.token()

    def drop(self, token: str) -> None:
        """Forget a token that was refused."""
        self._cache.drop(token)

    async def _fetch(self) -> Token:
        request = self._client.build_request(
            "GET",
            self._url,
            headers={FLAVOR: "Google", "Accept-Encoding": "identity"},
            timeout=TIMEOUT_S,
        )
        asked_at = self._clock()
        headers, answer = await _ask(self._client, request)
        # Somebody else who answers at that address does not know to say this.
        if headers.get(FLAVOR) != "Google":
            raise TokenUnavailable(f"{request.url.host} is no metadata server of Google's")
        return _read_token(answer, asked_at)


class ServiceAccountToken:
    """`TokenSource` for a service account's key: a signed assertion buys a token (RFC 7523)."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        account: ServiceAccount,
        *,
        clock: Callable[[], datetime],
        scopes: tuple[str, ...] = SCOPES,
    ) -> None:
        self._client = client
        self._account = account
        self._clock = clock
        self._scopes = scopes
        self._cache = TokenCache(self._fetch, clock)

    async def token(self) -> str:
        """Return a token in force; raises TokenUnavailable."""
        return await self._cache.token()

    def drop(self, token: str) -> None:
        """Forget a token that was refused."""
        self._cache.drop(token)

    async def _fetch(self) -> Token:
        asked_at = self._clock()
        request = self._client.build_request(
            "POST",
            self._account.token_uri,
            data={"grant_type": GRANT_TYPE, "assertion": self._assert(asked_at)},
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=TIMEOUT_S,
        )
        _, answer = await _ask(self._client, request)
        return _read_token(answer, asked_at)

    def _assert(self, now: datetime) -> str:
        account, now_s = self._account, int(now.timestamp())
        header = {"alg": "RS256", "typ": "JWT", "kid": account.key_id}
        claims = {
            "iss": account.email,
            "scope": " ".join(self._scopes),
            "aud": account.token_uri,
            "iat": now_s,
            "exp": now_s + ASSERTION_LIFE_S,
        }
        return jwt.encode(header, claims, account.key)


def open_tokens(
    settings: Settings, client: httpx2.AsyncClient, clock: Callable[[], datetime]
) -> TokenSource:
    """Return the source that the settings name; raise InvalidConfig if its file can't be used."""
    match settings.google_credentials:
        case "none":
            return NoToken()
        case "metadata":
            return MetadataToken(client, base_url=settings.google_metadata_url, clock=clock)
        case path:
            return ServiceAccountToken(client, read_service_account(Path(path)), clock=clock)


async def _ask(
    client: httpx2.AsyncClient, request: httpx2.Request
) -> tuple[httpx2.Headers, Mapping[str, Any]]:
    try:
        status, headers, data = await exchange(client, request)
    except EffectFailed as error:
        raise TokenUnavailable(f"no token: {error}") from None
    answer = decode_object(data) or {}
    if status != 200:
        # RFC 6749, 5.2; a metadata server answers 404 where the machine has no account.
        parts = (answer.get(name) for name in ("error", "error_description"))
        said = ": ".join(one_line(part) for part in parts if isinstance(part, str) and part)
        told = f"{status} {said}".rstrip()
        raise TokenUnavailable(f"no token: {request.url.host} answered {told}")
    return headers, answer


def _read_token(answer: Mapping[str, Any], asked_at: datetime) -> Token:
    """Read a token answer (RFC 6749, 5.1); nothing of it is shown where it can't be used."""
    kind = answer.get("token_type")
    match answer.get("access_token"), answer.get("expires_in"):
        case (str(text), int(life_s)) if (
            _TOKEN.fullmatch(text)
            and not isinstance(life_s, bool)
            and isinstance(kind, str)
            and kind.lower() == "bearer"
        ):
            life = timedelta(seconds=min(max(life_s, 0), LONGEST_LIFE_S))
            return Token(text, asked_at, life)
        case _:
            raise TokenUnavailable(
                "no token: expected access_token, expires_in and token_type Bearer"
            )
