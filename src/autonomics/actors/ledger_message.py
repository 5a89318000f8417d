"""What is said to the ledger: batches to commit, and questions that the store answers."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import attrs

from autonomics.errors import LogForked, StoreUnavailable
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.signer import Signer
from autonomics.receipts.store import (
    IDEM_KEY_META,
    Batch,
    BatchResult,
    KeyRecord,
    Store,
)
from autonomics.runtime import Address, Call, TakesCast

R_co = TypeVar("R_co", covariant=True)

LEDGER = "ledger"


class StoreQuestion(Call[R_co]):
    """A question that the store's writer answers between two commits.

    `writes` says that it commits, and so moves the store's fence.
    """

    __slots__ = ()
    writes: ClassVar[bool] = False

    async def put(self, store: Store) -> R_co:
        """Ask the store; a LedgerError or InvalidInput is the asker's answer."""
        raise NotImplementedError


@attrs.frozen
class OpenedLog:
    """What a receipt writer appends with: where the log stands, the store's epoch and key."""

    head: LogHead
    epoch: int
    idem_key: bytes


@attrs.frozen
class OpenLog(StoreQuestion[OpenedLog]):
    """Ask where a log stands, an empty one too."""

    origin: str

    async def put(self, store: Store) -> OpenedLog:
        """Read head, epoch and key."""
        key = await store.get_meta(IDEM_KEY_META)
        assert key is not None, "the writer makes the key when it opens the store"
        return OpenedLog(await store.head(self.origin), (await store.fence()).epoch, key)


@attrs.frozen
class ReadHeads(StoreQuestion[list[LogHead]]):
    """Ask for the heads of all logs."""

    async def put(self, store: Store) -> list[LogHead]:
        """Read all heads."""
        return await store.heads()


@attrs.frozen
class ReadLog(StoreQuestion[list[Receipt]]):
    """Ask for receipts from `start`, seq ascending, at most `limit`."""

    origin: str
    start: int
    limit: int

    async def put(self, store: Store) -> list[Receipt]:
        """Read a range."""
        return await store.read(self.origin, self.start, self.limit)


@attrs.frozen
class ReadLeafHashes(StoreQuestion[list[bytes]]):
    """Ask for the hashes of a log's first `size` leaves."""

    origin: str
    size: int

    async def put(self, store: Store) -> list[bytes]:
        """Read hashes."""
        return await store.leaf_hashes(self.origin, self.size)


@attrs.frozen
class SaveKey(StoreQuestion[None]):
    """Insert or replace a key record."""

    record: KeyRecord

    async def put(self, store: Store) -> None:
        """Save it."""
        await store.save_key(self.record)


@attrs.frozen
class ReadKeys(StoreQuestion[list[KeyRecord]]):
    """Ask for all key records."""

    async def put(self, store: Store) -> list[KeyRecord]:
        """Read them."""
        return await store.keys()


@attrs.frozen
class KeepOnce(StoreQuestion[bytes]):
    """Set a deployment value unless it stands; the reply is the one that stands."""

    name: str
    value: bytes = attrs.field(repr=False)

    async def put(self, store: Store) -> bytes:
        """Set or read."""
        return await store.put_meta_once(self.name, self.value)


@attrs.frozen
class ReadLineGeneration(StoreQuestion[int]):
    """Ask for the line's generation."""

    async def put(self, store: Store) -> int:
        """Read it."""
        return await store.line_generation()


@attrs.frozen
class RaiseLineGeneration(StoreQuestion[None]):
    """From the reply on, no intent planned under an older generation is committed."""

    generation: int

    async def put(self, store: Store) -> None:
        """Set it."""
        await store.set_line_generation(self.generation)


@attrs.frozen
class SignedHead:
    """A checkpoint of exactly `head`, saved before anybody saw it."""

    head: LogHead
    note: bytes


@attrs.frozen
class SignHead(Call[SignedHead]):
    """Ask for a checkpoint of where a log stands now."""

    origin: str


@attrs.frozen
class SaveCheckpoints(StoreQuestion[None]):
    """Keep what has been signed; LogForked names all that contradict what was there before."""

    notes: tuple[bytes, ...]

    async def put(self, store: Store) -> None:
        """Save them in one step."""
        problems = [str(fork) for fork in await store.save_checkpoints(self.notes) if fork]
        if problems:
            raise LogForked("; ".join(problems))


@attrs.frozen
class PutSignature(StoreQuestion[SignedHead]):
    """Sign a head and keep the note; LogForked if it would contradict an earlier one."""

    origin: str
    signer: Signer

    async def put(self, store: Store) -> SignedHead:
        """Sign and save."""
        head = await store.head(self.origin)
        note = await sign_checkpoint(checkpoint_of(head), self.signer)
        await SaveCheckpoints((note,)).put(store)
        return SignedHead(head, note)


@attrs.frozen
class StoreTrouble(Call[str]):
    """Ask what is wrong with the store; empty if nothing is."""


@attrs.frozen
class AppendBatch:
    """A receipt writer's cast: commit this. `epoch` is the one that the batch was built under."""

    sender: Address[TakesCast[BatchDone]]
    batch: Batch
    epoch: int


@attrs.frozen
class StaleEpoch:
    """The store was opened anew since the batch was built: read the head again."""


@attrs.frozen
class BatchDone:
    """The ledger's cast back. StoreUnavailable leaves open whether the batch is durable."""

    result: BatchResult | StaleEpoch | StoreUnavailable
