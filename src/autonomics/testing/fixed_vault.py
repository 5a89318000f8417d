"""A key vault for tests and simulation: its key is a constant, and the standard library enough."""

from __future__ import annotations

import hashlib
import hmac

from autonomics.receipts.vault import DATA_KEY_BYTES

_TAG_BYTES = 16


class FixedVault:
    """`KeyVault` that everybody can open; two of one name are one vault."""

    def __init__(self, name: str = "fixed") -> None:
        self._key = hashlib.sha256(name.encode()).digest()
        self._id = self._key[:8].hex()

    @property
    def id(self) -> str:
        """16 hex digits of its name's hash."""
        return self._id

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Mask the key and seal it."""
        tag = self._tag(data_key, context)
        return tag + self._mask(data_key, tag)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Return the data key, or None."""
        if len(wrapped) != _TAG_BYTES + DATA_KEY_BYTES:
            return None
        tag = wrapped[:_TAG_BYTES]
        data_key = self._mask(wrapped[_TAG_BYTES:], tag)
        return data_key if hmac.compare_digest(tag, self._tag(data_key, context)) else None

    def _tag(self, data_key: bytes, context: bytes) -> bytes:
        return hmac.digest(self._key, b"tag" + context + data_key, "sha256")[:_TAG_BYTES]

    def _mask(self, data: bytes, tag: bytes) -> bytes:
        pad = hmac.digest(self._key, b"mask" + tag, "sha256")
        return bytes(a ^ b for a, b in zip(data, pad, strict=True))
