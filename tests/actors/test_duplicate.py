"""The same message again: the first receipt, and never a second decision."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import Accepted
from autonomics.errors import IdempotencyConflict, StoreUnavailable
from autonomics.testing.house import open_house


async def test_a_repeated_message_gets_the_first_receipt(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        first = await house.say("acme", {"a": 1}, "m")

        again = await house.say("acme", {"a": 1}, "m")

        assert again.accepted.duplicate
        assert again.accepted.receipt == first.accepted.receipt
        assert again.decision == first.decision
        assert Counter(await house.kinds("acme"))["decided"] == 1


async def test_twins_that_come_at_once_share_one_receipt(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        answers: list[Accepted] = []

        async def tell() -> None:
            answers.append(await house.tell("acme", {"a": 1}, "m"))

        house.faults.hold()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(tell)
            await trio.testing.wait_all_tasks_blocked()
            house.faults.release()
        await house.settle()

        assert len({answer.receipt.id for answer in answers}) == 1
        assert sorted(answer.duplicate for answer in answers) == [False, True, True, True, True]
        assert Counter(await house.kinds("acme"))["received"] == 1


@pytest.mark.parametrize("cut", [False, True])
async def test_a_message_from_before_a_restart_is_known(
    cut: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        first = await house.say("acme", {"a": 1}, "m")
        await house.restart(cut=cut)

        again = await house.say("acme", {"a": 1}, "m")

        assert again.accepted.duplicate
        assert again.decision.id == first.decision.id


async def test_the_same_id_from_another_source_is_another_message(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        first = await house.control.submit(house.inbound("acme", {"a": 1}, "m", source="one"))

        second = await house.control.submit(house.inbound("acme", {"a": 1}, "m", source="two"))

        assert not second.duplicate
        assert second.receipt.id != first.receipt.id


async def test_a_chosen_key_with_other_content_is_a_conflict(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        chosen = house.inbound("acme", {"a": 1}, "key", key_is_chosen=True)
        await house.control.submit(chosen)

        assert (await house.control.submit(chosen)).duplicate
        with pytest.raises(IdempotencyConflict, match="other content"):
            await house.control.submit(attrs.evolve(chosen, body=b'{"a": 2}'))


async def test_a_sender_that_was_refused_may_ask_again_with_the_same_id(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.fail_next("after")
        with pytest.raises(StoreUnavailable):
            await house.tell("acme", {"a": 1}, "m")
        await trio.sleep(5)

        again = await house.tell("acme", {"a": 1}, "m")

        assert again.duplicate, "it was durable; nobody had heard of it"
        assert Counter(await house.kinds("acme"))["received"] == 1
