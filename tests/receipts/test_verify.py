"""Attack exported logs, and hold the verifier to the verdict and the receipt that it names."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from autonomics.errors import InvalidInput
from autonomics.integrations.signing_key_file import SigningKeyFile
from autonomics.receipts import tiles, verify
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import describe_receipt, export_bundle, export_lines
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.note import sign_note
from autonomics.receipts.payload import disclose
from autonomics.receipts.proof import format_proof
from autonomics.receipts.signer import format_vkey
from autonomics.testing.store_contract import IDEM_KEY, NOW, count_salts_from, make_entry

ACME = "ledger.example/t/acme"
ZETA = "ledger.example/t/zeta"
SIGNER = SigningKeyFile(ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
THIEF = SigningKeyFile(ed25519.Ed25519PrivateKey.from_private_bytes(b"\2" * 32))
VERIFIER = Path(verify.__file__).read_bytes()
Bundle = dict[str, bytes]


def build(size: int, origin: str = ACME, entries: list[Entry] | None = None) -> list[Receipt]:
    if entries is None:
        entries = [make_entry(f"payload {number}") for number in range(1, size)]
    salts = count_salts_from(7)
    _, receipts = append(LogHead.empty(origin), entries, NOW, salts, IDEM_KEY, epoch=1)
    return receipts


def head_of(receipts: list[Receipt]) -> LogHead:
    frontier: list[bytes] = []
    for index, receipt in enumerate(receipts):
        verify.push_leaf(index, frontier, receipt.leaf_hash)
    last = receipts[-1]
    return LogHead(last.origin, len(receipts), last.leaf_hash, 1, tuple(frontier))


async def sign(receipts: list[Receipt], signer: SigningKeyFile = SIGNER) -> bytes:
    return await sign_checkpoint(checkpoint_of(head_of(receipts)), signer)


async def bundle_of(receipts: list[Receipt], signer: SigningKeyFile = SIGNER) -> Bundle:
    return dict(export_bundle(receipts, await sign(receipts, signer), VERIFIER))


def trust(origin: str = ACME, known: bytes | None = None) -> verify.Trust:
    held = None if known is None else [known]
    return verify.gather_trust([format_vkey(origin, SIGNER.public_key)], held)


def check(bundle: Bundle, given: verify.Trust | None = None) -> verify.Verdict:
    return verify.verify_bundle(bundle.get, trust() if given is None else given)


def forge(receipts: list[Receipt], seq: int, change: Callable[[bytes], bytes]) -> list[Receipt]:
    """Change one leaf and chain all later ones anew, as whoever owns the database can."""
    forged = receipts[:seq]
    for receipt in receipts[seq:]:
        leaf = change(receipt.leaf) if receipt.seq == seq else receipt.leaf
        if forged:
            old = receipts[receipt.seq - 1].leaf_hash.hex().encode()
            leaf = leaf.replace(old, forged[-1].leaf_hash.hex().encode())
        forged.append(attrs.evolve(receipt, leaf=leaf, leaf_hash=verify.leaf_hash(leaf)))
    return forged


def flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def rename(leaf: bytes) -> bytes:
    return leaf.replace(b'"actor":"door"', b'"actor":"dOOr"')


def with_leaves(bundle: Bundle, leaves: list[bytes]) -> Bundle:
    """Put other leaves into the entry bundle and leave all else as it was."""
    (path,) = [name for name in bundle if name.startswith("tile/entries/")]
    return {**bundle, path: tiles.entry_bundle(leaves)}


def rehashed(bundle: Bundle, leaves: list[bytes]) -> Bundle:
    """Put other leaves in, with tiles that fit, under the old checkpoint."""
    changed = with_leaves(bundle, leaves)
    return {**changed, **dict(tiles.hash_tiles([verify.leaf_hash(leaf) for leaf in leaves]))}


# An intact log


@pytest.mark.parametrize("size", [1, 2, 16, 255, 256, 257, 513])
async def test_an_intact_bundle_is_consistent_and_counted(size: int) -> None:
    verdict = check(await bundle_of(build(size)))
    assert (verdict.code, verdict.size, verdict.present, verdict.erased) == (10, size, size, 0)
    assert verdict.warnings == ()


async def test_without_a_key_it_is_unanchored_and_no_key_is_taken_from_the_bundle() -> None:
    bundle = await bundle_of(build(5))
    bundle["vkey"] = format_vkey(ACME, SIGNER.public_key).encode()
    bundle["policy"] = b"quorum none\n"
    assert check(bundle, verify.Trust()).code == 20


async def test_a_manifest_that_lies_is_not_read() -> None:
    bundle = await bundle_of(build(5))
    assert check({**bundle, "MANIFEST.json": b'{"size":99}'}) == check(bundle)


async def test_the_bundle_carries_the_verifier_and_ends_with_the_checkpoint() -> None:
    receipts = build(3)
    paths = [path for path, _ in export_bundle(receipts, await sign(receipts), VERIFIER)]
    assert paths[-2:] == ["verify.py", "checkpoint"]
    assert {"tile/0/000.p/3", "tile/entries/000.p/3", "payloads.jsonl", "MANIFEST.json"} < {*paths}


async def test_a_log_is_exported_up_to_its_checkpoint_and_no_other_log_is() -> None:
    receipts = build(9)
    early = await sign(receipts[:5])
    assert check(dict(export_bundle(receipts, early, VERIFIER))).size == 5
    for wrong in (receipts[:4], build(9, ZETA), forge(receipts, 3, rename)):
        with pytest.raises(InvalidInput, match="the log of the checkpoint"):
            list(export_bundle(wrong, early, VERIFIER))


async def test_a_payload_that_is_no_text_travels_as_base64() -> None:
    receipts = build(0, entries=[attrs.evolve(make_entry(""), payload=b"\xff\0")])
    bundle = await bundle_of(receipts)
    assert b"payload_base64" in bundle["payloads.jsonl"]
    assert check(bundle).code == 10


# Flipped bits


@pytest.mark.parametrize(
    ("size", "step", "given"),
    # A signature takes 4 ms to check and says nothing about where: every bit without, some with.
    [(4, 1, verify.Trust()), (16, 37, verify.Trust()), (16, 997, trust())],
)
async def test_every_flipped_bit_of_every_leaf_is_found_at_its_receipt(
    size: int, step: int, given: verify.Trust
) -> None:
    receipts = build(size)
    bundle = await bundle_of(receipts)
    leaves = [receipt.leaf for receipt in receipts]
    for seq, leaf in enumerate(leaves):
        for bit in range(0, len(leaf) * 8, step):
            changed = [*leaves[:seq], flip(leaf, bit), *leaves[seq + 1 :]]
            verdict = check(with_leaves(bundle, changed), given)
            assert (verdict.code, verdict.seq) == (40, seq), (seq, bit, verdict)


async def test_a_flipped_bit_is_found_by_the_chain_alone_where_tiles_were_made_to_fit() -> None:
    receipts = build(4)
    bundle = await bundle_of(receipts)
    leaves = [receipt.leaf for receipt in receipts]
    for seq, leaf in enumerate(leaves):
        for bit in range(0, len(leaf) * 8, 3):
            changed = [*leaves[:seq], flip(leaf, bit), *leaves[seq + 1 :]]
            verdict = check(rehashed(bundle, changed), verify.Trust())
            assert verdict.code == 40
            # A change in the last leaf breaks no link: only the root tells, and names no receipt.
            assert verdict.seq == seq or (verdict.seq is None and seq == 3), (seq, bit, verdict)


async def test_every_flipped_bit_of_every_other_file_is_noticed() -> None:
    bundle = await bundle_of(build(4))
    for name in sorted(bundle.keys() - {"MANIFEST.json", "verify.py"}):
        given = trust() if name == "checkpoint" else verify.Trust()
        for bit in range(0, len(bundle[name]) * 8, 3):
            verdict = check({**bundle, name: flip(bundle[name], bit)}, given)
            assert verdict.code == 40, (name, bit, verdict)


async def test_a_flipped_length_of_a_leaf_is_found_at_its_receipt() -> None:
    receipts = build(5)
    bundle = await bundle_of(receipts)
    offset = 0
    for seq, receipt in enumerate(receipts):
        for bit in range(16):
            data = flip(bundle["tile/entries/000.p/5"], offset * 8 + bit)
            verdict = check({**bundle, "tile/entries/000.p/5": data})
            assert (verdict.code, verdict.seq) == (40, seq)
        offset += 2 + len(receipt.leaf)


# Leaves that moved


@pytest.mark.parametrize("size", [5, 255, 256, 257])
@pytest.mark.parametrize("fit", [with_leaves, rehashed])
async def test_deleted_inserted_swapped_and_doubled_leaves_are_found_at_the_first(
    size: int, fit: Callable[[Bundle, list[bytes]], Bundle]
) -> None:
    receipts = build(size)
    bundle = await bundle_of(receipts)
    if size > 256:
        bundle = {n: d for n, d in bundle.items() if not n.startswith("tile/entries/001")}
    leaves = [receipt.leaf for receipt in receipts][:256]
    for seq in (1, len(leaves) // 2, len(leaves) - 2):
        before, at, after = leaves[:seq], leaves[seq], leaves[seq + 1 :]
        for changed in (
            [*before, *after, leaves[-1]],
            [*before, leaves[0], *after],
            [*before, after[0], at, *after[1:]],
            [*before, before[-1], *after],
        ):
            if size > 256 and fit is rehashed:
                continue
            verdict = check(fit(bundle, changed))
            assert (verdict.code, verdict.seq) == (40, seq), (seq, verdict)


async def test_a_log_truncated_to_any_size_under_its_checkpoint_is_invalid() -> None:
    receipts = build(8)
    bundle = await bundle_of(receipts)
    for size in range(8):
        cut = with_leaves(bundle, [receipt.leaf for receipt in receipts[:size]])
        assert (check(cut).code, check(cut).seq) == (40, size)


async def test_a_log_with_more_leaves_than_its_checkpoint_covers_is_invalid() -> None:
    receipts = build(8)
    bundle = await bundle_of(receipts[:5])
    assert check(with_leaves(bundle, [receipt.leaf for receipt in receipts])).code == 40


async def test_a_log_chained_anew_without_the_key_is_invalid() -> None:
    receipts = build(16)
    forged = forge(receipts, 3, rename)
    bundle = {**await bundle_of(forged), "checkpoint": await sign(receipts)}
    verdict = check(bundle)
    assert verdict.code == 40
    assert "root" in verdict.reason
    assert check(await bundle_of(forged, THIEF)).code == 40


async def test_a_log_chained_anew_with_the_key_is_caught_by_whoever_kept_a_checkpoint() -> None:
    receipts = build(16)
    forged = await bundle_of(forge(receipts, 3, rename))
    assert check(forged).code == 10
    assert check(forged, verify.Trust()).code == 20
    assert check(forged, trust(known=await sign(receipts[:5]))).code == 30
    # What the kept checkpoint does not cover yet, it can't protect.
    assert check(forged, trust(known=await sign(receipts[:3]))).code == 10


async def test_a_log_that_shrank_below_the_kept_checkpoint_diverged() -> None:
    receipts = build(16)
    for size in range(1, 16):
        verdict = check(await bundle_of(receipts[:size]), trust(known=await sign(receipts)))
        assert verdict.code == 30
        assert str(size) in verdict.reason


async def test_a_kept_checkpoint_anchors_without_a_key_when_it_covers_all() -> None:
    receipts = build(6)
    bundle = await bundle_of(receipts)
    equal = verify.gather_trust([], [await sign(receipts)])
    earlier = verify.gather_trust([], [await sign(receipts[:4])])
    assert check(bundle, equal).code == 10
    assert check(bundle, earlier).code == 20
    assert "first 4" in check(bundle, earlier).reason


# What belongs to somebody else


async def test_another_logs_leaf_bundle_payload_or_checkpoint_is_invalid() -> None:
    acme, zeta = build(5), build(5, ZETA)
    ours, theirs = await bundle_of(acme), await bundle_of(zeta)
    assert check(theirs).code == 40
    assert check({**ours, "checkpoint": theirs["checkpoint"]}).code == 40
    assert check({**ours, "payloads.jsonl": theirs["payloads.jsonl"]}).code == 40
    leaves = [r.leaf for r in acme]
    spliced = rehashed(ours, [*leaves[:2], zeta[2].leaf, *leaves[3:]])
    assert (check(spliced).code, check(spliced).seq) == (40, 2)
    assert check(ours, trust(ZETA)).code == 40
    assert check(ours, trust(known=await sign(acme))).code == 10
    assert check(ours, verify.gather_trust([], [await sign(zeta)])).code == 40
    both = verify.gather_trust(
        [format_vkey(origin, SIGNER.public_key) for origin in (ACME, ZETA)], None
    )
    relabelled = await sign_checkpoint(checkpoint_of(head_of(acme)), SIGNER)
    relabelled = relabelled.replace(f"— {ACME} ".encode(), f"— {ZETA} ".encode())
    assert check({**ours, "checkpoint": relabelled}, both).code == 40


async def test_a_checkpoint_of_another_log_signed_as_itself_does_not_vouch_for_this_one() -> None:
    acme = build(5)
    head = checkpoint_of(head_of(acme))
    signed = await sign_note(head.text, ZETA, SIGNER)
    verdict = check({**await bundle_of(acme), "checkpoint": signed}, trust(ZETA))
    assert verdict.code == 40
    assert f"signed as {ZETA}" in verdict.reason


# Bad leaves under a good signature: the key is real, the content is not


BREAKING: list[Callable[[bytes], bytes]] = [
    lambda leaf: leaf.replace(b'"epoch":1', b'"epoch":1.0'),
    lambda leaf: leaf.replace(b'"epoch":1', b'"epoch": 1'),
    lambda leaf: leaf.replace(b'"epoch":1', b'"epoch":0'),
    lambda leaf: leaf.replace(b'"epoch":1', b'"epoch":1,"extra":1'),
    lambda leaf: leaf.replace(b'"epoch":1', b'"epoch":1,"epoch":1'),
    lambda leaf: leaf.replace(b"receipt/1", b"receipt/2"),
    lambda leaf: leaf.replace(b'"door"', b'"\\u0064oor"'),
    lambda leaf: leaf.replace(b'"received"', b'"genesis"'),
    lambda leaf: leaf.replace(ACME.encode(), ZETA.encode()),
    lambda leaf: leaf.replace(b'"seq":3', b'"seq":4'),
    lambda leaf: leaf.replace(b'"cause":[]', b'"cause":[3]'),
]


@pytest.mark.parametrize("change", BREAKING)
async def test_a_leaf_that_breaks_the_format_is_found_even_under_the_real_key(
    change: Callable[[bytes], bytes],
) -> None:
    receipts = build(6)
    forged = forge(receipts, 3, change)
    assert forged != receipts
    verdict = check(await bundle_of(forged))
    assert (verdict.code, verdict.seq) == (40, 3)


async def test_a_log_that_does_not_begin_with_genesis_is_found() -> None:
    forged = forge(build(3), 0, lambda leaf: leaf.replace(b'"genesis"', b'"received"'))
    verdict = check(await bundle_of(forged))
    assert (verdict.code, verdict.seq) == (40, 0)


async def test_an_unknown_kind_verifies() -> None:
    forged = forge(build(6), 3, lambda leaf: leaf.replace(b'"received"', b'"of_tomorrow"'))
    assert check(await bundle_of(forged)).code == 10


async def test_a_clock_that_went_back_is_a_warning() -> None:
    forged = forge(build(6), 3, lambda leaf: leaf.replace(b'"ts":"2026', b'"ts":"2025'))
    verdict = check(await bundle_of(forged))
    assert verdict.code == 10
    assert verdict.warnings == ("clock went back at seq 3",)


# Payloads


def payload_lines(bundle: Bundle) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bundle["payloads.jsonl"].splitlines()]


def with_payloads(bundle: Bundle, records: list[dict[str, Any]]) -> Bundle:
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    return {**bundle, "payloads.jsonl": b"".join(lines)}


async def test_a_payload_edited_swapped_missing_doubled_or_strange_is_found_at_its_receipt() -> (
    None
):
    bundle = await bundle_of(build(5))
    records = payload_lines(bundle)
    third = records[3]
    for changed in (
        [*records[:3], {**third, "payload": "payload x"}, records[4]],
        [*records[:3], {**third, "salt": "00" * 32}, records[4]],
        [*records[:3], {**third, **{k: records[4][k] for k in ("salt", "payload")}}, records[4]],
        [*records[:3], records[4]],
        [*records, third],
    ):
        verdict = check(with_payloads(bundle, changed))
        assert (verdict.code, verdict.seq) == (40, 3)
    assert check(with_payloads(bundle, [*records, {**third, "seq": 9}])).seq == 9
    for strange in ({}, {"seq": 3}, {**third, "x": 1}, {**third, "seq": -1}, {**third, "salt": 1}):
        assert check(with_payloads(bundle, [*records[:3], strange, records[4]])).code == 40
    nothing = {"seq": 3, "salt": None, "payload": None}
    assert check(with_payloads(bundle, [*records[:3], nothing, records[4]])).seq == 3
    lone = {**third, "payload": "\ud800"}
    assert check(with_payloads(bundle, [*records[:3], lone, records[4]])).code == 40
    assert check({**bundle, "payloads.jsonl": b"{"}).code == 40
    del bundle["payloads.jsonl"]
    assert (check(bundle).code, check(bundle).seq) == (40, 0)


async def test_a_payload_may_be_missing_where_an_erasure_receipt_says_so() -> None:
    entries = [
        make_entry("Alice's address"),
        make_entry("b"),
        make_entry("why", kind="erasure", ref=1),
    ]
    receipts = build(0, entries=entries)
    whole = await bundle_of(receipts)
    verdict = check(whole)
    assert (verdict.code, verdict.present) == (10, 4)
    assert verdict.warnings == ("payload of seq 1 is still there after its erasure",)
    receipts[1] = attrs.evolve(receipts[1], salt=None, payload=None)
    erased = await bundle_of(receipts)
    verdict = check(erased)
    assert (verdict.code, verdict.present, verdict.erased) == (10, 3, 1)
    assert b"Alice" not in b"".join(erased.values())


async def test_an_erasure_leaf_forged_into_the_log_is_found() -> None:
    receipts = build(5)
    bundle = await bundle_of(receipts)
    forged = forge(receipts, 3, lambda leaf: leaf.replace(b'"received"', b'"erasure"'))
    forged = forge(forged, 3, lambda leaf: leaf.replace(b',"seq":3', b',"ref":1,"seq":3'))
    records = [record for record in payload_lines(bundle) if record["seq"] != 1]
    leaves = [receipt.leaf for receipt in forged]
    assert check(with_payloads(rehashed(bundle, leaves), records)).code == 40


# Missing files and pruning


async def test_a_bundle_without_one_of_its_files_is_invalid() -> None:
    bundle = await bundle_of(build(300))
    for name in bundle.keys() - {"MANIFEST.json", "verify.py", "tile/entries/000"}:
        cut = {path: data for path, data in bundle.items() if path != name}
        assert check(cut).code == 40, name


async def test_a_tile_of_another_length_is_invalid() -> None:
    bundle = await bundle_of(build(5))
    for change in (bundle["tile/0/000.p/5"][:-1], bundle["tile/0/000.p/5"] + bytes(32)):
        assert check({**bundle, "tile/0/000.p/5": change}).code == 40


async def test_full_bundles_missing_at_the_start_count_as_pruned() -> None:
    receipts = build(600)
    bundle = await bundle_of(receipts)
    records = payload_lines(bundle)
    del bundle["tile/entries/000"]
    assert check(bundle).code == 40
    pruned = with_payloads(bundle, [record for record in records if record["seq"] >= 256])
    verdict = check(pruned)
    assert (verdict.code, verdict.pruned, verdict.present) == (10, 256, 344)
    pruned["tile/entries/000"] = (await bundle_of(receipts))["tile/entries/000"]
    del pruned["tile/entries/001"]
    assert check(pruned).code == 40


async def prune(size: int) -> tuple[Bundle, list[Receipt]]:
    """Return a log whose first `size` receipts are known by their hashes alone, and four more."""
    hashes = [verify.leaf_hash(b"%d" % number) for number in range(size)]
    frontier: list[bytes] = []
    for index, hashed in enumerate(hashes):
        verify.push_leaf(index, frontier, hashed)
    head = LogHead(ACME, size, hashes[-1], 1, tuple(frontier))
    erasures = [make_entry("why", kind="erasure", ref=ref) for ref in (0, size, size)]
    entries = [make_entry("erased"), *erasures]
    head, receipts = append(head, entries, NOW, count_salts_from(1), IDEM_KEY, epoch=1)
    receipts[0] = attrs.evolve(receipts[0], salt=None, payload=None)
    bundle = dict(tiles.hash_tiles([*hashes, *(receipt.leaf_hash for receipt in receipts)]))
    path = verify.tile_path("entries", size // 256, len(receipts))
    bundle[path] = tiles.entry_bundle([receipt.leaf for receipt in receipts])
    disclosed = [{"seq": r.seq, **disclose(r.salt, r.payload)} for r in receipts[1:]]
    bundle["checkpoint"] = await sign_checkpoint(checkpoint_of(head), SIGNER)
    return with_payloads(bundle, disclosed), receipts


async def test_a_log_with_three_levels_of_tiles_is_checked_at_every_level() -> None:
    bundle, _ = await prune(1 << 16)
    verdict = check(bundle)
    assert (verdict.code, verdict.pruned, verdict.present, verdict.erased) == (10, 1 << 16, 3, 1)
    # Nobody can tell whether a payload that was pruned is still somewhere.
    assert verdict.warnings == ()
    assert "tile/2/000.p/1" in bundle
    for name in ("tile/2/000.p/1", "tile/1/000", "tile/1/255", "tile/0/256.p/4", "tile/0/017"):
        if name in bundle:
            assert check({**bundle, name: flip(bundle[name], 77)}).code == 40, name


async def measure_check(size: int) -> int:
    """Return the peak of bytes that the check of a log takes, over what its files take."""
    bundle = await bundle_of(build(size))
    lines = bundle["payloads.jsonl"].splitlines()
    tracemalloc.start()
    try:
        assert verify.verify_bundle(bundle.get, verify.Trust(), lines).present == size
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_the_memory_of_a_check_does_not_grow_with_the_log() -> None:
    await measure_check(512)  # what is made once
    # A list of their hashes alone would take 400 kB more.
    assert await measure_check(6144) < await measure_check(512) + 60_000


async def test_the_check_of_a_log_gives_roots_at_the_sizes_that_were_asked_for() -> None:
    receipts = build(9)
    log = verify.LogCheck(ACME, [], [0, 4])
    for receipt in receipts:
        log.take(receipt.leaf)
    assert log.root_at(0) == verify.EMPTY_ROOT
    assert log.root_at(4) == head_of(receipts[:4]).root
    assert log.root_at(9) == head_of(receipts).root


async def test_a_checkpoint_of_an_empty_log_is_invalid() -> None:
    root = base64.b64encode(verify.EMPTY_ROOT).decode()
    signed = await sign_note(f"{ACME}\n0\n{root}\n", ACME, SIGNER)
    verdict = check({"checkpoint": signed})
    assert verdict.code == 40
    assert "no log is empty" in verdict.reason


# Files of lines


def lines_of(*logs: list[Receipt]) -> list[bytes]:
    lines = [list(export_lines(log)) for log in logs]
    return [line.rstrip(b"\n") for group in zip(*lines, strict=True) for line in group]


def test_lines_of_several_logs_are_judged_log_by_log() -> None:
    verdicts = verify.verify_lines(lines_of(build(4), build(4, ZETA)), verify.Trust())
    assert [(v.code, v.origin, v.size, v.present) for v in verdicts] == [
        (20, ACME, 4, 4),
        (20, ZETA, 4, 4),
    ]
    assert verify.worst_code(verdicts) == 20


async def test_lines_are_anchored_by_a_kept_checkpoint() -> None:
    receipts = build(6)
    known = verify.gather_trust([], [await sign(receipts)])
    (verdict,) = verify.verify_lines(lines_of(receipts), known)
    assert verdict.code == 10
    (verdict,) = verify.verify_lines(lines_of(receipts[:4]), known)
    assert verdict.code == 30
    (verdict,) = verify.verify_lines(lines_of(forge(receipts, 5, rename)), known)
    assert verdict.code == 30
    (verdict,) = verify.verify_lines(lines_of(receipts), trust())
    assert verdict.code == 20
    assert "no checkpoint that a key could be held to" in verdict.reason


def test_every_flipped_bit_of_every_line_but_the_last_is_found_at_its_receipt() -> None:
    receipts = build(4)
    for seq in range(3):
        for bit in range(0, len(receipts[seq].leaf) * 8, 3):
            try:
                text = flip(receipts[seq].leaf, bit).decode()
            except UnicodeDecodeError:
                continue
            lines = lines_of(receipts)
            record = {**json.loads(lines[seq]), "leaf": text}
            lines[seq] = json.dumps(record, ensure_ascii=False).encode()
            verdicts = verify.verify_lines(lines, verify.Trust())
            named = [verdict.seq for verdict in verdicts if verdict.code == 40]
            assert named
            # A leaf that names another log is both: a stranger's first, and a gap in ours.
            assert seq in named or named == [0], (seq, bit, verdicts)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"leaf":"\\ud800","salt":null,"payload":null}',
        b'{"leaf":1}',
        b'{"leaf":"{}","salt":null,"payload":null}',
    ],
)
def test_a_line_that_can_not_be_read_is_named(line: bytes) -> None:
    lines = lines_of(build(3))
    (verdict,) = verify.verify_lines([*lines[:2], line], verify.Trust())
    assert (verdict.code, verdict.seq) == (40, 2)
    assert verdict.reason.startswith("line 3: ")


def test_a_file_without_a_line_is_invalid() -> None:
    assert verify.verify_lines([], verify.Trust())[0].code == 40


def test_a_payload_missing_from_a_line_is_found() -> None:
    lines = lines_of(build(3))
    lines[1] = json.dumps({**json.loads(lines[1]), **disclose(None, None)}).encode()
    (verdict,) = verify.verify_lines(lines, verify.Trust())
    assert (verdict.code, verdict.seq) == (40, 1)


# Proofs of one receipt


async def proof_of(receipts: list[Receipt], seq: int, size: int | None = None) -> bytes:
    checkpoint = await sign(receipts[:size])
    return format_proof(receipts[seq], [r.leaf_hash for r in receipts], checkpoint)


async def test_the_proof_of_every_receipt_verifies_under_every_later_checkpoint() -> None:
    receipts = build(9)
    for size in range(1, 10):
        for seq in range(size):
            verdict = verify.verify_proof(await proof_of(receipts, seq, size), trust())
            assert (verdict.code, verdict.size, verdict.present) == (10, size, 1)
    with pytest.raises(InvalidInput, match="within the tree"):
        await proof_of(receipts, 5, 5)


async def test_a_proof_without_a_key_is_unanchored_and_one_of_another_log_invalid() -> None:
    proof = await proof_of(build(5), 3)
    assert verify.verify_proof(proof, verify.Trust()).code == 20
    assert verify.verify_proof(proof, trust(ZETA)).code == 40


async def test_a_kept_checkpoint_of_its_size_anchors_or_contradicts_a_proof() -> None:
    receipts = build(5)
    proof = await proof_of(receipts, 3)
    assert verify.verify_proof(proof, verify.gather_trust([], [await sign(receipts)])).code == 10
    forged = await sign(forge(receipts, 1, rename))
    assert verify.verify_proof(proof, verify.gather_trust([], [forged])).code == 30
    shorter = verify.verify_proof(proof, verify.gather_trust([], [await sign(receipts[:4])]))
    assert shorter.code == 20
    assert "one proof can't be held to it" in shorter.warnings[0]


async def test_every_flipped_bit_of_a_proof_is_noticed() -> None:
    proof = await proof_of(build(5), 3)
    signed_from = proof.index(b"\n\n") * 8
    for bit in range(0, len(proof) * 8, 3):
        given = trust() if bit >= signed_from else verify.Trust()
        assert verify.verify_proof(flip(proof, bit), given).code == 40, bit


async def test_a_proof_cut_swapped_or_moved_is_invalid() -> None:
    receipts = build(9)
    proof = await proof_of(receipts, 3)
    header, extra, index, *rest = proof.decode().split("\n")
    other = (await proof_of(receipts, 4)).decode().split("\n")
    cases = [
        [header, index, *rest],
        [header, extra, *rest],
        [header, extra, "index 4", *rest],
        [header, extra, "index 03", *rest],
        [header, extra, index, *rest[1:]],
        [header, extra, index, rest[0], *rest],
        [header, extra, index, rest[1], rest[0], *rest[2:]],
        [header, extra, index, *other[3:]],
        [header, other[1], index, *rest],
        [header, extra, index, "AAAA", *rest[1:]],
        [header, extra, index, *[rest[0]] * 64, *rest[rest.index("") :]],
        ["c2sp.org/tlog-proof@v2", extra, index, *rest],
        [header],
    ]
    for lines in cases:
        verdict = verify.verify_proof("\n".join(lines).encode(), trust())
        assert verdict.code == 40, lines


async def test_a_proof_with_another_payload_is_invalid_and_one_without_says_so() -> None:
    receipts = build(5)
    for change, code in (({"payload": b"x"}, 40), ({"payload": None, "salt": None}, 10)):
        receipts[3] = attrs.evolve(receipts[3], **change)
        verdict = verify.verify_proof(await proof_of(receipts, 3), trust())
        assert verdict.code == code
    assert verdict.warnings == ("payload is not part of the proof",)


# What the caller brings


async def test_trust_that_can_not_be_used_is_told_apart_from_bad_evidence() -> None:
    receipts = build(3)
    vkey = format_vkey(ACME, SIGNER.public_key)
    for vkeys, known in (
        (["nonsense"], None),
        ([vkey[:-1]], None),
        ([vkey], b"nonsense"),
        ([vkey], await sign(receipts, THIEF)),
    ):
        with pytest.raises(verify.Unusable):
            verify.gather_trust(vkeys, None if known is None else [known])


def test_a_description_names_verdict_counts_and_warnings_and_never_says_complete() -> None:
    verdict = verify.Verdict(40, "broken", 3, ACME, 9, 5, 3, 1, ("odd",))
    assert verify.describe_verdict(verdict) == (
        "invalid (40) at seq 3: broken\n"
        f"  log {ACME}, size 9; present 5, erased 3, pruned 1\n"
        "  warning: odd"
    )
    said = VERIFIER.decode().lower()
    assert "complete" not in said


async def test_what_describe_receipt_writes_is_what_a_line_reads() -> None:
    record = describe_receipt(build(2)[1])
    assert list(record) == ["leaf", "payload", "salt"]
