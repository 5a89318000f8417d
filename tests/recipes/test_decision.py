from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.gates import LINE, Approval, Freeze, Latch
from autonomics.recipes import (
    Act,
    Fleet,
    History,
    Policy,
    RecipeSet,
    Signal,
    decide,
    parse_recipe,
    replay,
)
from autonomics.recipes.history import Hit
from autonomics.recipes.record import (
    approval_payload,
    decided_payload,
    parse_decided,
    parse_payload,
    parse_received,
    received_payload,
)
from autonomics.tenancy import Quota, TenantState
from autonomics.testing.decision_stage import FACTS, NOW, DecisionStage, open_decision_stage

Stage = DecisionStage
STAGE = open_decision_stage()
MEMORY = "template.containers.0.resources.limits.memory"


def test_the_second_kill_is_acted_on_with_the_next_step(stage: Stage) -> None:
    signal, history = stage.two_kills()

    decision = stage.decide(signal, history)

    assert decision.answer == "act"
    assert decision.plan is not None
    (call,) = decision.plan.calls
    assert (call.call, dict(call.set), dict(call.before)) == (
        "run.services.patch",
        {MEMORY: "1Gi"},
        {MEMORY: "512Mi"},
    )
    assert call.etag == stage.message(FACTS["service"])["etag"]
    assert call.validate_only_first
    (undo,) = decision.plan.rollback
    assert (dict(undo.set), undo.etag) == ({MEMORY: "512Mi"}, None)
    assert undo.idempotency_key != call.idempotency_key


def test_a_quota_is_raised_within_its_ceiling(stage: Stage) -> None:
    decision = stage.decide(stage.signal("ent/fixtures/quota_80.json"), History.empty())

    assert decision.answer == "act"
    assert decision.plan is not None
    assert decision.plan.resource == "quotas/signals"
    assert dict(decision.plan.calls[0].set) == {"limit": 150_000}


def test_all_gates_are_listed_whatever_the_answer(stage: Stage) -> None:
    signal, history = stage.two_kills()
    stopped = evolve(stage.policy, latch=Latch().trip(LINE, "fork", "watchdog"))

    acted, refused = stage.decide(signal, history), stage.decide(signal, history, policy=stopped)

    assert [v.gate for v in acted.verdicts] == [v.gate for v in refused.verdicts]
    assert len(acted.verdicts) == 14
    assert (refused.answer, refused.code) == ("refuse", "line_stopped")
    assert refused.plan == acted.plan


def test_a_signal_that_nobody_knows_is_answered_with_none(stage: Stage) -> None:
    decision = stage.decide(evolve(stage.two_kills()[0], kind="unknown"), History.empty())

    assert (decision.answer, decision.code, decision.plan) == ("none", "no_recipe", None)
    assert decision.action_id is None


def test_a_stale_signal_is_not_acted_on(stage: Stage) -> None:
    signal, history = stage.two_kills()
    assert signal.event_at is not None

    on_time = stage.decide(signal, history, now=signal.event_at + timedelta(seconds=3600))
    too_late = stage.decide(signal, history, now=signal.event_at + timedelta(seconds=3601))

    assert on_time.answer == "act"
    assert (too_late.answer, too_late.code) == ("refuse", "precondition_failed")
    assert too_late.digest != on_time.digest


def test_deciding_one_kill_again_does_not_make_it_two(stage: Stage) -> None:
    signal = stage.signal("run/fixtures/kill.json", message_id="1")
    history = stage.after(History.empty(), stage.decide(signal, History.empty()))

    assert stage.decide(signal, history).code == "evidence_short"
    assert stage.decide(evolve(signal, message_id="2"), history).answer == "act"


def test_a_recipe_in_monitor_mode_decides_and_does_not_act(stage: Stage) -> None:
    signal, history = stage.two_kills()
    watching = evolve(stage.policy, monitor=("run.*",))

    decision = stage.decide(signal, history, policy=watching)

    assert (decision.answer, decision.code) == ("refuse", "monitor_only")
    assert decision.plan is not None


