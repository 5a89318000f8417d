"""Logs, keys and witnesses for tests that forge evidence: synchronous, and the same each time."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric import ed25519

from autonomics.receipts import verify
from autonomics.receipts.checkpoint import Checkpoint
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import export_bundle
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.merkle import Tree
from autonomics.testing.store_contract import IDEM_KEY, NOW, count_salts_from, make_entry

ACME: Final = "ledger.example/t/acme"
ZETA: Final = "ledger.example/t/zeta"
VERIFIER: Final = Path(verify.__file__).read_bytes()
TODAY: Final = 1_900_000_000
HOUR: Final = 3600
Bundle = dict[str, bytes]


class Key:
    """An Ed25519 key, of a log or of a witness."""

    def __init__(self, seed: int, kind: int = verify.ED25519) -> None:
        self._private = ed25519.Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.kind = kind
        self.public = self._private.public_key().public_bytes_raw()

    def vkey(self, name: str = ACME) -> str:
        short = verify.key_id(name, self.public, self.kind).hex()
        return f"{name}+{short}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def line(self, text: str, name: str, at: int = 0) -> str:
        """Signature line of a log, or cosignature line of a witness at a time."""
        if self.kind == verify.COSIGNATURE:
            signed = f"cosignature/v1\ntime {at}\n{text}".encode()
            signature = at.to_bytes(8, "big") + self._private.sign(signed)
        else:
            signature = self._private.sign(text.encode())
        material = verify.key_id(name, self.public, self.kind) + signature
        return f"\N{EM DASH} {name} {base64.b64encode(material).decode()}\n"

    def sign(self, text: str, name: str = ACME) -> bytes:
        return f"{text}\n{self.line(text, name)}".encode()


OWNER: Final = Key(1)
THIEF: Final = Key(2)
WITNESSES: Final = {f"w{n}": Key(10 + n, verify.COSIGNATURE) for n in (1, 2, 3)}


def witness_name(name: str) -> str:
    return f"{name}.witness.example"


def policy_of(least: str = "2", *, log: Key | None = OWNER, origin: str = ACME) -> bytes:
    """Policy of three witnesses of which `least` make the quorum."""
    lines = [] if log is None else [f"log {log.vkey(origin)}"]
    lines += [f"witness {n} {key.vkey(witness_name(n))}" for n, key in WITNESSES.items()]
    return "\n".join(
        [*lines, f"group all-of-them {least} w1 w2 w3", "quorum all-of-them", ""]
    ).encode()


def cosign(note: bytes, *names: str, at: int = TODAY) -> bytes:
    text = verify.parse_note(note).text
    return note + "".join(WITNESSES[n].line(text, witness_name(n), at) for n in names).encode()


def build(size: int, origin: str = ACME, entries: Sequence[Entry] | None = None) -> list[Receipt]:
    """Return a log of `size` receipts, or its genesis and `entries`."""
    if entries is None:
        entries = [make_entry(f"payload {number}") for number in range(1, size)]
    salts = count_salts_from(7)
    return append(LogHead.empty(origin), entries, NOW, salts, IDEM_KEY, epoch=1)[1]


def checkpoint_of(
    receipts: Sequence[Receipt], key: Key = OWNER, origin: str | None = None
) -> bytes:
    origin = receipts[0].origin if origin is None else origin
    root = Tree([receipt.leaf_hash for receipt in receipts]).root()
    return key.sign(Checkpoint(origin, len(receipts), root).text, origin)


def bundle_of(receipts: Sequence[Receipt], checkpoint: bytes | None = None) -> Bundle:
    signed = checkpoint_of(receipts) if checkpoint is None else checkpoint
    return dict(export_bundle(receipts, signed, VERIFIER))


def trust(
    *known: bytes,
    vkeys: Sequence[str] | None = None,
    policy: bytes | None = None,
    now: float = TODAY,
    max_age_s: float | None = None,
) -> verify.Trust:
    keys = [OWNER.vkey()] if vkeys is None else vkeys
    return verify.gather_trust(keys, known, policy=policy, now=now, max_age_s=max_age_s)


def check(bundle: Bundle, given: verify.Trust) -> verify.Verdict:
    return verify.verify_bundle(bundle.get, given)


def chain_anew(receipts: Sequence[Receipt], leaves: Sequence[bytes]) -> list[Receipt]:
    """Number and link changed leaves as a log of their own, as whoever owns the database can.

    `receipts` lend salt and payload, one to each leaf.
    """
    made: list[Receipt] = []
    prev = verify.genesis_prev(receipts[0].origin)
    for seq, (receipt, leaf) in enumerate(zip(receipts, leaves, strict=True)):
        fields = verify.parse_leaf(receipt.leaf)
        linked = leaf.replace(fields["prev"].encode(), prev.hex().encode())
        linked = linked.replace(b'"seq":%d,' % fields["seq"], b'"seq":%d,' % seq)
        prev = verify.leaf_hash(linked)
        made.append(attrs.evolve(receipt, seq=seq, leaf=linked, leaf_hash=prev))
    return made


def forge(receipts: Sequence[Receipt], seq: int, change: Callable[[bytes], bytes]) -> list[Receipt]:
    """Change one leaf and chain all later ones anew."""
    leaves = [change(r.leaf) if r.seq == seq else r.leaf for r in receipts]
    return chain_anew(receipts, leaves)


def rename(leaf: bytes) -> bytes:
    return leaf.replace(b'"actor":"door"', b'"actor":"dOOr"')


def flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)
