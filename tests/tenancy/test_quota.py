from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.tenancy import Quota


@pytest.mark.parametrize(
    ("used", "is_reached"), [(0, False), (79, False), (80, True), (81, True), (100, True)]
)
def test_a_threshold_is_reached_exactly_at_its_value(used: int, is_reached: bool) -> None:
    assert Quota(name="acts", limit=100, used=used, ceiling=100).has_reached(80) is is_reached


@pytest.mark.parametrize(("used", "is_exhausted"), [(9, False), (10, True), (11, True)])
def test_a_quota_is_exhausted_at_its_limit(used: int, is_exhausted: bool) -> None:
    assert Quota(name="acts", limit=10, used=used, ceiling=10).is_exhausted is is_exhausted


def test_a_limit_of_nothing_permits_nothing() -> None:
    assert Quota(name="acts", limit=0, ceiling=0).is_exhausted


def test_use_counts_up_to_the_limit() -> None:
    quota = Quota(name="acts", limit=2, ceiling=5).use().use()

    assert (quota.used, quota.is_exhausted) == (2, True)
    with pytest.raises(InvalidInput, match="expected use of quota acts to be <= 0 more, got 1"):
        quota.use()


def test_a_negative_use_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected amount of quota acts"):
        Quota(name="acts", limit=2, ceiling=5).use(-1)


@given(st.integers(0, 100), st.integers(0, 100), st.lists(st.integers(-10, 300), max_size=6))
def test_no_raise_ever_passes_the_ceiling_or_lowers_the_limit(
    limit: int, room: int, wanted: list[int]
) -> None:
    quota = Quota(name="acts", limit=limit, ceiling=limit + room)
    for each in wanted:
        before = quota.limit
        try:
            quota = quota.raise_to(each)
        except InvalidInput:
            assert not before <= each <= quota.ceiling
        assert before <= quota.limit <= quota.ceiling == limit + room


def test_a_restored_limit_may_be_lower_than_what_is_used() -> None:
    raised = Quota(name="acts", limit=10, used=10, ceiling=20).raise_to(15).use(3)

    restored = raised.restore_to(10)

    assert (restored.limit, restored.used, restored.is_exhausted) == (10, 13, True)


@pytest.mark.parametrize("limit", [-1, 21])
def test_a_restored_limit_stays_within_the_ceiling(limit: int) -> None:
    with pytest.raises(InvalidInput, match="restored limit"):
        Quota(name="acts", limit=10, ceiling=20).restore_to(limit)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "", "limit": 1, "ceiling": 1},
        {"name": "acts", "limit": -1, "ceiling": 1},
        {"name": "acts", "limit": 2, "ceiling": 1},
        {"name": "acts", "limit": True, "ceiling": 1},
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Quota(**values)  # type: ignore[arg-type]
