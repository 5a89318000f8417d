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
    """An access token, and for how long it holds from when it was asked for."""

    text: str = field(repr=False)
    asked_at: datetime
    life: timedelta

    def is_fresh(self, now: datetime) -> bool:
        """Say whether it need not be renewed yet; one that lives briefly serves half its life."""
        return now < self.asked_at + self.life - min(MARGIN, self.life / 2)

    def is_usable(self, now: datetime) -> bool:
        """Say whether it will still be in force when it arrives."""
        return now < self.asked_at + self.life - SKEW


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
        self._failure = "no token: it has run out"
        self._lock = trio.Lock()

    async def token(self) -> str:
        """Return a token that is in force; raises TokenUnavailable."""
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh() and not self._is_cooling_down():
                    await self._renew()
        kept = self._kept
        if kept is None or not kept.is_usable(self._clock()):
            raise TokenUnavailable(self._failure)
        return kept.text

    def drop(self, token: str) -> None:
        """Forget the token if it is the one that is kept: another may have come meanwhile."""
        if self._kept is not None and self._kept.text == token:
            self._kept = None

    def _is_fresh(self) -> bool:
        return self._kept is not None and self._kept.is_fresh(self._clock())

    async def _renew(self) -> None:
        try:
            token = await self._fetch()
            if not token.is_usable(self._clock()):
                raise TokenUnavailable("no token: the new one has run out already")
        except TokenUnavailable as error:
            self._failed_at, self._failure = self._clock(), str(error)
            emit("google.token_unavailable", reason=self._failure)
        else:
            self._kept, self._failed_at = token, None

    def _is_cooling_down(self) -> bool:
        failed_at = self._failed_at
        # A clock that was set back must not prolong it.
        return failed_at is not None and failed_at <= self._clock() < failed_at + COOLDOWN
