"""The case of data at rest measures what it says: a plain store beside a sealed one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from autonomics.integrations.key_vault_file import KeyVaultFile
from bench import at_rest

VAULT = KeyVaultFile(bytes(range(64)))


def test_sealing_is_measured_against_a_store_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_rest, "TURNS", 1)
    monkeypatch.setattr(at_rest, "COMMITS", 1)
    figures = at_rest.measure_sealing(tmp_path, VAULT)
    assert figures["commit_of_64_cpu_ratio"] > 0
    for name, is_plain in (("plain", True), ("sealed", False)):
        connection = sqlite3.connect(tmp_path / f"{name}.sqlite")
        bodies = connection.execute("SELECT body FROM payload").fetchall()
        connection.close()
        assert len(bodies) > 2 * (64 + 256)
        assert any(b"xxxx" in body for (body,) in bodies) == is_plain


def test_opening_and_reading_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_rest, "OPENED", 300)
    figures = at_rest.measure_opening(tmp_path, VAULT)
    assert figures["opened_receipts"] == 512
    assert figures["open_cpu_us_per_receipt"] > 0
