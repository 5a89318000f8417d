"""A log as C2SP tlog-tiles: immutable files of hashes and of leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from autonomics.errors import InvalidInput
from autonomics.receipts import verify


def hash_tiles(leaf_hashes: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of all hash tiles of the tree over these leaves, level by level."""
    level, hashes = 0, list(leaf_hashes)
    while hashes:
        for index, width in verify.tile_spans(len(hashes)):
            start = index * verify.TILE_WIDTH
            yield verify.tile_path(level, index, width), b"".join(hashes[start : start + width])
        level, hashes = level + 1, verify.next_tile_level(hashes)


def entry_bundle(leaves: Iterable[bytes]) -> bytes:
    """Leaves of one bundle, each after its length; InvalidInput for one above 65,535 bytes."""
    parts: list[bytes] = []
    for leaf in leaves:
        if len(leaf) > 0xFFFF:
            raise InvalidInput.expected("leaf", "at most 65535 bytes", len(leaf))
        parts.append(len(leaf).to_bytes(2, "big") + leaf)
    return b"".join(parts)
