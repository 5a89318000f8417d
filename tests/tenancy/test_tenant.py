from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.tenancy import (
    TENANT_TRANSITIONS,
    Tenant,
    TenantEvent,
    TenantState,
    next_tenant_state,
)

HANDLE = "00112233aabbccdd"


def tenant(**changes: object) -> Tenant:
    values = {"id": "acme", "handle": HANDLE, "display_name": "Acme GmbH", **changes}
    return Tenant(**values)  # type: ignore[arg-type]


def test_every_state_answers_every_event() -> None:
    assert set(TENANT_TRANSITIONS) == set(product(TenantState, TenantEvent))


def test_a_tenant_starts_pending_and_lives_through_suspension() -> None:
    begun = tenant()
    active = begun.after(TenantEvent.ACTIVATE)
    suspended = active.after(TenantEvent.SUSPEND)
    again = suspended.after(TenantEvent.REACTIVATE)

    assert [each.state.value for each in (begun, active, suspended, again)] == [
        "pending",
        "active",
        "suspended",
        "active",
    ]


@pytest.mark.parametrize("state", [TenantState.PENDING, TenantState.ACTIVE, TenantState.SUSPENDED])
def test_any_living_tenant_can_be_closed(state: TenantState) -> None:
    assert next_tenant_state(state, TenantEvent.CLOSE) is TenantState.CLOSED


@given(st.lists(st.sampled_from(TenantEvent), max_size=8))
def test_a_closed_tenant_stays_closed(events: list[TenantEvent]) -> None:
    assert all(next_tenant_state(TenantState.CLOSED, event) is None for event in events)


def test_an_unlawful_event_says_which_are_lawful() -> None:
    with pytest.raises(InvalidInput, match=r"pending to be one of \['activate', 'close'\]"):
        tenant().after(TenantEvent.SUSPEND)


def test_an_event_for_a_closed_tenant_is_unlawful_altogether() -> None:
    with pytest.raises(InvalidInput, match="none at all, got 'activate'"):
        tenant(state=TenantState.CLOSED).after(TenantEvent.ACTIVATE)


@pytest.mark.parametrize(
    "handle", ["", "00112233AABBCCDD", "0011", HANDLE + "0", "acme-gmbh-handle"]
)
def test_a_handle_is_sixteen_hex_digits(handle: str) -> None:
    with pytest.raises(InvalidInput, match="expected tenant handle to be 16 lower-case hex digits"):
        tenant(handle=handle)


@pytest.mark.parametrize("name", ["", "-acme", "a" * 64, "a/b", "a b"])
def test_an_id_is_a_short_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="expected tenant id"):
        tenant(id=name)


@pytest.mark.parametrize("name", ["", "   ", "a" * 201, "line\nbreak"])
def test_a_display_name_is_printable(name: str) -> None:
    with pytest.raises(InvalidInput, match="expected display name"):
        tenant(display_name=name)
