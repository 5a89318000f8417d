from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput, NotCanonical
from autonomics.receipts import canonical, verify
from autonomics.receipts.leaf import Leaf, RecipeRef, decode_leaf, encode_leaf

SAFE = 2**53 - 1
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
hex64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
graphic = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
moments = st.datetimes(timezones=st.just(UTC))
leaves = st.builds(
    Leaf,
    log=st.sampled_from(["ledger.example/t/a", "x", "a.b-c_d~e:1/f"]),
    seq=st.integers(2, SAFE),
    prev=st.binary(min_size=32, max_size=32),
    epoch=st.integers(0, SAFE),
    at=moments,
    kind=st.sampled_from(["received", "decided", "of_tomorrow"]),
    actor=printable,
    cause=st.sampled_from([(), (0,), (0, 1)]),
    idem=st.none() | hex64,
    recipe=st.none() | st.builds(RecipeRef, graphic, graphic, hex64),
    digest=st.none() | hex64,
    commit=st.binary(min_size=32, max_size=32),
    payload_type=graphic,
    trace=st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex),
    ref=st.none() | st.integers(0, 1),
)


@given(values)
def test_encoding_equals_rfc8785(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(values)
def test_decoding_gives_the_value_back(value: object) -> None:
    assert canonical.decode(canonical.encode(value)) == value


@given(leaves)
def test_a_leaf_equals_rfc8785_and_reads_back(leaf: Leaf) -> None:
    data = encode_leaf(leaf)
    assert data == rfc8785.dumps(json.loads(data)) == canonical.encode(json.loads(data))
    assert decode_leaf(data) == leaf


@pytest.mark.parametrize(
    "value",
    [1.0, 0.5, float("nan"), 2**53, -(2**53), "\ud800", {"\ud800": 1}, {1: 2}, b"x", {1}, object()],
)
def test_what_has_no_canonical_form_is_refused_and_shown(value: object) -> None:
    for nested in (value, [value], {"a": [value]}):
        with pytest.raises(NotCanonical, match="expected value to be canonical"):
            canonical.encode(nested)


def test_a_subclass_that_could_encode_as_anything_is_refused() -> None:
    class Liar(str):
        __slots__ = ()

    with pytest.raises(NotCanonical, match="Liar"):
        canonical.encode(Liar("x"))


def test_nesting_beyond_the_limit_is_refused_both_ways() -> None:
    value: object = []
    for _ in range(verify.MAX_DEPTH):
        value = [value]
    with pytest.raises(NotCanonical, match="nested deeper"):
        canonical.encode(value)
    with pytest.raises(NotCanonical):
        canonical.decode(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b"1.0",
        b"1e0",
        b"-0",
        b"9007199254740992",
        b"NaN",
        b"Infinity",
        b'"\\u0061"',
        b'"\\ud800"',
        b'"\\/"',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        b"1\n",
        b"",
        b"1" * 5000,
    ],
)
def test_bytes_that_are_not_exactly_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical, match="canonical JSON"):
        canonical.decode(data)


def test_the_official_files_encode_to_the_official_bytes_or_hold_a_float(vectors: Path) -> None:
    refused: list[str] = []
    for file in sorted((vectors / "jcs-rfc8785/testdata/input").glob("*.json")):
        expected = (vectors / "jcs-rfc8785/testdata/output" / file.name).read_bytes()
        # A whole number may be spelled as a float there; in ES6 there is no difference.
        value = json.loads(file.read_bytes(), parse_float=whole_or_float)
        try:
            assert canonical.encode(value) == expected, file.name
        except NotCanonical:
            refused.append(file.name)
    assert refused == ["values.json"]


