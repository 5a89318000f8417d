"""A whole log as a bundle: files that `verify.py`, which is one of them, can check offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from autonomics.errors import InvalidInput
from autonomics.receipts import canonical, payload, tiles, verify
from autonomics.receipts.checkpoint import contradicts, parse_checkpoint
from autonomics.receipts.log import Receipt


def describe_receipt(receipt: Receipt) -> dict[str, str | None]:
    """Lay a receipt out for one line of JSON, as `verify FILE.jsonl` reads it."""
    return {"leaf": receipt.leaf.decode(), **payload.disclose(receipt.salt, receipt.payload)}


def export_lines(receipts: Sequence[Receipt]) -> Iterator[bytes]:
    """One line per receipt."""
    for receipt in receipts:
        yield json.dumps(describe_receipt(receipt), ensure_ascii=False).encode() + b"\n"


def export_bundle(
    receipts: Sequence[Receipt], checkpoint: bytes, verifier: bytes
) -> Iterator[tuple[str, bytes]]:
    """(relative path, bytes) of each file of the bundle; the checkpoint comes last.

    `receipts` is the log from its genesis, at least up to the checkpoint's size; InvalidInput if
    the two don't agree. `verifier` is the content of `verify.py`: reading a file is not done here.
    """
    head = parse_checkpoint(checkpoint)
    receipts = receipts[: head.size]
    hashes = [receipt.leaf_hash for receipt in receipts]
    problem = contradicts(head, hashes)
    if problem is not None or any(receipt.origin != head.origin for receipt in receipts):
        raise InvalidInput.expected("receipts", f"the log of the checkpoint ({problem})", head)
    yield from tiles.hash_tiles(hashes)
    for index, width in verify.tile_spans(head.size):
        start = index * verify.TILE_WIDTH
        leaves = [receipt.leaf for receipt in receipts[start : start + width]]
        yield verify.tile_path("entries", index, width), tiles.entry_bundle(leaves)
    disclosed = [receipt for receipt in receipts if receipt.payload is not None]
    yield "payloads.jsonl", b"".join(_payload_line(receipt) for receipt in disclosed)
    manifest = {
        "log": head.origin,
        "note": "an index for people; the verifier does not read it",
        "payloads": len(disclosed),
        "schema": verify.LEAF_SCHEMA,
        "size": head.size,
    }
    yield "MANIFEST.json", canonical.encode(manifest) + b"\n"
    yield "verify.py", verifier
    yield "checkpoint", checkpoint


def _payload_line(receipt: Receipt) -> bytes:
    line = {"seq": receipt.seq, **payload.disclose(receipt.salt, receipt.payload)}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
