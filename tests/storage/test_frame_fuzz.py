# msgpack ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# ruff: noqa: PT017 (what is refused is told by the error, and not everything has to be refused)
"""Whatever stands where a frame should: one clear error, no crash, no more memory than it has."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonomics.errors import StoreUnusable
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import Commit
from autonomics.storage.erasure import read_erasures
from autonomics.storage.frame import Frame, FrameBatch, decode_frame, encode_frame
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_file import StoreFile
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import ACME, ZETA, grow, make_entry

pack = cast("Callable[[object], bytes]", msgpack.packb)

GOOD, _ = encode_frame(
    3,
    [
        FrameBatch(1, 0, 0, [b"leaf one", b"leaf two"], [(b"h" * 32, 1)]),
        FrameBatch(2, 7, 2, [b"leaf three"], []),
    ],
)


def read(body: bytes) -> Frame:
    """Read a frame whose digest somebody has made to fit; walk through all of it."""
    frame = decode_frame(1, body, hashlib.sha256(body).digest())
    for position, batch in enumerate(frame.batches()):
        assert frame.batch(position) == batch
        assert all(frame.find(batch.place + n) for n in range(len(batch.leaves)))
        assert batch.payload_id(1, batch.first_seq) >= 1 << 20
    return frame


def is_refused_or_a_frame(body: bytes) -> bool:
    """True if it was refused; only then with one line that says which frame."""
    try:
        read(body)
    except StoreUnusable as error:
        assert str(error).startswith("frame 1 ")
        assert "\n" not in str(error)
        return True
    return False


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=20,
)


@given(st.binary(max_size=400))
def test_arbitrary_bytes(body: bytes) -> None:
    is_refused_or_a_frame(body)


@given(trees)
def test_arbitrary_values(value: object) -> None:
    is_refused_or_a_frame(pack(value))


@given(st.tuples(trees, st.lists(st.tuples(trees, trees, trees, trees))))
def test_values_in_nearly_the_shape_of_a_frame(value: object) -> None:
    is_refused_or_a_frame(pack(value))


def test_every_flipped_bit() -> None:
    refused = 0
    for place in range(8 * len(GOOD)):
        body = bytearray(GOOD)
        body[place // 8] ^= 1 << place % 8
        refused += is_refused_or_a_frame(bytes(body))
        with pytest.raises(StoreUnusable, match="its digest differs"):
            decode_frame(1, bytes(body), hashlib.sha256(GOOD).digest())
    assert refused > 100


def test_every_truncation_and_anything_after_the_end() -> None:
    for size in range(len(GOOD)):
        assert is_refused_or_a_frame(GOOD[:size])
    assert is_refused_or_a_frame(GOOD + b"\0")


@pytest.mark.parametrize(
    "head",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1
        b"\xdc\xff\xff",
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # text
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
    ],
)
@pytest.mark.parametrize("before", [b"", b"\x92\x01", b"\x92\x01\x91\x94\x01\x00"])
def test_lengths_that_are_not_there_take_no_memory(head: bytes, before: bytes) -> None:
    tracemalloc.start()
    try:
        assert is_refused_or_a_frame(before + head)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("depth", [10, 500, 1023, 1024, 5000, 1_000_000])
def test_deep_nesting(depth: int) -> None:
    assert is_refused_or_a_frame(b"\x91" * depth + b"\x01")
    assert is_refused_or_a_frame(b"\x92\x01" * depth + b"\x01")


SHAPES: list[Any] = [
    [],
    [1],
    [0, []],
    [-1, []],
    ["1", []],
    [1, [], 3],
    [1, {}],
    [1, [[1, 0, [], []]]],
    [1, [[0, 0, [b"x"], []]]],
    [1, [[1, -1, [b"x"], []]]],
    [1, [[1, 0, ["x"], []]]],
    [1, [[1, 0, [b"x", 1], []]]],
    [1, [[1, 0, [b"x"], [[b"k"]]]]],
    [1, [[1, 0, [b"x"], [["k", 1]]]]],
    [1, [[1, 0, [b"x"], [[b"k", -1]]]]],
    [1, [[1, 0, [b"x"], [], 5]]],
    [1.0, []],
]


@pytest.mark.parametrize("value", SHAPES)
def test_another_shape(value: object) -> None:
    assert is_refused_or_a_frame(pack(value))


def test_more_receipts_than_a_frame_has_places() -> None:
    assert is_refused_or_a_frame(pack([1, [[1, 0, [b""] * ((1 << 20) + 1), []]]]))


# In a store, with a digest that fits


def make_store(path: Path) -> None:
    file = StoreFile(path, Sealer(FixedVault()))
    fence = file.open()
    for number in range(3):
        entries = [make_entry(f"{number}", idem=f"{number}")]
        if number == 2:
            entries.append(make_entry("asked", kind="erasure", ref=1))
        batches = tuple(grow(file.head(origin), entries, 1) for origin in (ACME, ZETA))
        fence = file.commit(Commit(fence, batches)).fence
    file.close()


def open_with_frame(body: bytes, commit: int) -> list[LogHead]:
    """Open a store one of whose frames was replaced, its digest made to fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        make_store(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            digest = hashlib.sha256(body).digest()
            sql = "UPDATE frame SET body = ?, digest = ? WHERE commit_no = ?"
            connection.execute(sql, (body, digest, commit))
        file = StoreFile(path, Sealer(FixedVault()))
        try:
            file.open()
            return file.all_heads()
        finally:
            file.close()


SLOW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SLOW
@given(st.binary(max_size=200) | trees.map(pack))
def test_a_store_with_a_frame_of_nonsense_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(StoreUnusable) as caught:
        open_with_frame(body, 2)
    assert "\n" not in str(caught.value)


@SLOW
@given(st.data())
def test_a_store_with_one_bit_of_a_frame_flipped_is_refused_in_one_line(
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        make_store(path)
        with closing(sqlite3.connect(path)) as connection:
            (row,) = connection.execute("SELECT body FROM frame WHERE commit_no = 3").fetchall()
    body = bytearray(row[0])
    place = data.draw(st.integers(0, 8 * len(body) - 1))
    body[place // 8] ^= 1 << place % 8
    try:
        heads = open_with_frame(bytes(body), 3)
    except StoreUnusable as error:
        assert "\n" not in str(error)  # else it was a bit of the last leaf, or of a key
    else:
        assert [head.size for head in heads] == [5, 5]


@pytest.mark.parametrize(("first_seq", "idem"), [(1, []), (0, [(b"k", 1)]), (0, [(b"k", 99)])])
def test_seqs_that_are_not_the_frames_own_are_refused(
    first_seq: int, idem: list[tuple[bytes, int]]
) -> None:
    (receipt,) = grow(LogHead.empty(ACME), [make_entry("one")], 1).receipts[:1]
    body, _ = encode_frame(1, [FrameBatch(1, first_seq, 0, [receipt.leaf], idem)])
    with pytest.raises(StoreUnusable, match="frame 1 has seqs that are not its own"):
        open_with_frame(body, 1)


@pytest.mark.parametrize("tail", [b"", b'"ref":99', b'"ref":-1', b"}", b'"ref":"1"'])
def test_a_leaf_that_looks_like_an_erasure_and_is_none_is_refused(tail: bytes) -> None:
    head = LogHead.empty(ACME)
    place = b'"log":"%b","prev":"%b","seq":0,"epoch":1,' % (ACME.encode(), head.prev.hex().encode())
    body, _ = encode_frame(1, [FrameBatch(1, 0, 0, [place + b'"kind":"erasure",' + tail], [])])
    with pytest.raises(StoreUnusable):
        open_with_frame(body, 1)


# What stands beside the store


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_a_journal_of_nonsense_names_nobody(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "erased"
        journal.write_bytes(data + b"\n" + f"{ACME} 7 {'ab' * 32}\n".encode() + data)
        found = [each for each in read_erasures(journal) if each.leaf_hash == b"\xab" * 32]
        assert [(each.origin, each.seq) for each in found] == [(ACME, 7)]


@pytest.mark.parametrize("line", [f"{ACME} {'9' * 5000} {'0' * 64}", f"{ACME} 1 {'zz' * 32}"])
def test_a_line_of_the_journal_out_of_form_is_left_out(line: str, tmp_path: Path) -> None:
    (tmp_path / "erased").write_text(line + "\n")
    assert read_erasures(tmp_path / "erased") == []


@given(st.integers(0, 2**62), st.binary(max_size=100), st.binary(max_size=200))
def test_a_sealed_row_of_nonsense_is_refused(row_id: int, key: bytes, body: bytes) -> None:
    assert Sealer(FixedVault()).open((row_id, key, body)) is None


@given(st.binary(max_size=120))
def test_a_file_of_nonsense_is_refused_in_one_line(data: bytes) -> None:
    for start in (b"", b"SQLite format 3\0", b"SQLite format 3\0" + struct.pack(">H", 4096)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.sqlite"
            path.write_bytes(start + data + b"\1")
            with pytest.raises(StoreUnusable) as caught:
                StoreFile(path, Sealer(FixedVault())).open()
            assert "\n" not in str(caught.value)
            assert path.read_bytes() == start + data + b"\1"
