"""Google's push: durable first, decided later; what can't be placed is parked.

The answers that Google takes for an acknowledgement are 200 and 202 here; a redelivery of what
we already hold would change nothing.
"""

from __future__ import annotations

import attrs

from autonomics.actors.message import Inbound, Unplaced
from autonomics.errors import InvalidInput, NoSuchTenant, ParkingFull
from autonomics.http.envelope import TENANT_ATTRIBUTE, Pushed, open_push
from autonomics.http.exchange import Answer, Exchange, Refused
from autonomics.http.problem import make_problem
from autonomics.http.route import EVERYBODY, Route


async def answer_push(exchange: Exchange) -> Answer | Refused:
    """Take one push, wrapped or unwrapped."""
    body = await exchange.read_body()
    pushed = open_push(exchange.headers, body, exchange.settings.body_depth)
    tenant_id = _tenant_of(exchange, pushed)
    if pushed.fault is not None:
        return await _park(exchange, _unreadable(exchange, pushed, pushed.fault, tenant_id))
    if tenant_id is None:
        return await _park(exchange, _unknown(exchange, pushed, "the key names no tenant", None))
    inbound = Inbound(
        tenant_id=tenant_id,
        source=pushed.source,
        message_id=pushed.message_id,
        body=pushed.data,
        attributes=pushed.attributes,
        published_at=pushed.published_at,
        principal=exchange.principal.key_id,
        trace=exchange.trace,
    )
    try:
        accepted = await exchange.control.submit(inbound)
    except NoSuchTenant:
        why = f"there is no tenant {tenant_id[:80]!a}"
        return await _park(exchange, _unknown(exchange, pushed, why, tenant_id))
    except InvalidInput as error:
        return await _park(exchange, _unreadable(exchange, pushed, str(error), tenant_id))
    return Answer(
        body={"receipt": accepted.receipt.id, "duplicate": accepted.duplicate},
        headers={"Receipt-Id": accepted.receipt.id},
    )


def _tenant_of(exchange: Exchange, pushed: Pushed) -> str | None:
    own = exchange.principal.tenant_id
    if own is None and exchange.settings.trust_tenant_attribute and exchange.is_local:
        return pushed.attributes.get(TENANT_ATTRIBUTE) or None
    return own


def _unknown(exchange: Exchange, pushed: Pushed, why: str, tenant_id: str | None) -> Unplaced:
    return Unplaced(
        reason="unknown_tenant",
        why=why,
        sender=exchange.principal.key_id,
        source=pushed.source,
        message_id=pushed.message_id,
        body=pushed.data,
        tenant_id=tenant_id,
        attributes=pushed.attributes,
        trace=exchange.trace,
    )


def _unreadable(exchange: Exchange, pushed: Pushed, why: str, tenant_id: str | None) -> Unplaced:
    return attrs.evolve(_unknown(exchange, pushed, why, tenant_id), reason="unreadable")


async def _park(exchange: Exchange, unplaced: Unplaced) -> Answer | Refused:
    try:
        parked = await exchange.control.park(unplaced)
    except ParkingFull as error:
        code = "unreadable" if unplaced.reason == "unreadable" else "unknown_tenant"
        return Refused(make_problem(code, f"{unplaced.why}; not parked: {error}"))
    return Answer(
        status=202,
        body={
            "receipt": parked.receipt.id,
            "duplicate": parked.duplicate,
            "parked": unplaced.reason,
            "why": unplaced.why,
        },
        headers={"Receipt-Id": parked.receipt.id},
    )


ROUTES = (
    Route(
        method="POST",
        path="/pubsub",
        name="push",
        roles=EVERYBODY,
        answer=answer_push,
        about="One Pub/Sub push: 200 once durable, 202 if parked.",
        query=("token",),
    ),
)