def test_a_fleet_bound_counts_other_tenants(stage: Stage) -> None:
    signal, history = stage.two_kills()

    def code(tenants: int, touched: int) -> str | None:
        fleet = Fleet(tenants=tenants, touched={"run.oom_memory_limit": touched})
        return stage.decide(signal, history, policy=evolve(stage.policy, fleet=fleet)).code

    assert code(100, 4) is None
    assert code(100, 5) == "bounds_exceeded"
    assert code(3, 0) is None
    assert code(3, 1) == "bounds_exceeded"


def test_no_two_acts_are_open_on_one_resource(stage: Stage) -> None:
    signal, history = stage.two_kills()
    resource = "projects/shop/locations/europe-west1/services/checkout"
    other = Act(id="a", recipe="run.other", fingerprint="f", resource=resource, at=NOW)

    assert stage.decide(signal, evolve(history, acts={"a": other})).code == "bounds_exceeded"
    ended = evolve(other, state="effective", ended_at=NOW)
    assert stage.decide(signal, evolve(history, acts={"a": ended})).answer == "act"


def with_approval(stage: Stage) -> RecipeSet:
    text = dict(stage.files)["run/oom_memory_limit.toml"].decode()
    data = text.replace('approval = "none"', 'approval = "two"').encode()
    return RecipeSet.of([parse_recipe(data)])


def test_an_act_waits_for_its_approvals(stage: Stage) -> None:
    careful = evolve(stage, recipes=with_approval(stage))
    signal, history = careful.two_kills()

    waiting = careful.decide(signal, history)
    assert (waiting.answer, waiting.code) == ("await_approval", "approval_missing")

    for by in ("ann", "ann", "bob"):
        assert careful.decide(signal, history).answer == "await_approval"
        given_at = NOW + timedelta(hours=1)
        payload = approval_payload(waiting, by=by, is_approved=True, expires_at=given_at)
        history = history.apply("approval", parse_payload(payload), 9, NOW)
    assert careful.decide(signal, history).answer == "act"

    taken_back = approval_payload(waiting, by="bob", is_approved=False, expires_at=NOW)
    history = history.apply("approval", parse_payload(taken_back), 10, NOW)
    assert careful.decide(signal, history).answer == "await_approval"


def test_an_approval_is_used_up_by_its_act(stage: Stage) -> None:
    careful = evolve(stage, recipes=with_approval(stage))
    signal, history = careful.two_kills()
    key = next(iter(history.hits))
    approvals = tuple(Approval(by=by, expires_at=NOW + timedelta(hours=1)) for by in ("ann", "bob"))
    history = evolve(history, approvals={key: approvals})

    decision = careful.decide(signal, history)

    assert decision.answer == "act"
    assert careful.after(history, decision).approvals == {}


def test_approval_alone_is_waited_for(stage: Stage) -> None:
    careful = evolve(stage, recipes=with_approval(stage))
    signal, history = careful.two_kills()
    frozen = evolve(
        stage.policy,
        freezes=(Freeze(starts_at=NOW, ends_at=NOW + timedelta(days=1), reason="sale"),),
    )

    assert careful.decide(signal, history, policy=frozen).answer == "refuse"


def test_the_same_inputs_give_the_same_decision(stage: Stage) -> None:
    signal, history = stage.two_kills()

    first, second = stage.decide(signal, history), stage.decide(signal, history)

    assert first.digest == second.digest
    assert decided_payload(first) == decided_payload(second)
    assert first.action_id == second.action_id


