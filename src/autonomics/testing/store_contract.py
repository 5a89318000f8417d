# ruff: noqa: D102 (the name of a test says it)
"""What every `Store` must do, as tests: subclass `StoreContract` and say how to make a store.

    class TestMemory(StoreContract):
        def setup_method(self) -> None:
            self.medium = MemoryMedium()

        def make_store(self) -> Store:
            return MemoryStore(self.medium)

`make_store` gives a new, unopened store over the same medium each time within one test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from autonomics.errors import (
    AutonomicsError,
    Fenced,
    IdempotencyConflict,
    InvalidInput,
    LogForked,
    StoreUnavailable,
)
from autonomics.receipts import verify
from autonomics.receipts.checkpoint import Checkpoint, checkpoint_of, sign_checkpoint
from autonomics.receipts.entry import Entry, hash_idem
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.merkle import Tree
from autonomics.receipts.store import (
    Batch,
    BatchResult,
    Commit,
    CommitResult,
    Committed,
    Fence,
    KeyRecord,
    Refused,
    Store,
    deployment_idem_key,
    make_batch,
)
from autonomics.receipts.subject import hash_subject

ACME = "ledger.example/t/acme"
ZETA = "ledger.example/t/zeta"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
IDEM_KEY = b"k" * 32

E = TypeVar("E", bound=AutonomicsError)


def count_salts_from(seed: int) -> Iterator[bytes]:
    """Salts that differ and repeat from run to run."""
    while True:
        yield hashlib.sha256(b"salt %d" % seed).digest()
        seed += 1


def make_entry(text: str, idem: str | None = None, **more: Any) -> Entry:
    """A `received` receipt that says `text`."""
    plain = Entry(
        kind="received", actor="door", payload=text.encode(), payload_type="test/1", idem=idem
    )
    return attrs.evolve(plain, **more)


def grow(head: LogHead, entries: Sequence[Entry], epoch: int) -> Batch:
    """Append to a head, as a receipt writer does."""
    after, receipts = append(head, entries, NOW, count_salts_from(head.size), IDEM_KEY, epoch=epoch)
    return make_batch(head, after, entries, receipts, IDEM_KEY)


class UncheckedSigner:
    """A signer whose signatures no key verifies: stores keep checkpoints, and don't verify them."""

    @property
    def public_key(self) -> bytes:
        """Any 32 bytes."""
        return bytes(32)

    async def sign(self, message: bytes) -> bytes:
        """Any 64 bytes."""
        return hashlib.sha512(message).digest()


async def raised_by(expected: type[E], step: Awaitable[object]) -> E:
    """Await a step that must fail, and return its error."""
    try:
        await step
    except expected as error:
        return error
    raise AssertionError(f"expected {expected.__name__}")


