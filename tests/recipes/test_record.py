from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.gates import LINE, Certificate, Freeze, Latch, LegalHold
from autonomics.receipts.canonical import encode
from autonomics.recipes import Fleet, History, Policy, parse_policy
from autonomics.recipes.record import (
    approval_payload,
    decided_payload,
    intent_payload,
    outcome_payload,
    parse_decided,
    parse_intent,
    parse_payload,
    parse_received,
    received_payload,
    rolled_back_payload,
    verified_payload,
)
from autonomics.tenancy import Entitlement, Quota, TenantState
from autonomics.testing.decision_stage import HANDLE, NOW
from autonomics.testing.decision_stage import DecisionStage as Stage


def test_a_received_payload_gives_the_signal_back(stage: Stage) -> None:
    signal = stage.signal("run/fixtures/kill.json")

    received = parse_received(received_payload(signal, door="pubsub", principal="push@p"))

    assert (received.signal, received.door, received.principal) == (signal, "pubsub", "push@p")


def test_a_decided_payload_gives_all_inputs_back(stage: Stage) -> None:
    signal, history = stage.two_kills()
    decision = stage.decide(signal, history)

    recorded = parse_decided(decided_payload(decision))

    assert (recorded.answer, recorded.code, recorded.digest) == ("act", None, decision.digest)
    assert recorded.policy == stage.policy
    assert tuple(recorded.facts.values()) == decision.facts
    assert len(recorded.facts) == 2
    assert (recorded.now, recorded.event_at) == (NOW, signal.event_at)
    assert recorded.plan == decision.plan
    assert recorded.action_id == decision.action_id
    assert [verdict["gate"] for verdict in recorded.verdicts][:2] == ["stop_line", "tenant_state"]


def test_a_decision_without_a_recipe_is_recorded_too(stage: Stage) -> None:
    signal = evolve(stage.signal("run/fixtures/kill.json"), kind="unknown", event_at=None)

    recorded = parse_decided(decided_payload(stage.decide(signal, History.empty())))

    assert (recorded.answer, recorded.recipe, recorded.plan) == ("none", None, None)
    assert recorded.event_at == NOW


def test_an_intent_is_enough_to_carry_on_after_a_crash(stage: Stage) -> None:
    decision = stage.decide(*stage.two_kills())

    intent = parse_intent(intent_payload(decision))

    assert (intent.action_id, intent.digest) == (decision.action_id, decision.digest)
    assert intent.plan == decision.plan


def test_there_is_no_intent_without_the_decision_to_act(stage: Stage) -> None:
    decision = stage.decide(stage.signal("run/fixtures/kill.json"), History.empty())

    with pytest.raises(InvalidInput, match="decision with intent to be act, got 'refuse'"):
        intent_payload(decision)


def test_there_is_nothing_to_approve_without_a_recipe(stage: Stage) -> None:
    decision = stage.decide(
        evolve(stage.signal("run/fixtures/kill.json"), kind="unknown"), History.empty()
    )

    with pytest.raises(InvalidInput, match="decision to approve"):
        approval_payload(decision, by="ann", is_approved=True, expires_at=NOW)


def test_ends_are_folded_into_the_history(stage: Stage) -> None:
    decision = stage.decide(*stage.two_kills())
    assert decision.action_id is not None
    history = stage.after(History.empty(), decision)
    act_id = decision.action_id

    ends = {
        "outcome": outcome_payload(act_id, "done", calls_done=1),
        "verified": verified_payload(act_id, "ineffective"),
        "rolled_back": rolled_back_payload(act_id, "rolled_back"),
    }
    states: list[str] = [history.acts[act_id].state]
    for seq, (kind, payload) in enumerate(ends.items()):
        history = history.apply(kind, parse_payload(payload), seq, NOW)
        states.append(history.acts[act_id].state)

    assert states == ["intended", "done", "ineffective", "rolled_back"]


def test_a_result_outside_its_list_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected result"):
        outcome_payload("a", "effective")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="expected result"):
        verified_payload("a", "done")
    with pytest.raises(InvalidInput, match="expected result"):
        rolled_back_payload("a", "done")


def test_a_long_detail_is_cut() -> None:
    payload = parse_payload(outcome_payload("a", "failed", detail="x" * 5000))

    assert len(str(payload["detail"])) == 2000


@pytest.mark.parametrize(
    ("parse", "content"),
    [
        (parse_payload, []),
        (parse_received, {"signal": {}}),
        (parse_decided, {"facts": []}),
        (parse_decided, {"facts": 5}),
        (parse_intent, {"action_id": "a"}),
    ],
)
def test_a_payload_of_another_form_is_refused(parse: Any, content: object) -> None:
    with pytest.raises(InvalidInput):
        parse(encode(content))


moments = st.datetimes(
    min_value=NOW.replace(tzinfo=None), max_value=(NOW + timedelta(days=900)).replace(tzinfo=None)
).map(lambda moment: moment.replace(tzinfo=NOW.tzinfo))
names = st.text(min_size=1, max_size=8)
policies = st.builds(
    Policy,
    tenant=st.just(HANDLE),
    tenant_state=st.sampled_from(TenantState),
    is_refusing=st.booleans(),
    entitlement=st.none()
    | st.builds(
        Entitlement,
        price_plan=names,
        recipes=st.lists(names, max_size=3).map(tuple),
        starts_at=st.none() | moments,
        ends_at=st.none(),
    ),
    role=names,
    requested_by=names,
    latch=st.sampled_from([Latch(), Latch.unreadable(3), Latch().trip(LINE, "why", "bob")]),
    quotas=st.dictionaries(names, st.integers(0, 9), max_size=2).map(
        lambda row: {k: Quota(name=k, limit=v, ceiling=v + 1) for k, v in row.items()}
    ),
    certificate=st.none()
    | st.builds(Certificate, id=names, covers=st.just(("run.*",)), ends_at=moments),
    legal_holds=st.lists(st.builds(LegalHold, id=names, resource=names), max_size=2).map(tuple),
    freezes=st.lists(
        st.builds(Freeze, starts_at=moments, ends_at=moments, reason=names), max_size=2
    ).map(tuple),
    monitor=st.lists(names, max_size=2).map(tuple),
    fleet=st.none()
    | st.builds(
        Fleet, tenants=st.integers(0, 9), touched=st.dictionaries(names, st.integers(0, 9))
    ),
)


@given(policies)
def test_a_policy_survives_its_record(policy: Policy) -> None:
    assert parse_policy(policy.record()) == policy


@pytest.mark.parametrize("change", [{"tenant_state": "gone"}, {"quotas": 5}, {"fleet": {}}])
def test_a_policy_of_another_form_is_refused(stage: Stage, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"Policy\.record"):
        parse_policy({**stage.policy.record(), **change})
