"""The recipes about Cloud Run against the local cloud, by the real adapters.

All that goes over the wire is held to Google's discovery documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from attrs import frozen
from trio.testing import MockClock

from autonomics.recipes import (
    Decision,
    Fact,
    FactRequest,
    History,
    PlannedCall,
    Recipe,
    Signal,
    Verification,
    decide,
    judge_act,
    needed_facts,
    normalise,
    verification_facts,
)
from autonomics.recipes.record import outcome_payload, parse_payload
from autonomics.testing.cloud_fault import CrashesLater
from autonomics.testing.decision_stage import open_decision_stage
from autonomics.testing.discovery import load_document
from autonomics.testing.discovery_transport import CheckedTransport
from autonomics.testing.local_cloud import LocalCloud
from autonomics.testing.local_reach import Reach, reach_cloud

SERVICE = "projects/shop/locations/europe-west1/services/checkout"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STAGE = open_decision_stage()
INSTANCES = "run.googleapis.com/container/instance_count"
STARTS = "run.googleapis.com/container/startup_latencies"
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"


def now() -> datetime:
    return START + timedelta(seconds=trio.current_time())


@frozen
class World:
    cloud: LocalCloud
    reach: Reach

    async def read(self, requests: Sequence[FactRequest]) -> dict[str, Fact]:
        facts: dict[str, Fact] = {}
        for request in requests:
            facts[request.key] = await self.reach.readers[request.call.partition(".")[0]].read(
                request
            )
        assert [fact.error for fact in facts.values() if fact.error] == []
        return facts

    async def decide(self, entry: dict[str, Any], history: History) -> Decision:
        signal = normalise(entry, source="logs")
        facts = await self.read(needed_facts(signal, history, STAGE.recipes, now()))
        return decide(signal, facts, history, STAGE.recipes, STAGE.policy, now())

    async def change(self, calls: Sequence[PlannedCall]) -> None:
        for call in calls:
            await self.reach.effectors["run"].call(call)
            assert await self.reach.effectors["run"].read_back(call) == "applied"

    async def act(self, decision: Decision, history: History) -> History:
        assert decision.answer == "act", decision.diagnosis.explanation
        assert decision.plan is not None
        assert decision.action_id is not None
        history = STAGE.after(history, decision)
        await self.change(decision.plan.calls)
        outcome = parse_payload(outcome_payload(decision.action_id, "done"))
        return history.apply("outcome", outcome, 0, now())

    async def judge(self, signal: Signal, history: History, acted_at: datetime) -> Verification:
        recipe = recipe_of(history)
        facts = await self.read(verification_facts(signal, recipe, now()))
        return judge_act(signal, recipe, facts, history, acted_at, now())

    def template(self) -> dict[str, Any]:
        template: dict[str, Any] = self.cloud.service(SERVICE)["template"]
        return template


def recipe_of(history: History) -> Recipe:
    (act,) = history.acts.values()
    recipe = STAGE.recipes.get(act.recipe)
    assert recipe is not None
    return recipe


def world(**service: Any) -> World:
    cloud = LocalCloud(now)
    cloud.add_service(SERVICE, **service)
    documents = (load_document("run.v2"), load_document("monitoring.v3"))
    transport = CheckedTransport(cloud.transport(), *documents)
    return World(cloud, reach_cloud(cloud, now, transport=transport))


async def test_the_limit_is_raised_holds_and_can_be_taken_back(autojump_clock: MockClock) -> None:
    of = world(max_instances=20)
    await trio.sleep(600)
    of.cloud.set_course(SERVICE, INSTANCES, [20, 20, 20, 20, 20, 20])
    before = of.template()

    decision = await of.decide(of.cloud.no_instance_entry(SERVICE, "1", 429), History.empty())
    history = await of.act(decision, History.empty())
    acted_at = now()

    assert of.template()["scaling"] == {"maxInstanceCount": 30}
    assert await of.judge(decision.signal, history, acted_at) == "pending"
    await trio.sleep(360)
    assert await of.judge(decision.signal, history, acted_at) == "effective"
    assert decision.plan is not None
    await of.change(decision.plan.rollback)
    assert of.template() == before


async def test_a_limit_that_did_not_help_is_ineffective(autojump_clock: MockClock) -> None:
    of = world(max_instances=20)
    await trio.sleep(600)
    of.cloud.set_course(SERVICE, INSTANCES, [20, 20, 20, 20, 20, 20])
    decision = await of.decide(of.cloud.no_instance_entry(SERVICE, "1", 429), History.empty())
    history = await of.act(decision, History.empty())
    acted_at = now()
    await trio.sleep(121)

    again = await of.decide(of.cloud.no_instance_entry(SERVICE, "2", 429), history)
    history = STAGE.after(history, again)
    await trio.sleep(900)

    assert again.answer == "refuse"
    assert await of.judge(decision.signal, history, acted_at) == "ineffective"


async def test_slow_starts_get_warm_instances_and_boost(autojump_clock: MockClock) -> None:
    of = world(max_instances=20)
    await trio.sleep(600)
    of.cloud.set_course(SERVICE, INSTANCES, [2, 4, 6, 8, 9, 9])
    of.cloud.set_course(SERVICE, STARTS, [[2000, 14000], [3000, 15000]])
    before = of.cloud.service(SERVICE)

    decision = await of.decide(of.cloud.no_instance_entry(SERVICE, "1", 500), History.empty())
    history = await of.act(decision, History.empty())
    acted_at = now()

    after = of.cloud.service(SERVICE)
    assert after["scaling"] == {"minInstanceCount": 3}
    assert after["template"]["containers"][0]["resources"]["startupCpuBoost"] is True
    await trio.sleep(360)
    assert await of.judge(decision.signal, history, acted_at) == "effective"
    assert decision.plan is not None
    await of.change(decision.plan.rollback)
    restored = of.cloud.service(SERVICE)
    assert restored["template"] == before["template"]
    assert restored.get("scaling", {}) == before.get("scaling", {})


def deploy_crashing(of: World) -> tuple[str, str]:
    """Deploy a revision whose containers will exit, and name the one before it and itself."""
    (held,) = of.cloud.shares_of(SERVICE)
    of.cloud.set_fate("bad", CrashesLater(30))
    of.cloud.change_elsewhere(SERVICE, "template.containers.0.image", "bad")
    (crashing,) = of.cloud.shares_of(SERVICE)
    return held, crashing


async def crash(of: World) -> tuple[Decision, History]:
    """Let containers exit three times, a minute apart."""
    history = History.empty()
    for insert_id in ("e1", "e2"):
        await trio.sleep(60)
        decision = await of.decide(of.cloud.exit_entry(SERVICE, insert_id), history)
        assert decision.code == "evidence_short"
        history = STAGE.after(history, decision)
    await trio.sleep(60)
    return await of.decide(of.cloud.exit_entry(SERVICE, "e3"), history), history


async def test_the_traffic_of_a_crashing_revision_goes_back(autojump_clock: MockClock) -> None:
    of = world()
    held, crashing = deploy_crashing(of)

    decision, history = await crash(of)
    history = await of.act(decision, history)
    acted_at = now()

    assert of.cloud.shares_of(SERVICE) == {held: 100}
    assert of.cloud.crashing(SERVICE) == []
    # The last instances of the revision that was left still exit, and harm nobody.
    await trio.sleep(120)
    late = await of.decide(of.cloud.exit_entry(SERVICE, "late", revision=crashing), history)
    assert (late.answer, late.code) == ("refuse", "precondition_failed")
    history = STAGE.after(history, late)
    await trio.sleep(540)
    assert await of.judge(decision.signal, history, acted_at) == "effective"
    assert decision.plan is not None
    await of.change(decision.plan.rollback)
    assert of.cloud.shares_of(SERVICE) == {crashing: 100}
    assert of.cloud.service(SERVICE)["traffic"] == [{"type": LATEST, "percent": 100}]


async def test_if_the_revision_before_exits_too_it_was_ineffective(
    autojump_clock: MockClock,
) -> None:
    of = world()
    held, _ = deploy_crashing(of)
    decision, history = await crash(of)
    history = await of.act(decision, history)
    acted_at = now()
    await trio.sleep(61)

    also = await of.decide(of.cloud.exit_entry(SERVICE, "also", revision=held), history)
    history = STAGE.after(history, also)
    await trio.sleep(1800)

    assert await of.judge(decision.signal, history, acted_at) == "ineffective"


async def test_traffic_that_somebody_moves_meanwhile_is_no_success(
    autojump_clock: MockClock,
) -> None:
    of = world()
    deploy_crashing(of)
    decision, history = await crash(of)
    history = await of.act(decision, history)
    acted_at = now()
    of.cloud.change_elsewhere(SERVICE, "traffic", [{"type": LATEST, "percent": 100}])
    await trio.sleep(1800)

    assert await of.judge(decision.signal, history, acted_at) == "ineffective"
