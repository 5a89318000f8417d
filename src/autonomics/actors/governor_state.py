"""The governor's states: one total table of what each event does to each state.

A pair that the table does not list keeps the state. `docs/design/governor.md` draws this table
and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class GovernorState(StrEnum):
    """Where a tenant's governor stands. Only `REFUSING` gates anything: it refuses every act."""

    BOOT = "boot"
    STABLE = "stable"
    WARNING = "warning"
    INTERVENING = "intervening"
    DEGRADED = "degraded"
    REFUSING = "refusing"


class GovernorEvent(StrEnum):
    """What can happen to a governor; each is read off a receipt or a clock, never guessed."""

    FOLDED = "folded"
    """The log is folded and left nothing: a governor that left a state goes back to that one."""
    UNCERTAIN = "uncertain"
    """A diagnosis was LIKELY or INCONCLUSIVE, or its evidence did not reach a plan."""
    PERMITTED = "permitted"
    """A diagnosis was CONFIRMED and every gate permits the act."""
    QUIET = "quiet"
    """Nothing disturbed the tenant for the recovery window."""
    VERIFIED = "verified"
    """The last open act was verified."""
    INEFFECTIVE = "ineffective"
    """An act failed, timed out, changed nothing for the better, or was rolled back."""
    UNKNOWABLE = "unknowable"
    """Nobody can say how an act ended, or its roll-back failed."""
    ENTITLEMENT_LOST = "entitlement_lost"
    SUSPENDED = "suspended"
    LATCH_TRIPPED = "latch_tripped"
    RECURRED = "recurred"
    """The third recurrence of one fault within its period."""
    REACTIVATED = "reactivated"
    CLEARED = "cleared"


_S, _E = GovernorState, GovernorEvent
_RUNNING = (_S.STABLE, _S.WARNING, _S.INTERVENING, _S.DEGRADED, _S.REFUSING)
_REFUSED_BY = (_E.ENTITLEMENT_LOST, _E.SUSPENDED, _E.LATCH_TRIPPED, _E.RECURRED)

TRANSITIONS: Mapping[tuple[GovernorState, GovernorEvent], GovernorState] = {
    (_S.BOOT, _E.FOLDED): _S.STABLE,
    (_S.STABLE, _E.UNCERTAIN): _S.WARNING,
    (_S.DEGRADED, _E.UNCERTAIN): _S.WARNING,
    (_S.STABLE, _E.PERMITTED): _S.INTERVENING,
    (_S.WARNING, _E.PERMITTED): _S.INTERVENING,
    (_S.DEGRADED, _E.PERMITTED): _S.INTERVENING,
    (_S.WARNING, _E.QUIET): _S.STABLE,
    (_S.DEGRADED, _E.QUIET): _S.STABLE,
    (_S.INTERVENING, _E.VERIFIED): _S.STABLE,
    (_S.INTERVENING, _E.INEFFECTIVE): _S.DEGRADED,
    (_S.INTERVENING, _E.UNKNOWABLE): _S.REFUSING,
    **{(state, event): _S.REFUSING for state in _RUNNING for event in _REFUSED_BY},
    (_S.REFUSING, _E.REACTIVATED): _S.STABLE,
    (_S.REFUSING, _E.CLEARED): _S.STABLE,
}


def step(state: GovernorState, event: GovernorEvent) -> GovernorState:
    """Return the state after `event`; total: an unlisted pair keeps the state."""
    return TRANSITIONS.get((state, event), state)
