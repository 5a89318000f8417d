"""One log: its head, and the pure append that turns entries into receipts.

A log's first receipt is its genesis. When the store was opened again since the last append, the
log's next receipt is an `epoch` leaf: a restart is part of the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property

import attrs

from autonomics.errors import InvalidInput
from autonomics.receipts import canonical, verify
from autonomics.receipts.entry import Entry, hash_idem
from autonomics.receipts.leaf import Leaf, decode_leaf, encode_leaf
from autonomics.receipts.merkle import Frontier, root_of
from autonomics.receipts.payload import commit_to_payload

GENESIS_TYPE = "autonomics.genesis/1"
EPOCH_TYPE = "autonomics.epoch/1"
LEDGER_ACTOR = "ledger"

_ORIGIN = re.compile(r"[a-z0-9][a-z0-9._~:/-]{0,254}")


@attrs.frozen
class LogHead:
    """Where a log stands: what the next leaf links to, and enough of the tree to grow it."""

    origin: str
    size: int
    prev: bytes
    epoch: int
    frontier: Frontier

    @classmethod
    def empty(cls, origin: str) -> LogHead:
        """Head of a log that has no receipt yet; InvalidInput for an origin out of form."""
        if not _ORIGIN.fullmatch(origin):
            raise InvalidInput.expected(
                "origin", "lower-case host and path, at most 255 characters of a-z0-9._~:/-", origin
            )
        return cls(origin, 0, verify.genesis_prev(origin), 0, ())

    @property
    def root(self) -> bytes:
        """Root hash of the tree."""
        return root_of(self.frontier)


@attrs.define(frozen=True, slots=False)  # slots would leave no room for the parsed leaf
class Receipt:
    """One leaf as stored, with its payload and salt unless these were erased."""

    origin: str
    seq: int
    leaf: bytes
    leaf_hash: bytes
    salt: bytes | None
    payload: bytes | None

    @cached_property
    def fields(self) -> Leaf:
        """The leaf, parsed once."""
        return decode_leaf(self.leaf)

    @property
    def id(self) -> str:
        """Name of the receipt: origin and seq."""
        return f"{self.origin}#{self.seq}"


def count_salts(head: LogHead, entries: Sequence[Entry], epoch: int) -> int:
    """How many salts `append` draws: one per receipt, its own genesis or epoch leaf included."""
    return len(entries) + (head.size == 0 or head.epoch < epoch)


def append(
    head: LogHead,
    entries: Sequence[Entry],
    now: datetime,
    salts: Iterable[bytes],
    idem_key: bytes,
    *,
    epoch: int,
) -> tuple[LogHead, list[Receipt]]:
    """Return the new head and the receipts, in order, gap-free from `head.size`.

    `epoch` is the store's; InvalidInput when the head's is newer, or `salts` runs out.
    """
    if epoch < max(head.epoch, 1):
        raise InvalidInput.expected("epoch", f"at least {max(head.epoch, 1)}", epoch)
    writer = _Writer(head, now, iter(salts), epoch)
    if head.size == 0:
        writer.write_own(
            "genesis", GENESIS_TYPE, {"log": head.origin, "schema": verify.LEAF_SCHEMA}
        )
    elif head.epoch < epoch:
        writer.write_own("epoch", EPOCH_TYPE, {"previous": head.epoch, "size": head.size})
    first = writer.size
    for position, entry in enumerate(entries):
        writer.write(entry, _resolve_cause(entry.cause, position, first), idem_key)
    return writer.head(), writer.receipts


def _resolve_cause(cause: tuple[int, ...], position: int, first: int) -> tuple[int, ...]:
    """Turn counts back within the append into seqs; sorted, each once."""
    seq = first + position
    resolved: set[int] = set()
    for item in cause:
        if not -position <= item < seq:
            raise InvalidInput.expected("cause", f"a receipt before seq {seq}", cause)
        resolved.add(item if item >= 0 else seq + item)
    return tuple(sorted(resolved))


class _Writer:
    """Mutable frontier and chain of one append."""

    def __init__(self, head: LogHead, now: datetime, salts: Iterator[bytes], epoch: int) -> None:
        self.receipts: list[Receipt] = []
        self.size = head.size
        self._origin = head.origin
        self._prev = head.prev
        self._frontier = list(head.frontier)
        self._now = now
        self._salts = salts
        self._epoch = epoch

    def head(self) -> LogHead:
        return LogHead(self._origin, self.size, self._prev, self._epoch, tuple(self._frontier))

    def write_own(self, kind: str, payload_type: str, payload: dict[str, object]) -> None:
        data = canonical.encode(payload)
        salt, commit = self._commit(data)
        leaf = Leaf(
            log=self._origin,
            seq=self.size,
            prev=self._prev,
            epoch=self._epoch,
            at=self._now,
            kind=kind,
            actor=LEDGER_ACTOR,
            commit=commit,
            payload_type=payload_type,
        )
        self._put(encode_leaf(leaf), salt, data)

    def write(self, entry: Entry, cause: tuple[int, ...], idem_key: bytes) -> None:
        if entry.ref is not None and not 0 <= entry.ref < self.size:
            raise InvalidInput.expected("ref", f"a receipt before seq {self.size}", entry.ref)
        salt, commit = self._commit(entry.payload)
        leaf = Leaf(
            log=self._origin,
            seq=self.size,
            prev=self._prev,
            epoch=self._epoch,
            at=self._now,
            kind=entry.kind,
            actor=entry.actor,
            cause=cause,
            idem=None if entry.idem is None else hash_idem(idem_key, entry.idem),
            recipe=entry.recipe,
            digest=entry.digest,
            commit=commit,
            payload_type=entry.payload_type,
            trace=entry.trace,
            ref=entry.ref,
        )
        self._put(encode_leaf(leaf), salt, entry.payload)

    def _commit(self, payload: bytes) -> tuple[bytes, bytes]:
        salt = next(self._salts, None)
        if salt is None:
            raise InvalidInput.expected("salts", "one for each receipt", len(self.receipts))
        return salt, commit_to_payload(salt, self._origin, self.size, payload)

    def _put(self, leaf: bytes, salt: bytes, payload: bytes) -> None:
        hashed = verify.leaf_hash(leaf)
        self.receipts.append(Receipt(self._origin, self.size, leaf, hashed, salt, payload))
        verify.push_leaf(self.size, self._frontier, hashed)
        self.size += 1
        self._prev = hashed


def extend_head(head: LogHead, epoch: int, leaves: Sequence[bytes]) -> LogHead | None:
    """Head after stored leaves of `epoch`; None if one of them does not continue the log.

    For leaves that were canonical when written: a field is looked for as text, which is exact
    there (a quote inside a string is escaped) and ten times cheaper than parsing.
    """
    prev, size, frontier = head.prev, head.size, list(head.frontier)
    origin, its_epoch = b'"log":"%b",' % head.origin.encode(), b'"epoch":%d,' % epoch
    for leaf in leaves:
        before, place = b'"prev":"%b",' % prev.hex().encode(), b'"seq":%d,' % size
        if not (before in leaf and place in leaf and its_epoch in leaf and origin in leaf):
            return None
        prev = verify.leaf_hash(leaf)
        verify.push_leaf(size, frontier, prev)
        size += 1
    return LogHead(head.origin, size, prev, epoch, tuple(frontier))
