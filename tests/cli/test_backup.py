from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Serve, Shell


def fill(shell: Shell, tmp_path: Path) -> None:
    shell.say("tenants", "create", "acme")
    message = tmp_path / "message.json"
    message.write_text('{"textPayload": "fay@example.com has called"}')
    shell.say("signal", "acme", str(message))


def test_a_lost_folder_is_restored_with_its_keys_put_back(new_house: Shell, tmp_path: Path) -> None:
    fill(new_house, tmp_path)
    copy = tmp_path / "copy"
    done = new_house.value("backup", "--out", str(copy))
    assert (done["logs"], done["backup"]) == (2, str(copy))
    for secret in ((new_house.data / "keys/payload-key"), (new_house.data / "signing-key")):
        assert secret.read_bytes().strip() not in copy.read_bytes()
    lost = new_house.data.rename(tmp_path / "lost")
    code, line = new_house.fail("restore", str(copy))
    assert (code, line.partition(":")[0]) == (1, f"there is no data folder at {new_house.data}")
    new_house.data.mkdir(mode=0o700)
    assert "put" in new_house.fail("restore", str(copy))[1]
    shutil.copy(lost / "signing-key", new_house.data / "signing-key")
    assert "payload key" in new_house.fail("restore", str(copy))[1]
    shutil.copytree(lost / "keys", new_house.data / "keys")
    assert new_house.say("restore", str(copy)).startswith(f"Restored {done['receipts']} receipts")
    kinds = [row["kind"] for row in new_house.value("receipts", "acme")["receipts"]]
    assert [kind for kind in kinds if kind in ("received", "decided")] == ["received", "decided"]


def test_a_restore_does_not_bring_back_who_was_erased(new_house: Shell, tmp_path: Path) -> None:
    fill(new_house, tmp_path)
    copy = tmp_path / "copy"
    assert "verified" in new_house.say("backup", "--out", str(copy))
    new_house.say("subjects", "erase", "fay@example.com", "--reason", "asked")
    (new_house.data / "ledger.sqlite").unlink()
    assert new_house.value("restore", str(copy))["erased_again"] >= 1
    assert "fay@" not in str(new_house.value("receipts", "acme"))
    assert new_house.fail("subjects", "find", "fay@example.com")[0] == 1


def test_a_backup_that_lacks_what_stands_here_is_refused(new_house: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    new_house.say("backup", "--out", str(copy))
    fill(new_house, tmp_path)
    code, line = new_house.fail("restore", str(copy))
    assert code == 1
    assert "the log would be rolled back" in line


def test_a_known_checkpoint_has_to_be_one(new_house: Shell, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("hello")
    code, line = new_house.fail("restore", str(tmp_path / "copy"), "--known", str(note))
    assert code == 1
    assert "expected checkpoint to be well formed" in line


def test_a_server_is_backed_up_and_never_restored_under(
    new_house: Shell, tmp_path: Path, serve: Serve
) -> None:
    server = serve(new_house.data, "--port", "0").wait_ready()
    fill(new_house, tmp_path)
    copy = tmp_path / "copy"
    assert new_house.value("backup", "--out", str(copy))["logs"] == 2
    assert "is held by process" in new_house.fail("restore", str(copy))[1]
    fill_again = new_house.say("signal", "acme", str(tmp_path / "message.json"))
    assert fill_again
    assert server.end() == 0


@pytest.mark.parametrize("name", ["message.json", "copy"])
def test_a_file_that_stands_is_not_replaced(new_house: Shell, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("mine")
    assert "a new file" in new_house.fail("backup", "--out", str(target))[1]
    assert target.read_text() == "mine"
