"""Signed notes (C2SP signed-note): text, a blank line, one line per signature."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from autonomics.errors import InvalidInput
from autonomics.receipts import verify
from autonomics.receipts.signer import Signer


async def sign_note(text: str, name: str, signer: Signer) -> bytes:
    """Sign `text`, which ends in a newline, as the key `name`."""
    signature = await signer.sign(text.encode())
    signed = f"{text}\n{_signature_line(name, signer.public_key, signature)}".encode()
    try:
        verify.parse_note(signed)
    except verify.Invalid as error:
        raise InvalidInput.expected("text", f"fit for a note ({error.reason})", text) from None
    return signed


def _signature_line(name: str, public_key: bytes, signature: bytes) -> str:
    material = verify.key_id(name, public_key) + signature
    return f"\N{EM DASH} {name} {base64.b64encode(material).decode()}\n"


def open_note(data: bytes, vkeys: Iterable[str]) -> str:
    """Return the text if a key of `vkeys` signed it; InvalidInput says what is wrong.

    Lines of unknown keys are ignored; a bad signature of a known key refuses the whole note.
    """
    try:
        note = verify.parse_note(data)
        verify.check_note(note, [verify.parse_vkey(vkey) for vkey in vkeys])
    except verify.Invalid as error:
        raise InvalidInput.expected(
            "note", f"signed and well formed ({error.reason})", data
        ) from None
    return note.text
