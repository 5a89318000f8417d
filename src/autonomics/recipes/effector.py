"""The ports through which recipes read the world and change it. Async, and free of trio."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Literal, Protocol

from attrs import field, frozen

from autonomics.recipes.signal import Json

ReadBack = Literal["applied", "not_applied", "unknown"]


@frozen(kw_only=True)
class FactRequest:
    """A question about the world: one call with its arguments, a deadline and a tolerated age."""

    name: str
    call: str
    args: Mapping[str, str]
    timeout_s: float
    max_age_s: int

    @cached_property
    def key(self) -> str:
        """Name the question; two recipes that ask the same share one answer."""
        pairs = "&".join(f"{name}={self.args[name]}" for name in sorted(self.args))
        return f"{self.call}?{pairs}"


@frozen(kw_only=True)
class Fact:
    """An answer. `value` is canonical JSON; `error` says why there is none."""

    key: str
    value: Json = None
    read_at: datetime
    error: str | None = None

    def is_fresh(self, now: datetime, max_age_s: int) -> bool:
        """Say whether the answer is young enough; one from the future is as young as it gets."""
        return self.error is None and (now - self.read_at).total_seconds() <= max_age_s


@frozen(kw_only=True)
class PlannedCall:
    """One bounded change: exactly the paths in `mask`, set to the values in `set`.

    `before` holds what the same paths held when the plan was made, for the roll-back; a path that
    was not there is left out of it. `etag` makes the change conditional where the API can.
    """

    call: str
    resource: str
    set: Mapping[str, Json]
    mask: tuple[str, ...]
    before: Mapping[str, Json] = field(factory=dict[str, Json])
    args: Mapping[str, str] = field(factory=dict[str, str])
    etag: str | None = None
    idempotency_key: str
    timeout_s: float
    validate_only_first: bool = False

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        return {
            "call": self.call,
            "resource": self.resource,
            "set": dict(self.set),
            "mask": list(self.mask),
            "before": dict(self.before),
            "args": dict(self.args),
            "etag": self.etag,
            "idempotency_key": self.idempotency_key,
            "timeout_ms": round(self.timeout_s * 1000),
            "validate_only_first": self.validate_only_first,
        }


@frozen(kw_only=True)
class EffectResult:
    """What an effect that took place left behind. `is_repeat`: the key had been used before."""

    detail: Mapping[str, Json] = field(factory=dict[str, Json])
    is_repeat: bool = False


class Effector(Protocol):
    """Changes the world. One call is one attempt: an implementation never retries by itself."""

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Carry out the change.

        Raises EffectFailed where nothing is known to have changed, and EffectUnknown where nobody
        can say; then `read_back` decides, never a second call.
        """
        ...

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether the change took place. Never raises for an unreachable end: `unknown`."""
        ...


class FactReader(Protocol):
    """Reads the world and changes nothing."""

    async def read(self, request: FactRequest) -> Fact:
        """Answer within the request's deadline; a failure is a Fact with its `error`."""
        ...
