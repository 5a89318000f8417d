from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autonomics.errors import InvalidConfig
from autonomics.integrations.key_vault_file import (
    KeyVaultFile,
    create_key_vault,
    load_key_vault,
    open_key_vault,
)

KEY = bytes(range(64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "payload-key"


def test_the_key_is_created_once_and_then_loaded(path: Path) -> None:
    first = open_key_vault(path, KEY)
    second = open_key_vault(path, bytes(64))
    assert first.id == second.id == KeyVaultFile(KEY).id
    assert second.unwrap(first.wrap(b"k" * 32, b"c"), b"c") == b"k" * 32


def test_file_and_folder_are_readable_by_their_owner_alone(path: Path) -> None:
    create_key_vault(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["payload-key"]


def test_a_standing_key_is_never_replaced(path: Path) -> None:
    create_key_vault(path, KEY)
    with pytest.raises(InvalidConfig, match="a new file"):
        create_key_vault(path, bytes(64))
    assert path.read_text() == KEY.hex() + "\n"
    assert [file.name for file in path.parent.iterdir()] == ["payload-key"]


def test_a_key_that_others_can_read_is_refused(path: Path) -> None:
    create_key_vault(path, KEY)
    path.chmod(0o640)
    with pytest.raises(InvalidConfig, match=r"0600.*0o640"):
        load_key_vault(path)


@pytest.mark.parametrize("content", ["zz" * 64, KEY.hex() + "00", KEY.hex()[:64], ""])
def test_a_malformed_key_is_refused_without_showing_it(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidConfig, match="128 hex digits") as caught:
        load_key_vault(path)
    assert not content or content not in str(caught.value)


def test_a_missing_key_is_told(path: Path) -> None:
    with pytest.raises(InvalidConfig, match="a readable file"):
        load_key_vault(path)
    with pytest.raises(InvalidConfig, match="64 bytes, got 5"):
        create_key_vault(path, b"short")


def test_importing_the_module_does_not_import_cryptography() -> None:
    code = (
        "import sys, autonomics.integrations.key_vault_file, autonomics.storage.sqlite;"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
