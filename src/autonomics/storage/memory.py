"""A store in memory: for tests, simulation and demos. Nothing survives the process.

It needs no thread and never waits, so a simulation can run it under any clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from autonomics.errors import Fenced, InvalidInput, LogForked, StoreUnavailable
from autonomics.receipts.checkpoint import contradicts, parse_checkpoint
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.store import (
    Batch,
    BatchResult,
    Commit,
    CommitResult,
    Committed,
    Fence,
    KeyRecord,
    expect_range,
    refuse_batch,
)


@attrs.define
class _Log:
    head: LogHead
    receipts: list[Receipt] = attrs.Factory(list[Receipt])
    idem: dict[str, int] = attrs.Factory(dict[str, int])
    subjects: set[tuple[bytes, int]] = attrs.Factory(set[tuple[bytes, int]])
    checkpoints: dict[int, bytes] = attrs.Factory(dict[int, bytes])


class MemoryMedium:
    """What a disk would keep: several stores may be opened on it, one after the other."""

    def __init__(self) -> None:
        self.fence = Fence(0, 0)
        self.logs: dict[str, _Log] = {}
        self.line_generation = 0
        self.keys: dict[str, KeyRecord] = {}
        self.meta: dict[str, bytes] = {}


class MemoryStore:
    """`Store` over a medium; a new medium unless one is given."""

    def __init__(self, medium: MemoryMedium | None = None) -> None:
        self._medium = MemoryMedium() if medium is None else medium
        self._is_open = False
        self._epoch = 0

    async def open(self) -> Fence:
        """Raise the epoch; whoever had the medium before can't commit any more."""
        medium = self._medium
        self._epoch = medium.fence.epoch + 1
        medium.fence = Fence(self._epoch, medium.fence.commit)
        self._is_open = True
        return medium.fence

    async def close(self) -> None:
        """Let go of the medium, which keeps what was committed."""
        self._is_open = False

    async def fence(self) -> Fence:
        """The medium's fence."""
        return self._opened().fence

    async def commit(self, commit: Commit) -> CommitResult:
        """Apply the batches that fit; each log is changed whole or not at all."""
        medium = self._owned()
        if commit.fence != medium.fence:
            raise Fenced(f"the commit names {commit.fence}, the store is at {medium.fence}")
        results: list[BatchResult] = [self._apply(batch) for batch in commit.batches]
        if any(isinstance(result, Committed) for result in results):
            medium.fence = Fence(medium.fence.epoch, medium.fence.commit + 1)
        return CommitResult(medium.fence, tuple(results))

    def _apply(self, batch: Batch) -> BatchResult:
        medium = self._medium
        log = medium.logs.get(batch.origin) or _Log(LogHead.empty(batch.origin))
        refused = refuse_batch(
            batch, log.head, medium.fence.epoch, medium.line_generation, log.idem.get
        )
        if refused is not None:
            return refused
        log.head = batch.head
        log.receipts.extend(batch.receipts)
        log.idem.update(batch.idem)
        log.subjects.update(batch.subjects)
        for seq in batch.erases:
            log.receipts[seq] = attrs.evolve(log.receipts[seq], salt=None, payload=None)
            log.subjects = {row for row in log.subjects if row[1] != seq}
        medium.logs[batch.origin] = log
        return Committed(batch.head)

    async def heads(self) -> list[LogHead]:
        """Heads of all logs, by origin."""
        return [log.head for _, log in sorted(self._opened().logs.items())]

    async def head(self, origin: str) -> LogHead:
        """Head of one log."""
        log = self._opened().logs.get(origin)
        return LogHead.empty(origin) if log is None else log.head

    async def read(self, origin: str, start: int, limit: int) -> list[Receipt]:
        """Receipts from `start` on."""
        expect_range(start, limit)
        log = self._opened().logs.get(origin)
        return [] if log is None else log.receipts[start : start + limit]

    async def leaf_hashes(self, origin: str, size: int) -> list[bytes]:
        """Hashes of the first `size` leaves."""
        log = self._opened().logs.get(origin)
        hashes = [] if log is None else [receipt.leaf_hash for receipt in log.receipts]
        if not 0 <= size <= len(hashes):
            raise InvalidInput.expected("size", f"at most {len(hashes)}", size)
        return hashes[:size]

    async def find_idem(self, origin: str, idem_hash: str) -> int | None:
        """Seq that a key leads to."""
        log = self._opened().logs.get(origin)
        return None if log is None else log.idem.get(idem_hash)

    async def find_subject(self, subject_hash: bytes) -> list[tuple[str, int]]:
        """(origin, seq) of each payload that names a subject."""
        return sorted(
            (origin, seq)
            for origin, log in self._opened().logs.items()
            for hashed, seq in log.subjects
            if hashed == subject_hash
        )

    async def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        """Keep checkpoints."""
        return [self._save_checkpoint(note) for note in notes]

    def _save_checkpoint(self, note: bytes) -> LogForked | None:
        checkpoint = parse_checkpoint(note)
        log = self._owned().logs.get(checkpoint.origin)
        hashes = [] if log is None else [receipt.leaf_hash for receipt in log.receipts]
        problem = contradicts(checkpoint, hashes)
        if problem is not None or log is None:
            return LogForked(f"{checkpoint.origin}: {problem}")
        log.checkpoints[checkpoint.size] = note
        return None

    async def latest_checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint of the largest size."""
        log = self._opened().logs.get(origin)
        return log.checkpoints[max(log.checkpoints)] if log and log.checkpoints else None

    async def set_line_generation(self, generation: int) -> None:
        """Move the line on."""
        medium = self._owned()
        if generation < medium.line_generation:
            raise Fenced(f"line generation {generation} is before {medium.line_generation}")
        medium.line_generation = generation

    async def line_generation(self) -> int:
        """Where the line is."""
        return self._opened().line_generation

    async def save_key(self, record: KeyRecord) -> None:
        """Insert or replace by id."""
        self._owned().keys[record.id] = record

    async def keys(self) -> list[KeyRecord]:
        """All key records."""
        return [record for _, record in sorted(self._opened().keys.items())]

    async def get_meta(self, name: str) -> bytes | None:
        """One value."""
        return self._opened().meta.get(name)

    async def put_meta(self, name: str, value: bytes) -> None:
        """Set one value."""
        self._owned().meta[name] = value

    async def put_meta_once(self, name: str, value: bytes) -> bytes:
        """Set one value unless it stands."""
        return self._owned().meta.setdefault(name, value)

    def _opened(self) -> MemoryMedium:
        if not self._is_open:
            raise StoreUnavailable("the store is not open")
        return self._medium

    def _owned(self) -> MemoryMedium:
        medium = self._opened()
        if medium.fence.epoch != self._epoch:
            raise Fenced(f"epoch {self._epoch} is over, the store is at {medium.fence}")
        return medium
