from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from autonomics.storage.data_folder import open_data_folder

from .conftest import Serve, Shell, digest_folder, expect_one_line, run_process


def fail_to_serve(data: Path, *words: str) -> tuple[int, str]:
    done = run_process("serve", "--data", str(data), *words)
    return expect_one_line(done.returncode, done.stdout, done.stderr)


def test_a_port_that_is_taken_is_told_and_changes_nothing(new_house: Shell) -> None:
    before = digest_folder(new_house.data)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = fail_to_serve(new_house.data, "--port", str(port))
        assert (code, line) == (1, f"can't listen on 127.0.0.1:{port}: address already in use")
        fresh = new_house.data.parent / "fresh"
        assert fail_to_serve(fresh, "--port", str(port)) == (code, line)
    assert digest_folder(new_house.data) == before
    assert not fresh.exists()


def test_a_second_server_on_a_folder_is_told_and_the_first_goes_on(
    new_house: Shell, serve: Serve
) -> None:
    first = serve(new_house.data, "--port", "0").wait_ready()
    before = digest_folder(new_house.data)
    code, line = fail_to_serve(new_house.data, "--port", "0")
    assert (code, line) == (1, f"another server holds {new_house.data}")
    assert digest_folder(new_house.data) == before
    new_house.say("tenants", "create", "acme")
    assert first.end() == 0


def test_a_folder_that_another_process_holds_is_told(new_house: Shell) -> None:
    with open_data_folder(new_house.data):
        before = digest_folder(new_house.data)
        code, line = fail_to_serve(new_house.data, "--port", "0")
        assert (code, line) == (1, f"{new_house.data} is held by process {os.getpid()}")
        assert digest_folder(new_house.data) == before


def test_a_file_in_the_place_of_the_folder_is_told(shell: Shell) -> None:
    shell.data.write_text("mine")
    code, line = fail_to_serve(shell.data, "--port", "0")
    assert code == 1
    assert str(shell.data) in line
    assert shell.data.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, line = fail_to_serve(tmp_path / "data", "--port", "0")
    tmp_path.chmod(0o700)
    assert code == 1
    assert "permission denied" in line.lower()


def no_database(path: Path) -> None:
    path.write_bytes(b"these are not the bytes of a database" * 10)


def foreign_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()


def cut_database(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def changed_receipt(path: Path) -> None:
    data = path.read_bytes()
    assert b'"kind":"key"' in data
    path.write_bytes(data.replace(b'"kind":"key"', b'"kind":"kex"'))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (no_database, "is not a store of autonomics: it is no SQLite file"),
        (foreign_database, "is not a store of autonomics: another program made it"),
        (cut_database, "is corrupted"),
        (changed_receipt, "ledger.sqlite"),
    ],
)
def test_a_store_that_is_not_as_we_left_it_is_told_and_left_as_it_is(
    new_house: Shell, harm: Callable[[Path], None], says: str
) -> None:
    path = new_house.data / "ledger.sqlite"
    harm(path)
    before = digest_folder(new_house.data)
    code, line = fail_to_serve(new_house.data, "--port", "0")
    assert code == 1
    assert says in line
    assert str(path) in line
    assert digest_folder(new_house.data) == before
    assert new_house.fail("tenants", "list") == (code, line)
    assert digest_folder(new_house.data) == before


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_others_may_not_reach_a_folder_without_an_admin_key(shell: Shell, host: str) -> None:
    code, line = fail_to_serve(shell.data, "--port", "0", "--host", host)
    step = f"run `autonomics init --data {shell.data}` first"
    assert (code, line) == (1, f"may not listen on {host} without an admin key: {step}")
    assert not shell.data.exists()


def test_a_folder_whose_admin_keys_are_revoked_counts_as_one_without(new_house: Shell) -> None:
    (key,) = new_house.value("api-keys", "list")["api_keys"]
    new_house.say("api-keys", "revoke", key["id"])
    code, line = fail_to_serve(new_house.data, "--port", "0", "--host", "0.0.0.0")
    assert code == 1
    assert "run `autonomics api-keys create --role admin --data" in line


def test_a_store_without_keys_stays_on_this_machine(new_house: Shell) -> None:
    words = ("--port", "0", "--host", "0.0.0.0", "--store", "memory")
    code, line = fail_to_serve(new_house.data, *words)
    assert code == 1
    assert "a store of kind memory begins without any key" in line


def test_others_may_reach_a_folder_with_an_admin_key(new_house: Shell, serve: Serve) -> None:
    server = serve(new_house.data, "--port", "0", "--host", "0.0.0.0").wait_ready()
    assert server.end() == 0


def test_a_signing_key_that_others_can_read_is_refused(new_house: Shell) -> None:
    (new_house.data / "signing-key").chmod(0o644)
    code, line = fail_to_serve(new_house.data, "--port", "0")
    assert code == 1
    assert line == "expected signing key to be readable by its owner alone (0600), got '0o644'"
