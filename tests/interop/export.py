"""A log as files, and damaged copies of what is in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from typing import Final

from autonomics.receipts import verify
from autonomics.receipts.merkle import Tree

from ..receipts.evidence import (  # noqa: TID252 - tests are no package
    ACME,
    OWNER,
    TODAY,
    WITNESSES,
    build,
    bundle_of,
    checkpoint_of,
    cosign,
    policy_of,
    trust,
    witness_name,
)

OLD_SIZE: Final = 97
SIZE: Final = 700


class Export:
    """A bundle of 700 receipts, cosigned by two witnesses, in a folder that tools can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.receipts = build(SIZE)
        self.hashes = [receipt.leaf_hash for receipt in self.receipts]
        self.tree = Tree(self.hashes)
        self.note = cosign(checkpoint_of(self.receipts), "w1", "w3")
        for name, data in bundle_of(self.receipts, self.note).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        self.write_lines("leaves", [receipt.leaf for receipt in self.receipts])
        (folder / "proofs.json").write_text(json.dumps(self.proofs()))
        given = trust(policy=policy_of())
        assert verify.verify_path(folder, given)[0].code == 0

    vkey: Final = OWNER.vkey(ACME)
    witness_vkeys: Final = tuple(WITNESSES[name].vkey(witness_name(name)) for name in ("w1", "w3"))
    cosigned_at: Final = TODAY

    def write_lines(self, name: str, lines: list[bytes]) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    def proofs(self) -> dict[str, object]:
        """Inclusion of some receipts, and consistency of an older size."""
        return {
            "size": SIZE,
            "root": self.tree.root().hex(),
            "old_size": OLD_SIZE,
            "old_root": self.tree.root(OLD_SIZE).hex(),
            "consistency": [h.hex() for h in self.tree.consistency_proof(OLD_SIZE, SIZE)],
            "inclusion": [
                {
                    "index": index,
                    "leaf": self.receipts[index].leaf.decode(),
                    "proof": [h.hex() for h in self.tree.inclusion_proof(index, SIZE)],
                }
                for index in (0, 1, 255, 256, 511, 512, 640, SIZE - 1)
            ],
        }

    def damaged_notes(self, count: int = 400) -> list[bytes]:
        """The checkpoint, and copies with a bit flipped, a byte lost, doubled or put in, or cut."""
        rng = Random(5)
        notes = [self.note]
        while len(notes) < count:
            at = rng.randrange(len(self.note))
            before, after = self.note[:at], self.note[at:]
            notes.append(
                rng.choice(
                    [
                        before + bytes([after[0] ^ 1 << rng.randrange(8)]) + after[1:],
                        before + after[1:],
                        before + after[:1] + after,
                        before + rng.choice([b"\n", b" ", b"0", b"=", b"+", b"\r", b"\t"]) + after,
                        before,
                    ]
                )
            )
        return notes

    def damaged_proofs(self, count: int = 400) -> list[tuple[int, int, bytes, list[bytes]]]:
        """(index, size, leaf hash, proof) of receipts, most of them damaged in one place."""
        rng = Random(6)
        proofs: list[tuple[int, int, bytes, list[bytes]]] = []
        for _ in range(count):
            size = rng.randrange(1, SIZE + 1)
            index = rng.randrange(size)
            leaf, proof = self.hashes[index], self.tree.inclusion_proof(index, size)
            match rng.randrange(7):
                case 0 if proof:
                    at = rng.randrange(len(proof))
                    proof[at] = bytes([proof[at][0] ^ 1]) + proof[at][1:]
                case 1:
                    proof = proof[:-1]
                case 2:
                    proof = [*proof, rng.choice(self.hashes)]
                case 3:
                    rng.shuffle(proof)
                case 4:
                    index = rng.randrange(size)
                case 5:
                    leaf = rng.choice(self.hashes)
                case _:
                    pass
            proofs.append((index, size, leaf, proof))
        return proofs

    def accepts_note(self, note: bytes) -> bool:
        """Say whether we take a note for a checkpoint that the key signed."""
        try:
            parsed = verify.parse_note(note)
            verify.check_note(parsed, [verify.parse_vkey(self.vkey)])
            verify.parse_tree_head(parsed.text)
        except verify.Invalid:
            return False
        return True

    def accepts_proof(self, proof: tuple[int, int, bytes, list[bytes]]) -> bool:
        index, size, leaf, hashes = proof
        try:
            verify.check_inclusion(leaf, index, size, hashes, self.tree.root(size))
        except verify.Invalid:
            return False
        return True

    def describe_proof(self, proof: tuple[int, int, bytes, list[bytes]]) -> bytes:
        """Lay a proof out as one line: index, size, root, leaf hash, proof."""
        index, size, leaf, hashes = proof
        words = [self.tree.root(size), leaf, *hashes]
        return f"{index} {size} {' '.join(base64.b64encode(w).decode() for w in words)}".encode()
