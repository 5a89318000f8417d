"""Canonical JSON: RFC 8785 for strings, safe integers, booleans, null, arrays and objects.

Floats are refused: they have one canonical form per standard library, and money and measures
travel as strings or integers.
"""

from __future__ import annotations

from typing import Any

from autonomics.errors import NotCanonical
from autonomics.receipts import verify


def encode(value: object) -> bytes:
    """Encode `value`; raise NotCanonical for what the profile leaves out."""
    try:
        return verify.canonical_bytes(value)
    except verify.Invalid as error:
        raise NotCanonical.expected("value", f"canonical ({error.reason})", value) from None


def decode(data: bytes) -> Any:
    """Decode bytes that are exactly what `encode` would write; raise NotCanonical otherwise."""
    try:
        return verify.parse_canonical(data)
    except verify.Invalid as error:
        raise NotCanonical.expected("bytes", f"canonical JSON ({error.reason})", data) from None
