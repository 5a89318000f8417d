"""The port for what signs checkpoints: one key per deployment, kept by an adapter."""

from __future__ import annotations

import base64
from typing import Protocol

from autonomics.receipts.verify import key_id


class Signer(Protocol):
    """An Ed25519 key that can sign; a hardware module takes its time, hence async."""

    @property
    def public_key(self) -> bytes:
        """32 bytes (RFC 8032)."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Return 64 bytes over exactly `message`."""
        ...


def format_vkey(origin: str, public_key: bytes) -> str:
    """Verifier key of one log (C2SP signed-note); its name is the log's origin."""
    encoded = base64.b64encode(b"\x01" + public_key).decode()
    return f"{origin}+{key_id(origin, public_key).hex()}+{encoded}"
