from __future__ import annotations

from autonomics.receipts.store import Store
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    def setup_method(self) -> None:
        self.medium = MemoryMedium()

    def make_store(self) -> Store:
        return MemoryStore(self.medium)
