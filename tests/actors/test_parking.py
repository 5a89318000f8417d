"""Messages without a tenant: kept, bounded, and replayed once their tenant is created."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import Unplaced
from autonomics.errors import InvalidInput, ParkingFull, StoreUnavailable
from autonomics.testing.cloud_fault import Hang
from autonomics.testing.house import House, open_house, payload_of, service_name
from autonomics.testing.stage import recording


def unplaced(message_id: str, body: bytes = b'{"a": 1}', **more: Any) -> Unplaced:
    plain = Unplaced(
        reason="unknown_tenant",
        why="nobody has created it",
        sender="key-1",
        source="house",
        message_id=message_id,
        body=body,
        tenant_id="acme",
    )
    return attrs.evolve(plain, **more)


async def texts(house: House) -> list[str]:
    return [row["signal"]["fields"].get("n") for row in await house.payloads("acme", "received")]


async def test_a_message_of_an_unknown_tenant_is_parked_and_named_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        with recording() as events:
            first = await house.control.park(unplaced("m-1"))
            again = await house.control.park(unplaced("m-1"))
            await house.control.park(unplaced("m-2"))

        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.receipt == first.receipt
        named = [fields for event, fields in events if event == "tenant.unknown"]
        assert named == [{"tenant": "acme", "command": "autonomics tenants create acme"}]


async def test_parked_messages_are_replayed_in_order_when_the_tenant_is_created(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        for number in range(5):
            await house.control.park(unplaced(f"m-{number}", b'{"n": "%d"}' % number))

        made = await house.create("acme")
        await house.settle()

        assert made.replayed == 5
        assert await texts(house) == ["0", "1", "2", "3", "4"]
        assert Counter(await house.kinds("acme"))["decided"] == 5
        await house.restart()
        await house.settle()
        assert Counter(await house.kinds("acme"))["received"] == 5


@pytest.mark.parametrize(
    "fails", [["after"], [None, "before"], [None, "after"], [None, None, "after"]]
)
async def test_a_house_that_dies_between_creation_and_replay_replays_each_once(
    fails: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        for number in range(3):
            await house.control.park(unplaced(f"m-{number}", b'{"n": "%d"}' % number))
        house.faults.fail_next(*fails)
        with suppress(StoreUnavailable):
            await house.create("acme")
        await house.restart(cut=True)
        await trio.sleep(5)
        found = await house.control.tenant("acme")
        if found is None:
            await house.create("acme")
        else:
            house.handles["acme"] = found.handle
        await house.settle()

        assert sorted(await texts(house)) == ["0", "1", "2"]
        created = [
            row for row in await house.payloads("platform", "tenant") if row["event"] == "created"
        ]
        assert len(created) == 1


async def test_a_tenant_that_is_full_gets_the_rest_when_it_has_room(
    autojump_clock: MockClock,
) -> None:
    async with open_house(open_signals=2) as house:
        house.cloud.add_service(service_name("acme"))
        for number in range(6):
            entry = house.inbound("acme", house.oom("acme", number)).body
            await house.control.park(unplaced(f"m-{number}", entry))
        house.cloud.script("run.services.get", Hang())

        made = await house.create("acme")
        await trio.sleep(60)

        assert made.replayed < 6
        assert Counter(await house.kinds("acme"))["received"] == 6


async def test_what_is_parked_after_its_tenant_was_created_is_replayed_too(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.control.park(unplaced("late"))
        await trio.sleep(1)

        assert Counter(await house.kinds("acme"))["received"] == 1


async def test_a_sender_may_park_only_so_many_messages(autojump_clock: MockClock) -> None:
    async with open_house(parked_messages=2) as house:
        await house.control.park(unplaced("m-1"))
        await house.control.park(unplaced("m-2"))

        with pytest.raises(ParkingFull, match="messages per sender .limit=2, used=2"):
            await house.control.park(unplaced("m-3"))
        await house.control.park(unplaced("m-3", sender="key-2"))
        await house.restart()
        with pytest.raises(ParkingFull):
            await house.control.park(unplaced("m-4"))


async def test_a_sender_may_park_only_so_many_bytes(autojump_clock: MockClock) -> None:
    async with open_house(parked_bytes=20) as house:
        await house.control.park(unplaced("m-1", b'"' + b"a" * 17 + b'"'))

        with pytest.raises(ParkingFull, match="bytes per sender"):
            await house.control.park(unplaced("m-2", b'"a"'))


async def test_a_creation_makes_room_for_the_sender(autojump_clock: MockClock) -> None:
    async with open_house(parked_messages=1) as house:
        await house.control.park(unplaced("m-1"))
        await house.create("acme")

        await house.control.park(unplaced("m-2", tenant_id="birch"))


async def test_what_can_not_be_read_stays_parked(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        parked = await house.control.park(unplaced("m-1", b"{nonsense", reason="unreadable"))
        await house.control.park(unplaced("m-2", b"[1, 2]"))

        made = await house.create("acme")

        assert made.replayed == 0
        assert await texts(house) == []
        kept = payload_of(parked.receipt)
        assert (kept["reason"], kept["size_bytes"]) == ("unreadable", 9)


async def test_a_tenant_is_created_once(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")

        for name in ("acme", "platform", "", "a b"):
            with pytest.raises(InvalidInput, match="tenant id"):
                await house.create(name)
        with pytest.raises(InvalidInput, match="price plan"):
            await house.control.create_tenant("birch", "", "gold", "me")
        with pytest.raises(InvalidInput, match="quota"):
            await house.create("birch", {"dreams": 3})
        with pytest.raises(InvalidInput, match="signals"):
            await house.create("birch", {"signals": 10**9})
        assert [view.id for view in await house.control.tenants()] == ["acme"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_creation_that_nobody_heard_of_can_be_asked_for_again(
    moment: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        house.faults.fail_next(moment)
        with pytest.raises(StoreUnavailable):
            await house.create("acme")
        await trio.sleep(5)

        if moment == "after":
            # It is there: whoever looks finds it, and asking again says so.
            assert await house.control.tenant("acme") is not None
            with pytest.raises(InvalidInput, match="not taken"):
                await house.create("acme")
        else:
            await house.create("acme")
        assert len(await house.payloads("platform", "tenant")) == 1
