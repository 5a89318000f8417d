from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autonomics.supervisors import RestartWindow

steps = st.lists(st.integers(0, 8), max_size=40)


@given(st.integers(0, 5), st.integers(1, 12), steps)
def test_the_window_agrees_with_counting_all_restarts(
    limit: int, within_s: int, gaps: list[int]
) -> None:
    window = RestartWindow(limit, within_s)
    past: list[int] = []
    now = 0
    for gap in gaps:
        now += gap
        past.append(now)
        recent = [at for at in past if now - at <= within_s]
        assert window.spend(now) == (len(recent) <= limit)
        assert window.used(now) == len(recent)
        assert window.left(now) == max(0, limit - len(recent))
