"""A store that fails, hesitates or refuses to open as it is told, over a medium that survives it.

    faults = StoreFaults()
    faults.fail_next("after")           # the next commit is durable, and nobody hears of it
    store = FaultyStore(medium, faults)

After a failed commit a store raises StoreUnavailable for ever, as every store does; the next one
on the same medium works, unless `is_away` says that the whole medium can't be reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

import attrs
import trio

from autonomics.errors import LogForked, StoreUnavailable
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.store import Commit, CommitResult, Fence, KeyRecord
from autonomics.storage.memory import MemoryMedium, MemoryStore

Moment = Literal["before", "after"]


@attrs.define
class StoreFaults:
    """What a test turns; shared by all stores that are opened on one medium.

    `before_s` and `after_s` are how long a commit takes before and after it became durable.
    """

    is_away: bool = False
    before_s: float = 0.0
    after_s: float = 0.0
    commits: int = 0
    opened: int = 0
    _next: deque[Moment | None] = attrs.field(factory=deque["Moment | None"], init=False)
    _gate: trio.Event | None = attrs.field(default=None, init=False)
    _held: Moment = attrs.field(default="before", init=False)

    def fail_next(self, *moments: Moment | None) -> None:
        """Let the next commits fail before or after they became durable; None lets one pass."""
        self._next.extend(moments)

    def hold(self, moment: Moment = "before") -> None:
        """Let commits wait, before or after they became durable, until `release`."""
        self._gate, self._held = trio.Event(), moment

    def release(self) -> None:
        """Let them go on."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.set()

    def heal(self) -> None:
        """Let everything work from now on."""
        self.is_away, self.before_s, self.after_s = False, 0.0, 0.0
        self._next.clear()
        self.release()

    def take_fault(self) -> Moment | None:
        """Take the fault of the commit that begins now."""
        return self._next.popleft() if self._next else None

    async def linger(self, moment: Moment) -> None:
        """Take the time that a commit takes at that moment."""
        if self._gate is not None and self._held == moment:
            await self._gate.wait()
        await trio.sleep(self.before_s if moment == "before" else self.after_s)


class FaultyStore:
    """`Store` over a medium, with the faults of a switchboard."""

    def __init__(self, medium: MemoryMedium, faults: StoreFaults) -> None:
        self._inner = MemoryStore(medium)
        self._faults = faults
        self._is_broken = False

    async def open(self) -> Fence:
        """Open, unless the medium is away."""
        await self._reach()
        self._faults.opened += 1
        return await self._inner.open()

    async def close(self) -> None:
        """Close."""
        await self._inner.close()

    async def commit(self, commit: Commit) -> CommitResult:
        """Commit, unless it is to fail; a failure leaves this store of no more use."""
        await self._reach()
        fault = self._faults.take_fault()
        await self._faults.linger("before")
        if fault == "before" or self._faults.is_away:
            raise self._break("the disk failed before the commit was durable")
        result = await self._inner.commit(commit)
        self._faults.commits += 1
        await self._faults.linger("after")
        if fault == "after":
            raise self._break("the disk failed after the commit was durable")
        return result

    def _break(self, why: str) -> StoreUnavailable:
        self._is_broken = True
        return StoreUnavailable(why)

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._faults.is_away:
            raise self._break("the disk is away")
        if self._is_broken:
            raise StoreUnavailable("this store has failed; open another one")

    async def fence(self) -> Fence:
        """The fence of the last commit."""
        await self._reach()
        return await self._inner.fence()

    async def heads(self) -> list[LogHead]:
        """Heads of all logs."""
        await self._reach()
        return await self._inner.heads()

    async def head(self, origin: str) -> LogHead:
        """Head of one log."""
        await self._reach()
        return await self._inner.head(origin)

    async def read(self, origin: str, start: int, limit: int) -> list[Receipt]:
        """Receipts from `start` on."""
        await self._reach()
        return await self._inner.read(origin, start, limit)

    async def leaf_hashes(self, origin: str, size: int) -> list[bytes]:
        """Hashes of the first `size` leaves."""
        await self._reach()
        return await self._inner.leaf_hashes(origin, size)

    async def find_idem(self, origin: str, idem_hash: str) -> int | None:
        """Seq that a key leads to."""
        await self._reach()
        return await self._inner.find_idem(origin, idem_hash)

    async def find_subject(self, subject_hash: bytes) -> list[tuple[str, int]]:
        """Where a subject is named."""
        await self._reach()
        return await self._inner.find_subject(subject_hash)

    async def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        """Keep checkpoints."""
        await self._reach()
        return await self._inner.save_checkpoints(notes)

    async def latest_checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint of the largest size."""
        await self._reach()
        return await self._inner.latest_checkpoint(origin)

    async def set_line_generation(self, generation: int) -> None:
        """Move the line on."""
        await self._reach()
        await self._inner.set_line_generation(generation)

    async def line_generation(self) -> int:
        """Where the line is."""
        await self._reach()
        return await self._inner.line_generation()

    async def save_key(self, record: KeyRecord) -> None:
        """Insert or replace by id."""
        await self._reach()
        await self._inner.save_key(record)

    async def keys(self) -> list[KeyRecord]:
        """All key records."""
        await self._reach()
        return await self._inner.keys()

    async def get_meta(self, name: str) -> bytes | None:
        """One value."""
        await self._reach()
        return await self._inner.get_meta(name)

    async def put_meta(self, name: str, value: bytes) -> None:
        """Set one value."""
        await self._reach()
        await self._inner.put_meta(name, value)

    async def put_meta_once(self, name: str, value: bytes) -> bytes:
        """Set one value unless it stands."""
        await self._reach()
        return await self._inner.put_meta_once(name, value)
