from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autonomics.errors import InvalidInput
from autonomics.tenancy import Entitlement, price_plan_named

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2026, 2, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("moment", "is_current"),
    [(START - TICK, False), (START, True), (END - TICK, True), (END, False)],
)
def test_an_entitlement_holds_from_its_start_until_its_end(
    moment: datetime, is_current: bool
) -> None:
    held = Entitlement.of(price_plan_named("standard"), starts_at=START, ends_at=END)

    assert held.is_current(moment) is is_current


def test_an_entitlement_without_dates_always_holds() -> None:
    assert Entitlement.of(price_plan_named("standard")).is_current(START)


def test_an_entitlement_covers_what_its_plan_covers() -> None:
    held = Entitlement.of(price_plan_named("standard"))

    assert held.price_plan == "standard"
    assert held.covers("run.oom_memory_limit")
    assert not held.covers("opt.cold_start")


def test_a_naive_date_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected starts_at to be an aware datetime"):
        Entitlement(price_plan="standard", recipes=(), starts_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected ends_at"):
        Entitlement(price_plan="standard", recipes=(), starts_at=END, ends_at=START)
