"""A C2SP tlog-proof of one receipt: leaf, inclusion proof and checkpoint in one text file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from autonomics.receipts import verify
from autonomics.receipts.checkpoint import parse_checkpoint
from autonomics.receipts.export import describe_receipt
from autonomics.receipts.log import Receipt
from autonomics.receipts.merkle import Tree


def format_proof(receipt: Receipt, leaf_hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Prove that a receipt is in the log that a checkpoint covers.

    `leaf_hashes` are those of the log up to the checkpoint's size, or more. The receipt itself
    goes into the `extra` line, laid out as in a file of receipts. InvalidInput if the checkpoint
    does not cover the receipt.
    """
    size = parse_checkpoint(checkpoint).size
    path = Tree(leaf_hashes[:size]).inclusion_proof(receipt.seq, size)
    extra = json.dumps(describe_receipt(receipt), ensure_ascii=False).encode()
    lines = [
        verify.PROOF_HEADER,
        f"extra {base64.b64encode(extra).decode()}",
        f"index {receipt.seq}",
        *(base64.b64encode(item).decode() for item in path),
    ]
    return "\n".join(lines).encode() + b"\n\n" + checkpoint
