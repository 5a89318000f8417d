"""Tools that none of us wrote read a fresh export, and refuse what we refuse."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from autonomics.receipts import verify

from .conftest import need_module
from .export import OLD_SIZE, SIZE, Export

HERE = Path(__file__).parent


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy(export: Export, folder: Path, name: str, bit: int) -> Path:
    """Copy the export with one bit of one file flipped."""
    shutil.copytree(export.folder, folder)
    data = bytearray((folder / name).read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(data)
    return folder


def read_verdicts(output: str) -> list[bool]:
    return [line == "1" for line in output.split()]


def expect_same_notes(export: Export, *command: str | Path) -> None:
    notes = export.damaged_notes()
    lines = export.write_lines("notes", [base64.b64encode(note) for note in notes])
    theirs = read_verdicts(run(*command, "notes", lines, export.vkey))
    ours = [export.accepts_note(note) for note in notes]
    differ = [note for note, a, b in zip(notes, ours, theirs, strict=True) if a != b]
    assert differ == []
    assert 0 < sum(ours) < len(notes) // 2


def expect_same_proofs(export: Export, *command: str | Path) -> None:
    proofs = export.damaged_proofs()
    lines = export.write_lines("proof-lines", [export.describe_proof(proof) for proof in proofs])
    ours = [export.accepts_proof(proof) for proof in proofs]
    assert read_verdicts(run(*command, "proofs", lines)) == ours
    assert 0 < sum(ours) < len(proofs)


# The modules of Go's checksum database


def test_go_reads_checkpoint_tiles_and_every_receipt(export: Export, go_check: Path) -> None:
    said = run(go_check, "bundle", export.folder, export.vkey, str(OLD_SIZE))
    root = base64.b64encode(export.tree.root()).decode()
    assert said.split() == [str(SIZE), root]


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("checkpoint", 250),
        ("tile/0/001", 999),
        ("tile/1/000.p/2", 3),
        ("tile/entries/002.p/188", 20_000),
    ],
)
def test_go_refuses_an_export_with_a_flipped_bit(
    export: Export, go_check: Path, tmp_path: Path, name: str, bit: int
) -> None:
    folder = copy(export, tmp_path / "copy", name, bit)
    command: list[str | Path] = [go_check, "bundle", folder, export.vkey, str(OLD_SIZE)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    given = verify.gather_trust([export.vkey])
    assert verify.verify_path(folder, given)[0].code == 40


def test_go_takes_the_notes_that_we_take(export: Export, go_check: Path) -> None:
    expect_same_notes(export, go_check)


def test_go_takes_the_proofs_that_we_take(export: Export, go_check: Path) -> None:
    expect_same_proofs(export, go_check)


# Packages of Python: tracekit-ai and sigstore


def test_tracekit_reads_the_cosigned_checkpoint_and_proofs(export: Export, python: Path) -> None:
    need_module(python, "tracekit")
    command: list[str | Path] = [
        python,
        HERE / "check_tracekit.py",
        "bundle",
        export.folder,
        export.vkey,
    ]
    said = json.loads(run(*command, *export.witness_vkeys))
    assert said["size"] == SIZE
    assert said["cosigned"] == [export.cosigned_at] * 2


def test_tracekit_takes_the_notes_that_we_take(export: Export, python: Path) -> None:
    need_module(python, "tracekit")
    expect_same_notes(export, python, HERE / "check_tracekit.py")


def test_tracekit_takes_the_proofs_that_we_take(export: Export, python: Path) -> None:
    need_module(python, "tracekit")
    expect_same_proofs(export, python, HERE / "check_tracekit.py")


def test_sigstore_reads_checkpoint_and_proofs(export: Export, python: Path) -> None:
    need_module(python, "sigstore")
    said = json.loads(run(python, HERE / "check_sigstore.py", export.folder))
    assert said["size"] == SIZE
    assert len(said["signers"]) == 3


# JavaScript and a shell


def check_leaves(tools: Path, leaves: Path) -> subprocess.CompletedProcess[str]:
    script = (HERE / "check_leaves.mjs").read_text()
    command: list[str | Path] = ["node", "--input-type=module", "-", leaves]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, input=script, cwd=tools
    )


def test_canonicalize_writes_the_same_leaves_and_chain(export: Export, node: Path) -> None:
    done = check_leaves(node, export.folder / "leaves")
    assert done.stdout.split() == [str(SIZE), export.hashes[-1].hex()], done.stderr


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"door"', b'"dOOr"', "leaf 2 does not link to the one before"),
        (b'"cause":[]', b'"cause": []', "leaf 0 is not canonical"),
    ],
)
def test_canonicalize_notices_a_changed_leaf(
    export: Export, node: Path, tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    leaves = (export.folder / "leaves").read_bytes().replace(old, new, 1)
    (tmp_path / "leaves").write_bytes(leaves)
    done = check_leaves(node, tmp_path / "leaves")
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.skipif(not all(map(shutil.which, ("openssl", "sha256sum"))), reason="needs openssl")
def test_openssl_and_coreutils_verify_a_checkpoint_and_hash_a_leaf(
    export: Export, tmp_path: Path
) -> None:
    note = verify.parse_note(export.note)
    vkey = verify.parse_vkey(export.vkey)
    der = bytes.fromhex("302a300506032b6570032100") + vkey.public_key
    pem = (
        f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"
    )
    (tmp_path / "key.pem").write_text(pem)
    (tmp_path / "text").write_text(note.text)
    (tmp_path / "signature").write_bytes(note.signatures[0].signature)
    (tmp_path / "leaf").write_bytes(export.receipts[5].leaf)
    check = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in text -sigfile signature"
    hashed = r"printf '\0' | cat - leaf | sha256sum"
    said = run("bash", "-ec", f"cd '{tmp_path}'; {check}; {hashed}")
    assert "Signature Verified Successfully" in said
    assert export.hashes[5].hex() in said
    (tmp_path / "text").write_text(note.text.replace("700", "701"))
    command = ["bash", "-ec", f"cd '{tmp_path}'; {check}"]
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
