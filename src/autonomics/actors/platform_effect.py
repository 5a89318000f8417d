"""Acting on the platform itself: raising and restoring a tenant's quota, through the router."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import trio

from autonomics.actors.router_message import ReadHolding, SetQuota, TellUsage
from autonomics.errors import CallFailed, EffectFailed, EffectUnknown, InvalidInput, LedgerError
from autonomics.recipes.effector import EffectResult, Fact, FactRequest, PlannedCall, ReadBack
from autonomics.runtime import Address, AnswersCall

RAISE: Final = "platform.quotas.raise"
RESTORE: Final = "platform.quotas.restore"
READ: Final = "platform.quotas.get"
RETRY_S = 0.5
_PREFIX = "quotas/"


class PlatformEffector:
    """`Effector` and `FactReader` over one tenant's quotas."""

    def __init__(
        self,
        handle: str,
        *,
        router: Address[AnswersCall[ReadHolding | SetQuota]],
        governor: Address[AnswersCall[TellUsage]],
        clock: Callable[[], datetime],
    ) -> None:
        self._handle = handle
        self._router = router
        self._governor = governor
        self._clock = clock

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Move a limit; the router's receipt carries the call's idempotency key."""
        name, limit = _quota_of(planned), planned.set.get("limit")
        if planned.call not in (RAISE, RESTORE) or not isinstance(limit, int):
            raise EffectFailed(f"the platform knows no {planned.call} with {dict(planned.set)}")
        message = SetQuota(
            self._handle, name, limit, planned.idempotency_key, restore=planned.call == RESTORE
        )
        try:
            present = (await self._router.call(ReadHolding(self._handle))).quotas.get(name)
            if present is not None and present.limit not in (limit, planned.before.get("limit")):
                raise EffectFailed(
                    f"the limit is {present.limit} by now, the plan saw {planned.before['limit']}"
                )
            holding = await self._router.call(message, timeout_s=planned.timeout_s)
        except InvalidInput as error:
            raise EffectFailed(str(error)) from None
        except (CallFailed, LedgerError) as error:
            raise EffectUnknown(str(error)) from None
        return EffectResult(detail={"limit": holding.quotas[name].limit})

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether the limit is as planned, however long our own log can't be read.

        An answer of unknown would stop the tenant's line, and a store that is away is no reason
        for that; before it is back the outcome could not be written anyway.
        """
        while True:
            try:
                holding = await self._router.call(ReadHolding(self._handle))
                break
            except (CallFailed, LedgerError):
                await trio.sleep(RETRY_S)
        quota = holding.quotas.get(_quota_of(planned))
        is_set = quota is not None and quota.limit == planned.set.get("limit")
        return "applied" if is_set else "not_applied"

    async def read(self, request: FactRequest) -> Fact:
        """Read limit, ceiling and what is used of a quota."""
        name = request.args.get("quota", "")
        try:
            holding = await self._router.call(ReadHolding(self._handle))
            used = await self._governor.call(TellUsage())
        except (CallFailed, LedgerError) as error:
            return Fact(key=request.key, read_at=self._clock(), error=str(error))
        quota = holding.quotas.get(name)
        if quota is None:
            error_text = f"the platform keeps no quota named {name!r}"
            return Fact(key=request.key, read_at=self._clock(), error=error_text)
        count = used.get(name, 0)
        percent = count * 100 // quota.limit if quota.limit else 100
        value = {
            "limit": quota.limit,
            "ceiling": quota.ceiling,
            "used": count,
            "percent": percent,
        }
        return Fact(key=request.key, value=dict(value), read_at=self._clock())


def _quota_of(planned: PlannedCall) -> str:
    if not planned.resource.startswith(_PREFIX):
        raise EffectFailed(f"expected resource to begin with {_PREFIX}, got {planned.resource!r}")
    return planned.resource.removeprefix(_PREFIX)
