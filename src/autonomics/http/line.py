"""The line: who looks at it, who stops it, who clears it; and the tree that it stands in."""

from __future__ import annotations

from autonomics.actors.message import LineView
from autonomics.errors import DoorRefused
from autonomics.http.exchange import Answer, Exchange
from autonomics.http.route import ADMINS, OWNERS, Route
from autonomics.http.view import show_line, show_status, show_tree
from autonomics.tools.sight import narrow_line as narrow_to


async def answer_line(exchange: Exchange) -> Answer:
    """Return the latch; a tenant sees no other tenant's stops."""
    view = await exchange.control.line()
    return Answer(body=show_line(await narrow_line(exchange, view)))


async def narrow_line(exchange: Exchange, view: LineView) -> LineView:
    """Leave out what is not the principal's: other tenants, and resources, whose names tell."""
    tenant_id = exchange.principal.tenant_id
    if tenant_id is None:
        return view
    return narrow_to(view, await exchange.control.tenant(tenant_id))


async def answer_stop(exchange: Exchange) -> Answer:
    """Stop the line in a scope."""
    texts = await exchange.texts("scope", "reason")
    by = exchange.principal.key_id
    view = await exchange.control.stop_line(texts["scope"], texts["reason"], by)
    return Answer(body=show_line(view))


async def answer_clear(exchange: Exchange) -> Answer:
    """Clear a stop; it takes a cause, a fix and a prevention."""
    texts = await exchange.texts("scope", "root_cause", "fix", "prevention")
    view = await exchange.control.clear_line(
        texts["scope"],
        texts["root_cause"],
        texts["fix"],
        texts["prevention"],
        exchange.principal.key_id,
    )
    return Answer(body=show_line(view))


async def answer_tree(exchange: Exchange) -> Answer:
    """Return a picture of the whole tree."""
    return Answer(body=show_tree(await exchange.control.tree()))


async def answer_status(exchange: Exchange) -> Answer:
    """Return the status of the actor at a path."""
    path = exchange.query.get("actor", "")
    status = await exchange.control.actor_status(path)
    if status is None:
        raise DoorRefused(f"there is no actor at {path[:200]!a}", "unknown_actor")
    return Answer(body=show_status(status))


ROUTES = (
    Route(
        method="GET",
        path="/v1/line",
        name="line",
        roles=OWNERS,
        answer=answer_line,
        about="The stop-the-line latch.",
    ),
    Route(
        method="POST",
        path="/v1/line/stop",
        name="stop_line",
        roles=ADMINS,
        answer=answer_stop,
        about="Stop the line: scope, reason.",
    ),
    Route(
        method="POST",
        path="/v1/line/clear",
        name="clear_line",
        roles=ADMINS,
        answer=answer_clear,
        about="Clear a stop: scope, root_cause, fix, prevention.",
    ),
    Route(
        method="GET",
        path="/v1/tree",
        name="tree",
        roles=ADMINS,
        answer=answer_tree,
        about="A snapshot of the supervision tree.",
    ),
    Route(
        method="GET",
        path="/v1/tree/status",
        name="status",
        roles=ADMINS,
        answer=answer_status,
        query=("actor",),
        about="What the actor at this path of the tree does now.",
    ),
)
