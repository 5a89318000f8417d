"""One request as a route sees it, and the answer that a route gives."""

from __future__ import annotations

import difflib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import attrs

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import Principal, TenantView
from autonomics.errors import DoorRefused, InvalidInput, NoSuchTenant
from autonomics.http.json_body import read_json_object
from autonomics.http.problem import Problem
from autonomics.http.setting import DoorSettings

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
_JSON_TYPE: Final = re.compile(
    r"application/(?:[a-z0-9.+-]+\+)?json[ \t]*(?:;[ \t]*charset=\"?utf-?8\"?[ \t]*)?",
    re.IGNORECASE,
)
_WHOLE: Final = re.compile(r"-?[0-9]{1,16}")


@attrs.frozen(kw_only=True)
class Answer:
    """What goes back: a JSON value, or bytes of another type, or a stream of them."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    media_type: str = JSON


@attrs.frozen
class Refused:
    """An answer that is a problem; for what is no exception, such as a refusal by policy."""

    problem: Problem


Stream = AsyncIterator[bytes]


@attrs.frozen(kw_only=True)
class Exchange:
    """One authenticated request; header names are lower-case, `args` comes from the path."""

    control: ControlPlane
    settings: DoorSettings
    principal: Principal
    request_id: str
    new_id: Callable[[], str] = attrs.field(repr=False)
    read_body: Callable[[], Awaitable[bytes]] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    args: Mapping[str, str]
    trace: str | None = None
    is_local: bool = False

    async def json_text(self) -> tuple[bytes, dict[str, Any]]:
        """Return the body as received and the object in it; it must be declared as JSON."""
        declared = self.headers.get("content-type", "")
        if not _JSON_TYPE.fullmatch(declared.strip()):
            raise DoorRefused(
                f"expected Content-Type to be application/json in UTF-8, got {declared[:60]!a}",
                "unsupported_media_type",
            )
        body = await self.read_body()
        limits = self.settings
        value = read_json_object(
            body, depth_limit=limits.body_depth, size_limit_bytes=limits.body_limit_bytes
        )
        return body, value

    async def texts(
        self, *required: str, other: tuple[str, ...] = (), **optional: str | None
    ) -> dict[str, Any]:
        """Return the members of a body that holds these texts and nothing else.

        `other` names members that may be there and are checked by whoever reads them.
        """
        _, value = await self.json_text()
        known = (*required, *optional, *other)
        for name in value:
            if name not in known:
                raise InvalidInput(f"unknown member {name[:60]!a}{did_you_mean(name, known)}")
        found: dict[str, Any] = {**optional, **value}
        for name in (*required, *optional):
            text = found.get(name)
            if text is None and name in optional:
                continue
            if not isinstance(text, str) or not text.strip():
                raise InvalidInput.expected(name, "a text that is not empty", text)
        return found

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Return an integer of the query string."""
        text = self.query.get(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise InvalidInput.expected(name, f"an integer from {low} to {high}", text)
        return int(text)

    async def tenant(self, tenant_id: str) -> TenantView:
        """Return a tenant of the principal's; a foreign one is as unknown as one that is not."""
        view = await self.control.tenant(tenant_id)
        if view is None or not self.principal.may_act_for(view.id):
            raise NoSuchTenant(f"there is no tenant {tenant_id[:80]!a}")
        return view

    def named_tenant(self) -> str:
        """Return the tenant that the request is about: the key's own, or `?tenant=`."""
        named = self.query.get("tenant")
        own = self.principal.tenant_id
        if own is None:
            if not named:
                raise DoorRefused(
                    f"a key of role {self.principal.role} has to name the tenant",
                    "tenant_not_named",
                )
            return named
        return named or own


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Return the end of a message about an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(known)}" if known else "; none is known here"
