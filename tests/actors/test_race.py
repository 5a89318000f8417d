"""Orders of events that seldom happen, each brought about on purpose."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import StoreUnavailable
from autonomics.tenancy.api_key import ALPHABET, make_api_key
from autonomics.testing.cloud_fault import Fail, Hang, Late
from autonomics.testing.house import House, open_house, payload_of, service_name
from autonomics.testing.stage import recording


async def clear(house: House, scope: str = "line") -> None:
    await house.control.clear_line(scope, "a cause", "a fix", "a prevention", "me")


async def test_a_clearing_while_the_latch_is_read_again_forgets_no_other_stop(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.control.stop_line("line", "smoke", "me")
        await house.control.stop_line("recipe:one", "smoke", "me")
        house.faults.fail_next("before")
        with pytest.raises(StoreUnavailable):
            await clear(house)
        await trio.sleep(0.3)  # the store is back, the latch is not read yet
        with pytest.raises(StoreUnavailable, match="latch"):
            await clear(house)
        await trio.sleep(5)
        await clear(house)

        assert [row.scope for row in (await house.control.line()).stops] == ["recipe:one"]


async def test_a_decision_waits_for_the_news_that_made_the_last_one_stale(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.control.stop_line("recipe:another", "smoke", "me")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Late(0.5))
        accepted = await house.tell("acme", house.oom("acme", 1))
        with recording() as events:
            async with trio.open_nursery() as nursery:
                house.faults.hold()
                nursery.start_soon(clear, house, "recipe:another")
                await trio.sleep(0.6)
                house.faults.release()
            await house.settle(2000)

        decided = [fields for event, fields in events if event == "signal.decided"]
        assert [fields["seq"] for fields in decided] == [accepted.receipt.seq] * 2


async def test_a_stop_that_is_heard_before_the_log_is_read_is_noted_after_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        house.faults.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.tell, "birch", {"a": 1})
            await wait_all_tasks_blocked()
            house.kill("acme", "receipt_writer")  # its successor waits behind that commit
            await wait_all_tasks_blocked()
            nursery.start_soon(house.control.stop_line, "line", "smoke", "me")
            await wait_all_tasks_blocked()
            house.faults.release()
        await trio.sleep(2)

        assert [row["event"] for row in await house.payloads("acme", "gate")] == ["stopped"]


async def test_a_trip_that_found_no_store_is_tried_again_without_another_word(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.cloud.script("run.services.patch", Hang(has_effect=True))
        house.cloud.script("read_back", Fail())
        await house.run_out_of_memory("acme")
        await house.control.stop_line("tenant:acme", "smoke", "me")
        await trio.sleep(30)
        house.faults.fail_next(None, "before")  # the outcome, then the trip
        await trio.sleep(60)

        events = [row["event"] for row in await house.payloads("acme", "gate")]
        assert events == ["stopped", "tripped"]


async def test_a_stop_between_an_intent_and_its_act_is_in_time(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Late(0.5))
        accepted = await house.tell("acme", house.oom("acme", 1))
        house.faults.hold("after")  # the intent is durable, and nobody knows
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.control.stop_line, "line", "smoke", "me")
            await wait_all_tasks_blocked()
            house.faults.release()
        await trio.sleep(5)

        family = await house.control.related(accepted.receipt.id)
        assert [view.kind for view in family] == ["received", "decided", "intent", "outcome"]
        outcome = payload_of(family[3])
        assert (outcome["result"], outcome["attempts"]) == ("failed", 1)
        assert "line was stopped" in outcome["detail"]
        assert house.cloud.memory_of(service_name("acme")) == "512Mi"


async def test_a_key_with_a_known_id_and_another_secret_opens_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        key = await house.control.create_key("admin", None, "me")
        number = 0
        for digit in key.id + "A" * 56:
            number = number * 62 + ALPHABET.index(digit)
        forged = make_api_key(number.to_bytes(48))

        assert forged.id == key.id
        assert await house.control.authenticate(forged.text) is None
        assert await house.control.authenticate(key.secret) is not None


async def test_a_question_that_the_store_took_with_it_is_answered_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        refused_at: list[float] = []

        async def ask() -> None:
            with pytest.raises(StoreUnavailable):
                await house.control.receipts(house.handles["acme"], 0, 10)
            refused_at.append(trio.current_time())

        async def tell() -> None:
            with pytest.raises(StoreUnavailable):
                await house.tell("acme", {"a": 1})
            refused_at.append(trio.current_time())

        house.faults.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            killed_at = trio.current_time()
            house.kill_path("disk/store_writer")

        assert max(refused_at) - killed_at < 0.1
        house.faults.release()


async def test_a_writer_that_can_not_open_its_log_refuses_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.is_away = True
        house.kill_path("disk/store_writer")
        house.kill("acme", "receipt_writer")
        await trio.sleep(1)
        began = trio.current_time()

        with pytest.raises(StoreUnavailable):
            await house.tell("acme", {"a": 1})

        assert trio.current_time() - began < 0.1


async def test_a_decision_made_long_ago_is_found_again(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        first = await house.say("acme", {"a": 1}, "m")
        for number in range(20):
            await house.say("acme", {"n": number})
        await house.restart()

        again = await house.say("acme", {"a": 1}, "m")

        assert again.decision.id == first.decision.id
