"""The port for what wraps data keys: each payload has a key of its own, and a vault guards them.

The key that a vault wraps with is never in the database nor in its backup. So a stolen file shows
nothing, and whoever erases a payload's wrapped key erases the payload.
"""

from __future__ import annotations

from typing import Final, Protocol

DATA_KEY_BYTES: Final = 32


class KeyVault(Protocol):
    """Wraps and unwraps data keys, in microseconds: a commit waits for one per receipt.

    A key service in the network belongs behind whoever opens the vault, not behind each wrap.
    """

    @property
    def id(self) -> str:
        """Name of the wrapping key, which tells nothing about it; a store is bound to it."""
        ...

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Wrap a data key of 32 bytes; it comes out of the same context alone."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Return the data key; None for what this vault did not wrap in this context."""
        ...
