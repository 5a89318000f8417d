"""Payloads as they stand on disk: each encrypted, with its salt, under a key of its own.

ChaCha20-Poly1305 (RFC 8439) with a nonce of zeros: a key seals one payload and is never used
again, also where a commit failed and is repeated. The wrapped key stands beside the payload, bound
to its row; without it the bytes are noise, here and in every backup that was made before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from autonomics.receipts.payload import SALT_BYTES
from autonomics.receipts.vault import DATA_KEY_BYTES, KeyVault

SealedRow = tuple[int, bytes, bytes]
"""Row id, wrapped key, encrypted salt and payload."""

_NONCE: Final = bytes(12)


class Sealer:
    """Seals payloads for their rows, and opens them again."""

    def __init__(self, vault: KeyVault, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        self._vault = vault
        self._random_bytes = random_bytes
        self._cipher = ChaCha20Poly1305
        self._invalid = InvalidTag

    @property
    def vault_id(self) -> str:
        """Name of the key that all data keys are wrapped under."""
        return self._vault.id

    def seal(self, rows: Iterable[tuple[int, bytes, bytes]]) -> list[SealedRow]:
        """Seal (row id, salt, payload), each under a new key."""
        rows = list(rows)
        # One draw for all: asking the system costs more than a key's worth of its bytes.
        fresh = self._random_bytes(DATA_KEY_BYTES * len(rows))
        sealed: list[SealedRow] = []
        for place, (row_id, salt, payload) in enumerate(rows):
            key = fresh[DATA_KEY_BYTES * place : DATA_KEY_BYTES * (place + 1)]
            body = self._cipher(key).encrypt(_NONCE, salt + payload, None)
            sealed.append((row_id, self._vault.wrap(key, _context(row_id)), body))
        return sealed

    def open(self, row: SealedRow) -> tuple[bytes, bytes] | None:
        """Return salt and payload; None if the row is not as it was sealed."""
        row_id, wrapped, body = row
        key = self._vault.unwrap(wrapped, _context(row_id))
        if key is None or len(key) != DATA_KEY_BYTES:
            return None
        try:
            plain = self._cipher(key).decrypt(_NONCE, body, None)
        except self._invalid:
            return None
        return plain[:SALT_BYTES], plain[SALT_BYTES:]


def _context(row_id: int) -> bytes:
    return b"payload\n%d" % row_id
