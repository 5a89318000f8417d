from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.receipts import log, verify
from autonomics.receipts.entry import Entry, hash_idem
from autonomics.receipts.leaf import KINDS, RecipeRef
from autonomics.receipts.log import LogHead, append, count_salts, extend_head
from autonomics.receipts.merkle import Tree
from autonomics.receipts.payload import commit_to_payload, disclose, is_payload_of
from autonomics.receipts.store import Batch, make_batch

ORIGIN = "ledger.example/t/acme"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = b"k" * 32


def entry(**more: Any) -> Entry:
    plain: dict[str, Any] = {
        "kind": "received",
        "actor": "tenant/acme/door",
        "payload": b"{}",
        "payload_type": "signal/1",
    }
    return Entry(**(plain | more))


def salts() -> Iterator[bytes]:
    return (hashlib.sha256(b"%d" % n).digest() for n in itertools.count())


def grow(head: LogHead, *entries: Entry, epoch: int = 1) -> tuple[LogHead, list[log.Receipt]]:
    return append(head, entries, NOW, salts(), KEY, epoch=epoch)


def test_the_first_receipt_of_a_log_is_its_genesis() -> None:
    head, receipts = grow(LogHead.empty(ORIGIN), entry())
    assert [r.fields.kind for r in receipts] == ["genesis", "received"]
    first = receipts[0].fields
    assert (first.log, first.seq, first.epoch, first.at) == (ORIGIN, 0, 1, NOW)
    assert first.prev == hashlib.sha256(b"autonomics.genesis/1\n" + ORIGIN.encode()).digest()
    assert receipts[0].payload == b'{"log":"ledger.example/t/acme","schema":"autonomics.receipt/1"}'
    assert head.size == 2


def test_a_log_can_be_opened_with_nothing_but_its_genesis() -> None:
    head, receipts = grow(LogHead.empty(ORIGIN))
    assert head.size == len(receipts) == 1


def test_each_leaf_links_to_its_predecessor_and_the_head_to_the_last() -> None:
    head, receipts = grow(LogHead.empty(ORIGIN), entry(), entry(), entry())
    for before, after in itertools.pairwise(receipts):
        assert after.fields.prev == before.leaf_hash == verify.leaf_hash(before.leaf)
    assert head.prev == receipts[-1].leaf_hash
    assert head.root == Tree([r.leaf_hash for r in receipts]).root()


def test_a_risen_epoch_is_the_next_leaf_and_once_only() -> None:
    head, _ = grow(LogHead.empty(ORIGIN), entry())
    head, receipts = grow(head, entry(), epoch=4)
    assert [(r.fields.kind, r.fields.epoch) for r in receipts] == [("epoch", 4), ("received", 4)]
    assert receipts[0].payload == b'{"previous":1,"size":2}'
    _, receipts = grow(head, entry(), epoch=4)
    assert [r.fields.kind for r in receipts] == ["received"]


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_never_goes_back(epoch: int) -> None:
    head, _ = grow(LogHead.empty(ORIGIN), epoch=3)
    with pytest.raises(InvalidInput, match="expected epoch to be at least 3"):
        grow(head, entry(), epoch=epoch)
    with pytest.raises(InvalidInput, match="at least 1"):
        grow(LogHead.empty(ORIGIN), epoch=0)


@given(
    st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=5), min_size=1, max_size=8),
    st.data(),
)
def test_however_it_is_cut_into_appends_the_log_is_the_same(
    groups: list[list[bytes]], data: st.DataObject
) -> None:
    def build(cut: list[list[bytes]]) -> tuple[LogHead, list[log.Receipt]]:
        head, all_receipts, source = LogHead.empty(ORIGIN), list[log.Receipt](), salts()
        for group in cut:
            entries = [entry(payload=payload) for payload in group]
            head, receipts = append(head, entries, NOW, source, KEY, epoch=1)
            all_receipts += receipts
        return head, all_receipts

    flat = [payload for group in groups for payload in group]
    at = data.draw(st.integers(0, len(flat)))
    assert build(groups) == build([flat[:at], flat[at:]])


