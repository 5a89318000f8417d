"""The ledger under load: receipts that are durable before their caller goes on.

Callers ask the receipt writers of their logs, these the ledger, that the store on disk, with
everything on; each caller has one receipt under way. The unit is F, the time of an fdatasync after
an append of a receipt's size on the same disk in the same run: what one commit can't be faster
than.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter, process_time

import attrs
import trio

from autonomics.actors.ledger import Ledger, StoreWriter
from autonomics.actors.ledger_message import LEDGER, ReadLog, SignHead
from autonomics.actors.receipt_writer import ReceiptWriter
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append
from autonomics.config import load_settings
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import export_bundle
from autonomics.receipts.leaf import encode_leaf
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.signer import format_vkey
from autonomics.receipts.verify import CONSISTENT, gather_trust, leaf_hash, verify_path
from autonomics.runtime import ActorRef, Runtime, open_runtime
from autonomics.service import Parts, open_parts
from autonomics.supervisors import ChildSpec, Supervisor
from bench import Measurement, percentile, register
from bench.decision import measure_sync_ms
from bench.floors import open_switch

CALLERS = (1, 16, 64, 256)
LOGS = 1000
SECONDS = 2.0
PAYLOAD_BYTES = 300
AUDITED = 20_000
GROUP = 200
ENCODED = 5_000
SWITCHES = 20_000

# Receipts per F, waits in F, a share, receipts per second, and trio switches.
GOAL_64 = 4.0
GOAL_256 = 7.0
GOAL_ALONE = 4.0
GOAL_LOGS = 0.85
GOAL_AUDIT = 25_000
GOAL_ENCODE = 0.6


@attrs.frozen
class Load:
    """What a number of callers got: receipts per second, and how long each waited."""

    per_s: float
    p50_ms: float
    p99_ms: float


def make_entry(number: int) -> Entry:
    """Make a receipt of the usual size."""
    return Entry(
        kind="received",
        actor="bench/door",
        payload=b'{"text":"' + b"x" * (PAYLOAD_BYTES - 11) + b'"}',
        payload_type="autonomics.bench/1",
        idem=f"bench-{number}",
        trace="0af7651916cd43dd8448eb211c80319c",
    )


def disk(runtime: Runtime, parts: Parts) -> Supervisor:
    """Build the ledger over the embedded store."""
    return Supervisor(
        [
            ChildSpec(
                id="front",
                name=LEDGER,
                start=lambda: Ledger(signer=parts.signer, checkpoint_every_s=1.0),
            ),
            ChildSpec(
                id="store_writer",
                start=lambda: StoreWriter(
                    parts.open_store(),
                    random_bytes=parts.source.random_bytes,
                    front=runtime.named(LEDGER),
                ),
                init_deadline_s=math.inf,
            ),
        ],
        strategy="rest_for_one",
    )


@asynccontextmanager
async def open_writers(parts: Parts, logs: int) -> AsyncGenerator[list[ActorRef]]:
    """Open a ledger and the writers of so many logs."""
    async with open_runtime() as runtime:
        await runtime.start(partial(disk, runtime, parts), id="disk")
        writers: list[ActorRef] = []
        for number in range(logs):
            start = partial(
                ReceiptWriter,
                f"bench.example/t/{number}",
                ledger=runtime.named(LEDGER),
                source=parts.source,
                open_signals=None,
            )
            writers.append(await runtime.start(start, id=f"writer-{number}"))
        yield writers


async def load(writers: Sequence[ActorRef], callers: int, numbers: Callable[[], int]) -> Load:
    """Let the callers ask for as long as the measurement takes."""
    took_s: list[float] = []
    ends_at = math.inf

    async def call(first: int) -> None:
        for turn in count(first, callers):
            if perf_counter() >= ends_at:
                return
            began = perf_counter()
            await writers[turn % len(writers)].call(Append((make_entry(numbers()),)), math.inf)
            took_s.append(perf_counter() - began)

    began = perf_counter()
    ends_at = began + SECONDS
    async with trio.open_nursery() as nursery:
        for number in range(callers):
            nursery.start_soon(call, number)
    per_s = len(took_s) / (perf_counter() - began)
    took_s.sort()
    return Load(per_s, percentile(took_s, 50) * 1000, percentile(took_s, 99) * 1000)


async def begin(writers: Sequence[ActorRef], numbers: Callable[[], int]) -> float:
    """Give each log its first leaves, all at once; the seconds that it takes."""

    async def write(writer: ActorRef) -> None:
        await writer.call(Append((make_entry(numbers()),)), math.inf)

    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for writer in writers:
            nursery.start_soon(write, writer)
    return perf_counter() - began


async def measure_loads(parts: Parts) -> tuple[dict[int, Load], Load, Load, float]:
    """One log under each number of callers; then one and a thousand, under the most."""
    numbers = partial(next, count())
    by_callers: dict[int, Load] = {}
    async with open_writers(parts, LOGS) as writers:
        opened_s = await begin(writers, numbers)
        for callers in CALLERS:
            by_callers[callers] = await load(writers[:1], callers, numbers)
        one = await load(writers[:1], CALLERS[-1], numbers)
        many = await load(writers, CALLERS[-1], numbers)
    return by_callers, one, many, opened_s


async def export(parts: Parts, folder: Path) -> int:
    """Write a log of its own as a bundle; how many receipts it has."""
    numbers = partial(next, count())
    async with open_writers(parts, 1) as (writer,):
        while (first := numbers() * GROUP) < AUDITED:
            entries = tuple(make_entry(first + n) for n in range(GROUP))
            await writer.call(Append(entries), math.inf)
        ledger = writer.incarnation.runtime.named(LEDGER)
        origin = "bench.example/t/0"
        signed = await ledger.call(SignHead(origin), math.inf)
        receipts: list[Receipt] = []
        while page := await ledger.call(ReadLog(origin, len(receipts), 2000), math.inf):
            receipts.extend(page)
    for path, content in export_bundle(receipts, signed.note, b""):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return len(receipts)


async def measure_switch_s() -> float:
    """Return S in seconds of processor time."""
    async with open_switch(SWITCHES) as run:
        began = process_time()
        await run()
        return (process_time() - began) / SWITCHES


def measure_encode_s(source: Source) -> tuple[float, float]:
    """Return the processor time of one receipt: of encoding and chaining, and of all of `append`.

    The rest is two HMACs (payload and idempotency key), the tree, and the objects.
    """
    entries = [make_entry(number) for number in range(ENCODED)]
    head = LogHead.empty("bench.example/t/0")
    now, key = source.clock(), bytes(32)
    began = process_time()
    _, receipts = append(head, entries, now, iter(lambda: bytes(32), None), key, epoch=1)
    append_s = (process_time() - began) / ENCODED
    leaves = [receipt.fields for receipt in receipts]
    began = process_time()
    for leaf in leaves:
        leaf_hash(encode_leaf(leaf))
    return (process_time() - began) / len(leaves), append_s


def measure_audit_per_s(folder: Path, count_: int, vkey: str) -> float:
    """Verify a bundle offline, signature included; receipts per second of processor time."""
    began = process_time()
    (verdict,) = verify_path(folder, gather_trust([vkey], None))
    took_s = process_time() - began
    if verdict.code != CONSISTENT:
        raise RuntimeError(f"expected the bundle to be consistent, got {verdict}")
    return count_ / took_s


@register("ledger")
def measure_ledger() -> Measurement:
    """Measure on the embedded store in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="autonomics-bench-") as made:
        folder = Path(made)
        sync_ms = measure_sync_ms(folder)
        settings = load_settings({"data": folder / "loads"}, environ={})
        with open_parts(settings) as parts:
            by_callers, one, many, opened_s = trio.run(measure_loads, parts)
        with open_parts(load_settings({"data": folder / "audit"}, environ={})) as parts:
            exported = trio.run(export, parts, folder / "bundle")
            vkey = format_vkey("bench.example/t/0", parts.signer.public_key)
            encode_s, append_s = measure_encode_s(parts.source)
        audit_per_s = measure_audit_per_s(folder / "bundle", exported, vkey)
    switch_s = trio.run(measure_switch_s)
    sync_s = sync_ms / 1000
    per_sync = {callers: row.per_s * sync_s for callers, row in by_callers.items()}
    alone = by_callers[1].p50_ms / sync_ms
    figures: dict[str, float | int | str] = {"sync_ms": sync_ms}
    for callers, row in by_callers.items():
        figures[f"per_s_{callers}"] = row.per_s
        figures[f"per_sync_{callers}"] = per_sync[callers]
        figures[f"p50_in_syncs_{callers}"] = row.p50_ms / sync_ms
        figures[f"p99_in_syncs_{callers}"] = row.p99_ms / sync_ms
    figures["open_1000_logs_s"] = opened_s
    figures["logs_1000_of_one"] = many.per_s / one.per_s
    figures["audit_per_s"] = audit_per_s
    figures["encode_in_switches"] = encode_s / switch_s
    figures["append_in_switches"] = append_s / switch_s
    goals = {
        f"per_sync_64 is below {GOAL_64}": per_sync[64] >= GOAL_64,
        f"per_sync_256 is below {GOAL_256}": per_sync[256] >= GOAL_256,
        f"p50_in_syncs_1 is above {GOAL_ALONE}": alone <= GOAL_ALONE,
        f"logs_1000_of_one is below {GOAL_LOGS}": many.per_s / one.per_s >= GOAL_LOGS,
        f"audit_per_s is below {GOAL_AUDIT}": audit_per_s >= GOAL_AUDIT,
        f"encode_in_switches is above {GOAL_ENCODE}": encode_s / switch_s <= GOAL_ENCODE,
    }
    missed = tuple(text for text, is_met in goals.items() if not is_met)
    return Measurement(case="ledger", figures=figures, exceeded=missed)
