"""Cloud Run, by its Admin API v2: the calls `run.*` of recipes.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import httpx2
import trio

from autonomics.errors import EffectFailed, EffectUnknown, InvalidInput
from autonomics.integrations.google_api import GoogleApi, conceal
from autonomics.integrations.google_credential import TokenSource
from autonomics.integrations.google_fact import (
    answer_fact,
    check_arguments,
    read_integer,
    suggest,
)
from autonomics.integrations.google_name import check_revision_name, parse_service_name
from autonomics.integrations.google_run_change import Change, read_change, secrets_of
from autonomics.integrations.google_run_view import (
    REVISION,
    REVISIONS,
    SERVICE,
    Selection,
    fields_of,
    view_revision,
    view_revisions,
    view_service,
)
from autonomics.recipes.effector import (
    EffectResult,
    Fact,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.recipes.signal import Json

PATCH: Final = "run.services.patch"
SETTLE_S: Final = 2.0
FEW_REVISIONS: Final = 20
MOST_REVISIONS: Final = 100
_T = TypeVar("_T")
_READS: Final = ("run.services.get", "run.revisions.get", "run.revisions.list")
_KEPT_DETAIL: Final = ("generation", "etag", "latestCreatedRevision")


class GoogleRun:
    """`Effector` and `FactReader` for Cloud Run.

    A change that can't be seen is looked for again `settle_s` later before it is called
    not applied: a request whose connection broke may still be under way.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        *,
        base_url: str,
        tokens: TokenSource,
        clock: Callable[[], datetime],
        settle_s: float = SETTLE_S,
    ) -> None:
        self._api = GoogleApi(client, base_url=base_url, tokens=tokens)
        self._clock = clock
        self._settle_s = settle_s

    # Effector

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Patch the service on the version that is read now.

        Raises EffectFailed where nothing was changed, EffectUnknown where nobody can say.
        """
        change = _read_plan(planned)
        service = await _before(self._get(change))
        _expect_unchanged(change, service)
        body, secrets = change.build_body(service), secrets_of(service)
        if planned.validate_only_first:
            await _before(self._patch(change, body, secrets, validate_only=True))
        return EffectResult(detail=await self._patch(change, body, secrets))

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Compare the service with what the plan sets, and with what was there before."""
        try:
            change = _read_plan(planned)
            seen = change.judge(await self._get(change))
            if seen == "not_applied":
                await trio.sleep(self._settle_s)
                seen = change.judge(await self._get(change))
        except EffectFailed:
            return "unknown"
        return seen

    async def _get(self, change: Change) -> dict[str, Any]:
        """Read what the change is made on; nothing else of the service is fetched."""
        parts = ("/".join(path) for path in change.wire_paths)
        return await self._api.send(
            "GET",
            f"/v2/{change.planned.resource}",
            {"fields": ",".join(("name", "etag", *parts))},
            timeout_s=change.planned.timeout_s,
        )

    async def _patch(
        self,
        change: Change,
        body: Mapping[str, Any],
        secrets: Collection[str],
        *,
        validate_only: bool = False,
    ) -> dict[str, Json]:
        params = {"updateMask": change.update_mask}
        if validate_only:
            params["validateOnly"] = "true"
        operation = await self._api.send(
            "PATCH",
            f"/v2/{change.planned.resource}",
            params,
            body=body,
            secrets=secrets,
            timeout_s=change.planned.timeout_s,
        )
        return _read_operation(operation, secrets, is_validation=validate_only)

    # FactReader

    async def read(self, request: FactRequest) -> Fact:
        """Answer a question about services and revisions."""
        return await answer_fact(request, self._clock, self._answer)

    async def _answer(self, request: FactRequest) -> dict[str, Json]:
        match request.call:
            case "run.services.get":
                return view_service(await self._read_one(request, SERVICE, parse_service_name))
            case "run.revisions.get":
                return view_revision(await self._read_one(request, REVISION, check_revision_name))
            case "run.revisions.list":
                return await self._list_revisions(request)
            case call:
                raise InvalidInput(f"unknown call {suggest(call, _READS)}")

    async def _read_one(
        self, request: FactRequest, selection: Selection, check: Callable[[str], object]
    ) -> dict[str, Any]:
        check_arguments(request, ("name",))
        name = request.args["name"]
        check(name)
        return await self._api.send("GET", f"/v2/{name}", {"fields": fields_of(selection)})

    async def _list_revisions(self, request: FactRequest) -> dict[str, Json]:
        """List the newest revisions of a service: one page, for what is older is history."""
        check_arguments(request, ("name",), ("page_size",))
        name = request.args["name"]
        parse_service_name(name)
        size = read_integer(request, "page_size", FEW_REVISIONS, 1, MOST_REVISIONS)
        params = {"pageSize": str(size), "fields": fields_of(REVISIONS)}
        return view_revisions(await self._api.send("GET", f"/v2/{name}/revisions", params))


def _read_plan(planned: PlannedCall) -> Change:
    """Check what is planned before anything is sent; raise EffectFailed."""
    if planned.call != PATCH:
        raise EffectFailed(f"unknown call {suggest(planned.call, (PATCH,))}")
    if planned.args:
        raise EffectFailed(f"unknown argument {min(planned.args)!r} of {PATCH}")
    try:
        parse_service_name(planned.resource)
    except InvalidInput as error:
        raise EffectFailed(str(error)) from None
    return read_change(planned)


async def _before(work: Awaitable[_T]) -> _T:
    """Await what comes before the change: however it ends, nothing was changed."""
    try:
        return await work
    except EffectUnknown as error:
        raise EffectFailed(str(error)) from None


def _expect_unchanged(change: Change, service: Mapping[str, Any]) -> None:
    """Refuse to overwrite what somebody else has done since the plan was made.

    A roll-back has no etag, for its own act made the one it knew stale; so its paths have to hold
    what the act had set, or what they held before it.
    """
    planned, etag = change.planned, service.get("etag")
    if not isinstance(etag, str) or not etag:
        raise EffectFailed("the service has no etag, so no change of it can be conditional")
    if planned.etag is not None and planned.etag != etag:
        raise EffectFailed(f"conflict: expected etag {planned.etag}, got {etag}: it was changed")
    if planned.etag is None and change.judge(service) == "unknown":
        raise EffectFailed(
            f"conflict: {', '.join(planned.mask)} holds neither what was planned nor what was there"
        )


def _read_operation(
    operation: Mapping[str, Any], secrets: Collection[str], *, is_validation: bool
) -> dict[str, Json]:
    """Read the long-running operation that a patch answers with; raise EffectUnknown.

    Its end is not awaited: whether the act has helped is for the recipe's verification to say.
    """
    error = operation.get("error")
    if isinstance(error, dict):
        status = cast("dict[str, Any]", error)
        message = conceal(status.get("message", ""), secrets)
        raise EffectUnknown(f"the operation failed with code {status.get('code')}: {message}")
    name = operation.get("name")
    if not is_validation and not (isinstance(name, str) and name):
        raise EffectUnknown("expected the answer to be an operation with a name")
    metadata = operation.get("metadata")
    seen = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
    kept = {key: seen[key] for key in _KEPT_DETAIL if isinstance(seen.get(key), str)}
    return {"operation": str(name), **kept}
