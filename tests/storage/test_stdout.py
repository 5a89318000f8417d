from __future__ import annotations

import io
import json

import pytest

from autonomics.errors import StoreUnavailable
from autonomics.receipts import verify
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import Commit, Store
from autonomics.storage.memory import MemoryMedium
from autonomics.storage.stdout import StdoutStore
from autonomics.testing.store_contract import ACME, ZETA, StoreContract, grow, make_entry


class TestStdoutStore(StoreContract):
    def setup_method(self) -> None:
        self.medium = MemoryMedium()
        self.stream = io.StringIO()

    def make_store(self) -> Store:
        return StdoutStore(self.stream, self.medium)


class UnflushedStream(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.durable = ""

    def flush(self) -> None:
        self.durable = self.getvalue()


class FullStream(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


async def test_each_receipt_is_a_flushed_line_before_it_is_acknowledged() -> None:
    stream = UnflushedStream()
    store = StdoutStore(stream)
    fence = await store.open()
    batches = tuple(grow(LogHead.empty(origin), [make_entry("x")], 1) for origin in (ACME, ZETA))
    await store.commit(Commit(fence, batches))
    leaves = [json.loads(line)["leaf"].encode() for line in stream.durable.splitlines()]
    assert leaves == [receipt.leaf for batch in batches for receipt in batch.receipts]


async def test_its_lines_verify_log_by_log() -> None:
    stream = io.StringIO()
    store = StdoutStore(stream)
    fence = await store.open()
    heads = {origin: LogHead.empty(origin) for origin in (ACME, ZETA)}
    for text in ("one", "zwei \N{SNOWMAN} \u2028"):
        batches = tuple(grow(head, [make_entry(text)], 1) for head in heads.values())
        fence = (await store.commit(Commit(fence, batches))).fence
        heads = {batch.origin: batch.head for batch in batches}
    lines = verify.split_lines(stream.getvalue().encode())
    verdicts = verify.verify_lines(lines, verify.Trust())
    assert [(v.code, v.origin, v.present) for v in verdicts] == [(20, ACME, 3), (20, ZETA, 3)]


async def test_a_refused_batch_leaves_no_line() -> None:
    stream = io.StringIO()
    store = StdoutStore(stream)
    fence = await store.open()
    batch = grow(LogHead.empty(ACME), [make_entry("x")], 1)
    fence = (await store.commit(Commit(fence, (batch,)))).fence
    before = stream.getvalue()
    await store.commit(Commit(fence, (batch,)))
    assert stream.getvalue() == before


async def test_a_stream_that_fails_ends_the_store() -> None:
    store = StdoutStore(FullStream())
    fence = await store.open()
    commit = Commit(fence, (grow(LogHead.empty(ACME), [make_entry("x")], 1),))
    with pytest.raises(StoreUnavailable):
        await store.commit(commit)
    for step in (store.commit(commit), store.heads(), store.open()):
        with pytest.raises(StoreUnavailable):
            await step
