from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.receipts import merkle, tiles, verify
from autonomics.receipts.merkle import Tree


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    pair = b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])
    return hashlib.sha256(pair).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def hashes(count: int) -> list[bytes]:
    return [verify.leaf_hash(b"%d" % number) for number in range(count)]


@pytest.mark.parametrize("size", [*range(70), 255, 256, 257])
def test_frontier_and_tree_give_the_root_of_the_rfc(size: int) -> None:
    leaves = hashes(size)
    frontier: merkle.Frontier = ()
    for index, leaf in enumerate(leaves):
        frontier = merkle.push(index, frontier, leaf)
    assert merkle.root_of(frontier) == naive_root(leaves) == Tree(leaves).root()
    assert len(frontier) == size.bit_count()


def test_every_inclusion_proof_up_to_40_leaves_is_the_rfcs_and_verifies() -> None:
    tree = Tree(leaves := hashes(40))
    for size in range(1, 41):
        root = tree.root(size)
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert proof == naive_path(index, leaves[:size])
            verify.check_inclusion(leaves[index], index, size, proof, root)


def test_every_consistency_proof_up_to_40_leaves_verifies() -> None:
    tree = Tree(hashes(40))
    for size in range(1, 41):
        for old in range(1, size + 1):
            proof = tree.consistency_proof(old, size)
            verify.check_consistency(old, tree.root(old), size, tree.root(size), proof)


@given(st.data())
def test_a_changed_inclusion_proof_never_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    index = data.draw(st.integers(0, size - 1))
    tree = Tree(leaves := hashes(size))
    proof = tree.inclusion_proof(index, size)
    which = data.draw(st.integers(0, len(proof) - 1))
    way = data.draw(st.sampled_from(["flip", "drop", "repeat", "index", "leaf", "root", "size"]))
    args: dict[str, Any] = {
        "leaf": leaves[index],
        "index": index,
        "size": size,
        "root": tree.root(),
    }
    if way == "flip":
        proof[which] = flip(proof[which], data.draw(st.integers(0, 255)))
    elif way == "drop":
        del proof[which]
    elif way == "repeat":
        proof.insert(which, proof[which])
    elif way == "index":
        args["index"] = data.draw(st.integers(-1, size).filter(lambda i: i != index))
    elif way == "size":
        args["size"] = index
    else:
        args[way] = flip(args[way], data.draw(st.integers(0, 255)))
    with pytest.raises(verify.Invalid):
        verify.check_inclusion(proof=proof, **args)


@given(st.data())
def test_a_changed_consistency_proof_never_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(3, 300))
    old = data.draw(st.integers(1, size - 1))
    tree = Tree(hashes(size))
    proof = tree.consistency_proof(old, size)
    which = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = [
        (old, tree.root(old), size, tree.root(), [*proof[:which], *proof[which + 1 :]]),
        (old, tree.root(old), size, tree.root(), [*proof, proof[which]]),
        (old, flip(tree.root(old), bit), size, tree.root(), proof),
        (old, tree.root(old), size, flip(tree.root(), bit), proof),
        (0, verify.EMPTY_ROOT, size, tree.root(), proof),
        (size, tree.root(), old, tree.root(old), proof),
        (size, tree.root(), size, tree.root(), proof),
    ]
    flipped = list(proof)
    flipped[which] = flip(flipped[which], bit)
    changed.append((old, tree.root(old), size, tree.root(), flipped))
    for size1, root1, size2, root2, path in changed:
        with pytest.raises(verify.Invalid):
            verify.check_consistency(size1, root1, size2, root2, path)


def flip(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data))


def test_questions_outside_the_tree_are_refused() -> None:
    tree = Tree(hashes(5))
    for ask in (
        lambda: tree.root(6),
        lambda: tree.inclusion_proof(5, 5),
        lambda: tree.inclusion_proof(-1, 5),
        lambda: tree.inclusion_proof(0, 6),
        lambda: tree.consistency_proof(0, 5),
        lambda: tree.consistency_proof(4, 3),
    ):
        with pytest.raises(InvalidInput):
            ask()


