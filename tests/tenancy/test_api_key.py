from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.tenancy.api_key import (
    ALPHABET,
    hash_api_key,
    is_same_hash,
    make_api_key,
    parse_api_key,
)


@given(st.binary(min_size=48, max_size=48))
def test_a_key_that_was_made_is_read_back(random_bytes: bytes) -> None:
    key = make_api_key(random_bytes)
    assert parse_api_key(key.text) == key


@given(st.binary(min_size=48, max_size=48), st.integers(0, 50), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found_without_a_look_up(
    random_bytes: bytes, place: int, wrong: str
) -> None:
    text = make_api_key(random_bytes).text
    changed = text[:place] + wrong + text[place + 1 :]
    assert changed == text or parse_api_key(changed) is None


@pytest.mark.parametrize("text", ["", "aut_", "Bearer x", "aut_" + "é" * 47, "a" * 10_000])
def test_what_is_no_key_is_none(text: str) -> None:
    assert parse_api_key(text) is None


def test_a_key_does_not_show_itself() -> None:
    key = make_api_key(bytes(range(48)))
    assert key.text not in repr(key)
    assert key.id in repr(key)


def test_the_hash_needs_the_pepper() -> None:
    key = make_api_key(bytes(range(48)))
    assert is_same_hash(hash_api_key(b"a", key), hash_api_key(b"a", key))
    assert not is_same_hash(hash_api_key(b"a", key), hash_api_key(b"b", key))


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected 48 random bytes, got 4"):
        make_api_key(b"1234")
