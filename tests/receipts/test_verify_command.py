"""Run the shipped file as an auditor does: alone, with nothing but the standard library."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ed25519

from autonomics.integrations.signing_key_file import SigningKeyFile
from autonomics.receipts import checkpoint, verify
from autonomics.receipts.export import export_bundle, export_lines
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.proof import format_proof
from autonomics.receipts.signer import format_vkey
from autonomics.testing.store_contract import (
    ACME,
    IDEM_KEY,
    NOW,
    ZETA,
    count_salts_from,
    make_entry,
)

from .evidence import TODAY, build, bundle_of, checkpoint_of, cosign, forge, policy_of, rename

SIGNER = SigningKeyFile(ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
VKEY = format_vkey(ACME, SIGNER.public_key)


class Evidence:
    """A log of five receipts in each form that the command reads."""

    def __init__(self, folder: Path, receipts: list[Receipt], signed: bytes) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        self.lines = folder / "receipts.jsonl"
        self.proof = folder / "3.tlog-proof"
        self.known = folder / "known"
        verifier = Path(verify.__file__).read_bytes()
        for path, data in export_bundle(receipts, signed, verifier):
            (self.bundle / path).parent.mkdir(parents=True, exist_ok=True)
            (self.bundle / path).write_bytes(data)
        self.lines.write_bytes(b"".join(export_lines(receipts)))
        self.proof.write_bytes(format_proof(receipts[3], [r.leaf_hash for r in receipts], signed))
        self.known.write_bytes(signed)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        # -I -S: no site-packages and no current folder, so nothing of ours can be imported.
        command = [sys.executable, "-I", "-S", self.bundle / "verify.py", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    entries = [make_entry(f"payload {number}") for number in range(4)]
    head, receipts = append(
        LogHead.empty(ACME), entries, NOW, count_salts_from(0), IDEM_KEY, epoch=1
    )
    signed = trio.run(checkpoint.sign_checkpoint, checkpoint.checkpoint_of(head), SIGNER)
    return Evidence(tmp_path, receipts, signed)


def test_the_shipped_file_verifies_each_form_alone(evidence: Evidence) -> None:
    for path in (evidence.bundle, evidence.proof):
        assert evidence.run(path, "--vkey", VKEY).returncode == 10
    assert evidence.run(evidence.lines, "--known-checkpoint", evidence.known).returncode == 10
    for path in (evidence.bundle, evidence.proof, evidence.lines):
        result = evidence.run(path)
        assert result.returncode == 20
        assert result.stderr == ""
        assert ACME in result.stdout


def test_json_output_is_one_object_per_log(evidence: Evidence) -> None:
    result = evidence.run(evidence.bundle, "--vkey", VKEY, "--json")
    found = json.loads(result.stdout)
    assert (found["verdict"], found["code"], found["origin"]) == ("consistent", 10, ACME)
    assert (found["size"], found["present"], found["erased"], found["pruned"]) == (5, 5, 0, 0)


def test_a_changed_file_on_disk_is_invalid_and_named(evidence: Evidence) -> None:
    entries = evidence.bundle / "tile/entries/000.p/5"
    entries.write_bytes(entries.read_bytes().replace(b'"actor":"door"', b'"actor":"dOOr"', 1))
    result = evidence.run(evidence.bundle, "--vkey", VKEY)
    assert result.returncode == 40
    assert result.stdout.startswith("invalid (40) at seq 1: ")


def test_a_link_in_a_bundle_is_refused(evidence: Evidence) -> None:
    shutil.move(evidence.bundle / "checkpoint", evidence.folder / "elsewhere")
    (evidence.bundle / "checkpoint").symlink_to(evidence.folder / "elsewhere")
    result = evidence.run(evidence.bundle, "--vkey", VKEY)
    assert result.returncode == 40
    assert "checkpoint is a link" in result.stdout


def test_a_folder_in_the_place_of_a_file_counts_as_missing(evidence: Evidence) -> None:
    (evidence.bundle / "checkpoint").unlink()
    (evidence.bundle / "checkpoint").mkdir()
    assert evidence.run(evidence.bundle).returncode == 40


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["/nowhere/at/all"],
        ["{bundle}", "--vkey", "nonsense"],
        ["{bundle}", "--known-checkpoint", "/nowhere"],
        ["{bundle}", "--known-checkpoint", "{lines}"],
        ["{bundle}", "--quorum", "2"],
        ["{bundle}", "--policy", "{bundle}"],
    ],
)
def test_what_can_not_be_used_is_exit_code_2_and_said_on_stderr(
    evidence: Evidence, arguments: list[str]
) -> None:
    paths = {"bundle": evidence.bundle, "lines": evidence.lines}
    result = evidence.run(*(argument.format(**paths) for argument in arguments))
    assert result.returncode == 2
    assert result.stdout == ""
    assert "verify" in result.stderr


def test_main_runs_in_process_too(evidence: Evidence, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(evidence.bundle), "--vkey", VKEY]) == 10
    assert "consistent (10)" in capsys.readouterr().out
    other = format_vkey(ZETA, SIGNER.public_key)
    assert verify.main([str(evidence.bundle), "--vkey", other]) == 40
    assert verify.main([str(evidence.proof), "--vkey", VKEY]) == 10
    assert verify.main([str(evidence.lines), "--json"]) == 20
    (evidence.bundle / "checkpoint").rename(evidence.folder / "elsewhere")
    assert verify.main([str(evidence.bundle)]) == 40
    (evidence.bundle / "checkpoint").symlink_to(evidence.folder / "elsewhere")
    assert verify.main([str(evidence.bundle)]) == 40
    capsys.readouterr()
    assert verify.main(["/nowhere/at/all"]) == 2
    assert "can't read /nowhere/at/all" in capsys.readouterr().err


@pytest.fixture
def witnessed(tmp_path: Path) -> Path:
    """A bundle that two of three witnesses cosigned, beside the policy that asks for them."""
    log = build(5)
    bundle = bundle_of(log, cosign(checkpoint_of(log), "w1", "w3", at=TODAY))
    for path, data in bundle.items():
        (tmp_path / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / path).write_bytes(data)
    (tmp_path / "policy").write_bytes(policy_of())
    return tmp_path


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "bundle/verify.py", "bundle", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--policy policy --at 2030-03-17T18:00:00Z", 0),
        ("--policy policy --at 2030-03-17T18:00:00Z --max-age 15m", 0),
        ("--policy policy --at 2030-03-17T19:46:40+01:00 --max-age 59m", 50),
        ("--policy policy --at 2030-03-17T17:00:00Z", 10),  # the cosignatures come later
        ("--policy policy --max-age 15m --known-checkpoint bundle/checkpoint", 10),
        ("--policy policy --at 2030-03-17T18:00:00Z --known-checkpoint policy", 2),
        ("--policy nowhere", 2),
        ("--policy bundle", 2),
        ("--policy bundle/checkpoint", 2),
        ("--policy policy --max-age 15", 2),
        ("--policy policy --at yesterday", 2),
        ("--policy policy --at 2030-03-17T18:00:00", 2),
        ("--max-age 15m", 2),
    ],
)
def test_the_policy_and_the_time_come_from_the_command_line(
    witnessed: Path, options: str, code: int
) -> None:
    result = run(witnessed, *options.split())
    assert result.returncode == code, result
    assert (result.stderr == "") == (code != 2)
    if code == 2:
        assert "verify: " in result.stderr


def test_the_json_of_a_fork_holds_both_checkpoints(witnessed: Path) -> None:
    kept = checkpoint_of(forge(build(5), 2, rename))
    (witnessed / "kept").write_bytes(kept)
    options = ("--known-checkpoint", "kept", "--known-checkpoint", "kept")
    result = run(witnessed, "--policy", "policy", *options, "--json")
    assert result.returncode == 30
    found = json.loads(result.stdout)
    shown = (witnessed / "bundle/checkpoint").read_text()
    assert found["evidence"] == [kept.decode(), shown]
    said = run(witnessed, "--policy", "policy", *options).stdout
    assert said.startswith("diverged (30): root at size 5 differs")
    assert said.count(f"    {ACME}\n    5\n") == 2


def test_main_takes_the_policy_in_process_too(
    witnessed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(witnessed / "bundle"), "--policy", str(witnessed / "policy")]
    assert verify.main([*words, "--at", "2030-03-17T18:00:00Z", "--max-age", "1d"]) == 0
    assert "witnessed (0): signed by a key that you brought; cosigned by w1, w3" in (
        capsys.readouterr().out
    )
    with pytest.raises(SystemExit) as caught:
        verify.main([*words, "--max-age", "soon"])
    assert caught.value.code == 2
    assert "expected an age such as 90s" in capsys.readouterr().err
    (witnessed / "bundle" / "payloads.jsonl").unlink()
    assert verify.main(words) == 40
    assert verify.main([*words[:2], str(witnessed / "none")]) == 2
    assert "can't read" in capsys.readouterr().err
