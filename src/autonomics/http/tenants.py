"""Tenants: made by name, changed by a verb, taken away as a bundle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from autonomics.actors.message import PLATFORM
from autonomics.errors import InvalidInput
from autonomics.http.bundle import MEDIA_TYPE, stream_tar
from autonomics.http.exchange import TEXT, Answer, Exchange
from autonomics.http.route import ADMINS, OWNERS, Route
from autonomics.http.view import show_new_key, show_tenant

DEFAULT_PRICE_PLAN = "evaluation"
VERBS = ("activate", "suspend", "resume", "close", "readmit")


async def answer_tenants(exchange: Exchange) -> Answer:
    """Return all tenants, oldest first."""
    found = await exchange.control.tenants()
    return Answer(body={"tenants": [show_tenant(view) for view in found]})


async def answer_create(exchange: Exchange) -> Answer:
    """Create a tenant; its two keys are in this answer and nowhere else."""
    texts = await exchange.texts("id", name=None, price_plan=DEFAULT_PRICE_PLAN, other=("limits",))
    created = await exchange.control.create_tenant(
        texts["id"],
        texts["name"] or texts["id"],
        texts["price_plan"] or DEFAULT_PRICE_PLAN,
        exchange.principal.key_id,
        _read_limits(texts.get("limits")),
    )
    return Answer(
        status=201,
        body={
            "tenant": show_tenant(created.tenant),
            "api_key": show_new_key(created.api_key),
            "push_token": show_new_key(created.push_token),
            "replayed": created.replayed,
        },
        headers={"Location": f"/v1/tenants/{created.tenant.id}"},
    )


def _read_limits(value: object) -> dict[str, int] | None:
    """Read what a contract says of quotas where it differs from the price plan."""
    if value is None:
        return None
    fault = InvalidInput.expected("limits", "an object of integers", value)
    if not isinstance(value, dict):
        raise fault
    found: dict[str, int] = {}
    for name, limit in cast("dict[str, object]", value).items():
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise fault
        found[name] = limit
    return found


async def answer_tenant(exchange: Exchange) -> Answer:
    """Return one tenant."""
    return Answer(body=show_tenant(await exchange.tenant(exchange.args["tenant_id"])))


def _changing(verb: str) -> Callable[[Exchange], Awaitable[Answer]]:
    async def answer_change(exchange: Exchange) -> Answer:
        tenant = await exchange.tenant(exchange.args["tenant_id"])
        by = exchange.principal.key_id
        changed = await exchange.control.change_tenant(tenant.id, verb, by)
        return Answer(body=show_tenant(changed))

    return answer_change


async def _log_of(exchange: Exchange) -> tuple[str, str]:
    """Return what names a log, and its short name; the platform's own is for admins."""
    named = exchange.args["tenant_id"]
    if named == PLATFORM and exchange.principal.role in ADMINS:
        return PLATFORM, PLATFORM
    tenant = await exchange.tenant(named)
    return tenant.id, tenant.handle


async def answer_export(exchange: Exchange) -> Answer:
    """Return the tenant's whole log as a tar of the bundle folder."""
    log, short_name = await _log_of(exchange)
    files = await exchange.control.export(log)
    name = f'attachment; filename="{short_name}.tar"'
    return Answer(
        body=stream_tar(files), media_type=MEDIA_TYPE, headers={"Content-Disposition": name}
    )


async def answer_vkey(exchange: Exchange) -> Answer:
    """Return the key under which the tenant's checkpoints are signed."""
    log, _ = await _log_of(exchange)
    vkey = await exchange.control.verifier_key(log)
    return Answer(body=f"{vkey.rstrip()}\n".encode(), media_type=TEXT)


ROUTES = (
    Route(
        method="GET",
        path="/v1/tenants",
        name="tenants",
        roles=ADMINS,
        answer=answer_tenants,
        about="All tenants, oldest first.",
    ),
    Route(
        method="POST",
        path="/v1/tenants",
        name="create_tenant",
        roles=ADMINS,
        answer=answer_create,
        about="Create a tenant: id, name, price_plan, limits.",
    ),
    Route(
        method="GET",
        path="/v1/tenants/<tenant_id>",
        name="tenant",
        roles=OWNERS,
        answer=answer_tenant,
        about="One tenant.",
    ),
    *(
        Route(
            method="POST",
            path=f"/v1/tenants/<tenant_id>/{verb}",
            name=f"{verb}_tenant",
            roles=ADMINS,
            answer=_changing(verb),
            about=f"{verb.capitalize()} a tenant.",
        )
        for verb in VERBS
    ),
    Route(
        method="GET",
        path="/v1/tenants/<tenant_id>/export",
        name="export",
        roles=OWNERS,
        answer=answer_export,
        about="The tenant's whole log as a tar of its bundle.",
    ),
    Route(
        method="GET",
        path="/v1/tenants/<tenant_id>/vkey",
        name="vkey",
        roles=OWNERS,
        answer=answer_vkey,
        about="The verifier key of the tenant's log.",
    ),
)
