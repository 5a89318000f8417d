"""The platform's own quotas as an end that recipes read and act on, for one tenant."""

from __future__ import annotations

from autonomics.errors import EffectFailed, InvalidInput
from autonomics.recipes.effector import (
    EffectResult,
    Fact,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.recipes.route import Clock
from autonomics.recipes.signal import Json
from autonomics.tenancy.directory import Directory
from autonomics.tenancy.quota import Quota


class PlatformQuotas:
    """Serves `platform.quotas.get`, `.raise` and `.restore` from the directory.

    One tenant only: the handle comes from whoever builds it, never from a signal.
    """

    def __init__(self, directory: Directory, handle: str, clock: Clock) -> None:
        self._directory = directory
        self._handle = handle
        self._clock = clock

    async def read(self, request: FactRequest) -> Fact:
        """Give a quota with its share in per cent, rounded down."""
        name = request.args.get("quota", "")
        if request.call != "platform.quotas.get":
            return self._fact(request, error=f"unknown call {request.call}")
        quota = await self._quota(name)
        if quota is None:
            return self._fact(request, error=f"the platform keeps no quota {name!r}")
        value: dict[str, Json] = {
            "name": quota.name,
            "limit": quota.limit,
            "used": quota.used,
            "ceiling": quota.ceiling,
            # Nothing granted is all used up, as in the quota signal.
            "percent": 100 if quota.limit == 0 else quota.used * 100 // quota.limit,
        }
        return self._fact(request, value=value)

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Set the limit, if it still is what the plan saw; the ceiling holds in any case."""
        quota = await self._quota(_name(planned))
        wanted, before = planned.set.get("limit"), planned.before.get("limit")
        if quota is None or planned.mask != ("limit",) or not isinstance(wanted, int):
            raise EffectFailed(f"{planned.call} does not apply to {planned.resource}")
        if quota.limit == wanted:
            return EffectResult(detail={"limit": wanted}, is_repeat=True)
        if quota.limit != before:
            raise EffectFailed(f"the limit is {quota.limit} by now, the plan saw {before}")
        try:
            changed = _change(planned.call, quota, wanted)
        except InvalidInput as error:
            raise EffectFailed(str(error)) from error
        await self._directory.save_quota(self._handle, changed)
        return EffectResult(detail={"limit": wanted})

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Look whether the limit is the planned one."""
        quota = await self._quota(_name(planned))
        if quota is None:
            return "unknown"
        return "applied" if quota.limit == planned.set.get("limit") else "not_applied"

    async def _quota(self, name: str) -> Quota | None:
        return (await self._directory.quotas(self._handle)).get(name)

    def _fact(self, request: FactRequest, value: Json = None, error: str | None = None) -> Fact:
        return Fact(key=request.key, value=value, read_at=self._clock(), error=error)


def _name(planned: PlannedCall) -> str:
    return planned.resource.removeprefix("quotas/")


def _change(call: str, quota: Quota, limit: int) -> Quota:
    if call == "platform.quotas.raise":
        return quota.raise_to(limit)
    if call == "platform.quotas.restore":
        return quota.restore_to(limit)
    raise EffectFailed(f"unknown call {call}")