def test_an_append_draws_as_many_salts_as_it_says() -> None:
    empty = LogHead.empty(ORIGIN)
    head, _ = grow(empty)
    for start, epoch, count in ((empty, 1, 3), (head, 1, 2), (head, 2, 3)):
        assert count_salts(start, [entry(), entry()], epoch) == count
        enough = itertools.islice(salts(), count)
        append(start, [entry(), entry()], NOW, enough, KEY, epoch=epoch)
        too_few = itertools.islice(salts(), count - 1)
        with pytest.raises(InvalidInput, match="one for each receipt"):
            append(start, [entry(), entry()], NOW, too_few, KEY, epoch=epoch)


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected salt to be 32 bytes"):
        append(LogHead.empty(ORIGIN), [], NOW, [b"short"], KEY, epoch=1)


def test_a_cause_names_earlier_receipts_or_counts_back_within_the_append() -> None:
    entries = (entry(), entry(cause=(-1,)), entry(cause=(0, -1, -2, 2)))
    _, receipts = grow(LogHead.empty(ORIGIN), *entries)
    assert [r.fields.cause for r in receipts] == [(), (), (1,), (0, 1, 2)]


@pytest.mark.parametrize("cause", [(1,), (2,), (-1,)])
def test_a_cause_that_is_not_before_the_receipt_is_refused(cause: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="expected cause"):
        grow(LogHead.empty(ORIGIN), entry(cause=cause))


@pytest.mark.parametrize("ref", [1, -1])
def test_a_ref_that_is_not_before_the_receipt_is_refused(ref: int) -> None:
    with pytest.raises(InvalidInput, match="expected ref"):
        grow(LogHead.empty(ORIGIN), entry(ref=ref))


def test_all_fields_of_an_entry_reach_the_leaf() -> None:
    recipe = RecipeRef("restart-pod", "1.2", "a" * 64)
    full = entry(kind="decided", idem="raw", recipe=recipe, digest="b" * 64, trace="c" * 32, ref=0)
    _, receipts = grow(LogHead.empty(ORIGIN), full)
    leaf = receipts[1].fields
    assert (leaf.recipe, leaf.digest, leaf.trace, leaf.ref) == (recipe, "b" * 64, "c" * 32, 0)
    assert leaf.idem == hash_idem(KEY, "raw")
    assert b"raw" not in receipts[1].leaf
    assert receipts[1].id == "ledger.example/t/acme#1"
    verify.parse_leaf(receipts[1].leaf)


def test_an_idempotency_key_hashes_differently_in_each_deployment() -> None:
    assert hash_idem(b"a" * 32, "raw") != hash_idem(b"b" * 32, "raw")


def test_the_commitment_binds_payload_salt_log_and_seq() -> None:
    salt, other = bytes(32), b"\1" * 32
    good = commit_to_payload(salt, ORIGIN, 5, b"payload")
    assert is_payload_of(good, salt, ORIGIN, 5, b"payload")
    for place in (
        (other, ORIGIN, 5, b"payload"),
        (salt, ORIGIN + "x", 5, b"payload"),
        (salt, ORIGIN, 6, b"payload"),
        (salt, ORIGIN, 5, b"payloae"),
    ):
        assert not is_payload_of(good, *place)


def test_a_payload_is_disclosed_as_text_where_it_is_text() -> None:
    salt = bytes(32)
    assert disclose(salt, "\N{SNOWMAN}".encode()) == {"payload": "\N{SNOWMAN}", "salt": "00" * 32}
    assert disclose(salt, b"\xff") == {"payload_base64": "/w==", "salt": "00" * 32}
    assert disclose(None, None) == {"payload": None, "salt": None}
    for payload in (b"", b"\xff\0", "\u2028\x7f".encode()):
        assert verify.parse_disclosure(disclose(salt, payload)) == (salt, payload)


