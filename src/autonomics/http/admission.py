"""Who is let in: the principal of a key, or the problem that a stranger gets."""

from __future__ import annotations

from contextlib import suppress

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import Principal
from autonomics.errors import AutonomicsError, CallFailed, LedgerError
from autonomics.http.problem import Problem, make_problem, problem_for


async def admit(control: ControlPlane, secret: str | None) -> Principal | Problem:
    """Return who holds the key that a request brought; None stands for no key at all."""
    if secret is None:
        return await _turn_away(control, "no_key", "the request has no key")
    try:
        principal = await control.authenticate(secret) if secret else None
    except AutonomicsError as error:
        return problem_for(error)
    if principal is None:
        return await _turn_away(control, "unknown_key", "nobody holds this key")
    return principal


async def _turn_away(control: ControlPlane, reason: str, detail: str) -> Problem:
    # The count is for the operator; the stranger is turned away with it or without.
    with suppress(CallFailed, LedgerError):
        await control.count_stranger(reason)
    return make_problem("unauthenticated", detail)
