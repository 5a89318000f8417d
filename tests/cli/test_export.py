from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from autonomics.cli.export import unpack
from autonomics.errors import CommandFailed

from .conftest import Shell, digest_folder, expect_one_line


@pytest.fixture
def signals(tmp_path: Path) -> str:
    path = tmp_path / "signal.json"
    path.write_text('{"kind": "none such"}')
    return str(path)


def test_an_export_is_verified_by_the_command_that_it_prints(
    house: Shell, tmp_path: Path, signals: str
) -> None:
    house.say("tenants", "create", "sent")
    house.say("signal", "sent", signals)
    out = tmp_path / "a bundle"
    said = house.say("export", "sent", "--out", str(out))
    words = shlex.split(said.rpartition("Next: ")[2])
    assert words[:2] == ["autonomics", "verify"]
    code, verdict, err = house.run(*words[1:])
    assert (code, err) == (10, "")
    assert verdict.startswith("consistent (10): signed by a key that you brought")
    assert words[-1] == house.say("signing-keys", "show", "sent").strip()


def test_an_export_is_verified_by_the_verifier_in_it(
    house: Shell, tmp_path: Path, signals: str
) -> None:
    house.say("tenants", "create", "alone")
    house.say("signal", "alone", signals)
    made = house.value("export", "alone", "--out", str(tmp_path / "new" / "bundle"))
    assert made["vkey"] == house.value("signing-keys", "show", "alone")["vkey"]
    files = [data for data in digest_folder(Path(made["out"])).values() if data is not None]
    assert made["files"] == len(files)
    words = [sys.executable, "-I", "verify.py", ".", "--vkey", made["vkey"], "--json"]
    done = subprocess.run(words, cwd=made["out"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (10, "")
    code, out, _ = house.run("verify", made["out"], "--vkey", made["vkey"], "--json")
    assert code == 10
    assert json.loads(out) == json.loads(done.stdout)


def test_the_verdict_is_the_exit_code(house: Shell, tmp_path: Path, signals: str) -> None:
    house.say("tenants", "create", "changed")
    house.say("signal", "changed", signals)
    out = tmp_path / "bundle"
    vkey = house.value("export", "changed", "--out", str(out))["vkey"]
    assert house.run("verify", str(out))[0] == 20
    known = ("--known-checkpoint", f"{out}/checkpoint")
    assert house.run("verify", str(out), "--vkey", vkey, *known)[0] == 10
    (decided,) = (
        row["seq"]
        for row in house.value("receipts", "changed")["receipts"]
        if row["kind"] == "decided"
    )
    entries = out / "tile" / "entries"
    (bundle,) = (path for path in entries.rglob("*") if path.is_file())
    bundle.write_bytes(bundle.read_bytes().replace(b'"decided"', b'"decidet"'))
    code, said, _ = house.run("verify", str(out), "--vkey", vkey)
    assert code == 40
    assert said.startswith(f"invalid (40) at seq {decided}: ")


def test_an_incident_leaves_with_proofs_and_without_what_is_not_allowed(
    house: Shell, tmp_path: Path
) -> None:
    house.say("tenants", "create", "incident", "--quota", "signals=1")
    signal = tmp_path / "quota.json"
    signal.write_text('{"kind": "quota", "quota": "signals", "used": 1, "limit": 1}')
    house.say("signal", "incident", str(signal))
    (decided,) = (
        row["id"]
        for row in house.value("receipts", "incident")["receipts"]
        if row["kind"] == "decided"
    )
    out = tmp_path / "evidence"
    said = house.say("export", "incident", "--incident", decided, "--out", str(out))
    words = shlex.split(said.rpartition("Next: ")[2])
    code, verdict, err = house.run(*words[1:])
    assert (code, err) == (10, "")
    assert verdict.startswith("consistent (10): in a tree that you trust")
    found = json.loads((out / "incident.json").read_text())
    kinds = [receipt["leaf"]["kind"] for receipt in found["receipts"]]
    assert kinds[:2] == ["received", "decided"]
    assert found["recipes"][0]["id"] == "ent.quota_near_limit"
    assert f"incident.{found['about']}" != decided
    assert decided.endswith(f".{found['about']}")
    story = (out / "narrative.md").read_text()
    assert "A signal of kind quota became durable." in story
    assert "control-socket" not in story + json.dumps(found)
    assert len(list((out / "proofs").iterdir())) == len(kinds)
    alone = tmp_path / "by number"
    number = str(found["about"])
    made = house.value("export", "incident", "--incident", number, "--out", str(alone))
    assert made["files"] == len(kinds) + 4


def test_an_incident_around_nothing_is_refused_and_leaves_nothing(
    house: Shell, tmp_path: Path
) -> None:
    house.say("tenants", "create", "quiet")
    before = digest_folder(tmp_path)
    out = ("--out", str(tmp_path / "out"))
    for receipt in ("99", "another.0"):
        assert house.fail("export", "quiet", "--incident", receipt, *out) == (
            1,
            f"there is no receipt {receipt} in the tenant's log",
        )
    code, line = house.fail("export", "quiet", "--incident", "x.y", *out)
    assert (code, line) == (2, "expected --incident to be the id of a receipt, got 'x.y'")
    assert digest_folder(tmp_path) == before


def test_an_empty_folder_may_be_filled(house: Shell, tmp_path: Path, signals: str) -> None:
    house.say("tenants", "create", "filled")
    house.say("signal", "filled", signals)
    out = tmp_path / "empty"
    out.mkdir()
    house.say("export", "filled", "--out", str(out))
    assert (out / "checkpoint").is_file()


def test_what_is_there_is_never_overwritten(house: Shell, tmp_path: Path) -> None:
    house.say("tenants", "create", "kept")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    before = digest_folder(tmp_path)
    assert house.fail("export", "kept", "--out", str(full)) == (
        1,
        f"{full} is not empty; name a new folder",
    )
    assert house.fail("export", "kept", "--out", str(full / "mine")) == (
        1,
        f"{full / 'mine'} is there and is no folder",
    )
    assert digest_folder(tmp_path) == before


def test_an_export_of_nobody_leaves_nothing(house: Shell, tmp_path: Path) -> None:
    before = digest_folder(tmp_path)
    assert house.fail("export", "nobody", "--out", str(tmp_path / "out"))[1].startswith(
        "there is no tenant 'nobody'"
    )
    assert digest_folder(tmp_path) == before


def test_verify_needs_no_data_folder_and_tells_misuse(shell: Shell, tmp_path: Path) -> None:
    code, line = expect_one_line(*shell.run("verify", str(tmp_path / "none")))
    assert code == 2
    assert line.startswith("can't read ")
    assert shell.run("verify", str(tmp_path), "--vkey", "no key")[0] == 2
    assert shell.run("verify", str(tmp_path), "--known-checkpoint", str(tmp_path / "none"))[0] == 2


def test_the_policy_and_its_time_come_from_the_command_line(shell: Shell, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_bytes(b"quorum none\n")
    code, line = expect_one_line(*shell.run("verify", str(tmp_path), "--policy", str(policy)))
    assert (code, line) == (2, "policy: it names no log, and you brought no key")
    code, line = expect_one_line(*shell.run("verify", str(tmp_path), "--max-age", "1"))
    assert code == 2
    assert "expected an age such as 90s, 15m, 24h or 7d, got '1'" in line
    code, line = expect_one_line(*shell.run("verify", str(tmp_path), "--at", "noon"))
    assert code == 2


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return stream


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry


CHECKPOINT = (member("checkpoint"), b"signed")


def test_plain_files_are_unpacked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unpack(tar_of((member("tile/0/000"), b"\0" * 9), CHECKPOINT), out) == 2
    assert digest_folder(out) == {
        "checkpoint": b"signed",
        "tile": None,
        "tile/0": None,
        "tile/0/000": b"\0" * 9,
    }


@pytest.mark.parametrize(
    "entry",
    [
        member("../out"),
        member("a/../../out"),
        member("/out"),
        member("."),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("link", tarfile.LNKTYPE, "checkpoint"),
        member("pipe", tarfile.FIFOTYPE),
        member("folder", tarfile.DIRTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.type!r}",
)
def test_an_archive_that_reaches_out_is_refused_and_leaves_nothing(
    tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    with pytest.raises(CommandFailed, match="which is no plain file"):
        unpack(tar_of(CHECKPOINT, (entry, b"")), tmp_path / "out")
    assert digest_folder(tmp_path) == {}


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="can't write"):
        unpack(tar_of(CHECKPOINT, CHECKPOINT), tmp_path / "out")
    assert digest_folder(tmp_path) == {}


@pytest.mark.parametrize("length", [0, 100, 700, 1024])
def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path, length: int) -> None:
    whole = tar_of((member("tile/0/000"), b"x" * 5000), CHECKPOINT).getvalue()
    with pytest.raises(CommandFailed, match="the export broke off"):
        unpack(io.BytesIO(whole[:length]), tmp_path / "out")
    assert digest_folder(tmp_path) == {}
