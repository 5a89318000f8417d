"""Keys: a secret is in the answer to its making and nowhere else."""

from __future__ import annotations

from typing import Final

from autonomics.actors.message import Role
from autonomics.errors import DoorRefused, InvalidInput
from autonomics.http.exchange import Answer, Exchange
from autonomics.http.route import ADMINS, Route
from autonomics.http.view import show_key, show_new_key

# An operator is who reaches the control socket; a key for that would be a key to the house.
ROLES: Final[tuple[Role, ...]] = ("admin", "tenant", "push")


async def answer_keys(exchange: Exchange) -> Answer:
    """Return all keys without their secrets."""
    return Answer(body={"api_keys": [show_key(key) for key in await exchange.control.keys()]})


async def answer_create(exchange: Exchange) -> Answer:
    """Make a key."""
    texts = await exchange.texts("role", tenant=None)
    role: Role | None = next((known for known in ROLES if known == texts["role"]), None)
    if role is None:
        raise InvalidInput.expected("role", "one of " + ", ".join(ROLES), texts["role"])
    tenant_id = texts["tenant"]
    if (tenant_id is None) != (role == "admin"):
        raise InvalidInput.expected(
            "tenant", "named for tenant and push keys and for no other", tenant_id
        )
    if tenant_id is not None:
        tenant_id = (await exchange.tenant(tenant_id)).id
    key = await exchange.control.create_key(role, tenant_id, exchange.principal.key_id)
    return Answer(status=201, body=show_new_key(key))


async def answer_revoke(exchange: Exchange) -> Answer:
    """Revoke a key at once; to revoke it again changes nothing."""
    key_id = exchange.args["key_id"]
    if all(key.id != key_id for key in await exchange.control.keys()):
        raise DoorRefused(f"there is no key {key_id[:80]!a}", "unknown_key")
    return Answer(
        body=show_key(await exchange.control.revoke_key(key_id, exchange.principal.key_id))
    )


ROUTES = (
    Route(
        method="GET",
        path="/v1/api-keys",
        name="api_keys",
        roles=ADMINS,
        answer=answer_keys,
        about="All keys without their secrets.",
    ),
    Route(
        method="POST",
        path="/v1/api-keys",
        name="create_api_key",
        roles=ADMINS,
        answer=answer_create,
        about="Make a key: role, tenant.",
    ),
    Route(
        method="DELETE",
        path="/v1/api-keys/<key_id>",
        name="revoke_api_key",
        roles=ADMINS,
        answer=answer_revoke,
        about="Revoke a key at once.",
    ),
)
