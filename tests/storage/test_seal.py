from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.integrations.key_vault_file import KEY_BYTES, KeyVaultFile
from autonomics.receipts.vault import KeyVault
from autonomics.storage.seal import Sealer
from autonomics.testing.fixed_vault import FixedVault

SALT = bytes(range(32))
VAULTS: list[KeyVault] = [KeyVaultFile(bytes(range(64))), FixedVault()]


@pytest.fixture(params=VAULTS, ids=["file", "fixed"])
def vault(request: pytest.FixtureRequest) -> KeyVault:
    found: KeyVault = request.param
    return found


class TestVault:
    """What every vault does."""

    def test_a_key_comes_out_of_its_own_context_alone(self, vault: KeyVault) -> None:
        wrapped = vault.wrap(b"k" * 32, b"one")
        assert vault.unwrap(wrapped, b"one") == b"k" * 32
        assert vault.unwrap(wrapped, b"two") is None

    def test_a_wrapped_key_does_not_show_it(self, vault: KeyVault) -> None:
        assert b"k" * 8 not in vault.wrap(b"k" * 32, b"one")

    def test_a_changed_bit_is_noticed(self, vault: KeyVault) -> None:
        wrapped = vault.wrap(os.urandom(32), b"one")
        for place in range(8 * len(wrapped)):
            changed = bytearray(wrapped)
            changed[place // 8] ^= 1 << place % 8
            assert vault.unwrap(bytes(changed), b"one") is None

    @pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 47, 49, 1000])
    def test_noise_of_any_size_is_refused(self, vault: KeyVault, size: int) -> None:
        assert vault.unwrap(bytes(size), b"one") is None

    def test_the_id_names_the_key_and_does_not_show_it(self, vault: KeyVault) -> None:
        assert len(vault.id) == 16
        assert int(vault.id, 16) >= 0


def test_vaults_of_other_keys_have_other_ids_and_open_nothing() -> None:
    one, two = KeyVaultFile(b"1" * 64), KeyVaultFile(b"2" * 64)
    assert one.id != two.id
    assert two.unwrap(one.wrap(b"k" * 32, b"c"), b"c") is None
    one_fixed, two_fixed = FixedVault("one"), FixedVault("two")
    assert one_fixed.id != two_fixed.id
    assert two_fixed.unwrap(one_fixed.wrap(b"k" * 32, b"c"), b"c") is None


@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_what_was_sealed_is_opened_again(payloads: list[bytes]) -> None:
    sealer = Sealer(FixedVault())
    rows = [(place, SALT, payload) for place, payload in enumerate(payloads)]
    sealed = sealer.seal(rows)
    assert [sealer.open(row) for row in sealed] == [(SALT, payload) for payload in payloads]


def test_each_payload_has_a_key_of_its_own() -> None:
    sealer = Sealer(FixedVault())
    rows = [(1, SALT, b"same")] * 4
    sealed = sealer.seal(rows) + sealer.seal(rows)
    assert len({key for _, key, _ in sealed}) == 8
    assert len({body for _, _, body in sealed}) == 8


def test_a_row_is_opened_in_its_place_alone() -> None:
    sealer = Sealer(FixedVault())
    first, second = sealer.seal([(1, SALT, b"one"), (2, SALT, b"two")])
    assert sealer.open((2, *first[1:])) is None
    assert sealer.open((first[0], second[1], first[2])) is None
    assert sealer.open((first[0], first[1], second[2])) is None


def test_every_changed_bit_of_a_row_is_noticed() -> None:
    sealer = Sealer(FixedVault())
    ((row_id, key, body),) = sealer.seal([(1, SALT, b"secret")])
    for place in range(8 * len(body)):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert sealer.open((row_id, key, bytes(changed))) is None
    for size in range(len(body)):
        assert sealer.open((row_id, key, body[:size])) is None


def test_a_sealed_row_shows_neither_salt_nor_payload() -> None:
    ((_, key, body),) = Sealer(KeyVaultFile(os.urandom(KEY_BYTES))).seal([(1, SALT, b"secret!!")])
    assert b"secret!!" not in key + body
    assert SALT[:8] not in key + body
    assert len(body) == 32 + 8 + 16
