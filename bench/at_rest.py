"""What it costs that payloads are encrypted and that an opening proves every leaf.

The price of encryption is measured against the same store with a sealer that seals nothing, in
turns, so that whatever else the machine does meets both. Ratios of processor time repeat; those of
elapsed time depend on the disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter, process_time

from attrs import frozen

from autonomics.integrations.key_vault_file import KEY_BYTES, KeyVaultFile
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import LogHead, append
from autonomics.receipts.store import Batch, Commit, Fence, make_batch
from autonomics.service import system_source
from autonomics.storage.seal import SealedRow, Sealer
from autonomics.storage.sqlite_file import StoreFile
from bench import Measurement, percentile, register

LOGS = 16
TURNS = 5
COMMITS = 40
SIZES = (64, 256)
OPENED = 40_000
SALT_BYTES = 32
IDEM_KEY = b"k" * 32
PAYLOAD = b'{"text":"' + b"x" * 289 + b'"}'


class PlainSealer(Sealer):
    """Leaves rows as they are: what the store would cost without encryption."""

    def seal(self, rows: Iterable[tuple[int, bytes, bytes]]) -> list[SealedRow]:
        return [(row_id, b"", salt + payload) for row_id, salt, payload in rows]

    def open(self, row: SealedRow) -> tuple[bytes, bytes] | None:
        return row[2][:SALT_BYTES], row[2][SALT_BYTES:]


@frozen
class Took:
    """What a number of commits took."""

    elapsed_s: float
    cpu_s: float


class Filler:
    """Fills one store, a commit of so many receipts in 16 logs at a time."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self.file = StoreFile(path, sealer)
        self.fence: Fence = self.file.open()
        self.source = system_source()
        self.count = 0

    def commit(self, receipts: int) -> Took:
        """Commit once; what the receipt writers do beforehand is not measured."""
        batches = tuple(self._batch(log, receipts // LOGS) for log in range(LOGS))
        began, began_cpu = perf_counter(), process_time()
        self.fence = self.file.commit(Commit(self.fence, batches)).fence
        return Took(perf_counter() - began, process_time() - began_cpu)

    def _batch(self, log: int, receipts: int) -> Batch:
        head: LogHead = self.file.head(f"bench.example/t/{log}")
        entries = [
            Entry(
                kind="received",
                actor="bench/door",
                payload=PAYLOAD,
                payload_type="autonomics.bench/1",
                idem=f"bench-{self.count + number}",
            )
            for number in range(receipts)
        ]
        self.count += receipts
        salts = (self.source.random_bytes(SALT_BYTES) for _ in range(receipts + 1))
        now, epoch = self.source.clock(), self.fence.epoch
        after, written = append(head, entries, now, salts, IDEM_KEY, epoch=epoch)
        return make_batch(head, after, entries, written, IDEM_KEY)


def measure_sealing(folder: Path, vault: KeyVaultFile) -> dict[str, float]:
    """Commit to a sealing and a plain store in turns; medians of the turns' ratios."""
    sealed = Filler(folder / "sealed.sqlite", Sealer(vault))
    plain = Filler(folder / "plain.sqlite", PlainSealer(vault))
    figures: dict[str, float] = {}
    for receipts in SIZES:
        for filler in (sealed, plain):
            filler.commit(receipts)
        turns = [(_run(sealed, receipts), _run(plain, receipts)) for _ in range(TURNS)]
        cpu = sorted(with_it.cpu_s / without.cpu_s for with_it, without in turns)
        elapsed = sorted(with_it.elapsed_s / without.elapsed_s for with_it, without in turns)
        extra = sorted(with_it.cpu_s - without.cpu_s for with_it, without in turns)
        figures[f"commit_of_{receipts}_cpu_ratio"] = percentile(cpu, 50)
        figures[f"commit_of_{receipts}_elapsed_ratio"] = percentile(elapsed, 50)
        figures[f"commit_of_{receipts}_extra_us_per_receipt"] = (
            percentile(extra, 50) / COMMITS / receipts * 1e6
        )
    sealed.file.close()
    plain.file.close()
    return figures


def _run(filler: Filler, receipts: int) -> Took:
    took = [filler.commit(receipts) for _ in range(COMMITS)]
    return Took(sum(each.elapsed_s for each in took), sum(each.cpu_s for each in took))


def measure_opening(folder: Path, vault: KeyVaultFile) -> dict[str, float]:
    """Open a store of many receipts, and read all of it; per receipt."""
    path = folder / "opened.sqlite"
    filler = Filler(path, Sealer(vault))
    while filler.count < OPENED:
        filler.commit(SIZES[-1])
    filler.file.close()
    file = StoreFile(path, Sealer(vault))
    opened = _timed(file.open)
    read = _timed(lambda: [file.read(head.origin, 0, OPENED) for head in file.all_heads()])
    file.close()
    return {
        "opened_receipts": filler.count,
        "open_cpu_us_per_receipt": opened.cpu_s / filler.count * 1e6,
        "open_s": opened.elapsed_s,
        "read_cpu_us_per_receipt": read.cpu_s / filler.count * 1e6,
    }


def _timed(step: Callable[[], object]) -> Took:
    began, began_cpu = perf_counter(), process_time()
    step()
    return Took(perf_counter() - began, process_time() - began_cpu)


@register("at_rest")
def measure_at_rest() -> Measurement:
    """Measure in a temporary folder."""
    vault = KeyVaultFile(bytes(range(KEY_BYTES)))
    with tempfile.TemporaryDirectory(prefix="autonomics-bench-") as made:
        figures = measure_sealing(Path(made), vault) | measure_opening(Path(made), vault)
    return Measurement(case="at_rest", figures=figures)
