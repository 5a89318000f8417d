"""The port `Store`: durable logs behind one committing writer. Async, needs no trio.

A store raises its epoch once per opening and keeps a commit number; both together are the fence.
A commit names the fence that it expects, so whoever lost the store can't write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from autonomics.errors import Fenced, IdempotencyConflict, InvalidInput, LedgerError, LogForked
from autonomics.receipts.entry import Entry, hash_idem
from autonomics.receipts.log import LogHead, Receipt, extend_head
from autonomics.receipts.subject import find_subjects, hash_subject


@attrs.frozen
class Fence:
    """The store-wide compare-and-set value."""

    epoch: int
    commit: int


@attrs.frozen(kw_only=True)
class Batch:
    """The receipts of one append to one log.

    `idem` pairs a keyed hash with the seq that it leads to, `subjects` the keyed hash of whom a
    payload names with the payload's seq. `erases` are the receipts whose payloads go with this
    commit. `line_generation` is that of the batch's intents, None if it has none.
    """

    expected_size: int
    head: LogHead
    receipts: tuple[Receipt, ...]
    idem: tuple[tuple[str, int], ...] = ()
    subjects: tuple[tuple[bytes, int], ...] = ()
    erases: tuple[int, ...] = ()
    line_generation: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.receipts or self.head.size != self.expected_size + len(self.receipts):
            raise InvalidInput.expected(
                "receipts", f"{self.head.size - self.expected_size} and more than 0", self.receipts
            )

    @property
    def origin(self) -> str:
        """The log."""
        return self.head.origin


def make_batch(
    before: LogHead,
    after: LogHead,
    entries: Sequence[Entry],
    receipts: Sequence[Receipt],
    idem_key: bytes,
) -> Batch:
    """Bundle what `log.append` returned; InvalidInput if intents carry different generations."""
    generations = {e.line_generation for e in entries if e.line_generation is not None}
    if len(generations) > 1:
        raise InvalidInput.expected("line_generation", "one per batch", sorted(generations))
    first = after.size - len(entries)
    idem = tuple(
        (hash_idem(idem_key, raw), first + position)
        for position, entry in enumerate(entries)
        for raw in dict.fromkeys((entry.idem, *entry.further_idem))
        if raw is not None
    )
    subjects = tuple(
        (hash_subject(idem_key, subject), first + position)
        for position, entry in enumerate(entries)
        for subject in sorted(find_subjects(entry.payload))
    )
    return Batch(
        expected_size=before.size,
        head=after,
        receipts=tuple(receipts),
        idem=idem,
        subjects=subjects,
        erases=tuple(e.ref for e in entries if e.kind == "erasure" and e.ref is not None),
        line_generation=generations.pop() if generations else None,
    )


@attrs.frozen
class Commit:
    """Batches that become durable together; a log's batches apply in their order."""

    fence: Fence
    batches: tuple[Batch, ...]


@attrs.frozen
class Committed:
    """The batch is durable."""

    head: LogHead


@attrs.frozen
class Refused:
    """The batch was left out, and its log is as it was.

    `error` is Fenced (wrong size, stale line generation) or IdempotencyConflict; for the latter
    `seq` names the receipt that the key leads to.
    """

    error: LedgerError
    seq: int | None = None


BatchResult = Committed | Refused


def refuse_batch(
    batch: Batch,
    head: LogHead,
    epoch: int,
    line_generation: int,
    find_idem: Callable[[str], int | None],
) -> Refused | None:
    """Say why a batch can't be appended to the log at `head`; None when it can.

    Every store asks this inside its transaction, with `find_idem` looking into the log's index.
    """
    if batch.expected_size != head.size:
        return Refused(
            Fenced(
                f"{head.origin} has {head.size} receipts, the batch expects {batch.expected_size}"
            )
        )
    if batch.head.epoch != epoch:
        return Refused(
            Fenced(f"{head.origin}: written in epoch {batch.head.epoch}, the store is in {epoch}")
        )
    if not _extends(batch, head):
        return Refused(
            Fenced(f"{head.origin}: the batch does not continue receipt {head.size - 1}")
        )
    if batch.line_generation is not None and batch.line_generation != line_generation:
        stale = f"line generation {batch.line_generation}, the line is at {line_generation}"
        return Refused(Fenced(f"{head.origin}: an intent was planned under {stale}"))
    seen: dict[str, int] = {}
    for hashed, seq in batch.idem:
        first = find_idem(hashed)
        if first is None:
            first = seen.setdefault(hashed, seq)
        if first != seq:
            return Refused(
                IdempotencyConflict(f"{head.origin}: the key leads to receipt {first} already"),
                first,
            )
    return None


