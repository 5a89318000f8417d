"""The RFC 6962 Merkle tree: compact frontier for appending, proofs for reading.

Hashes and proof checks stand in `verify`, so that writer and verifier can't drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from autonomics.errors import InvalidInput
from autonomics.receipts import verify

Frontier = tuple[bytes, ...]  # roots of the perfect subtrees of a tree, largest first


def push(size: int, frontier: Frontier, leaf_hash: bytes) -> Frontier:
    """Frontier of the tree with one more leaf."""
    subtrees = list(frontier)
    verify.push_leaf(size, subtrees, leaf_hash)
    return tuple(subtrees)


def root_of(frontier: Frontier) -> bytes:
    """Root of the tree; SHA-256 of nothing for the empty one."""
    return verify.fold_roots(frontier)


class Tree:
    """All perfect subtrees over a sequence of leaf hashes; answers for any earlier size too."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        # Invariant: _levels[k][i] is the root over leaves [i * 2**k, (i + 1) * 2**k).
        self._levels = [list(leaf_hashes)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = range(0, len(below) - 1, 2)
            self._levels.append([verify.node_hash(below[i], below[i + 1]) for i in pairs])

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves (all, unless told)."""
        size = self.size if size is None else size
        self._expect_size(size)
        return verify.EMPTY_ROOT if size == 0 else self._range_root(0, size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 section 2.1.1: from the leaf's sibling up to the root's child."""
        self._expect_size(size)
        if not 0 <= index < size:
            raise InvalidInput.expected("index", f"within the tree of size {size}", index)
        return self._path(index, 0, size)

    def consistency_proof(self, old_size: int, size: int) -> list[bytes]:
        """RFC 6962 section 2.1.2: that the tree of `size` extends the one of `old_size` (>= 1)."""
        self._expect_size(size)
        if not 1 <= old_size <= size:
            raise InvalidInput.expected("old_size", f"from 1 to {size}", old_size)
        return self._subproof(old_size, 0, size, is_whole=True)

    def _expect_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise InvalidInput.expected("size", f"at most {self.size}", size)

    def _range_root(self, start: int, end: int) -> bytes:
        # Invariant: start is a multiple of the largest power of two below end - start.
        width = end - start
        level = (width - 1).bit_length()
        if width == 1 << level:
            return self._levels[level][start >> level]
        middle = start + (1 << (level - 1))
        return verify.node_hash(self._range_root(start, middle), self._range_root(middle, end))

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            return [*self._path(index, start, middle), self._range_root(middle, end)]
        return [*self._path(index, middle, end), self._range_root(start, middle)]

    def _subproof(self, old_size: int, start: int, end: int, *, is_whole: bool) -> list[bytes]:
        if old_size == end:
            return [] if is_whole else [self._range_root(start, end)]
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if old_size <= middle:
            left = self._subproof(old_size, start, middle, is_whole=is_whole)
            return [*left, self._range_root(middle, end)]
        right = self._subproof(old_size, middle, end, is_whole=False)
        return [*right, self._range_root(start, middle)]