def load(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    files = sorted(folder.rglob("*.json"))
    return [(str(file.relative_to(folder)), json.loads(file.read_bytes())) for file in files]


def decode(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def decode_proof(case: dict[str, Any]) -> list[bytes]:
    items: list[str] = case["proof"] or []
    return [decode(item) for item in items]


def test_the_inclusion_vectors_of_transparency_dev_agree(vectors: Path) -> None:
    cases = load(vectors / "rfc6962-merkle-proofs/testdata/inclusion")
    assert len(cases) == 98
    for name, case in cases:
        proof = decode_proof(case)
        place = (decode(case["leafHash"]), case["leafIdx"], case["treeSize"])
        try:
            verify.check_inclusion(*place, proof, decode(case["root"]))
        except verify.Invalid:
            assert case["wantErr"], name
        else:
            assert not case["wantErr"], name


def test_the_consistency_vectors_of_transparency_dev_agree(vectors: Path) -> None:
    cases = load(vectors / "rfc6962-merkle-proofs/testdata/consistency")
    assert len(cases) == 98
    for name, case in cases:
        proof = decode_proof(case)
        trees = (case["size1"], decode(case["root1"]), case["size2"], decode(case["root2"]))
        try:
            verify.check_consistency(*trees, proof)
        except verify.Invalid:
            assert case["wantErr"] or case["size1"] == 0, name
        else:
            assert not case["wantErr"], name


def test_tesseras_log_reads_with_our_notes_tiles_and_roots(vectors: Path) -> None:
    folder = vectors / "tessera-testlog/testdata/log"
    key = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    vkey = verify.parse_vkey(key)
    for size in range(16):
        note = verify.parse_note((folder / f"checkpoint.{size}").read_bytes())
        assert verify.check_note(note, [vkey]) == [vkey]
        head = verify.parse_tree_head(note.text)
        assert (head.origin, head.size) == ("example.com/log/testdata", size)
        if size == 0:
            assert head.root == verify.EMPTY_ROOT
            continue
        bundle = (folder / verify.tile_path("entries", 0, size)).read_bytes()
        leaves = verify.split_entries(bundle, size)
        assert tiles.entry_bundle(leaves) == bundle
        hashed = [verify.leaf_hash(leaf) for leaf in leaves]
        assert Tree(hashed).root() == head.root
        ((path, tile),) = tiles.hash_tiles(hashed)
        assert (folder / path).read_bytes() == tile


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/1/000"),
        (0, 7, "tile/1/000.p/7"),
        (999, 256, "tile/1/999"),
        (1000, 256, "tile/1/x001/000"),
        (1234067, 1, "tile/1/x001/x234/067.p/1"),
    ],
)
def test_tile_paths_are_those_of_c2sp(index: int, width: int, path: str) -> None:
    assert verify.tile_path(1, index, width) == path


def test_tiles_of_70000_leaves_have_the_widths_of_the_spec() -> None:
    paths = [path for path, _ in tiles.hash_tiles([bytes(32)] * 70_000)]
    assert len(paths) == 273 + 1 + 1 + 1 + 1
    assert paths[273] == "tile/0/273.p/112"
    assert paths[274:] == ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [path for path, _ in tiles.hash_tiles([bytes(32)] * 256)] == [
        "tile/0/000",
        "tile/1/000.p/1",
    ]


def test_a_full_tile_hashes_to_the_root_of_its_leaves() -> None:
    leaves = hashes(256)
    *_, (_, level_1) = tiles.hash_tiles(leaves)
    assert level_1 == naive_root(leaves)


def test_a_leaf_above_uint16_fits_no_bundle() -> None:
    assert len(tiles.entry_bundle([bytes(65535)])) == 65537
    with pytest.raises(InvalidInput):
        tiles.entry_bundle([bytes(65536)])
