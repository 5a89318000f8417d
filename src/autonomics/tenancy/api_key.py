"""API keys: what they look like, and how they are checked before anybody looks them up.

`aut_<id>_<secret><check>`: 8 and 32 characters of base62 and the base62 CRC-32 of all before it in
6, the shape that secret scanners find. Only a keyed hash of the whole is ever stored.
"""

from __future__ import annotations

import hmac
import re
import zlib

import attrs

from autonomics.errors import InvalidInput

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 8
SECRET_LENGTH = 32
CHECK_LENGTH = 6
RANDOM_BYTES = 48
_SHAPE = re.compile(r"aut_([0-9A-Za-z]{8})_[0-9A-Za-z]{32}([0-9A-Za-z]{6})")


@attrs.frozen
class ApiKey:
    """A key in the clear: shown once, never stored, never printed by accident."""

    id: str
    text: str = attrs.field(repr=False)


def make_api_key(random_bytes: bytes) -> ApiKey:
    """Make a key of 48 random bytes: 40 characters carry 5.95 bits each, 190 in the secret."""
    if len(random_bytes) != RANDOM_BYTES:
        raise InvalidInput(f"expected {RANDOM_BYTES} random bytes, got {len(random_bytes)}")
    digits = _base62(int.from_bytes(random_bytes), 64)
    key_id, secret = digits[:ID_LENGTH], digits[ID_LENGTH : ID_LENGTH + SECRET_LENGTH]
    text = f"aut_{key_id}_{secret}"
    return ApiKey(key_id, text + _check(text))


def parse_api_key(text: str) -> ApiKey | None:
    """Return the key if its shape and check digits are right; None costs no look-up."""
    found = _SHAPE.fullmatch(text)
    if found is None or _check(text[:-CHECK_LENGTH]) != found[2]:
        return None
    return ApiKey(found[1], text)


def hash_api_key(pepper: bytes, key: ApiKey) -> str:
    """Return the hash that is stored. A key has 190 random bits, so a slow hash buys nothing."""
    return hmac.digest(pepper, key.text.encode(), "sha256").hex()


def is_same_hash(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def _check(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    """Return the last `length` digits of the number, padded with zeros on the left."""
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