@pytest.mark.parametrize("origin", ["", "A", "a b", "a+b", "a\n", "-a", "a" * 256, "\u00e9"])
def test_an_origin_out_of_form_is_refused(origin: str) -> None:
    with pytest.raises(InvalidInput, match="expected origin"):
        LogHead.empty(origin)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("kind", "recieved", "did you mean 'received'"),
        ("kind", "nothing_like_it", "a known kind, got"),
        ("kind", "genesis", "does not write itself"),
        ("kind", "epoch", "does not write itself"),
        ("kind", "intent", "expected line_generation"),
        ("kind", "erasure", "expected ref"),
        ("line_generation", 1, "expected line_generation"),
        ("actor", "", "expected actor"),
        ("actor", "a\nb", "expected actor"),
        ("payload_type", "a b", "expected payload_type"),
        ("trace", "x", "expected trace"),
        ("digest", "x", "expected digest"),
        ("cause", tuple(range(65)), "at most 64"),
        ("recipe", RecipeRef("a b", "1", "0" * 64), "recipe.id"),
        ("recipe", RecipeRef("a", "", "0" * 64), "recipe.version"),
        ("recipe", RecipeRef("a", "1" * 64, "0" * 64), "recipe.version"),
        ("recipe", RecipeRef("a", "1", "0"), "recipe.digest"),
    ],
)
def test_an_entry_out_of_form_is_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        entry(**{field: value})


def test_every_kind_of_the_table_but_the_logs_own_can_be_written_and_verifies() -> None:
    entries = [
        entry(
            kind=kind,
            line_generation=0 if kind == "intent" else None,
            ref=0 if kind == "erasure" else None,
        )
        for kind in KINDS
        if kind not in ("genesis", "epoch")
    ]
    _, receipts = grow(LogHead.empty(ORIGIN), *entries)
    check = verify.LogCheck(ORIGIN, [])
    for receipt in receipts:
        check.take(receipt.leaf)
    assert len(receipts) == len(KINDS) - 1


def test_stored_leaves_extend_a_head_to_the_head_that_wrote_them() -> None:
    empty = LogHead.empty(ORIGIN)
    head, receipts = grow(empty, *(entry() for _ in range(9)))
    leaves = [r.leaf for r in receipts]
    assert extend_head(empty, 1, leaves) == head
    assert extend_head(empty, 2, leaves) is None
    assert extend_head(LogHead.empty("other"), 1, leaves) is None
    assert extend_head(empty, 1, leaves[1:]) is None
    assert extend_head(empty, 1, [leaves[0], leaves[2]]) is None
    changed = leaves[3].replace(b"door", b"dOOr")
    assert extend_head(empty, 1, [*leaves[:3], changed, *leaves[4:]]) is None


def test_a_batch_knows_its_keys_and_its_line_generation() -> None:
    entries = [
        entry(idem="a", further_idem=("a", "b")),
        entry(kind="intent", line_generation=3, further_idem=("c",)),
    ]
    before = LogHead.empty(ORIGIN)
    after, receipts = append(before, entries, NOW, salts(), KEY, epoch=1)
    batch = make_batch(before, after, entries, receipts, KEY)
    expected = [("a", 1), ("b", 1), ("c", 2)]
    assert batch.idem == tuple((hash_idem(KEY, raw), seq) for raw, seq in expected)
    assert (batch.origin, batch.line_generation) == (ORIGIN, 3)
    mixed = [*entries, entry(kind="intent", line_generation=4)]
    after, receipts = append(before, mixed, NOW, salts(), KEY, epoch=1)
    with pytest.raises(InvalidInput, match=r"one per batch, got \[3, 4\]"):
        make_batch(before, after, mixed, receipts, KEY)


def test_a_batch_without_receipts_or_with_a_gap_is_refused() -> None:
    head, receipts = grow(LogHead.empty(ORIGIN), entry())
    with pytest.raises(InvalidInput, match="expected receipts"):
        Batch(expected_size=2, head=head, receipts=())
    with pytest.raises(InvalidInput, match="expected receipts"):
        Batch(expected_size=1, head=head, receipts=tuple(receipts))


def test_time_is_a_claim_and_may_go_back() -> None:
    head, _ = grow(LogHead.empty(ORIGIN), entry())
    earlier = NOW - timedelta(days=1)
    _, (receipt,) = append(head, [entry()], earlier, salts(), KEY, epoch=1)
    assert receipt.fields.at == earlier
