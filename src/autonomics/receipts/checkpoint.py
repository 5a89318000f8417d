"""Checkpoints (C2SP tlog-checkpoint): a log's size and root, signed as a note."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import attrs

from autonomics.errors import InvalidInput
from autonomics.receipts import note, verify
from autonomics.receipts.log import LogHead
from autonomics.receipts.merkle import Tree
from autonomics.receipts.signer import Signer


@attrs.frozen
class Checkpoint:
    """What a checkpoint says about a log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note text that is signed: three lines, no extension."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def checkpoint_of(head: LogHead) -> Checkpoint:
    """Checkpoint of a log's head; InvalidInput for a log without a receipt."""
    if head.size == 0:
        raise InvalidInput.expected("head", "of a log with its genesis", head)
    return Checkpoint(head.origin, head.size, head.root)


async def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Sign under the log's own key name, which is its origin.

    Save the note with `Store.save_checkpoints` before anybody sees it: that refuses a fork.
    """
    return await note.sign_note(checkpoint.text, checkpoint.origin, signer)


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint strictly, signatures unchecked; InvalidInput says what is wrong."""
    try:
        head = verify.parse_tree_head(verify.parse_note(data).text)
    except verify.Invalid as error:
        raise InvalidInput.expected("checkpoint", f"well formed ({error.reason})", data) from None
    return Checkpoint(*head)


def contradicts(checkpoint: Checkpoint, leaf_hashes: Sequence[bytes]) -> str | None:
    """Say how the log of exactly these leaves contradicts a checkpoint; None if it doesn't."""
    if checkpoint.size > len(leaf_hashes):
        return f"checkpoint covers {checkpoint.size} receipts, the log has {len(leaf_hashes)}"
    if Tree(leaf_hashes[: checkpoint.size]).root() != checkpoint.root:
        return f"root at size {checkpoint.size} is not the signed one"
    return None
