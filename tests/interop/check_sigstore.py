"""Runs in an environment that has sigstore: its checkpoint and inclusion code on our export."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

verify_merkle_inclusion: Any = import_module("sigstore._internal.merkle").verify_merkle_inclusion
SignedCheckpoint: Any = import_module("sigstore._internal.rekor.checkpoint").SignedCheckpoint
VerificationError: Any = import_module("sigstore.errors").VerificationError

folder = Path(sys.argv[1])
signed = SignedCheckpoint.from_text((folder / "checkpoint").read_text())
found = json.loads((folder / "proofs.json").read_text())
assert signed.checkpoint.log_hash == found["root"]


def check(item: dict[str, Any], leaf: str) -> None:
    proof = SimpleNamespace(
        log_index=item["index"],
        tree_size=signed.checkpoint.log_size,
        hashes=[bytes.fromhex(text) for text in item["proof"]],
        root_hash=bytes.fromhex(signed.checkpoint.log_hash),
    )
    inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=leaf.encode())
    verify_merkle_inclusion(SimpleNamespace(_inner=inner))


for item in found["inclusion"]:
    check(item, item["leaf"])
    try:
        check(item, item["leaf"] + " ")
    except VerificationError:
        continue
    sys.exit("took a changed leaf")
names = [signature.name for signature in signed.signed_note.signatures]
print(json.dumps({"size": signed.checkpoint.log_size, "signers": names}))  # noqa: T201
