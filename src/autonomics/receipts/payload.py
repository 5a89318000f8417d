"""A payload stands outside its leaf, which commits to it: so it can be erased and the log verifies.

The commitment is HMAC-SHA256 under 32 random bytes of salt, over the stored bytes and their place
(log and seq). Without the salt nobody can try guesses of a short payload against it.
"""

from __future__ import annotations

import base64
import hmac

from autonomics.errors import InvalidInput
from autonomics.receipts import verify

SALT_BYTES = 32


def commit_to_payload(salt: bytes, origin: str, seq: int, payload: bytes) -> bytes:
    """Compute what the leaf's `commit` holds."""
    if len(salt) != SALT_BYTES:
        raise InvalidInput.expected("salt", f"{SALT_BYTES} bytes", salt)
    return verify.payload_commitment(salt, origin, seq, payload)


def is_payload_of(commit: bytes, salt: bytes, origin: str, seq: int, payload: bytes) -> bool:
    """True when the payload and salt are those that the leaf committed to."""
    return hmac.compare_digest(commit, commit_to_payload(salt, origin, seq, payload))


def disclose(salt: bytes | None, payload: bytes | None) -> dict[str, str | None]:
    """Lay out salt and payload for a line of JSON: as text where it is UTF-8, else as base64."""
    if salt is None or payload is None:
        return {"payload": None, "salt": None}
    try:
        return {"payload": payload.decode(), "salt": salt.hex()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode(), "salt": salt.hex()}
