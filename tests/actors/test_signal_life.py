"""What a signal leaves behind, from its receipt to the last word on its act."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import CallTimedOut, InvalidInput, NoSuchTenant
from autonomics.receipts import verify
from autonomics.receipts.leaf import decode_leaf
from autonomics.recipes.history import History
from autonomics.recipes.record import Received, parse_decided, parse_payload, parse_received
from autonomics.recipes.replay import replay
from autonomics.testing.cloud_fault import Hang
from autonomics.testing.house import open_house, payload_of, service_name

LIFE = ["received", "decided", "intent", "outcome", "verified"]


async def test_a_signal_without_a_recipe_is_received_and_decided(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")

        decided = await house.say("acme", {"hello": "world"})

        assert await house.kinds("acme") == ["genesis", "received", "decided"]
        decision = payload_of(decided.decision)
        assert (decision["answer"], decision["code"]) == ("none", "no_recipe")
        leaf = decode_leaf(decided.decision.leaf)
        assert leaf.cause == (decided.accepted.receipt.seq,)
        assert leaf.digest == decision["digest"]


async def test_an_act_leaves_its_whole_life_in_receipts(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")

        decided = await house.run_out_of_memory("acme")
        assert await house.settle(2000)

        family = await house.control.related(decided.decision.id)
        assert [view.kind for view in family] == LIFE
        assert house.cloud.memory_of(service_name("acme")) == "1Gi"
        assert payload_of(family[3])["result"] == "done"
        assert payload_of(family[4])["result"] == "effective"


async def test_each_receipt_names_the_one_before_it_as_its_cause(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")

        decided = await house.run_out_of_memory("acme")
        assert await house.settle(2000)

        family = await house.control.related(decided.accepted.receipt.id)
        leaves = [decode_leaf(view.leaf) for view in family]
        assert [leaf.cause for leaf in leaves[1:]] == [(view.seq,) for view in family[:-1]]
        recipes = {leaf.recipe.id for leaf in leaves if leaf.recipe is not None}
        assert recipes == {"run.oom_memory_limit"}
        assert leaves[1].digest == leaves[2].digest == payload_of(family[1])["digest"]


async def test_a_decision_and_its_intent_share_one_commit(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        await trio.sleep(1)

        house.faults.fail_next(None, "after")  # of the second commit nobody hears
        second = await house.tell("acme", house.oom("acme", 1))
        await trio.testing.wait_all_tasks_blocked()

        receipts = house.medium.logs[second.receipt.origin].receipts
        kinds = [receipt.fields.kind for receipt in receipts]
        assert kinds[-3:] == ["received", "decided", "intent"]


async def test_a_decision_comes_out_the_same_when_it_is_made_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.run_out_of_memory("acme")
        await house.say("acme", {"noise": 1})
        assert await house.settle(2000)

        history = History.empty()
        received: dict[int, Received] = {}
        statuses: list[str] = []
        for view in await house.log("acme"):
            leaf = decode_leaf(view.leaf)
            assert view.payload is not None
            if view.kind == "received":
                received[view.seq] = parse_received(view.payload)
            elif view.kind == "decided":
                first, recorded = received[leaf.cause[0]], parse_decided(view.payload)
                statuses.append(replay(first, recorded, history, house.recipes).status)
            if view.kind in LIFE[1:]:
                payload = parse_payload(view.payload)
                history = history.apply(view.kind, payload, view.seq, leaf.at)
        assert statuses == ["same"] * 3


async def test_signals_of_one_tenant_are_decided_in_order(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(house.tell, "acme", {"number": number})
        await house.settle()

        log = [decode_leaf(view.leaf) for view in await house.log("acme")]
        received = [leaf.seq for leaf in log if leaf.kind == "received"]
        decided = [leaf.cause[0] for leaf in log if leaf.kind == "decided"]
        assert decided == received


async def test_a_caller_that_gives_up_leaves_its_signal_accepted(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Hang())

        inbound = house.inbound("acme", house.oom("acme", 1))
        with pytest.raises(CallTimedOut):
            await house.control.submit_and_wait(inbound, 0.5)

        again = await house.control.submit_and_wait(inbound, 10)
        assert again.accepted.duplicate


async def test_what_is_no_signal_and_who_is_no_tenant_are_refused_at_the_door(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")

        with pytest.raises(InvalidInput, match="JSON"):
            await house.tell("acme", b"{not json")
        with pytest.raises(InvalidInput):
            await house.tell("acme", [1, 2])
        with pytest.raises(NoSuchTenant):
            await house.tell("nobody", {"a": 1})
        assert "received" not in await house.kinds("acme")


async def test_a_receipt_can_be_asked_for_by_its_id_alone(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decided = await house.say("acme", {"a": 1})

        assert await house.control.receipt(decided.decision.id) == decided.decision
        assert await house.control.receipt(f"{house.handles['acme']}.999") is None
        assert await house.control.related(f"{house.handles['acme']}.999") == ()
        for wrong in ("", "acme.1", "platform.x", "platform", "platform.1234567890123456"):
            with pytest.raises(InvalidInput, match="receipt id"):
                await house.control.receipt(wrong)
        with pytest.raises(InvalidInput, match="receipt id"):
            await house.control.proof(f"{house.handles['acme']}.999")
        with pytest.raises(NoSuchTenant):
            await house.control.export("nobody")


async def test_a_proof_of_one_receipt_convinces_a_stranger(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decided = await house.say("acme", {"a": 1})

        proof = await house.control.proof(decided.decision.id)

        trust = verify.gather_trust([await house.control.verifier_key("acme")], None)
        assert verify.verify_proof(proof, trust).code == 10
        stranger = verify.gather_trust([await house.control.verifier_key("platform")], None)
        assert verify.verify_proof(proof, stranger).code != 10


async def test_health_is_an_answer_also_while_the_ledger_starts(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        assert (await house.control.health()).readiness == "ready"
        house.kill_path("disk/front")
        seen: set[str] = set()
        for _ in range(50):
            await trio.lowlevel.checkpoint()
            seen.add((await house.control.health()).readiness)
        await trio.sleep(3)
        assert seen <= {"ready", "starting", "store_unavailable"}
        assert seen & {"starting", "store_unavailable"}
        assert (await house.control.health()).readiness == "ready"
