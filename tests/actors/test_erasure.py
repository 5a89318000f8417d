"""To erase a person: what goes, what is kept, and that the house is afterwards what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import NamedIn, Unplaced
from autonomics.actors.router_message import tenant_actor
from autonomics.actors.writer_message import Append
from autonomics.errors import InvalidInput, StoreUnavailable
from autonomics.receipts import verify
from autonomics.receipts.entry import Entry
from autonomics.receipts.subject import hash_subject
from autonomics.testing.cloud_fault import Hang
from autonomics.testing.house import House, open_house, payload_of

ALICE = "alice@example.com"
ASKED = "asked for it on 24 November"


def signal_by(person: str, **more: Any) -> dict[str, Any]:
    return {"textPayload": "somebody has called", "principalEmail": person, **more}


async def expect_logs_verify(house: House, *names: str) -> None:
    """Verify as a stranger would: a payload may be missing only where an erasure says so."""
    for name in names:
        views = await house.log(name)
        check = verify.LogCheck(views[0].origin, [])
        missing = {view.seq for view in views if view.payload is None}
        for view in views:
            check.take(view.leaf)
            if view.payload is not None and view.salt is not None:
                check.check_payload(view.seq, view.salt, view.payload)
        named = {check_ref(view.leaf) for view in views if view.kind == "erasure"}
        assert missing == named


def check_ref(leaf: bytes) -> int:
    ref = verify.parse_leaf(leaf)["ref"]
    assert isinstance(ref, int)
    return ref


async def test_all_payloads_that_name_a_person_end_in_all_logs(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("globex")
        await house.say("acme", signal_by(ALICE))
        await house.say("acme", signal_by("bob@example.com"))
        await house.say("globex", {"textPayload": f"{ALICE.upper()} again"})
        found = await house.control.find_subject(ALICE)
        receipts = {named.receipt_id.split(".")[0] for named in found}
        assert receipts == {house.handles["acme"], house.handles["globex"]}

        done = await house.control.erase_subject(f" {ALICE.title()} ", ASKED, "op")

        assert done == found
        assert {named.kept for named in done} == {None}
        assert await house.control.find_subject(ALICE) == ()
        for name in ("acme", "globex", "platform"):
            for view in await house.log(name):
                assert ALICE not in (view.payload or b"").decode().casefold()
        erasures = [payload_of(v) for v in await house.log("acme") if v.kind == "erasure"]
        assert {(row["by"], row["reason"]) for row in erasures} == {("op", ASKED)}
        await expect_logs_verify(house, "acme", "globex", "platform")
        assert len(await house.control.find_subject("bob@example.com")) > 0


async def test_whom_nothing_names_is_found_nowhere_and_nothing_is_written(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        before = await house.kinds("acme")
        assert await house.control.find_subject(ALICE) == ()
        assert await house.control.erase_subject(ALICE, ASKED, "op") == ()
        assert await house.kinds("acme") == before


@pytest.mark.parametrize("reason", ["", "  ", f"{ALICE} has asked", "x" * 501])
async def test_a_reason_is_given_and_names_nobody(reason: str, autojump_clock: MockClock) -> None:
    async with open_house() as house:
        with pytest.raises(InvalidInput, match="expected reason to be"):
            await house.control.erase_subject(ALICE, reason, "op")
        with pytest.raises(InvalidInput, match="expected subject to be"):
            await house.control.erase_subject("", ASKED, "op")


async def test_a_tenant_goes_on_writing_to_a_log_that_an_erasure_has_grown(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        for number in range(4):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(house.say, "acme", signal_by(ALICE, number=number))
                nursery.start_soon(house.control.erase_subject, ALICE, ASKED, "op")
        await house.control.erase_subject(ALICE, ASKED, "op")
        kinds = await house.kinds("acme")
        assert kinds.count("received") == kinds.count("decided") == 20
        assert await house.control.find_subject(ALICE) == ()
        await expect_logs_verify(house, "acme")


async def test_a_tenant_whose_signals_and_decisions_were_erased_wakes_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", signal_by(ALICE))
        await house.run_out_of_memory("acme")
        assert await house.settle(2000)
        every = [v for v in await house.log("acme") if v.kind not in ("genesis", "epoch")]
        for view in every:
            await erase_one(house, view.seq)
        await house.restart()
        decided = await house.say("acme", {"hello": "again"})
        assert payload_of(decided.decision)["answer"] == "none"
        kinds = await house.kinds("acme")
        assert kinds.count("received") == kinds.count("decided")
        assert kinds.count("intent") == kinds.count("outcome") == 1
        await expect_logs_verify(house, "acme")


@pytest.mark.parametrize("gone", ["received", "decided", "intent", "outcome", "verified"])
async def test_a_log_without_one_payload_of_an_act_is_folded(
    gone: str, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.run_out_of_memory("acme")
        assert await house.settle(2000)
        before = await house.kinds("acme")
        for view in await house.log("acme"):
            if view.kind == gone:
                await erase_one(house, view.seq)
        await house.restart()
        assert await house.settle(2000)
        after = await house.kinds("acme")
        assert [kind for kind in after if kind not in ("erasure", "epoch")] == before
        await house.say("acme", {"hello": "again"})
        await expect_logs_verify(house, "acme")


async def erase_one(house: House, seq: int) -> None:
    """Erase one payload, whatever it says, as a later retention would."""
    entry = Entry(kind="erasure", actor="test", payload=b"{}", payload_type="test/1", ref=seq)
    name = tenant_actor(house.handles["acme"], "receipt_writer")
    await house.service.runtime.named(name).call(Append((entry,)))


async def test_a_signal_that_is_erased_before_its_decision_is_not_decided_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Hang())
        await house.tell("acme", house.oom("acme", 1) | {"principalEmail": ALICE})
        await house.control.erase_subject(ALICE, ASKED, "op")
        await house.restart()
        assert await house.settle()
        kinds = await house.kinds("acme")
        assert kinds.count("received") == 2
        assert kinds.count("decided") == 1
        await house.say("acme", {"hello": "again"})
        assert await house.control.find_subject(ALICE) == ()


async def test_erased_signals_hold_no_place_in_the_bound_on_undecided_ones(
    autojump_clock: MockClock,
) -> None:
    async with open_house(open_signals=3) as house:
        await house.create("acme")
        await house.control.change_tenant("acme", "suspend", "op")
        for number in range(20):
            await house.say("acme", signal_by(ALICE, number=number))
            await house.control.erase_subject(ALICE, ASKED, "op")
        await house.restart()
        await house.say("acme", {"hello": "again"})


async def test_what_the_house_itself_needs_is_kept_and_told(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        made = await house.control.create_tenant("solo", ALICE, "standard", "op")
        house.handles["solo"] = made.tenant.handle
        await house.say("solo", signal_by(ALICE))
        done = await house.control.erase_subject(ALICE, ASKED, "op")
        (kept,) = [named for named in done if named.kept is not None]
        assert (kept.kind, kept.kept) == ("tenant", "without it the tenant would be unknown")
        assert await house.control.find_subject(ALICE) == (kept,)
        await house.restart()
        assert (await house.tenant("solo")).name == ALICE


async def test_an_act_that_is_open_keeps_its_intent_until_it_has_ended(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Hang())
        await house.run_out_of_memory("acme")
        origin = (await house.log("acme"))[0].origin
        log = house.medium.logs[origin]
        intent = next(r for r in log.receipts if r.fields.kind == "intent")
        # Nothing that is planned here names a person, so the index is told that it does.
        log.subjects.add((hash_subject(house.medium.meta["idem_key"], ALICE), intent.seq))
        (found,) = await house.control.erase_subject(ALICE, ASKED, "op")
        assert found.kept == "its act has not ended: erase again when it has"
        assert await house.settle(2000)
        (found,) = await house.control.erase_subject(ALICE, ASKED, "op")
        assert found == NamedIn(f"{house.handles['acme']}.{intent.seq}", "intent")
        assert await house.control.find_subject(ALICE) == ()


async def test_a_closed_tenants_log_can_be_erased_from(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", signal_by(ALICE))
        await house.control.change_tenant("acme", "close", "op")
        done = await house.control.erase_subject(ALICE, ASKED, "op")
        assert len(done) >= 1
        await expect_logs_verify(house, "acme")
        await house.restart()
        assert await house.control.find_subject(ALICE) == ()


async def test_what_is_parked_is_erased_too(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        body = json.dumps(signal_by(ALICE)).encode()
        unplaced = Unplaced("unknown_tenant", "who?", "k1", "src", "m1", body, "acme")
        await house.control.park(unplaced)
        (done,) = await house.control.erase_subject(ALICE, ASKED, "op")
        assert done.receipt_id.startswith("platform.")
        made = await house.create("acme")
        assert made.replayed == 0
        assert await house.control.find_subject(ALICE) == ()
        await expect_logs_verify(house, "platform", "acme")


async def test_a_store_that_is_away_erases_nothing_and_says_so(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", signal_by(ALICE))
        house.faults.fail_next("before")
        with pytest.raises(StoreUnavailable):
            await house.control.erase_subject(ALICE, ASKED, "op")
        assert await house.settle()
        await house.control.erase_subject(ALICE, ASKED, "op")
        assert await house.control.find_subject(ALICE) == ()
        await house.say("acme", {"hello": "again"})
        await expect_logs_verify(house, "acme")
