"""A tenant: two names, a state, and the table of its life."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from attrs import evolve, field, frozen

from autonomics.errors import InvalidInput

_HANDLE = re.compile(r"[0-9a-f]{16}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_DISPLAY_NAME = 200


class TenantState(Enum):
    """Where a tenant stands in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class TenantEvent(Enum):
    """What can happen to a tenant."""

    ACTIVATE = "activate"
    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    CLOSE = "close"


# Every pair has a row; None means that the event is not lawful in that state.
TENANT_TRANSITIONS: Mapping[tuple[TenantState, TenantEvent], TenantState | None] = MappingProxyType(
    {
        (TenantState.PENDING, TenantEvent.ACTIVATE): TenantState.ACTIVE,
        (TenantState.PENDING, TenantEvent.SUSPEND): None,
        (TenantState.PENDING, TenantEvent.REACTIVATE): None,
        (TenantState.PENDING, TenantEvent.CLOSE): TenantState.CLOSED,
        (TenantState.ACTIVE, TenantEvent.ACTIVATE): None,
        (TenantState.ACTIVE, TenantEvent.SUSPEND): TenantState.SUSPENDED,
        (TenantState.ACTIVE, TenantEvent.REACTIVATE): None,
        (TenantState.ACTIVE, TenantEvent.CLOSE): TenantState.CLOSED,
        (TenantState.SUSPENDED, TenantEvent.ACTIVATE): None,
        (TenantState.SUSPENDED, TenantEvent.SUSPEND): None,
        (TenantState.SUSPENDED, TenantEvent.REACTIVATE): TenantState.ACTIVE,
        (TenantState.SUSPENDED, TenantEvent.CLOSE): TenantState.CLOSED,
        (TenantState.CLOSED, TenantEvent.ACTIVATE): None,
        (TenantState.CLOSED, TenantEvent.SUSPEND): None,
        (TenantState.CLOSED, TenantEvent.REACTIVATE): None,
        (TenantState.CLOSED, TenantEvent.CLOSE): None,
    }
)


def next_tenant_state(state: TenantState, event: TenantEvent) -> TenantState | None:
    """Say which state the event leads to; None if it is not lawful there."""
    return TENANT_TRANSITIONS[state, event]


def _check_id(_tenant: object, _attribute: object, value: str) -> None:
    if _ID.fullmatch(value) is None:
        raise InvalidInput.expected(
            "tenant id", "1 to 63 letters, digits, '.', '_' or '-', the first no sign", value
        )


def _check_handle(_tenant: object, _attribute: object, value: str) -> None:
    if _HANDLE.fullmatch(value) is None:
        raise InvalidInput.expected("tenant handle", "16 lower-case hex digits", value)


def _check_display_name(_tenant: object, _attribute: object, value: str) -> None:
    if not value.strip() or len(value) > MAX_DISPLAY_NAME or not value.isprintable():
        raise InvalidInput.expected(
            "display name", f"1 to {MAX_DISPLAY_NAME} printable characters", value
        )


@frozen(kw_only=True)
class Tenant:
    """One customer of the control plane.

    `id` is the name that people and adapters use; `handle` is opaque and the only one that
    appears in paths, logs and origins. The handle is drawn by the caller: this room has no
    randomness.
    """

    id: str = field(validator=_check_id)
    handle: str = field(validator=_check_handle)
    display_name: str = field(validator=_check_display_name)
    state: TenantState = TenantState.PENDING

    def after(self, event: TenantEvent) -> Tenant:
        """Give the tenant after the event; raise InvalidInput where it isn't lawful."""
        state = next_tenant_state(self.state, event)
        if state is None:
            lawful = sorted(
                row.value
                for (start, row), end in TENANT_TRANSITIONS.items()
                if start is self.state and end is not None
            )
            raise InvalidInput.expected(
                f"event for a tenant that is {self.state.value}",
                f"one of {lawful}" if lawful else "none at all",
                event.value,
            )
        return evolve(self, state=state)
