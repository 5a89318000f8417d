from __future__ import annotations

import os
import shutil
from pathlib import Path

from autonomics.integrations.signing_key_file import create_signing_key

from .conftest import Shell, digest_folder

OLD = Path(__file__).parents[1] / "storage" / "old" / "schema-1.sqlite"


def make_old_folder(shell: Shell) -> None:
    shell.data.mkdir(mode=0o700)
    create_signing_key(shell.data / "signing-key", os.urandom(32))
    shutil.copy(OLD, shell.data / "ledger.sqlite")


def test_a_folder_of_an_earlier_version_says_what_to_do(shell: Shell) -> None:
    make_old_folder(shell)
    before = digest_folder(shell.data)
    code, line = shell.fail("tenants", "list")
    assert code == 1
    assert "has schema 1, this program writes 2: run `autonomics store migrate` first" in line
    assert digest_folder(shell.data) == before


def test_a_dry_run_says_what_would_be_done_and_makes_no_key(shell: Shell) -> None:
    make_old_folder(shell)
    before = digest_folder(shell.data)
    out = shell.say("store", "migrate", "--dry-run")
    assert "would go from schema 1 to 2: 16 receipts of 2 logs, 15 payloads" in out
    assert {**digest_folder(shell.data), "lock": b""} == {**before, "lock": b""}


def test_a_migrated_folder_is_served_again(shell: Shell) -> None:
    make_old_folder(shell)
    done = shell.value("store", "migrate")
    assert (done["before"], done["after"], done["receipts"]) == (1, 2, 16)
    key = shell.data / "keys" / "payload-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert shell.value("tenants", "list") == {"tenants": []}
    assert shell.say("store", "migrate").startswith("The store has schema 2 already, and is whole")


def test_a_migration_never_makes_a_key_in_place_of_one_that_is_lost(new_house: Shell) -> None:
    key = new_house.data / "keys" / "payload-key"
    key.unlink()
    assert "has schema 2 already" in new_house.say("store", "migrate")
    assert not key.exists()
    code, line = new_house.fail("tenants", "list")
    assert code == 1
    assert line.startswith(f"expected {key} to be the key that opens the payloads of ledger.sqlite")


def test_another_payload_key_is_refused(new_house: Shell) -> None:
    key = new_house.data / "keys" / "payload-key"
    key.write_text("00" * 64)
    code, line = new_house.fail("tenants", "list")
    assert code == 1
    assert "put the right one back from its own backup" in line


def test_there_has_to_be_a_store(shell: Shell) -> None:
    assert shell.fail("store", "migrate")[1].startswith("there is no data folder at")


def test_a_foreign_file_is_refused_and_no_key_is_made_for_it(shell: Shell) -> None:
    make_old_folder(shell)
    (shell.data / "ledger.sqlite").write_bytes(b"my diary\n" * 40)
    assert "it is no SQLite file" in shell.fail("store", "migrate")[1]
    assert not (shell.data / "keys").exists()
