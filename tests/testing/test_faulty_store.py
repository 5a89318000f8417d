from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import StoreUnavailable
from autonomics.receipts.store import Commit, Store
from autonomics.storage.memory import MemoryMedium
from autonomics.testing.faulty_store import FaultyStore, StoreFaults
from autonomics.testing.store_contract import ACME, StoreContract, grow, make_entry


class TestFaultyStoreWithoutFaults(StoreContract):
    def setup_method(self) -> None:
        self.medium = MemoryMedium()
        self.faults = StoreFaults()

    def make_store(self) -> Store:
        return FaultyStore(self.medium, self.faults)


async def commit_one(store: Store, text: str = "a") -> None:
    fence = await store.fence()
    batch = grow(await store.head(ACME), [make_entry(text)], fence.epoch)
    await store.commit(Commit(fence, (batch,)))


@pytest.mark.parametrize(("moment", "size"), [("before", 0), ("after", 2)])
async def test_a_commit_fails_before_or_after_it_became_durable(moment: Any, size: Any) -> None:
    medium, faults = MemoryMedium(), StoreFaults()
    store = FaultyStore(medium, faults)
    await store.open()
    faults.fail_next(moment)

    with pytest.raises(StoreUnavailable, match=moment):
        await commit_one(store)

    with pytest.raises(StoreUnavailable, match="open another one"):
        await store.heads()
    successor = FaultyStore(medium, faults)
    await successor.open()
    assert (await successor.head(ACME)).size == size
    await commit_one(successor)


async def test_a_fault_may_be_meant_for_a_later_commit() -> None:
    faults = StoreFaults()
    store = FaultyStore(MemoryMedium(), faults)
    await store.open()
    faults.fail_next(None, "before")

    await commit_one(store)
    with pytest.raises(StoreUnavailable):
        await commit_one(store)


async def test_a_medium_that_is_away_can_be_neither_opened_nor_read() -> None:
    medium, faults = MemoryMedium(), StoreFaults()
    store = FaultyStore(medium, faults)
    await store.open()
    faults.is_away = True

    with pytest.raises(StoreUnavailable):
        await store.heads()
    with pytest.raises(StoreUnavailable):
        await FaultyStore(medium, faults).open()
    faults.is_away = False
    await FaultyStore(medium, faults).open()
    assert faults.opened == 2


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_held_commit_waits_until_it_is_released(
    moment: Any, autojump_clock: MockClock
) -> None:
    medium, faults = MemoryMedium(), StoreFaults()
    store = FaultyStore(medium, faults)
    await store.open()
    faults.hold(moment)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit_one, store)
        await trio.testing.wait_all_tasks_blocked()
        assert (ACME in medium.logs) is (moment == "after")
        faults.release()
    assert medium.logs[ACME].head.size == 2


async def test_a_slow_commit_takes_its_time(autojump_clock: MockClock) -> None:
    faults = StoreFaults(before_s=2.0, after_s=3.0)
    store = FaultyStore(MemoryMedium(), faults)
    await store.open()

    await commit_one(store)

    assert trio.current_time() == pytest.approx(5.0)
