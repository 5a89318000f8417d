from __future__ import annotations

from autonomics.receipts.leaf import decode_leaf
from autonomics.testing.house import open_house, payload_of, service_name


async def test_a_signal_without_a_recipe_is_received_and_decided(autojump_clock) -> None:
    async with open_house() as house:
        await house.create("acme")

        decided = await house.say("acme", {"hello": "world"})

        assert await house.kinds("acme") == ["genesis", "received", "decided"]
        decision = payload_of(decided.decision)
        assert (decision["answer"], decision["code"]) == ("none", "no_recipe")
        leaf = decode_leaf(decided.decision.leaf)
        assert leaf.cause == (decided.accepted.receipt.seq,)
        assert leaf.digest == decision["digest"]


async def test_an_act_leaves_its_whole_life_in_receipts(autojump_clock) -> None:
    async with open_house() as house:
        await house.create("acme")

        await house.run_out_of_memory("acme")
        assert await house.settle(2000)

        kinds = await house.kinds("acme")
        assert kinds == [
            "genesis",
            "received",
            "decided",
            "received",
            "decided",
            "intent",
            "outcome",
            "verified",
        ]
        assert house.cloud.memory_of(service_name("acme")) == "1Gi"
