"""Checkpoints of many logs: signed a few at a time, kept by few steps, in nobody's way."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.actors.ledger import SIGNED_AT_ONCE, Ledger, StoreWriter
from autonomics.actors.ledger_message import LEDGER
from autonomics.actors.receipt_writer import ReceiptWriter
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append
from autonomics.errors import LogForked
from autonomics.receipts.checkpoint import parse_checkpoint
from autonomics.receipts.entry import Entry
from autonomics.runtime import ActorRef, Runtime, open_runtime
from autonomics.storage.memory import MemoryStore
from autonomics.supervisors import ChildSpec, Supervisor
from autonomics.testing.house import count_bytes, virtual_now
from autonomics.testing.store_contract import UncheckedSigner

LOGS = 2 * SIGNED_AT_ONCE + 10
EVERY_S = 10.0


class CountingStore(MemoryStore):
    """Keeps count of how many checkpoints each step brought."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    async def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        self.steps.append(len(notes))
        return await super().save_checkpoints(notes)


@asynccontextmanager
async def open_writers(store: CountingStore) -> AsyncGenerator[list[ActorRef[ReceiptWriter]]]:
    source = Source(virtual_now, trio.current_time, count_bytes(1))

    def disk(runtime: Runtime) -> Supervisor:
        front = partial(Ledger, signer=UncheckedSigner(), checkpoint_every_s=EVERY_S)
        writer = partial(
            StoreWriter, store, random_bytes=source.random_bytes, front=runtime.named(LEDGER)
        )
        return Supervisor(
            [
                ChildSpec(id="front", name=LEDGER, start=front),
                ChildSpec(id="store_writer", start=writer),
            ]
        )

    async with open_runtime() as runtime:
        await runtime.start(partial(disk, runtime), id="disk")
        yield [
            await runtime.start(
                partial(
                    ReceiptWriter,
                    f"test.example/t/{number}",
                    ledger=runtime.named(LEDGER),
                    source=source,
                    open_signals=None,
                ),
                id=f"writer-{number}",
            )
            for number in range(LOGS)
        ]


def entry(text: str) -> Append:
    made = Entry(
        kind="received",
        actor="test/door",
        payload=text.encode(),
        payload_type="autonomics.test/1",
        idem=text,
    )
    return Append((made,))


async def test_what_has_grown_is_signed_a_few_logs_at_a_time(autojump_clock: MockClock) -> None:
    store = CountingStore()
    async with open_writers(store) as writers:
        for writer in writers:
            await writer.call(entry("first"), math.inf)
        assert store.steps == []
        await trio.sleep(EVERY_S)
        await wait_all_tasks_blocked()
        assert store.steps == [SIGNED_AT_ONCE, SIGNED_AT_ONCE, 10]
        for head in await store.heads():
            note = await store.latest_checkpoint(head.origin)
            assert note is not None
            checkpoint = parse_checkpoint(note)
            assert (checkpoint.size, checkpoint.root) == (head.size, head.root)
        await writers[0].call(entry("second"), math.inf)
        await trio.sleep(EVERY_S)
        await wait_all_tasks_blocked()
        assert store.steps[3:] == [1]
        await trio.sleep(3 * EVERY_S)
        assert len(store.steps) == 4
