"""Runs in an environment that has tracekit-ai: what it says of our notes and proofs."""

from __future__ import annotations

import base64
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

merkle: Any = import_module("tracekit.merkle")
checkpoint: Any = import_module("tracekit.format.checkpoint")


def accepts(note: bytes, vkey: str) -> int:
    try:
        checkpoint.open_note(note, [vkey])
    except checkpoint.NoteError:
        return 0
    return 1


def check_bundle(folder: Path, vkey: str, witnesses: list[str]) -> None:
    note = (folder / "checkpoint").read_bytes()
    origin, size, root, cosigned = checkpoint.open_note(note, [vkey], witnesses)
    found = json.loads((folder / "proofs.json").read_text())
    for item in found["inclusion"]:
        leaf = merkle.leaf_hash(item["leaf"].encode())
        proof = [bytes.fromhex(text) for text in item["proof"]]
        assert merkle.verify_inclusion(item["index"], size, leaf, proof, root)
        assert not merkle.verify_inclusion(item["index"] ^ 1, size, leaf, proof, root)
    consistency = [bytes.fromhex(text) for text in found["consistency"]]
    old_root = bytes.fromhex(found["old_root"])
    assert merkle.verify_consistency(found["old_size"], size, old_root, root, consistency)
    assert not merkle.verify_consistency(found["old_size"] + 1, size, old_root, root, consistency)
    print(json.dumps({"origin": origin, "size": size, "cosigned": [at for _, at in cosigned]}))  # noqa: T201


def check_proof(line: str) -> int:
    index, size, *words = line.split(" ")
    root, leaf, *proof = map(base64.b64decode, words)
    return int(merkle.verify_inclusion(int(index), int(size), leaf, proof, root))


match sys.argv[1:]:
    case ["bundle", folder, vkey, *witnesses]:
        check_bundle(Path(folder), vkey, witnesses)
    case ["notes", file, vkey]:
        for line in Path(file).read_text().splitlines():
            print(accepts(base64.b64decode(line), vkey))  # noqa: T201
    case ["proofs", file]:
        for line in Path(file).read_text().splitlines():
            print(check_proof(line))  # noqa: T201
    case words:
        sys.exit(f"unknown: {words}")
