"""Access tokens for Google's APIs: the port, and the source that needs none.

Other sources get theirs over the network; they share `TokenCache`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import trio
from attrs import field, frozen

from autonomics.errors import TokenUnavailable
from autonomics.telemetry import declare, emit

MARGIN: Final = timedelta(seconds=225)
"""How long before its end a token is renewed. The metadata server hands out a new one when less
than 300 s are left of the old."""
SKEW: Final = timedelta(seconds=10)
"""A token is not used in its last moments: it would run out on its way."""
COOLDOWN: Final = timedelta(seconds=5)
"""How long nobody asks again after a failure."""

declare(
    "google.token_unavailable",
    "No access token could be had; whoever asks within the next seconds gets the same answer.",
    reason="why",
)


class TokenSource(Protocol):
    """Where access tokens come from."""

    async def token(self) -> str | None:
        """Return a token that is in force, None where none is needed; raises TokenUnavailable."""
        ...

    def drop(self, token: str) -> None:
        """Forget a token that was refused; the next call gets another one."""
        ...


class NoToken:
    """For local ends, which want none."""

    async def token(self) -> str | None:
        """Return None."""
        return None

    def drop(self, token: str) -> None:
        """There is nothing to forget."""


@frozen
class Token:
    """An access token and its end."""

    text: str = field(repr=False)
    expires_at: datetime


class TokenCache:
    """Keeps one token, and gets the next before its end: one request, however many ask.

    A failure is told to all who wait for that request and to who asks soon after; while the old
    token is in force it is used instead.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[Token]], clock: Callable[[], datetime]
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: Token | None = None
        self._failed_at: datetime | None = None
        self._failure = ""
        self._lock = trio.Lock()

    async def token(self) -> str:
        """Return a token that is in force; raises TokenUnavailable."""
        if (kept := self._find(MARGIN)) is not None:
            return kept
        async with self._lock:
            kept = self._find(MARGIN)
            return kept if kept is not None else await self._renew()

    def drop(self, token: str) -> None:
        """Forget the token if it is the one that is kept: another may have come meanwhile."""
        if self._kept is not None and self._kept.text == token:
            self._kept = None

    def _find(self, margin: timedelta) -> str | None:
        kept = self._kept
        return kept.text if kept is not None and self._clock() < kept.expires_at - margin else None

    async def _renew(self) -> str:
        if not self._is_cooling_down():
            try:
                self._kept = await self._fetch()
            except TokenUnavailable as error:
                self._failed_at, self._failure = self._clock(), str(error)
                emit("google.token_unavailable", reason=self._failure)
            else:
                self._failed_at = None
        if (kept := self._find(SKEW)) is not None:
            return kept
        raise TokenUnavailable(self._failure or "the new token has run out already")

    def _is_cooling_down(self) -> bool:
        failed_at = self._failed_at
        # A clock that was set back must not prolong it.
        return failed_at is not None and failed_at <= self._clock() < failed_at + COOLDOWN
