from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autonomics.errors import InvalidConfig
from autonomics.integrations.signing_key_file import (
    create_signing_key,
    load_signing_key,
    open_signing_key,
)
from autonomics.receipts import verify
from autonomics.receipts.signer import format_vkey

SEED = bytes(range(32))


async def test_what_it_signs_verifies_under_the_vkey_of_any_log(tmp_path: Path) -> None:
    signer = create_signing_key(tmp_path / "key", SEED)
    signature = await signer.sign(b"message")
    for origin in ("ledger.example/t/a", "ledger.example/t/b"):
        vkey = verify.parse_vkey(format_vkey(origin, signer.public_key))
        assert vkey.name == origin
        assert verify.verify_ed25519(vkey.public_key, b"message", signature)
        assert not verify.verify_ed25519(vkey.public_key, b"messagf", signature)


def test_the_key_is_created_once_and_then_loaded(tmp_path: Path) -> None:
    first = open_signing_key(tmp_path / "key", SEED)
    second = open_signing_key(tmp_path / "key", bytes(32))
    assert first.public_key == second.public_key


def test_the_file_is_readable_by_its_owner_alone_and_stands_alone(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "key", SEED)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_standing_key_is_never_replaced(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "key", SEED)
    with pytest.raises(InvalidConfig, match="a new file"):
        create_signing_key(tmp_path / "key", bytes(32))
    assert (tmp_path / "key").read_text() == SEED.hex() + "\n"
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "key", SEED)
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(InvalidConfig, match=r"0600.*0o640"):
        load_signing_key(tmp_path / "key")


def test_a_malformed_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for content in ("zz" * 32, SEED.hex() + "00", ""):
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(InvalidConfig, match="64 hex digits") as caught:
            load_signing_key(path)
        assert not content or content not in str(caught.value)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="a readable file"):
        load_signing_key(tmp_path / "none")
    with pytest.raises(InvalidConfig, match="32 bytes, got 5"):
        create_signing_key(tmp_path / "key", b"short")


def test_importing_the_module_does_not_import_cryptography() -> None:
    code = (
        "import sys, autonomics.integrations.signing_key_file;"
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
