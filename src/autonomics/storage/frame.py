# msgpack ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""What one commit writes: a msgpack frame with the leaves of all its batches as opaque bytes.

The frames are the store's truth. Which receipt stands where, and which idempotency key leads to
which, are indexes that can be rebuilt from them. msgpack is never hashed into a log; the frame's
digest only tells torn or edited rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import attrs
import msgpack

from autonomics.errors import StoreUnusable

# A payload row's number: commit in the high bits, the receipt's place in its frame in the low ones.
PLACE_BITS = 20
MAX_RECEIPTS = 1 << PLACE_BITS
_BYTES = {bytes}


@attrs.frozen
class FrameBatch:
    """The leaves of one log in one commit; `place` counts receipts of the frame before them."""

    log_id: int
    first_seq: int
    place: int
    leaves: list[bytes]
    idem: list[tuple[bytes, int]]

    @staticmethod
    def first_id(commit: int) -> int:
        """Row number of a commit's first payload."""
        return commit << PLACE_BITS

    def payload_id(self, commit: int, seq: int) -> int:
        """Row number of a receipt's payload."""
        return self.first_id(commit) | self.place + seq - self.first_seq


Row = tuple[int, int, list[bytes], list[tuple[bytes, int]]]


@attrs.frozen
class Frame:
    """One commit; a batch takes shape when it is asked for, since a reader of one log needs one."""

    commit: int
    epoch: int
    rows: list[Row]

    def batch(self, position: int) -> FrameBatch:
        """The batch at a position."""
        place = sum(len(row[2]) for row in self.rows[:position])
        return _shape(self.rows[position], place)

    def batches(self) -> Iterator[FrameBatch]:
        """All batches, in order."""
        place = 0
        for row in self.rows:
            yield _shape(row, place)
            place += len(row[2])

    def find(self, place: int) -> tuple[int, int]:
        """(log id, seq) of the receipt at a place of this frame."""
        for batch in self.batches():
            if batch.place <= place < batch.place + len(batch.leaves):
                return batch.log_id, batch.first_seq + place - batch.place
        raise StoreUnusable(f"frame {self.commit} has no receipt at place {place}")


def _shape(row: Row, place: int) -> FrameBatch:
    log_id, first_seq, leaves, idem = row
    return FrameBatch(log_id, first_seq, place, leaves, [(key, seq) for key, seq in idem])


_packer = msgpack.Packer(use_bin_type=True, autoreset=True)


def encode_frame(epoch: int, batches: Sequence[FrameBatch]) -> tuple[bytes, bytes]:
    """Return body and digest."""
    rows = [(batch.log_id, batch.first_seq, batch.leaves, batch.idem) for batch in batches]
    body = cast("bytes", _packer.pack((epoch, rows)))
    return body, hashlib.sha256(body).digest()


def decode_frame(commit: int, body: bytes, digest: bytes) -> Frame:
    """Read a frame; StoreUnusable if it is not what was written.

    Whoever edits a frame can make its digest anew, so nothing is taken for granted after it.
    """
    if hashlib.sha256(body).digest() != digest:
        raise StoreUnusable(f"frame {commit} was changed or torn: its digest differs")
    try:
        # No length may exceed that of the body, which msgpack sees to; frames hold no maps.
        value = msgpack.unpackb(body, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StoreUnusable(f"frame {commit} is no frame: {type(error).__name__}") from None
    if not _is_frame(value):
        raise StoreUnusable(f"frame {commit} is no frame: it has another shape")
    epoch, rows = cast("tuple[int, list[Row]]", value)
    return Frame(commit, epoch, rows)


def _is_frame(value: Any) -> bool:
    match value:
        case [int(epoch), list(rows)] if epoch > 0 and all(map(_is_row, rows)):
            return sum(len(row[2]) for row in rows) <= MAX_RECEIPTS
        case _:
            return False


def _is_row(row: Any) -> bool:
    # By hand and by sets of types: an opening looks at every frame there is.
    if type(row) is not list or len(row) != 4:
        return False
    log_id, first, leaves, idem = row
    if (type(log_id), type(first), type(leaves), type(idem)) != (int, int, list, list):
        return False
    is_placed = log_id > 0 and first >= 0 and set(map(type, leaves)) == _BYTES
    return is_placed and (not idem or _are_keys(idem))


def _are_keys(idem: list[Any]) -> bool:
    if set(map(type, idem)) != {list} or set(map(len, idem)) != {2}:
        return False
    keys, seqs = zip(*idem, strict=True)
    return set(map(type, keys)) == _BYTES and set(map(type, seqs)) == {int} and min(seqs) >= 0
