from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.receipts import verify
from autonomics.receipts.signer import format_vkey


def test_wycheproof_agrees_in_every_case(vectors: Path) -> None:
    file = vectors / "wycheproof/testvectors_v1/ed25519_test.json"
    groups = json.loads(file.read_bytes())["testGroups"]
    seen = 0
    for group in groups:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            found = verify.verify_ed25519(public_key, message, signature)
            assert found == (case["result"] == "valid"), case
            seen += 1
    assert seen == 151


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
def test_what_cryptography_signs_verifies_and_one_bit_less_does_not(
    seed: bytes, message: bytes, bit: int
) -> None:
    private_key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    public_key = private_key.public_key().public_bytes_raw()
    signature = private_key.sign(message)
    assert verify.verify_ed25519(public_key, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify.verify_ed25519(public_key, message, bytes(changed))
    assert not verify.verify_ed25519(public_key, message + b"x", signature)
    assert not verify.is_low_order(public_key)


LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_key_of_low_order_is_known_and_can_not_be_pinned(key: str) -> None:
    public_key = bytes.fromhex(key)
    assert verify.is_low_order(public_key)
    with pytest.raises(verify.Invalid, match="low order"):
        verify.parse_vkey(format_vkey("ledger.example/t/a", public_key))


def test_a_key_that_is_no_point_or_too_short_verifies_nothing() -> None:
    assert verify.is_low_order(b"\x02" + bytes(31))
    assert not verify.verify_ed25519(b"\x02" + bytes(31), b"", bytes(64))
    assert not verify.verify_ed25519(bytes(31), b"", bytes(64))
    assert not verify.verify_ed25519(bytes(32), b"", bytes(63))
    not_reduced = ((1 << 255) - 19).to_bytes(32, "little")
    assert not verify.verify_ed25519(not_reduced, b"", bytes(64))
