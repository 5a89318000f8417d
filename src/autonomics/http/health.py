"""Is it alive, is it ready, how is it: three questions, asked by three kinds of people."""

from __future__ import annotations

from typing import Any, Final

import attrs

from autonomics.actors.message import Health, Principal
from autonomics.errors import AutonomicsError, CallFailed, LedgerError
from autonomics.http.exchange import Answer, Exchange, Refused
from autonomics.http.line import narrow_line
from autonomics.http.problem import make_problem
from autonomics.http.route import EVERYBODY, Route
from autonomics.http.view import show_health

STRANGER: Final = Principal("", "push")
"""Who has no key; it may ask for health and for nothing else."""


async def answer_live(_exchange: Exchange) -> Answer:
    """Say that the door is open; nobody in the tree is asked."""
    return Answer(body={"status": "live"})


async def answer_ready(exchange: Exchange) -> Answer | Refused:
    """Say whether signals are taken: 200, or 503 with the reason in one word."""
    health = await _ask(exchange)
    if isinstance(health, AutonomicsError):
        return _not_ready("unknown", str(health))
    if health.readiness != "ready":
        return _not_ready(health.readiness)
    return Answer(body={"status": "ready"})


async def answer_health(exchange: Exchange) -> Answer | Refused:
    """Say everything to whoever holds a key, the readiness to all others."""
    health = await _ask(exchange)
    if isinstance(health, AutonomicsError):
        return _not_ready("unknown", str(health))
    if exchange.principal is STRANGER:
        shown: dict[str, Any] = {"status": health.readiness}
    else:
        line = await narrow_line(exchange, health.line)
        shown = show_health(attrs.evolve(health, line=line))
    if health.readiness == "ready":
        return Answer(body=shown)
    problem = make_problem(
        "not_ready",
        f"the control plane is {health.readiness}",
        members={"readiness": health.readiness, "health": shown},
    )
    return Refused(problem)


async def _ask(exchange: Exchange) -> Health | CallFailed | LedgerError:
    try:
        return await exchange.control.health()
    except (CallFailed, LedgerError) as error:
        return error


def _not_ready(readiness: str, detail: str = "") -> Refused:
    text = detail or f"the control plane is {readiness}"
    return Refused(make_problem("not_ready", text, members={"readiness": readiness}))


ROUTES = (
    Route(
        method="GET",
        path="/health",
        name="health",
        roles=EVERYBODY,
        answer=answer_health,
        about="Readiness; with a key, everything.",
    ),
    Route(
        method="GET",
        path="/health/live",
        name="live",
        roles=EVERYBODY,
        answer=answer_live,
        about="200 while the door is open.",
    ),
    Route(
        method="GET",
        path="/health/ready",
        name="ready",
        roles=EVERYBODY,
        answer=answer_ready,
        about="200 while signals are taken, else 503.",
    ),
)
OPEN = frozenset(route.name for route in ROUTES)
"""What can be asked without a key."""