def whole_or_float(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= SAFE else number


def plain_leaf() -> dict[str, object]:
    return {
        "v": "autonomics.receipt/1",
        "log": "ledger.example/t/a",
        "seq": 5,
        "prev": "0" * 64,
        "epoch": 1,
        "ts": "2026-11-24T12:00:00.000000Z",
        "kind": "received",
        "actor": "door",
        "cause": [1, 3],
        "commit": "0" * 64,
        "payload_type": "test/1",
    }


TOO_MANY_CAUSES = list(range(65))


def test_a_plain_leaf_is_read() -> None:
    leaf = decode_leaf(canonical.encode(plain_leaf()))
    assert (leaf.seq, leaf.cause, leaf.at) == (5, (1, 3), datetime(2026, 11, 24, 12, tzinfo=UTC))


@pytest.mark.parametrize("key", sorted(plain_leaf()))
def test_a_leaf_without_a_required_key_is_refused(key: str) -> None:
    fields = plain_leaf()
    del fields[key]
    with pytest.raises(NotCanonical, match=key):
        decode_leaf(canonical.encode(fields))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v", "autonomics.receipt/2"),
        ("v", 1),
        ("extra", 1),
        ("idem", None),
        ("recipe", None),
        ("ref", None),
        ("ref", 5),
        ("ref", True),
        ("log", "Ledger.example/t/a"),
        ("log", "a b"),
        ("log", "a+b"),
        ("log", "a" * 256),
        ("seq", -1),
        ("seq", True),
        ("seq", "5"),
        ("epoch", -1),
        ("prev", "0" * 63),
        ("prev", "A" * 64),
        ("ts", "2026-11-24T12:00:00Z"),
        ("ts", "2026-13-24T12:00:00.000000Z"),
        ("ts", "2026-11-24T12:00:00.000000+00:00"),
        ("ts", "\u0662026-11-24T12:00:00.000000Z"),
        ("kind", "Received"),
        ("kind", ""),
        ("actor", ""),
        ("actor", "a\nb"),
        ("actor", "\u00e9"),
        ("cause", [3, 1]),
        ("cause", [1, 1]),
        ("cause", [5]),
        ("cause", [-1]),
        ("cause", [True]),
        ("cause", {}),
        ("cause", TOO_MANY_CAUSES),
        ("commit", 0),
        ("payload_type", "a b"),
        ("idem", "xyz"),
        ("digest", "0" * 65),
        ("trace", "0" * 31),
        ("recipe", {"id": "a", "version": "1"}),
        ("recipe", {"id": "a", "version": "1", "digest": "0"}),
        ("recipe", {"id": "a", "version": 1, "digest": "0" * 64}),
        ("recipe", []),
    ],
)
def test_a_leaf_with_a_field_out_of_form_is_refused(key: str, value: object) -> None:
    fields = {**plain_leaf(), key: value}
    if value == TOO_MANY_CAUSES:
        fields["seq"] = 100
    with pytest.raises(NotCanonical, match=r"autonomics.receipt/1"):
        decode_leaf(canonical.encode(fields))


def test_an_unknown_kind_is_read() -> None:
    assert decode_leaf(canonical.encode({**plain_leaf(), "kind": "of_tomorrow"}))


@pytest.mark.parametrize("data", [b"[]", b"1", b"{}", b'"x"', b"null"])
def test_what_is_no_leaf_is_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_leaf(data)


def test_a_leaf_above_8_kib_is_neither_written_nor_read() -> None:
    leaf = decode_leaf(canonical.encode(plain_leaf()))
    with pytest.raises(NotCanonical, match="at most 8192 bytes"):
        encode_leaf(attrs.evolve(leaf, actor="a" * 9000))
    with pytest.raises(NotCanonical, match="limit is 8192"):
        decode_leaf(b" " * 9000)


def test_a_lone_surrogate_and_a_naive_time_are_refused_on_writing() -> None:
    leaf = decode_leaf(canonical.encode(plain_leaf()))
    with pytest.raises(NotCanonical, match="surrogates"):
        encode_leaf(attrs.evolve(leaf, actor="\ud800"))
    with pytest.raises(InvalidInput, match="an aware datetime"):
        encode_leaf(attrs.evolve(leaf, at=leaf.at.replace(tzinfo=None)))


@given(moments, st.integers(-14, 14))
def test_time_is_written_in_utc_whatever_its_zone(at: datetime, hours: int) -> None:
    leaf = decode_leaf(canonical.encode(plain_leaf()))
    try:
        elsewhere = at.astimezone(timezone(timedelta(hours=hours)))
    except OverflowError:
        return
    assert encode_leaf(attrs.evolve(leaf, at=elsewhere)) == encode_leaf(attrs.evolve(leaf, at=at))
