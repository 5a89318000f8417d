from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module

import pytest
import trio

from autonomics.testing.schedule import SteppedRun, run_seeded

LOOPS = 8
SCHEDULER = import_module("trio._core._run").__dict__


async def race() -> tuple[str, ...]:
    """Say in which order five tasks got their turns."""
    turns: list[str] = []

    async def take_turns(name: str) -> None:
        for _ in range(LOOPS):
            turns.append(name)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcde":
            nursery.start_soon(take_turns, name)
    return tuple(turns)


def test_the_same_seed_runs_in_the_same_order_and_others_in_others() -> None:
    orders = [run_seeded(race, seed) for seed in range(10)]
    assert [run_seeded(race, seed) for seed in range(10)] == orders
    assert len(set(orders)) == 10


def test_the_clock_is_virtual() -> None:
    async def sleep_long() -> float:
        await trio.sleep(80_000)
        return trio.current_time()

    assert run_seeded(sleep_long, 0) == 80_000


def test_a_failing_run_shows_its_seed() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as failure:
        run_seeded(fail, 4711)
    assert failure.value.__notes__ == ["the schedule of trio's tasks: seed=4711"]


@pytest.mark.parametrize("is_sorted", [False, True])
def test_the_choices_of_other_runs_are_left_as_they_were(
    monkeypatch: pytest.MonkeyPatch, is_sorted: bool
) -> None:
    monkeypatch.setitem(SCHEDULER, "_ALLOW_DETERMINISTIC_SCHEDULING", is_sorted)
    state = SCHEDULER["_r"].getstate()
    run_seeded(race, 1)
    assert SCHEDULER["_r"].getstate() == state
    assert SCHEDULER["_ALLOW_DETERMINISTIC_SCHEDULING"] is is_sorted


class Place:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.ticks = 0

    async def tick(self) -> None:
        while True:
            await trio.sleep(1)
            self.ticks += 1


@asynccontextmanager
async def open_place() -> AsyncGenerator[Place]:
    async with trio.open_nursery() as nursery:
        place = Place(nursery)
        nursery.start_soon(place.tick)
        yield place
        nursery.cancel_scope.cancel()


async def sleep(_: Place) -> float:
    await trio.sleep(2.5)
    return trio.current_time()


def test_a_stepped_run_goes_on_where_it_stood() -> None:
    run = SteppedRun(open_place, 1)
    assert [run.step(sleep), run.step(sleep)] == [2.5, 5]

    async def count(place: Place) -> int:
        return place.ticks

    assert run.step(count) in {4, 5}  # the fifth second is a tie
    run.close()
    run.close()
    with pytest.raises(RuntimeError, match="expected the seeded run 1 to be open"):
        run.step(sleep)


def test_a_step_that_fails_shows_the_seed_and_does_not_end_the_run() -> None:
    async def fail(_: Place) -> None:
        raise ValueError("no")

    run = SteppedRun(open_place, 5)
    with pytest.raises(ValueError, match="no") as failure:
        run.step(fail)
    assert failure.value.__notes__ == ["the schedule of trio's tasks: seed=5"]
    assert run.step(sleep) == 2.5
    run.close()


def test_a_step_during_which_the_run_ends_raises_what_ended_it() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def break_the_place(place: Place) -> None:
        place.nursery.start_soon(fail)
        await trio.sleep_forever()

    run = SteppedRun(open_place, 1)
    with pytest.raises(ExceptionGroup) as failure:
        run.step(break_the_place)
    assert failure.group_contains(ValueError, match="no")
    run.close()


def test_a_step_that_cancels_the_whole_run_says_so() -> None:
    async def cancel(place: Place) -> None:
        place.nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    run = SteppedRun(open_place, 1)
    with pytest.raises(RuntimeError, match="the seeded run 1 ended during a step"):
        run.step(cancel)


def test_two_stepped_runs_of_one_seed_run_in_the_same_order() -> None:
    def play(seed: int) -> list[tuple[str, ...]]:
        run = SteppedRun(open_place, seed)

        async def step(_: Place) -> tuple[str, ...]:
            return await race()

        orders = [run.step(step) for _ in range(3)]
        run.close()
        return orders

    assert play(1) == play(1)
    assert play(1) != play(2)
