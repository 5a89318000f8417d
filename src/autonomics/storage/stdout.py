"""A store that also writes each receipt as one line of JSON to a stream, before it acknowledges.

The lines are what `verify FILE.jsonl` reads. The stream is the record; the rest is in memory.
"""

from __future__ import annotations

import json
from typing import TextIO

from autonomics.errors import StoreUnavailable
from autonomics.receipts.export import describe_receipt
from autonomics.receipts.store import Commit, CommitResult, Committed, Fence
from autonomics.storage.memory import MemoryMedium, MemoryStore


class StdoutStore(MemoryStore):
    """`Store` that is as durable as the reader of `stream` makes it."""

    def __init__(self, stream: TextIO, medium: MemoryMedium | None = None) -> None:
        super().__init__(medium)
        self._stream = stream
        self._failure: OSError | None = None

    async def open(self) -> Fence:
        """Raise the epoch; a stream that failed stays closed to this object."""
        self._expect_stream()
        return await super().open()

    async def commit(self, commit: Commit) -> CommitResult:
        """Apply, write and flush; a stream that fails ends the store."""
        self._expect_stream()
        result = await super().commit(commit)
        lines = [
            json.dumps(describe_receipt(receipt), ensure_ascii=False, separators=(",", ":"))
            for batch, outcome in zip(commit.batches, result.results, strict=True)
            if isinstance(outcome, Committed)
            for receipt in batch.receipts
        ]
        try:
            self._stream.writelines(f"{line}\n" for line in lines)
            self._stream.flush()
        except OSError as error:
            self._failure = error
            await self.close()
            raise StoreUnavailable(f"the stream failed: {error}") from error
        return result

    def _expect_stream(self) -> None:
        if self._failure is not None:
            raise StoreUnavailable(f"the stream failed and has to be opened anew: {self._failure}")