class StoreContract:
    """The suite; a test method is a rule, and its name says it."""

    def make_store(self) -> Store:
        """Return an unopened store over this test's medium."""
        raise NotImplementedError

    async def opened(self) -> tuple[Store, Fence]:
        """Make and open a store."""
        store = self.make_store()
        return store, await store.open()

    async def put(
        self, store: Store, fence: Fence, origin: str, entries: Sequence[Entry]
    ) -> CommitResult:
        """Append entries to one log, alone in a commit."""
        batch = grow(await store.head(origin), entries, fence.epoch)
        return await store.commit(Commit(fence, (batch,)))

    def only(self, result: CommitResult) -> BatchResult:
        """The result of a commit of one batch."""
        (found,) = result.results
        return found

    async def texts(self, store: Store, origin: str) -> list[str]:
        """Payloads after the genesis; an erased one is shown as such."""
        receipts = await store.read(origin, 1, 1000)
        return ["erased" if r.payload is None else r.payload.decode() for r in receipts]

    async def test_a_new_store_knows_no_log_and_starts_in_epoch_one(self) -> None:
        store, fence = await self.opened()
        assert fence == Fence(1, 0)
        assert await store.heads() == []
        assert await store.head(ACME) == LogHead.empty(ACME)
        assert await store.read(ACME, 0, 10) == []
        assert await store.fence() == fence

    async def test_a_committed_receipt_is_read_back_as_it_was_written(self) -> None:
        store, fence = await self.opened()
        batch = grow(await store.head(ACME), [make_entry("one"), make_entry("two")], 1)
        result = await store.commit(Commit(fence, (batch,)))
        assert result == CommitResult(Fence(1, 1), (Committed(batch.head),))
        assert await store.read(ACME, 0, 10) == list(batch.receipts)
        assert await store.head(ACME) == batch.head
        assert await store.fence() == result.fence

    async def test_a_range_is_read_in_order_and_cut_at_both_ends(self) -> None:
        store, fence = await self.opened()
        for start in range(0, 9, 3):
            entries = [make_entry(str(start + i)) for i in range(3)]
            fence = (await self.put(store, fence, ACME, entries)).fence
        assert [r.seq for r in await store.read(ACME, 2, 5)] == [2, 3, 4, 5, 6]
        assert [r.seq for r in await store.read(ACME, 8, 100)] == [8, 9]
        assert await store.read(ACME, 10, 1) == []
        assert await store.read(ACME, 3, 0) == []
        await raised_by(InvalidInput, store.read(ACME, -1, 1))

    async def test_what_was_committed_stands_after_reopening_in_the_next_epoch(self) -> None:
        store, fence = await self.opened()
        batch = grow(await store.head(ACME), [make_entry("one", idem="a")], 1)
        await store.commit(Commit(fence, (batch,)))
        await store.close()
        again, fence = await self.opened()
        assert fence == Fence(2, 1)
        assert await again.heads() == [batch.head]
        assert await again.read(ACME, 0, 10) == list(batch.receipts)
        assert await again.find_idem(ACME, hash_idem(IDEM_KEY, "a")) == 1

    async def test_the_first_append_after_reopening_says_so_in_an_epoch_leaf(self) -> None:
        store, fence = await self.opened()
        await self.put(store, fence, ACME, [make_entry("one")])
        await store.close()
        again, fence = await self.opened()
        await self.put(again, fence, ACME, [make_entry("two")])
        kinds = [r.fields.kind for r in await again.read(ACME, 0, 10)]
        assert kinds == ["genesis", "received", "epoch", "received"]

    async def test_one_commit_serves_many_logs(self) -> None:
        store, fence = await self.opened()
        origins = [f"ledger.example/t/{number:02}" for number in range(20)]
        batches = tuple(grow(LogHead.empty(origin), [make_entry(origin)], 1) for origin in origins)
        result = await store.commit(Commit(fence, batches))
        assert result.fence == Fence(1, 1)
        assert [head.origin for head in await store.heads()] == origins
        for origin in origins:
            assert await self.texts(store, origin) == [origin]

    async def test_a_log_with_a_wrong_expected_size_does_not_fail_the_others(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("one")])).fence
        stale = grow(LogHead.empty(ACME), [make_entry("fork")], 1)
        good = grow(LogHead.empty(ZETA), [make_entry("good")], 1)
        result = await store.commit(Commit(fence, (stale, good)))
        refused, committed = result.results
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, Fenced)
        assert committed == Committed(good.head)
        assert await self.texts(store, ACME) == ["one"]
        assert await self.texts(store, ZETA) == ["good"]

    async def test_a_batch_that_does_not_continue_the_chain_is_refused(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("one")])).fence
        other = grow(LogHead.empty(ACME), [make_entry("other")], 1).head
        fork = grow(other, [make_entry("fork")], 1)
        refused = self.only(await store.commit(Commit(fence, (fork,))))
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, Fenced)

    async def test_a_batch_written_in_an_earlier_epoch_is_refused(self) -> None:
        store, fence = await self.opened()
        late = grow(await store.head(ACME), [make_entry("late")], 1)
        await store.close()
        again, fence = await self.opened()
        refused = self.only(await again.commit(Commit(fence, (late,))))
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, Fenced)

    async def test_a_commit_in_which_all_is_refused_changes_nothing(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("one")])).fence
        stale = grow(LogHead.empty(ACME), [make_entry("fork")], 1)
        result = await store.commit(Commit(fence, (stale,)))
        assert result.fence == fence == await store.fence()
        later = await self.put(store, result.fence, ACME, [make_entry("two")])
        assert later.fence == Fence(1, 2)

    async def test_two_batches_of_one_log_apply_in_their_order(self) -> None:
        store, fence = await self.opened()
        first = grow(LogHead.empty(ACME), [make_entry("one", idem="a")], 1)
        second = grow(first.head, [make_entry("two")], 1)
        twin = grow(second.head, [make_entry("three", idem="a")], 1)
        result = await store.commit(Commit(fence, (first, second, twin)))
        assert result.results[:2] == (Committed(first.head), Committed(second.head))
        assert isinstance(result.results[2], Refused)
        assert await self.texts(store, ACME) == ["one", "two"]

    async def test_a_commit_that_names_another_fence_is_fenced(self) -> None:
        store, fence = await self.opened()
        batch = grow(LogHead.empty(ACME), [make_entry("one")], 1)
        for wrong in (Fence(1, 1), Fence(2, 0), Fence(0, 0)):
            await raised_by(Fenced, store.commit(Commit(wrong, (batch,))))
        assert await store.heads() == []
        assert isinstance(self.only(await store.commit(Commit(fence, (batch,)))), Committed)

    async def test_whoever_lost_the_store_can_not_write_any_more(self) -> None:
        zombie, old_fence = await self.opened()
        owner, fence = await self.opened()
        batch = grow(LogHead.empty(ACME), [make_entry("late")], 1)
        await raised_by(Fenced, zombie.commit(Commit(old_fence, (batch,))))
        await raised_by(Fenced, zombie.set_line_generation(5))
        assert await owner.line_generation() == 0
        await self.put(owner, fence, ACME, [make_entry("mine")])
        assert await self.texts(owner, ACME) == ["mine"]

    async def test_a_second_receipt_under_one_key_is_refused_with_the_first_ones_seq(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("one", idem="a")])).fence
        refused = self.only(await self.put(store, fence, ACME, [make_entry("two", idem="a")]))
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, IdempotencyConflict)
        assert refused.seq == 1
        assert await self.texts(store, ACME) == ["one"]

    async def test_one_key_twice_in_one_batch_is_refused(self) -> None:
        store, fence = await self.opened()
        entries = [make_entry("one", idem="a"), make_entry("two", idem="a")]
        refused = self.only(await self.put(store, fence, ACME, entries))
        assert isinstance(refused, Refused)
        assert refused.seq == 1
        assert await store.find_idem(ACME, hash_idem(IDEM_KEY, "a")) is None

    async def test_all_keys_of_a_receipt_lead_to_it_and_only_in_its_log(self) -> None:
        store, fence = await self.opened()
        entry = make_entry("one", idem="a", further_idem=("b", "c"))
        await self.put(store, fence, ACME, [make_entry("zero"), entry])
        for raw in "abc":
            assert await store.find_idem(ACME, hash_idem(IDEM_KEY, raw)) == 2
            assert await store.find_idem(ZETA, hash_idem(IDEM_KEY, raw)) is None
        assert await store.find_idem(ACME, hash_idem(IDEM_KEY, "d")) is None

    async def test_an_intent_of_another_line_generation_is_refused(self) -> None:
        store, fence = await self.opened()
        await store.set_line_generation(3)
        for generation in (2, 4):
            entries = [make_entry("act", kind="intent", line_generation=generation)]
            refused = self.only(await self.put(store, fence, ACME, entries))
            assert isinstance(refused, Refused)
            assert isinstance(refused.error, Fenced)
        entries = [make_entry("act", kind="intent", line_generation=3)]
        assert isinstance(self.only(await self.put(store, fence, ACME, entries)), Committed)

    async def test_the_line_generation_survives_and_never_goes_back(self) -> None:
        store, _ = await self.opened()
        await store.set_line_generation(3)
        await raised_by(Fenced, store.set_line_generation(2))
        await store.close()
        again, _ = await self.opened()
        assert await again.line_generation() == 3

    async def test_leaf_hashes_give_the_root_of_every_size(self) -> None:
        store, fence = await self.opened()
        for text in "abc":
            fence = (await self.put(store, fence, ACME, [make_entry(text), make_entry(text)])).fence
        head = await store.head(ACME)
        hashes = await store.leaf_hashes(ACME, head.size)
        assert hashes == [r.leaf_hash for r in await store.read(ACME, 0, 100)]
        assert Tree(hashes).root() == head.root
        assert await store.leaf_hashes(ACME, 3) == hashes[:3]
        await raised_by(InvalidInput, store.leaf_hashes(ACME, head.size + 1))

    async def test_the_checkpoint_of_the_largest_size_is_the_latest(self) -> None:
        store, fence = await self.opened()
        assert await store.latest_checkpoint(ACME) is None
        fence = (await self.put(store, fence, ACME, [make_entry("one")])).fence
        early = await sign_checkpoint(checkpoint_of(await store.head(ACME)), UncheckedSigner())
        await self.put(store, fence, ACME, [make_entry("two")])
        late = await sign_checkpoint(checkpoint_of(await store.head(ACME)), UncheckedSigner())
        assert await store.save_checkpoints([late, early]) == [None, None]
        assert await store.save_checkpoints([]) == []
        assert await store.latest_checkpoint(ACME) == late
        await store.close()
        again, _ = await self.opened()
        assert await again.latest_checkpoint(ACME) == late
        assert await again.latest_checkpoint(ZETA) is None

    async def test_a_checkpoint_that_contradicts_the_log_is_not_kept(self) -> None:
        store, fence = await self.opened()
        await self.put(store, fence, ACME, [make_entry("one")])
        head = await store.head(ACME)
        wrong = [
            Checkpoint(ACME, head.size, bytes(32)),
            Checkpoint(ACME, 1, bytes(32)),
            Checkpoint(ACME, head.size + 1, head.root),
            Checkpoint(ZETA, 1, head.root),
        ]
        notes = [await sign_checkpoint(checkpoint, UncheckedSigner()) for checkpoint in wrong]
        results = await store.save_checkpoints(notes)
        assert [type(result) for result in results] == [LogForked] * len(wrong)
        assert await store.latest_checkpoint(ACME) is None
        right = await sign_checkpoint(checkpoint_of(head), UncheckedSigner())
        results = await store.save_checkpoints([notes[0], right, notes[-1]])
        assert [type(result) for result in results] == [LogForked, type(None), LogForked]
        assert await store.latest_checkpoint(ACME) == right

    async def test_a_payload_ends_with_the_commit_of_the_erasure_that_names_it(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("secret"), make_entry("b")])).fence
        leaves = [r.leaf for r in await store.read(ACME, 0, 10)]
        erasure = make_entry("why", kind="erasure", ref=1)
        fence = (await self.put(store, fence, ACME, [erasure])).fence
        leaves.append((await store.read(ACME, 3, 1))[0].leaf)
        assert await self.texts(store, ACME) == ["erased", "b", "why"]
        await self.put(store, fence, ACME, [erasure])  # again: it changes nothing
        leaves.append((await store.read(ACME, 4, 1))[0].leaf)
        await store.close()
        again, _ = await self.opened()
        assert await self.texts(again, ACME) == ["erased", "b", "why", "why"]
        receipts: list[Receipt] = await again.read(ACME, 0, 10)
        assert receipts[1].salt is None
        assert [r.leaf for r in receipts] == leaves

    async def test_a_refused_erasure_erases_nothing(self) -> None:
        store, fence = await self.opened()
        fence = (await self.put(store, fence, ACME, [make_entry("secret", idem="a")])).fence
        erasure = make_entry("why", kind="erasure", ref=1, idem="a")
        refused = self.only(await self.put(store, fence, ACME, [erasure]))
        assert isinstance(refused, Refused)
        assert await self.texts(store, ACME) == ["secret"]

    async def test_an_erasure_may_name_a_receipt_of_its_own_commit(self) -> None:
        store, fence = await self.opened()
        entries = [make_entry("secret"), make_entry("why", kind="erasure", ref=1)]
        await self.put(store, fence, ACME, entries)
        assert await self.texts(store, ACME) == ["erased", "why"]

    async def test_whom_payloads_name_is_found_until_they_are_erased(self) -> None:
        store, fence = await self.opened()
        alice, bob = (hash_subject(IDEM_KEY, f"{name}@example.com") for name in ("alice", "bob"))
        both = make_entry("Alice@example.com and bob@example.com")
        fence = (await self.put(store, fence, ACME, [make_entry("nobody"), both])).fence
        fence = (await self.put(store, fence, ZETA, [make_entry("<alice@example.com>")])).fence
        assert await store.find_subject(alice) == [(ACME, 2), (ZETA, 1)]
        assert await store.find_subject(bob) == [(ACME, 2)]
        assert await store.find_subject(hash_subject(IDEM_KEY, "carol@example.com")) == []
        await self.put(store, fence, ACME, [make_entry("why", kind="erasure", ref=2)])
        await store.close()
        again, _ = await self.opened()
        assert await again.find_subject(alice) == [(ZETA, 1)]
        assert await again.find_subject(bob) == []

    async def test_key_records_are_kept_and_replaced_by_id(self) -> None:
        store, _ = await self.opened()
        record = KeyRecord(id="k1", hash="00", role="operator", tenant=None, created_at=NOW)
        other = attrs.evolve(record, id="k0", tenant="acme")
        revoked = attrs.evolve(record, revoked_at=NOW)
        for one in (record, other, revoked):
            await store.save_key(one)
        await store.close()
        again, _ = await self.opened()
        assert await again.keys() == [other, revoked]

    async def test_a_meta_value_is_set_and_set_once(self) -> None:
        store, _ = await self.opened()
        assert await store.get_meta("name") is None
        await store.put_meta("name", b"one")
        await store.put_meta("name", b"two")
        assert await store.put_meta_once("name", b"three") == b"two"
        assert await store.put_meta_once("other", b"first") == b"first"
        await store.close()
        again, _ = await self.opened()
        assert await again.get_meta("name") == b"two"

    async def test_the_deployments_idempotency_secret_is_made_once(self) -> None:
        store, _ = await self.opened()
        assert await deployment_idem_key(store, b"a" * 32) == b"a" * 32
        assert await deployment_idem_key(store, b"b" * 32) == b"a" * 32
        await raised_by(InvalidInput, deployment_idem_key(store, b"short"))

    async def test_a_store_that_is_not_open_answers_unavailable(self) -> None:
        store = self.make_store()
        await raised_by(StoreUnavailable, store.heads())
        await store.open()
        await store.close()
        await store.close()
        commit = Commit(Fence(1, 0), (grow(LogHead.empty(ACME), [make_entry("x")], 1),))
        for step in (
            store.fence(),
            store.commit(commit),
            store.heads(),
            store.head(ACME),
            store.read(ACME, 0, 1),
            store.find_idem(ACME, "00"),
            store.find_subject(bytes(32)),
            store.latest_checkpoint(ACME),
            store.line_generation(),
            store.keys(),
            store.get_meta("x"),
            store.put_meta("x", b""),
        ):
            await raised_by(StoreUnavailable, step)

    async def test_what_a_store_gives_back_verifies(self) -> None:
        store, fence = await self.opened()
        for text in ("one", "zwei \N{SNOWMAN}", ""):
            fence = (await self.put(store, fence, ACME, [make_entry(text)])).fence
        check = verify.LogCheck(ACME, [])
        for receipt in await store.read(ACME, 0, 100):
            check.take(receipt.leaf)
            assert receipt.salt is not None
            assert receipt.payload is not None
            check.check_payload(receipt.seq, receipt.salt, receipt.payload)
        assert check.root_at(check.size) == (await store.head(ACME)).root
