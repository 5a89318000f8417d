"""Keys: shown once, revoked at once, and in no receipt; strangers are counted."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.actors.message import Role
from autonomics.errors import InvalidInput, NoSuchTenant, StoreUnavailable
from autonomics.testing.house import House, open_house


async def all_bytes(house: House) -> bytes:
    """Everything that the store keeps."""
    logs = b"".join(
        receipt.leaf + (receipt.payload or b"")
        for log in house.medium.logs.values()
        for receipt in log.receipts
    )
    return logs + repr(house.medium.keys).encode()


async def test_a_tenant_comes_with_a_key_to_read_and_a_token_to_push(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        made = await house.create("acme")

        reader = await house.holder(made.api_key.secret)
        pusher = await house.holder(made.push_token.secret)

        assert (reader.role, reader.tenant_id) == ("tenant", "acme")
        assert (pusher.role, pusher.tenant_id) == ("push", "acme")
        assert reader.may_act_for("acme")
        assert not reader.may_act_for("birch")


@pytest.mark.parametrize("role", ["operator", "admin"])
async def test_roles_of_the_house_act_for_every_tenant(
    role: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        key = await house.control.create_key(role, None, "me")
        principal = await house.holder(key.secret)
        assert principal.may_act_for("anybody")
        assert principal.key_id == key.id


async def test_a_key_needs_a_tenant_exactly_if_its_role_does(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        wrong: list[tuple[Role, str | None]] = [("tenant", None), ("push", None), ("admin", "acme")]
        for role, tenant in wrong:
            with pytest.raises(InvalidInput, match="tenant of a key"):
                await house.control.create_key(role, tenant, "me")
        with pytest.raises(NoSuchTenant):
            await house.control.create_key("tenant", "nobody", "me")


async def test_a_revoked_key_is_useless_at_once_and_for_ever(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        key = await house.control.create_key("admin", None, "me")
        other = await house.control.create_key("admin", None, "me")

        view = await house.control.revoke_key(key.id, "me")
        again = await house.control.revoke_key(key.id, "me")

        assert view.revoked_at is not None
        assert again == view
        assert await house.control.authenticate(key.secret) is None
        await house.restart()
        assert await house.control.authenticate(key.secret) is None
        assert await house.control.authenticate(other.secret) is not None
        with pytest.raises(InvalidInput, match="key id"):
            await house.control.revoke_key("nonsense", "me")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_revocation_that_failed_can_be_asked_for_again(
    moment: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        key = await house.control.create_key("admin", None, "me")
        house.faults.fail_next(moment)
        with pytest.raises(StoreUnavailable):
            await house.control.revoke_key(key.id, "me")
        await trio.sleep(5)

        await house.control.revoke_key(key.id, "me")

        assert await house.control.authenticate(key.secret) is None
        events = [row["event"] for row in await house.payloads("platform", "key")]
        assert events == ["created", "revoked"]


async def test_what_is_no_key_opens_nothing(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        key = await house.control.create_key("admin", None, "me")
        other = await house.control.create_key("admin", None, "me")
        forged = key.secret[:-4] + other.secret[-4:]

        for text in ("", "nonsense", key.id, key.secret + "x", forged):
            assert await house.control.authenticate(text) is None


async def test_a_secret_stands_nowhere_but_in_the_answer(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        made = await house.create("acme")
        key = await house.control.create_key("admin", None, "me")
        await house.control.revoke_key(key.id, "me")

        kept = await all_bytes(house)
        for secret in (made.api_key.secret, made.push_token.secret, key.secret):
            assert secret[-20:].encode() not in kept
        assert key.secret not in repr(await house.control.keys())


async def test_keys_are_listed_oldest_first_without_their_secrets(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        first = await house.control.create_key("admin", None, "me")
        await trio.sleep(1)
        second = await house.control.create_key("operator", None, "me")

        assert [(view.id, view.role) for view in await house.control.keys()] == [
            (first.id, "admin"),
            (second.id, "operator"),
        ]


async def test_strangers_are_counted_into_one_receipt_a_minute(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        for _ in range(500):
            await house.control.count_stranger("bad_key")
        await house.control.count_stranger("no_key")
        assert await house.payloads("platform", "gate") == []

        await trio.sleep(61)
        assert await house.payloads("platform", "gate") == [
            {"event": "strangers", "counts": {"bad_key": 500, "no_key": 1}}
        ]
        await trio.sleep(600)
        assert len(await house.payloads("platform", "gate")) == 1, "nobody came, nothing is said"


async def test_strangers_are_counted_on_while_the_store_is_away_and_at_the_end(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.control.count_stranger("bad_key")
        house.faults.is_away = True
        house.kill_path("disk/store_writer")
        await trio.sleep(61)
        await house.control.count_stranger("bad_key")
        house.faults.is_away = False
        await trio.sleep(61)
        await house.control.count_stranger("no_key")
        await house.restart()

        counts = [row["counts"] for row in await house.payloads("platform", "gate")]
        assert counts == [{"bad_key": 2}, {"no_key": 1}]


async def test_reasons_without_end_are_counted_together(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        for number in range(100):
            await house.control.count_stranger(f"reason {number}")
        await trio.sleep(61)

        (row,) = await house.payloads("platform", "gate")
        assert len(row["counts"]) == 33
        assert row["counts"]["other"] == 68
