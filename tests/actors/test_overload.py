"""A tenant holds only so many undecided signals; what it took, it decides."""

from __future__ import annotations

from collections import Counter

import trio
from trio.testing import MockClock

from autonomics.actors.message import Accepted
from autonomics.errors import Overloaded
from autonomics.testing.cloud_fault import Hang
from autonomics.testing.house import open_house


async def test_a_full_tenant_refuses_at_once_and_decides_what_it_took(
    autojump_clock: MockClock,
) -> None:
    async with open_house(open_signals=3) as house:
        await house.create("acme")
        await house.create("birch")
        house.cloud.script("run.services.get", Hang())  # the first decision waits for its facts
        taken: list[Accepted] = []
        refused: list[str] = []

        async def tell(number: int) -> None:
            try:
                taken.append(await house.tell("acme", house.oom("acme", number)))
            except Overloaded as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(tell, number)

        assert (len(taken), len(refused)) == (3, 7)
        assert "undecided signals (limit=3, used=3)" in refused[0]
        assert trio.current_time() < 1
        assert await house.say("birch", {"a": 1}), "another tenant has room of its own"
        assert await house.settle(2000)
        kinds = Counter(await house.kinds("acme"))
        assert (kinds["received"], kinds["decided"]) == (3, 3)
        assert not (await house.say("acme", {"a": 1})).accepted.duplicate


async def test_signals_that_are_being_committed_count_too(autojump_clock: MockClock) -> None:
    async with open_house(open_signals=3) as house:
        await house.create("acme")
        house.faults.hold()
        answers: list[Accepted | None] = []

        async def tell() -> None:
            try:
                answers.append(await house.tell("acme", {"a": 1}))
            except Overloaded:
                answers.append(None)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(tell)
            await trio.testing.wait_all_tasks_blocked()
            house.faults.release()

        assert sum(answer is not None for answer in answers) == 3