def _extends(batch: Batch, head: LogHead) -> bool:
    """True if the leaves chain on from `head` and lead to the batch's own head."""
    return extend_head(head, batch.head.epoch, [r.leaf for r in batch.receipts]) == batch.head


@attrs.frozen
class CommitResult:
    """The fence to name next, and one result per batch in the commit's order."""

    fence: Fence
    results: tuple[BatchResult, ...]


def expect_range(start: int, limit: int) -> None:
    """Refuse a range that no store can read."""
    if start < 0 or limit < 0:
        raise InvalidInput.expected("start and limit", "natural numbers", (start, limit))


@attrs.frozen(kw_only=True)
class KeyRecord:
    """An API key as stored: never the key, only its hash."""

    id: str
    hash: str
    role: str
    tenant: str | None
    created_at: datetime
    revoked_at: datetime | None = None


class Store(Protocol):
    """What every store does; `autonomics.testing.store_contract` is the definition in tests.

    All methods raise StoreUnavailable before `open`, after `close`, and for ever after a failed
    commit: an error from fsync says nothing about what is on disk, so a new store has to be opened.
    """

    async def open(self) -> Fence:
        """Take over: raise the epoch durably. StoreUnusable changes nothing on disk."""
        ...

    async def close(self) -> None:
        """Let go; a second call does nothing."""
        ...

    async def fence(self) -> Fence:
        """The fence of the last commit."""
        ...

    async def commit(self, commit: Commit) -> CommitResult:
        """Make batches durable, or refuse them one by one; Fenced when the fence is another's.

        The commit number rises by one if any batch was taken, else nothing changes. An erasure
        receipt and the end of the payload that it names are one step: no crash parts them.
        """
        ...

    async def heads(self) -> list[LogHead]:
        """Heads of all logs, by origin."""
        ...

    async def head(self, origin: str) -> LogHead:
        """Head of one log; the empty head if it has no receipt."""
        ...

    async def read(self, origin: str, start: int, limit: int) -> list[Receipt]:
        """At most `limit` receipts, seq ascending and gap-free from `start`."""
        ...

    async def leaf_hashes(self, origin: str, size: int) -> list[bytes]:
        """Hashes of the first `size` leaves; InvalidInput if the log is shorter."""
        ...

    async def find_idem(self, origin: str, idem_hash: str) -> int | None:
        """Seq of the receipt that a hashed idempotency key leads to."""
        ...

    async def find_subject(self, subject_hash: bytes) -> list[tuple[str, int]]:
        """(origin, seq) of each payload that names a subject, in order; erased ones are gone."""
        ...

    async def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        """Keep signed checkpoints, all that can be kept in one step.

        A result each: LogForked for one that contradicts the log or an earlier one.
        """
        ...

    async def latest_checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint of the largest size, as saved."""
        ...

    async def set_line_generation(self, generation: int) -> None:
        """Refuse intents of any other generation from now on; Fenced if it would go back."""
        ...

    async def line_generation(self) -> int:
        """The current line generation; 0 at first."""
        ...

    async def save_key(self, record: KeyRecord) -> None:
        """Insert or replace by id."""
        ...

    async def keys(self) -> list[KeyRecord]:
        """All key records, by id."""
        ...

    async def get_meta(self, name: str) -> bytes | None:
        """A value of the deployment."""
        ...

    async def put_meta(self, name: str, value: bytes) -> None:
        """Set a value of the deployment."""
        ...

    async def put_meta_once(self, name: str, value: bytes) -> bytes:
        """Set a value if there is none; return the one that stands."""
        ...


IDEM_KEY_META = "idem_key"


async def deployment_idem_key(store: Store, random_bytes: bytes) -> bytes:
    """The deployment's secret for idempotency keys: `random_bytes` (32), the first time."""
    if len(random_bytes) != 32:
        raise InvalidInput.expected("random_bytes", "32 bytes", random_bytes)
    return await store.put_meta_once(IDEM_KEY_META, random_bytes)
