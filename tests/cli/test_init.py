from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from .conftest import Shell, digest_folder


def test_init_makes_a_folder_and_prints_the_admin_key_with_the_next_command(shell: Shell) -> None:
    out = shell.say("init")
    assert sum("aut_" in line for line in out.splitlines()) == 1
    assert out.endswith(f"Next: autonomics serve --data {shell.data}\n")
    assert {path.name for path in shell.data.iterdir()} >= {"ledger.sqlite", "signing-key"}
    assert stat.S_IMODE(shell.data.stat().st_mode) == 0o700


def test_init_prints_one_json_value(shell: Shell) -> None:
    made = shell.value("init")
    assert made["data"] == str(shell.data)
    assert made["admin_key"]["role"] == "admin"
    (key,) = shell.value("api-keys", "list")["api_keys"]
    assert key["id"] == made["admin_key"]["id"]
    assert made["admin_key"]["secret"].encode() not in b"".join(
        data for data in digest_folder(shell.data).values() if data is not None
    )


def test_a_second_init_changes_nothing(new_house: Shell) -> None:
    before = digest_folder(new_house.data)
    code, line = new_house.fail("init")
    assert code == 1
    assert line.startswith(f"{new_house.data} is a data folder already; nothing was changed")
    assert digest_folder(new_house.data) == before


def test_a_file_in_the_place_of_the_folder_is_told_and_left(shell: Shell) -> None:
    shell.data.write_text("mine")
    code, line = shell.fail("init")
    assert code == 1
    assert str(shell.data) in line
    assert shell.data.read_text() == "mine"


def test_a_store_that_keeps_no_keys_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMICS_STORE", "memory")
    assert shell.fail("init")[1].startswith("a store of kind memory keeps no keys")
    assert not shell.data.exists()


def test_the_folder_may_come_from_a_file_of_settings(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "autonomics.toml"
    config.write_text(f"data = {json.dumps(str(shell.data))}\n")
    assert shell.run("init", "--config", str(config))[0] == 0
    assert (shell.data / "ledger.sqlite").exists()


def test_a_file_of_settings_that_is_not_there_is_misuse(shell: Shell, tmp_path: Path) -> None:
    code, line = shell.fail("init", "--config", str(tmp_path / "none.toml"))
    assert code == 2
    assert line == f"can't read {tmp_path / 'none.toml'}: No such file or directory"
