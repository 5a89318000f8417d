"""Stopping the line: what is refused, what survives, and what it takes to go on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import InvalidInput, NoSuchTenant, StoreUnavailable
from autonomics.testing.cloud_fault import Late
from autonomics.testing.house import House, open_house, payload_of, service_name

RECIPE = "run.oom_memory_limit"
TEXTS = ("the cause", "the fix", "the prevention")


async def stop(house: House, scope: str = "line") -> None:
    await house.control.stop_line(scope, "smoke", "me")


async def clear(house: House, scope: str = "line") -> None:
    await house.control.clear_line(scope, *TEXTS, "me")


async def answers(house: House, tenant: str) -> list[str]:
    return [row["code"] or row["answer"] for row in await house.payloads(tenant, "decided")]


@pytest.mark.parametrize(
    "scope", ["line", "tenant:acme", f"recipe:{RECIPE}", f"resource:{service_name('acme')}"]
)
async def test_a_stop_refuses_the_acts_of_its_scope_and_no_other(
    scope: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        await stop(house, scope)

        refused = await house.run_out_of_memory("acme")
        await house.run_out_of_memory("birch")
        await house.settle(2000)

        first = payload_of(refused.decision)
        assert (first["answer"], first["code"]) == ("refuse", "line_stopped")
        reaches_all = scope in ("line", f"recipe:{RECIPE}")
        assert (await answers(house, "birch"))[-1] == ("line_stopped" if reaches_all else "act")
        assert house.cloud.memory_of(service_name("acme")) == "512Mi"
        assert Counter(await house.kinds("acme"))["intent"] == 0


async def test_a_refused_act_may_be_asked_for_again_after_the_clearing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await stop(house)
        await house.run_out_of_memory("acme")

        await clear(house)
        await trio.sleep(1)
        again = await house.say("acme", house.oom("acme", 2))
        await house.settle(2000)

        assert payload_of(again.decision)["answer"] == "act"
        assert house.cloud.memory_of(service_name("acme")) == "1Gi"


@pytest.mark.parametrize("cut", [False, True])
async def test_a_stop_and_its_clearing_survive_a_restart(
    cut: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await stop(house)
        await stop(house, "tenant:acme")
        await clear(house)
        before = await house.control.line()

        await house.restart(cut=cut)
        await trio.sleep(1)

        after = await house.control.line()
        assert after == before
        assert [(row.scope, row.reason, row.by) for row in after.stops] == [
            (f"tenant:{house.handles['acme']}", "smoke", "me")
        ]
        assert after.stopped
        assert (await house.control.health()).readiness == "ready", "one tenant is not the line"


async def test_health_says_that_the_line_is_stopped(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await stop(house)
        assert (await house.control.health()).readiness == "line_stopped"
        await clear(house)
        assert (await house.control.health()).readiness == "ready"


async def test_a_second_stop_keeps_the_first_reason(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await stop(house)
        line = await house.control.stop_line("line", "fire", "you")

        assert [(row.reason, row.by) for row in line.stops] == [("smoke", "me")]
        assert line.generation == 2


@pytest.mark.parametrize("missing", range(3))
async def test_a_clearing_needs_all_three_texts(missing: Any, autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await stop(house)
        cause, fix, prevention = (text if at != missing else " " for at, text in enumerate(TEXTS))

        with pytest.raises(InvalidInput, match="not empty"):
            await house.control.clear_line("line", cause, fix, prevention, "me")
        assert (await house.control.line()).stopped


async def test_scopes_that_nobody_knows_and_stops_that_are_none(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        with pytest.raises(InvalidInput, match="scope"):
            await stop(house, "everything")
        with pytest.raises(InvalidInput):
            await stop(house, "recipe:")
        with pytest.raises(NoSuchTenant):
            await stop(house, "tenant:nobody")
        with pytest.raises(InvalidInput, match="scope to clear"):
            await clear(house)


async def test_each_change_of_the_line_is_a_receipt(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await stop(house)
        await clear(house)

        rows = await house.payloads("platform", "line")
        assert [(row["event"], row["latch"]["generation"]) for row in rows] == [
            ("stopped", 1),
            ("cleared", 2),
        ]
        assert (rows[1]["root_cause"], rows[1]["fix"], rows[1]["prevention"]) == TEXTS


async def test_an_intent_that_was_planned_before_a_stop_is_never_committed_after_it(
    autojump_clock: MockClock,
) -> None:
    for wait_s in (0.0, 0.4, 0.9, 1.0, 1.1, 1.6, 2.1, 2.6):
        async with open_house() as house:
            await house.create("acme")
            await house.say("acme", house.oom("acme", 0))
            house.faults.before_s = 1.0
            accepted = await house.tell("acme", house.oom("acme", 1))
            stopped_at: list[int] = []

            async with trio.open_nursery() as nursery:
                await trio.sleep(wait_s)
                nursery.start_soon(stop, house)
            stopped_at.append(len(await house.log("acme")))
            house.faults.before_s = 0.0
            await house.settle(2000)

            log = await house.log("acme")
            assert not [view for view in log[stopped_at[0] :] if view.kind == "intent"], wait_s
            family = await house.control.related(accepted.receipt.id)
            assert [view.kind for view in family].count("decided") == 1
            has_intent = "intent" in [view.kind for view in family]
            assert payload_of(family[1])["code"] == (None if has_intent else "line_stopped")
            assert house.fell is None


async def test_an_intent_that_is_not_begun_when_the_line_stops_ends_without_effect(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        # Four acts at once are as many as an executor runs: the fifth waits for its turn.
        for number in range(5):
            house.cloud.add_service(service_name("acme", f"s{number}"))
            house.cloud.set_memory_course(
                service_name("acme", f"s{number}"), ["0.52", "0.51", "0.52", "0.51"]
            )
        house.cloud.script("run.services.patch", *[Late(20.0)] * 5)
        for number in range(5):
            await house.run_out_of_memory("acme", f"s{number}")
        await trio.sleep(1)
        await stop(house)
        await house.settle(3000)

        outcomes = [row["result"] for row in await house.payloads("acme", "outcome")]
        assert len(outcomes) == Counter(await house.kinds("acme"))["intent"]
        assert house.cloud.doubled_effects() == {}


async def test_a_stop_while_the_store_is_away_holds_at_once_and_is_remembered_later(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.is_away = True
        house.kill_path("disk/store_writer")
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(StoreUnavailable):
            await stop(house)
        assert (await house.control.line()).stopped
        await trio.sleep(20)
        house.faults.is_away = False
        await trio.sleep(10)

        assert [row["event"] for row in await house.payloads("platform", "line")] == ["stopped"]
        await house.restart()
        await trio.sleep(1)
        assert [row.scope for row in (await house.control.line()).stops] == ["line"]


async def test_a_line_that_can_not_be_read_counts_as_tripped(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        await stop(house, "recipe:one")
        house.faults.is_away = True
        house.kill_path("disk/store_writer")
        house.kill_path("control/line")
        await trio.sleep(1)

        line = await house.control.line()
        assert line.stopped
        with pytest.raises(StoreUnavailable):
            await stop(house, "recipe:two")
        with pytest.raises(StoreUnavailable):
            await clear(house, "recipe:one")
        house.faults.is_away = False
        await trio.sleep(30)

        assert [row.scope for row in (await house.control.line()).stops] == [
            "recipe:one",
            "recipe:two",
        ]
        await house.restart()
        await trio.sleep(1)
        assert len((await house.control.line()).stops) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_after_a_clearing_that_nobody_heard_of_the_log_alone_can_tell(
    moment: Any, autojump_clock: MockClock
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await stop(house)
        house.faults.fail_next(moment)
        with pytest.raises(StoreUnavailable):
            await clear(house)
        assert (await house.control.line()).stopped
        await trio.sleep(20)

        assert (await house.control.line()).stopped is (moment == "before")
        await stop(house, "recipe:one")
        before = await house.control.line()
        await house.restart()
        await trio.sleep(1)
        assert await house.control.line() == before


async def test_a_tenant_hears_of_a_stop_however_its_watchdog_comes_and_goes(
    autojump_clock: MockClock,
) -> None:
    for seed in range(5):
        async with open_house(seed=seed) as house:
            await house.create("acme")
            house.faults.hold()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop, house)
                await trio.testing.wait_all_tasks_blocked()
                house.kill("acme", "gate_watchdog")
                await trio.testing.wait_all_tasks_blocked()
                house.faults.release()
            await trio.sleep(2)
            await clear(house)
            await trio.sleep(2)

            events = [row["event"] for row in await house.payloads("acme", "gate")]
            assert events == ["stopped", "cleared"]


async def test_a_decision_that_waits_behind_a_stop_is_taken_back_and_decided_anew(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await house.create("birch")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Late(0.5))
        accepted = await house.tell("acme", house.oom("acme", 1))
        async with trio.open_nursery() as nursery:
            house.faults.hold()
            nursery.start_soon(house.tell, "birch", {"a": 1})  # its commit is under way
            await trio.sleep(0.6)  # the decision to act waits for the next one
            nursery.start_soon(stop, house)
            await trio.testing.wait_all_tasks_blocked()
            house.faults.release()
        await trio.sleep(5)

        family = await house.control.related(accepted.receipt.id)
        assert [view.kind for view in family] == ["received", "decided"]
        assert payload_of(family[1])["code"] == "line_stopped"
        assert not house.cloud.effects


async def test_a_decision_that_waits_behind_a_clearing_is_planned_under_the_new_generation(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        await stop(house, "recipe:another")
        await house.say("acme", house.oom("acme", 0))
        house.cloud.script("run.services.get", Late(0.5))
        accepted = await house.tell("acme", house.oom("acme", 1))
        async with trio.open_nursery() as nursery:
            house.faults.hold()
            nursery.start_soon(clear, house, "recipe:another")
            await trio.sleep(0.6)
            house.faults.release()
        await house.settle(2000)

        family = await house.control.related(accepted.receipt.id)
        assert [view.kind for view in family].count("decided") == 1
        assert payload_of(family[1])["policy"]["latch"]["generation"] == 2
        assert len(house.cloud.effects) == 1
