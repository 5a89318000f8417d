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


def read_bundle(read: verify.Read) -> tuple[list[Receipt], bytes]:
    """Read receipts and checkpoint back from a whole bundle; InvalidInput if it does not verify.

    Whether its checkpoint is to be trusted is not asked here, only that all is of one piece.
    """
    verdict = verify.verify_bundle(read, verify.Trust())
    if verdict.code != verify.UNANCHORED or verdict.pruned:
        raise InvalidInput.expected("bundle", "whole and consistent", verdict.reason)
    checkpoint = _expect_file(read, "checkpoint")
    head = parse_checkpoint(checkpoint)
    disclosed = _read_payloads(_expect_file(read, "payloads.jsonl"))
    receipts: list[Receipt] = []
    for index, width in verify.tile_spans(head.size):
        entries = _expect_file(read, verify.tile_path("entries", index, width))
        for leaf in verify.split_entries(entries, width):
            seq = len(receipts)
            salt, content = disclosed.get(seq, (None, None))
            hashed = verify.leaf_hash(leaf)
            receipts.append(Receipt(head.origin, seq, leaf, hashed, salt, content))
    return receipts, checkpoint


def _expect_file(read: verify.Read, name: str) -> bytes:
    data = read(name)
    assert data is not None  # The bundle verified.
    return data


def _read_payloads(data: bytes) -> dict[int, verify.Disclosed]:
    found: dict[int, verify.Disclosed] = {}
    for line in verify.split_lines(data):
        record = verify.parse_json(line)
        seq = record.pop("seq")
        disclosed = verify.parse_disclosure(record)
        if disclosed is not None:
            found[seq] = disclosed
    return found


def _payload_line(receipt: Receipt) -> bytes:
    line = {"seq": receipt.seq, **payload.disclose(receipt.salt, receipt.payload)}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
