"""Sign-ups through the real tree: once each, whatever dies, and no act before activation."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import SignedUp, Unplaced
from autonomics.errors import InvalidInput, StoreUnavailable, TenantRefused, TenantUnavailable
from autonomics.tenancy.sign_up import Account
from autonomics.testing.house import House, open_house, payload_of, service_name

ACCOUNT = Account("E-1234-5678-9ABC-DEF0")
ID = ACCOUNT.tenant_id


async def sign_up(house: House) -> SignedUp:
    signed_up = await house.control.sign_up(ACCOUNT)
    house.handles[ID] = signed_up.tenant.handle
    return signed_up


def furnish_cloud(house: House) -> None:
    name = service_name(ID)
    house.cloud.add_service(name)
    house.cloud.set_memory_course(name, ["0.52", "0.51", "0.52", "0.51"])


async def signed_up_receipts(house: House) -> list[str]:
    return [
        view.id
        for view in await house.log("platform")
        if view.kind == "tenant" and payload_of(view)["event"] == "signed_up"
    ]


async def test_a_pending_tenants_signals_are_received_and_its_acts_refused(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        signed_up = await sign_up(house)
        furnish_cloud(house)
        assert (signed_up.tenant.state, signed_up.duplicate) == ("pending", False)
        before = house.cloud.memory_of(service_name(ID))

        decided = await house.run_out_of_memory(ID)

        decision = payload_of(decided.decision)
        assert (decision["answer"], decision["code"]) == ("refuse", "tenant_not_active")
        (verdict,) = [row for row in decision["verdicts"] if row["gate"] == "tenant_state"]
        assert "pending" in verdict["reason"]
        assert verdict["next"] == {
            "step": "activate or reactivate the tenant",
            "who": "administrator",
        }
        await house.settle()
        kinds = await house.kinds(ID)
        assert "received" in kinds
        assert "intent" not in kinds
        assert house.cloud.memory_of(service_name(ID)) == before


async def test_once_activated_it_acts(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await sign_up(house)
        furnish_cloud(house)

        view = await house.control.change_tenant(ID, "activate", "operator")
        assert view.state == "active"
        decided = await house.run_out_of_memory(ID)

        assert payload_of(decided.decision)["answer"] != "refuse"
        await house.settle()
        assert "intent" in await house.kinds(ID)
        with pytest.raises(InvalidInput, match="event for a tenant that is active"):
            await house.control.change_tenant(ID, "activate", "operator")


async def test_keys_of_a_pending_tenant_can_be_made(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await sign_up(house)
        assert not await house.control.keys()
        key = await house.control.create_key("tenant", ID, "operator")
        assert (await house.holder(key.secret)).tenant_id == ID


async def test_a_restart_knows_the_account_and_writes_nothing_twice(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        first = await sign_up(house)
        await house.restart()

        again = await sign_up(house)

        assert again.duplicate
        assert (again.receipt, again.tenant) == (first.receipt, first.tenant)
        assert again.tenant.account == ACCOUNT.id
        assert await signed_up_receipts(house) == [first.receipt.id]
        payload = payload_of(first.receipt)
        assert payload["account"] == {"marketplace": "gcp", "id": ACCOUNT.id}
        assert (payload["tenant"]["id"], payload["price_plan"]) == (ID, "evaluation")


async def test_a_commit_that_nobody_heard_of_is_found_again(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.settle()
        house.faults.fail_next("after")
        with pytest.raises(StoreUnavailable):
            await sign_up(house)
        await house.settle()

        again = await sign_up(house)

        assert (again.duplicate, again.tenant.state) == (True, "pending")
        assert await signed_up_receipts(house) == [again.receipt.id]
        await house.say(ID, {"kind": "nothing special"})  # it has its actors


async def test_a_commit_that_failed_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.settle()
        house.faults.fail_next("before")
        with pytest.raises(StoreUnavailable):
            await sign_up(house)
        await house.settle()
        assert await house.control.tenant(ID) is None

        assert not (await sign_up(house)).duplicate
        assert len(await signed_up_receipts(house)) == 1


@pytest.mark.parametrize("path", ["tenants/router", "ledger/platform", "disk/store_writer"])
async def test_whoever_dies_between_commit_and_answer_there_is_one_tenant(
    autojump_clock: MockClock, path: str
) -> None:
    async with open_house() as house:
        await house.settle()
        answers: list[SignedUp] = []

        async def ask() -> None:
            with suppress(StoreUnavailable, TenantUnavailable):
                answers.append(await sign_up(house))

        house.faults.hold("after")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.5)
            assert house.kill_path(path)
            await trio.sleep(0.5)
            house.faults.release()
        answers.append(await sign_up(house))

        (receipt,) = await signed_up_receipts(house)
        assert {answer.receipt.id for answer in answers} == {receipt}
        assert answers[-1].duplicate
        assert len(await house.control.tenants()) == 1


async def test_a_process_that_dies_before_it_answers_has_made_the_tenant(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.settle()
        house.faults.hold("after")
        with trio.move_on_after(0.5):
            await sign_up(house)
        house.faults.release()
        await house.restart(cut=True)

        again = await sign_up(house)

        assert again.duplicate
        assert await signed_up_receipts(house) == [again.receipt.id]


async def test_what_was_parked_for_its_id_is_handed_over(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        inbound = house.inbound(ID, {"kind": "nothing special"})
        unplaced = Unplaced(
            "unknown_tenant", "nobody", "house", "s", "m-1", inbound.body, tenant_id=ID
        )
        await house.control.park(unplaced)
        await sign_up(house)
        await house.settle()
        assert "received" in await house.kinds(ID)


async def test_an_id_that_was_given_by_hand_is_nobody_elses(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create(ID)
        with pytest.raises(TenantRefused, match="was made by hand"):
            await sign_up(house)
        with pytest.raises(InvalidInput, match="one that is not taken"):
            await house.control.create_tenant(ID, "again", "standard", "house")
