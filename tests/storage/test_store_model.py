"""Random appends, reopenings, duplicates and stale writers, held to a model made of dicts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import attrs
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from autonomics.errors import Fenced
from autonomics.receipts.entry import hash_idem
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.store import Batch, Commit, Committed, Fence, Refused, Store
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import IDEM_KEY, grow, make_entry

T = TypeVar("T")
ORIGINS = [f"ledger.example/t/{name}" for name in "abc"]


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.zombie: tuple[Store, Fence] | None = None
        self.fence = self.run(self.store.open)
        self.logs: dict[str, list[Receipt]] = {origin: [] for origin in ORIGINS}
        self.heads = {origin: LogHead.empty(origin) for origin in ORIGINS}
        self.keys: dict[tuple[str, str], int] = {}
        self.generation = 0

    def make_store(self) -> Store:
        raise NotImplementedError

    def run(self, step: Callable[..., Awaitable[T]], *values: object) -> T:
        async def main() -> T:
            return await step(*values)

        return trio.run(main)

    def accept(self, batch: Batch) -> None:
        self.logs[batch.origin].extend(batch.receipts)
        self.heads[batch.origin] = batch.head
        for hashed, seq in batch.idem:
            self.keys[batch.origin, hashed] = seq

    def is_duplicate(self, batch: Batch) -> bool:
        hashes = [hashed for hashed, _ in batch.idem]
        return len(set(hashes)) < len(hashes) or any(
            (batch.origin, hashed) in self.keys for hashed in hashes
        )

    @rule(
        plan=st.lists(
            st.tuples(
                st.sampled_from(ORIGINS),
                st.lists(st.sampled_from(["", "k1", "k2", "k3", "k4"]), min_size=1, max_size=3),
                st.sampled_from(["good", "stale", "intent", "old intent"]),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda item: item[0],
        )
    )
    def commit(self, plan: list[tuple[str, list[str], str]]) -> None:
        batches: list[Batch] = []
        expected: list[bool] = []
        for origin, keys, way in plan:
            entries = [make_entry(key, idem=key or None) for key in keys]
            if "intent" in way:
                generation = self.generation - (way == "old intent")
                entries[0] = attrs.evolve(entries[0], kind="intent", line_generation=generation)
            head = self.heads[origin]
            is_stale = way == "stale" and head.size > 0
            batch = grow(LogHead.empty(origin) if is_stale else head, entries, self.fence.epoch)
            batches.append(batch)
            expected.append(not is_stale and way != "old intent" and not self.is_duplicate(batch))
        result = self.run(self.store.commit, Commit(self.fence, tuple(batches)))
        assert [isinstance(item, Committed) for item in result.results] == expected
        assert all(isinstance(item, Committed | Refused) for item in result.results)
        assert result.fence == Fence(self.fence.epoch, self.fence.commit + any(expected))
        self.fence = result.fence
        for batch, is_good in zip(batches, expected, strict=True):
            if is_good:
                self.accept(batch)

    @rule()
    def reopen(self) -> None:
        self.run(self.store.close)
        self.store = self.make_store()
        self.fence = self.check_epoch(self.run(self.store.open))

    @rule()
    def take_over(self) -> None:
        if self.zombie is not None:
            self.run(self.zombie[0].close)
        self.zombie = (self.store, self.fence)
        self.store = self.make_store()
        self.fence = self.check_epoch(self.run(self.store.open))

    def check_epoch(self, fence: Fence) -> Fence:
        assert fence == Fence(self.fence.epoch + 1, self.fence.commit)
        return fence

    @precondition(lambda self: self.zombie is not None)
    @rule(origin=st.sampled_from(ORIGINS))
    def zombie_writes(self, origin: str) -> None:
        assert self.zombie is not None
        store, fence = self.zombie
        batch = grow(self.heads[origin], [make_entry("late")], max(fence.epoch, self.fence.epoch))
        for named in (fence, self.fence):
            try:
                self.run(store.commit, Commit(named, (batch,)))
            except Fenced:
                continue
            raise AssertionError("a stale writer committed")

    @rule(step=st.integers(0, 2))
    def move_line(self, step: int) -> None:
        self.generation += step
        self.run(self.store.set_line_generation, self.generation)

    @invariant()
    def holds_the_model(self) -> None:
        for origin in ORIGINS:
            log = self.logs[origin]
            assert self.run(self.store.read, origin, 0, 10_000) == log
            assert self.run(self.store.read, origin, len(log) // 2, 3) == log[len(log) // 2 :][:3]
            assert self.run(self.store.head, origin) == self.heads[origin]
            for raw in ("k1", "k2", "k3", "k4"):
                hashed = hash_idem(IDEM_KEY, raw)
                found = self.run(self.store.find_idem, origin, hashed)
                assert found == self.keys.get((origin, hashed))
        assert self.run(self.store.fence) == self.fence
        assert self.run(self.store.line_generation) == self.generation

    def teardown(self) -> None:
        self.run(self.store.close)
        if self.zombie is not None:
            self.run(self.zombie[0].close)


class MemoryMachine(StoreMachine):
    def __init__(self) -> None:
        self.medium = MemoryMedium()
        super().__init__()

    def make_store(self) -> Store:
        return MemoryStore(self.medium)


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        super().__init__()

    def make_store(self) -> Store:
        return SqliteStore(self.folder / "ledger.sqlite", FixedVault())

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(
    max_examples=8,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
