from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from autonomics.errors import InvalidInput
from autonomics.integrations.signing_key_file import SigningKeyFile
from autonomics.receipts import checkpoint, note, verify
from autonomics.receipts.checkpoint import Checkpoint, checkpoint_of, parse_checkpoint
from autonomics.receipts.log import LogHead
from autonomics.receipts.signer import Signer, format_vkey

ORIGIN = "ledger.example/t/acme"
ROOT = bytes(range(32))


def make_signer(seed: int = 1) -> Signer:
    return SigningKeyFile(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


async def sign(text: str = f"{ORIGIN}\n5\n{base64.b64encode(ROOT).decode()}\n") -> bytes:
    return await note.sign_note(text, ORIGIN, make_signer())


async def test_a_signed_checkpoint_opens_under_its_vkey() -> None:
    signer = make_signer()
    signed = await checkpoint.sign_checkpoint(Checkpoint(ORIGIN, 5, ROOT), signer)
    text = note.open_note(signed, [format_vkey(ORIGIN, signer.public_key)])
    assert text == Checkpoint(ORIGIN, 5, ROOT).text
    assert parse_checkpoint(signed) == Checkpoint(ORIGIN, 5, ROOT)


async def test_the_example_of_the_signed_note_spec_opens() -> None:
    signed = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n"
        "ed è subito sera.\n\n"
        "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKON"
        "rMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    (line,) = verify.parse_note(signed).signatures
    assert line.name == "quasimodo.example/salvatore"
    assert line.key_id.hex() == "367ba04b"


async def test_another_key_does_not_open_it() -> None:
    signed = await sign()
    strangers = [
        format_vkey(ORIGIN, make_signer(2).public_key),
        format_vkey("ledger.example/t/other", make_signer().public_key),
    ]
    for vkey in strangers:
        with pytest.raises(InvalidInput, match="no signature of a key"):
            note.open_note(signed, [vkey])
    with pytest.raises(InvalidInput, match="no signature of a key"):
        note.open_note(signed, [])


async def test_lines_of_unknown_keys_are_ignored_and_a_bad_line_of_a_known_one_is_not() -> None:
    signed = await sign()
    vkey = format_vkey(ORIGIN, make_signer().public_key)
    stranger = f"— witness.example {base64.b64encode(bytes(72)).decode()}\n".encode()
    assert note.open_note(signed + stranger, [vkey])
    known = verify.parse_vkey(vkey)
    forged = f"— {ORIGIN} {base64.b64encode(known.key_id + bytes(64)).decode()}\n".encode()
    text, _, _ = signed.rpartition(b"\n\n")
    with pytest.raises(InvalidInput, match="does not verify"):
        note.open_note(text + b"\n\n" + forged, [vkey])


@pytest.mark.parametrize("lines", [1, 16, 64])
async def test_up_to_64_signatures_are_read(lines: int) -> None:
    signed = await sign()
    extra = [
        f"— w{number}.example {base64.b64encode(bytes(72)).decode()}\n" for number in range(lines)
    ]
    assert len(verify.parse_note(signed + "".join(extra[1:]).encode()).signatures) == lines


MANGLED: dict[str, Callable[[bytes], bytes]] = {
    "no signature": lambda s: s.rpartition(b"\n\n")[0] + b"\n\n",
    "no blank line": lambda s: s.replace(b"\n\n", b"\n"),
    "CRLF": lambda s: s.replace(b"\n", b"\r\n"),
    "tab": lambda s: s.replace(b"\n5\n", b"\n5\t\n"),
    "NUL": lambda s: s.replace(b"\n5\n", b"\n5\0\n"),
    "BOM": lambda s: b"\xef\xbb\xbf" + s,
    "no final newline": lambda s: s[:-1],
    "two final newlines": lambda s: s + b"\n",
    "trailing garbage": lambda s: s + b"x",
    "duplicate signer": lambda s: s + s.rpartition(b"\n\n")[2],
    "65 signatures": lambda s: (
        s
        + "".join(
            f"— w{n}.example {base64.b64encode(bytes(72)).decode()}\n" for n in range(64)
        ).encode()
    ),
    "hyphen for dash": lambda s: s.replace("—".encode(), b"-"),
    "short signature": lambda s: s.rpartition(b" ")[0] + b" AAAA\n",
    "spare base64 bits": lambda s: s.replace(b"=\n", b"\n"),
    "not UTF-8": lambda s: s + b"\xff",
    "size 007": lambda s: s.replace(b"\n5\n", b"\n007\n"),
    "size -1": lambda s: s.replace(b"\n5\n", b"\n-1\n"),
    "size 2^63": lambda s: s.replace(b"\n5\n", b"\n9223372036854775808\n"),
    "size +5": lambda s: s.replace(b"\n5\n", b"\n+5\n"),
    "root of 31 bytes": lambda s: s.replace(base64.b64encode(ROOT), base64.b64encode(ROOT[:31])),
    "root of 33 bytes": lambda s: s.replace(base64.b64encode(ROOT), base64.b64encode(ROOT + b"x")),
    "extension line": lambda s: s.replace(b"\n\n", b"\nextension\n\n"),
    "origin with space": lambda s: s.replace(b"acme\n5", b"ac me\n5"),
    "too long": lambda s: s + bytes(1 << 20),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("way", MANGLED)
async def test_a_checkpoint_out_of_form_is_refused(way: str) -> None:
    signed = await sign()
    mangled = MANGLED[way](signed)
    assert mangled != signed
    with pytest.raises(InvalidInput, match="expected checkpoint to be well formed"):
        parse_checkpoint(mangled)


async def test_any_flipped_bit_of_a_checkpoint_is_noticed() -> None:
    signed = await sign()
    vkey = format_vkey(ORIGIN, make_signer().public_key)
    for at in range(0, len(signed) * 8, 7):
        flipped = bytearray(signed)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(InvalidInput):
            note.open_note(bytes(flipped), [vkey])


VKEY_CHANGES: list[Callable[[str], str]] = [
    lambda v: v.replace("+", "-"),
    lambda v: v[:-4],
    lambda v: v.replace("acme", "acmf"),
    lambda v: "a b" + v,
    lambda v: v.replace("+", "++", 1),
    lambda _: "",
    lambda v: v.rpartition("+")[0] + "+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    lambda v: v.rpartition("+")[0] + "+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
]


@pytest.mark.parametrize("change", VKEY_CHANGES)
def test_a_vkey_out_of_form_is_refused(change: Callable[[str], str]) -> None:
    vkey = format_vkey(ORIGIN, make_signer().public_key)
    with pytest.raises(verify.Invalid):
        verify.parse_vkey(change(vkey))


async def test_text_that_is_no_note_text_is_not_signed() -> None:
    for text in ("no newline", "a\tb\n"):
        with pytest.raises(InvalidInput, match="fit for a note"):
            await note.sign_note(text, ORIGIN, make_signer())


def test_a_log_without_genesis_has_no_checkpoint() -> None:
    with pytest.raises(InvalidInput, match="with its genesis"):
        checkpoint_of(LogHead.empty(ORIGIN))
