"""Ask a witness to cosign a checkpoint (C2SP tlog-witness); how bytes travel is the caller's part.

A witness cosigns one history of a log and no other. That it knows more than we do, or another
history, is the news that it exists for: after that nothing more may be signed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

import attrs

from autonomics.errors import InvalidInput
from autonomics.receipts import verify
from autonomics.receipts.checkpoint import Checkpoint, parse_checkpoint
from autonomics.receipts.merkle import Tree

SIZE_TYPE = "text/x.tlog.size"
MOST_ASKED = 3
"""Requests for one checkpoint: to learn the witness's size, and once more if it moved meanwhile."""


class Refusal(Enum):
    """Why a witness did not cosign, and what that asks of us."""

    UNKNOWN_LOG = "the witness does not know the log: its operator has to add it"
    UNKNOWN_KEY = "the witness knows the log by another key: its operator has to be told"
    FORK = "the witness knows another history of the log: stop, nothing more may be signed"
    AHEAD = "the witness knows a longer log than this one: it was rolled back, stop"
    BUSY = "the witness moved on each time: ask again"
    MISUNDERSTOOD = "the witness can't read this, or what it answered can't be read or verified"
    UNAVAILABLE = "the witness can't answer now: ask again later"

    @property
    def is_alarm(self) -> bool:
        """True when the witness holds evidence against us."""
        return self in (Refusal.FORK, Refusal.AHEAD)


@attrs.frozen
class Cosigned:
    """A cosignature that verifies: its line of the note, and its POSIX time."""

    line: str
    at: int


@attrs.frozen
class Refused:
    """No cosignature; `size` is that of the witness where it told one."""

    refusal: Refusal
    detail: str
    size: int | None = None


@attrs.frozen
class Reply:
    """What came back over HTTP; status 0 when nothing did, and `body` says why."""

    status: int
    content_type: str = ""
    body: bytes = b""


class Post(Protocol):
    """Carries a request to one witness's `add-checkpoint`."""

    async def __call__(self, body: bytes) -> Reply:
        """Return what came back; a failure to get there is a reply too."""
        ...


def format_request(checkpoint: bytes, old_size: int, leaf_hashes: Sequence[bytes]) -> bytes:
    """Lay out a request: the size that the witness cosigned last, the proof, the checkpoint.

    `leaf_hashes` are those of the log up to the checkpoint's size, or more. InvalidInput for an
    `old_size` beyond it.
    """
    size = parse_checkpoint(checkpoint).size
    if not 0 <= old_size <= size:
        raise InvalidInput.expected("old_size", f"from 0 to {size}", old_size)
    proof: list[bytes] = []
    if old_size:
        proof = Tree(leaf_hashes[:size]).consistency_proof(old_size, size)
    lines = [f"old {old_size}", *(base64.b64encode(item).decode() for item in proof)]
    return "\n".join(lines).encode() + b"\n\n" + checkpoint


def read_reply(
    reply: Reply, checkpoint: Checkpoint, old_size: int, witness: verify.Vkey
) -> Cosigned | Refused | int:
    """Tell what a reply means; a number is the size from which the witness wants the proof."""
    match reply.status:
        case 200:
            return _read_cosignature(reply.body, checkpoint.text, witness)
        case 409:
            return _read_conflict(reply, checkpoint.size, old_size)
        case 403:
            return _refuse(Refusal.UNKNOWN_KEY, reply)
        case 404:
            return _refuse(Refusal.UNKNOWN_LOG, reply)
        case 422:
            return _refuse(Refusal.FORK, reply)
        case 0 | 408 | 425 | 429:
            return _refuse(Refusal.UNAVAILABLE, reply)
        case status if status >= 500:
            return _refuse(Refusal.UNAVAILABLE, reply)
        case _:
            return _refuse(Refusal.MISUNDERSTOOD, reply)


def _refuse(refusal: Refusal, reply: Reply) -> Refused:
    body = reply.body[:200].decode(errors="replace").strip()
    return Refused(refusal, f"{reply.status} {body!a}" if body else str(reply.status))


def _read_cosignature(body: bytes, text: str, vkey: verify.Vkey) -> Cosigned | Refused:
    """Find the witness's line; those of keys that we don't know are ignored, as the spec says."""
    try:
        note = verify.parse_note(text.encode() + b"\n" + body)
        times = verify.check_cosignatures(note, [verify.Witness("", vkey)])
    except verify.Invalid as error:
        return Refused(Refusal.MISUNDERSTOOD, error.reason)
    for line, found in zip(body.decode().splitlines(), note.signatures, strict=True):
        if (found.name, found.key_id) == (vkey.name, vkey.key_id):
            return Cosigned(line, times[""])
    return Refused(Refusal.MISUNDERSTOOD, f"no cosignature of {vkey.name}")


def _read_conflict(reply: Reply, size: int, old_size: int) -> Refused | int:
    told = re.fullmatch(rb"(0|[1-9][0-9]{0,15})\n", reply.body)
    if told is None or reply.content_type.partition(";")[0].strip() != SIZE_TYPE:
        return Refused(Refusal.MISUNDERSTOOD, "409 without a size")
    theirs = int(told[1])
    if theirs > size:
        return Refused(Refusal.AHEAD, f"it cosigned size {theirs}, this is {size}", theirs)
    if theirs == old_size:  # it was asked from its own size, so it is the root that differs
        return Refused(Refusal.FORK, f"it cosigned another root of size {theirs}", theirs)
    return theirs


async def ask_witness(
    post: Post,
    witness: verify.Vkey,
    checkpoint: bytes,
    leaf_hashes: Sequence[bytes],
    *,
    old_size: int = 0,
) -> Cosigned | Refused:
    """Ask for a cosignature, with the proof from wherever the witness stands.

    `old_size` is a guess, best that of the last checkpoint which this witness cosigned.
    """
    ours = parse_checkpoint(checkpoint)
    old_size = min(old_size, ours.size)
    for _ in range(MOST_ASKED):
        reply = await post(format_request(checkpoint, old_size, leaf_hashes))
        answer = read_reply(reply, ours, old_size, witness)
        if not isinstance(answer, int):
            return answer
        old_size = answer
    return Refused(Refusal.BUSY, f"it stands at {old_size} now", old_size)


def add_cosignatures(checkpoint: bytes, lines: Iterable[str]) -> bytes:
    """Add lines to a checkpoint; a line takes the place of an earlier one of the same key.

    InvalidInput when the result is no note, as with more than 64 signatures.
    """
    text, _, tail = checkpoint.decode().rpartition("\n\n")
    merged: dict[tuple[str, bytes], str] = {}
    try:
        for line in (*tail.splitlines(), *lines):
            (found,) = verify.parse_note(f"{text}\n\n{line}\n".encode()).signatures
            merged[found.name, found.key_id] = line
        note = "\n".join([text, "", *merged.values(), ""]).encode()
        verify.parse_note(note)
    except (verify.Invalid, ValueError) as error:
        raise InvalidInput.expected("lines", f"fit for a note ({error})", tuple(lines)) from None
    return note