Inputs = tuple[Signal, History, Policy]
CHANGES: dict[str, Callable[[Signal, History, Policy], Inputs]] = {
    "text": lambda s, h, p: (evolve(s, text=s.text + " again"), h, p),
    "severity": lambda s, h, p: (evolve(s, severity="CRITICAL"), h, p),
    "message id": lambda s, h, p: (evolve(s, message_id="3"), h, p),
    "a further hit": lambda s, h, p: (
        s,
        evolve(h, hits={key: (*hits, Hit(hits[-1].at)) for key, hits in h.hits.items()}),
        p,
    ),
    "role": lambda s, h, p: (s, h, evolve(p, role="operator")),
    "plan": lambda s, h, p: (s, h, evolve(p, tenant_state=TenantState.SUSPENDED)),
    "quota": lambda s, h, p: (
        s,
        h,
        evolve(p, quotas={**p.quotas, "acts": Quota(name="acts", limit=9, ceiling=9)}),
    ),
    "tenant": lambda s, h, p: (s, h, evolve(p, tenant="f" * 16)),
    "who asked": lambda s, h, p: (s, h, evolve(p, requested_by="ann")),
    "latch": lambda s, h, p: (s, h, evolve(p, latch=Latch(generation=1))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_input_that_differs_changes_the_digest(stage: Stage, name: str) -> None:
    signal, history = stage.two_kills()
    before = stage.decide(signal, history)

    other_signal, other_history, other_policy = CHANGES[name](signal, history, stage.policy)
    after = stage.decide(other_signal, other_history, policy=other_policy)

    assert after.digest != before.digest


def test_another_recipe_content_changes_the_digest(stage: Stage) -> None:
    signal, history = stage.two_kills()
    data = dict(stage.files)["run/oom_memory_limit.toml"].replace(
        b'version = "1.1.0"', b'version = "1.1.1"'
    )
    other = evolve(stage, recipes=RecipeSet.of([parse_recipe(data)]))

    assert other.decide(signal, history).digest != stage.decide(signal, history).digest


def test_another_fact_changes_the_digest(stage: Stage) -> None:
    signal, history = stage.two_kills()
    facts = stage.facts(signal, history, NOW, FACTS)
    before = decide(signal, facts, history, stage.recipes, stage.policy, NOW)
    for key, fact in facts.items():
        assert isinstance(fact.value, dict)
        changed = {**facts, key: evolve(fact, value={**fact.value, "more": 1})}
        after = decide(signal, changed, history, stage.recipes, stage.policy, NOW)
        assert after.digest != before.digest


@given(
    seqs=st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
    delay_s=st.integers(0, 25),
    strangers=st.lists(st.text(min_size=1, max_size=8), max_size=3),
)
def test_seq_receive_time_and_strangers_leave_the_digest_alone(
    seqs: tuple[int, int], delay_s: int, strangers: list[str]
) -> None:
    signal, history = STAGE.two_kills()
    facts = STAGE.facts(signal, history, NOW, FACTS)
    first = STAGE.signal("run/fixtures/kill.json", message_id="1")
    began = STAGE.decide(first, History.empty())
    payload = parse_payload(decided_payload(began))
    later = NOW + timedelta(seconds=delay_s)
    other_history = History.empty().apply("received", {}, seqs[0], later)
    other_history = other_history.apply("decided", payload, seqs[1], later)
    other_history = evolve(
        other_history,
        hits={**other_history.hits, **{("x.y", name): (Hit(NOW),) for name in strangers}},
    )
    other_facts = {**facts, **{name: next(iter(facts.values())) for name in strangers}}

    before = decide(signal, facts, history, STAGE.recipes, STAGE.policy, NOW)
    after = decide(signal, other_facts, other_history, STAGE.recipes, STAGE.policy, later)

    assert before.answer == after.answer == "act"
    assert after.digest == before.digest
    assert after.action_id == before.action_id


def test_a_log_that_is_replayed_gives_the_same_digests(stage: Stage) -> None:
    history = History.empty()
    replayed_history = History.empty()
    statuses: list[tuple[str, str]] = []
    for turn in range(6):
        signal = stage.signal("run/fixtures/kill.json", message_id=f"{turn}")
        assert signal.event_at is not None
        signal = evolve(signal, event_at=signal.event_at + timedelta(seconds=turn * 50))
        now = NOW + timedelta(seconds=turn * 50)
        decision = stage.decide(signal, history, now=now)
        received = parse_received(received_payload(signal, door="test", principal="me"))
        recorded = parse_decided(decided_payload(decision))
        result = replay(received, recorded, replayed_history, stage.recipes)
        statuses.append((decision.answer, result.status))
        assert result.replayed == decision.digest == recorded.digest
        assert result.decision is not None
        history = stage.after(history, decision)
        replayed_history = stage.after(replayed_history, result.decision)

    assert statuses == [("refuse", "same"), ("act", "same"), *[("refuse", "same")] * 4]


def test_a_replay_on_another_history_differs(stage: Stage) -> None:
    signal, history = stage.two_kills()
    decision = stage.decide(signal, history)
    received = parse_received(received_payload(signal, door="test", principal="me"))
    recorded = parse_decided(decided_payload(decision))

    assert replay(received, recorded, History.empty(), stage.recipes).status == "differs"


def test_a_decision_of_another_engine_is_not_compared(stage: Stage) -> None:
    signal, history = stage.two_kills()
    recorded = parse_decided(decided_payload(stage.decide(signal, history)))
    received = parse_received(received_payload(signal, door="test", principal="me"))

    result = replay(received, evolve(recorded, engine="0"), history, stage.recipes)

    assert (result.status, result.decision) == ("engine_differs", None)


def test_a_factor_bounds_the_step(stage: Stage) -> None:
    signal, history = stage.two_kills()
    text = dict(stage.files)["run/oom_memory_limit.toml"].decode()
    narrow = evolve(
        stage,
        recipes=RecipeSet.of(
            [parse_recipe(text.replace("max_factor = 2", "max_factor = 1.5").encode())]
        ),
    )

    decision = narrow.decide(signal, history)

    assert (decision.answer, decision.code, decision.plan) == ("refuse", "no_lawful_step", None)
    assert decision.refusal is not None
    assert "would grow from 512Mi to 1Gi at once" in decision.refusal.reason
    assert Decimal(2) == Decimal(1024) / 512


def decide_randomly(events: list[tuple[str, int]]) -> list[tuple[str, Any]]:
    """Run kills and ends of acts at random moments through the real fold; list the acts."""
    history = History.empty()
    now = NOW
    acts: list[tuple[str, Any]] = []
    for number, (word, pause_s) in enumerate(events):
        now += timedelta(seconds=pause_s)
        if word == "kill":
            kill = STAGE.signal("run/fixtures/kill.json", message_id=f"{number}", event_at=now)
            decision = STAGE.decide(kill, history, now=now)
            history = STAGE.after(history, decision)
            if decision.answer == "act":
                assert decision.action_id is not None
                acts.append((decision.action_id, now))
        elif acts:
            kind = "outcome" if word in {"done", "failed", "unknown"} else "verified"
            payload = {"action_id": acts[-1][0], "result": word}
            history = history.apply(kind, payload, number, now)
    return acts


events = st.lists(
    st.tuples(
        st.sampled_from(
            ["kill", "kill", "kill", "done", "failed", "unknown", "effective", "ineffective"]
        ),
        st.sampled_from([0, 1, 30, 300, 3600, 43_200, 86_399, 86_400, 86_401]),
    ),
    max_size=40,
)


@given(events)
def test_no_history_takes_a_recipe_beyond_its_bounds(history: list[tuple[str, int]]) -> None:
    moments = [moment for _, moment in decide_randomly(history)]

    for place, moment in enumerate(moments):
        day = [each for each in moments[:place] if moment - each <= timedelta(days=1)]
        week = [each for each in moments[:place] if moment - each <= timedelta(days=7)]
        assert day == []
        assert len(week) < 3


def test_the_bounds_do_let_acts_through() -> None:
    pair = [("kill", 86_401), ("kill", 1), ("done", 1), ("effective", 1)]

    assert len(decide_randomly(pair * 5)) == 3
