from __future__ import annotations

import pytest
from bench.case import Case
from bench.cases import BY_NAME

from bench import cases

TINY = 12


@pytest.fixture(autouse=True)
def _few_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "RING", 7)
    monkeypatch.setattr(cases, "IDLE", 7)
    monkeypatch.setattr(cases, "CROWD", 3)


@pytest.mark.parametrize("name", sorted(BY_NAME))
async def test_each_case_carries_out_its_operations(name: str) -> None:
    case = BY_NAME[name]
    if case.missing is not None and (why := await case.missing()):
        pytest.skip(why)

    async with case.open(TINY) as run:
        await run()


@pytest.mark.parametrize("case", BY_NAME.values(), ids=lambda case: case.name)
def test_a_stretch_is_harder_than_its_goal(case: Case) -> None:
    if case.goal is not None and case.stretch is not None:
        assert 0 < case.stretch < case.goal


@pytest.mark.parametrize("case", BY_NAME.values(), ids=lambda case: case.name)
def test_what_a_case_rests_on_is_known_and_counted_at_its_sizes(case: Case) -> None:
    assert case.unit in BY_NAME
    assert case.counts[0] < case.counts[1]
    if case.behind is not None:
        assert BY_NAME[case.behind].counts == case.counts
