"""Counts finer than a recipe's fingerprint, on the crash loop's three: the same revision's exits,
those of the one before, and those of the one before since the act."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.recipes import Decision, History, Signal, parse_history
from autonomics.recipes.counting import count_since_act
from autonomics.recipes.record import (
    Received,
    decided_payload,
    outcome_payload,
    parse_decided,
    parse_payload,
)
from autonomics.recipes.replay import replay
from autonomics.testing.decision_stage import NOW, open_decision_stage
from autonomics.testing.decision_stage import DecisionStage as Stage

STAGE = open_decision_stage()
CRASHING, PREVIOUS = "checkout-00041-abc", "checkout-00039-xyz"
LEVELS = ("same_revision", "previous_revision", "previous_since_action")


def exits(stage: Stage, revision: str, number: int, at_s: float = 0, **labels: str) -> Signal:
    signal = stage.signal("run/fixtures/exit.json", message_id=f"{revision}/{number}")
    moment = cast("datetime", signal.event_at) + timedelta(seconds=at_s)
    changed = {**signal.labels, "revision_name": revision, **labels}
    return evolve(signal, labels=changed, event_at=moment)


def counts_of(decision: Decision) -> Mapping[str, int]:
    assert decision.diagnosis.candidate is not None
    counts = decision.diagnosis.candidate.view.counts
    return {name: counts[name] for name in LEVELS if name in counts}


def fold(stage: Stage, *signals: Signal) -> History:
    history = History.empty()
    for seq, signal in enumerate(signals):
        history = stage.after(history, stage.decide(signal, history, values={}), seq)
    return history


def test_exits_are_counted_by_revision_and_acts_by_service(stage: Stage) -> None:
    history = fold(
        stage,
        *(exits(stage, CRASHING, number, number) for number in range(2)),
        *(exits(stage, PREVIOUS, number, number) for number in range(3)),
        exits(stage, CRASHING, 7, 7, service_name="other"),
    )

    decision = stage.decide(exits(stage, CRASHING, 8, 8), history)

    assert counts_of(decision) == {"same_revision": 3, "previous_revision": 3}
    assert decision.diagnosis.candidate is not None
    # The fingerprint's own window takes both revisions together.
    assert decision.diagnosis.candidate.view.counts["window"] == 6


def test_a_count_by_a_fact_is_unknown_without_it(stage: Stage) -> None:
    decision = stage.decide(exits(stage, CRASHING, 1), History.empty(), values={})

    assert counts_of(decision) == {"same_revision": 1}


def test_a_signal_without_a_revision_counts_for_none(stage: Stage) -> None:
    signal = exits(stage, CRASHING, 1)
    labels = {name: text for name, text in signal.labels.items() if name != "revision_name"}
    decision = stage.decide(evolve(signal, labels=labels), History.empty())

    assert counts_of(decision) == {}
    assert len(decision.matches()) == 1


def test_a_signal_that_comes_twice_has_counted_once(stage: Stage) -> None:
    twice = exits(stage, CRASHING, 1)
    history = fold(stage, exits(stage, CRASHING, 0), twice)

    assert counts_of(stage.decide(twice, history))["same_revision"] == 2


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([CRASHING, PREVIOUS]), st.integers(0, 900)), max_size=12))
def test_a_count_is_what_a_plain_count_finds(hits: list[tuple[str, int]]) -> None:
    signals = [exits(STAGE, name, number, at_s) for number, (name, at_s) in enumerate(hits)]
    history = fold(STAGE, *signals)

    decision = STAGE.decide(exits(STAGE, CRASHING, 99, 450), history, NOW + timedelta(seconds=450))

    assert counts_of(decision)["same_revision"] == 1 + sum(
        name == CRASHING and abs(at_s - 450) <= 300 for name, at_s in hits
    )
    known = counts_of(decision).get("previous_revision")
    assert known in {None, sum(name == PREVIOUS for name, _ in hits)}


def act(stage: Stage) -> tuple[Decision, History]:
    history = fold(stage, exits(stage, CRASHING, 0), exits(stage, CRASHING, 1, 1))
    decision = stage.decide(exits(stage, CRASHING, 2, 2), history)
    assert decision.action_id is not None
    history = stage.after(history, decision)
    outcome = parse_payload(outcome_payload(decision.action_id, "done"))
    return decision, history.apply("outcome", outcome, 9, NOW)


@pytest.mark.parametrize(
    ("revision", "at_s", "since", "previous"),
    [
        (CRASHING, 100, 1, 0),
        (PREVIOUS, 100, 1, 1),
        (PREVIOUS, 64, 0, 0),
        (PREVIOUS, 65, 1, 1),
        (CRASHING, -3, 0, 0),
    ],
)
def test_exits_since_the_act_are_counted_by_revision_too(
    stage: Stage, revision: str, at_s: int, since: int, previous: int
) -> None:
    decision, history = act(stage)
    later = exits(stage, revision, 50, at_s)
    history = stage.after(history, stage.decide(later, history, values={}))
    candidate = decision.diagnosis.candidate
    assert candidate is not None

    # The act ended some 4.9 s after 0 and has 60 to settle.
    found = count_since_act(candidate.recipe, candidate.view, history, 60)

    moment = cast("datetime", later.event_at)
    assert (moment > NOW + timedelta(seconds=60)) == bool(since)
    assert found == {"since_action": since, "previous_since_action": previous}


def test_what_was_counted_stands_in_the_receipt_and_is_replayed(stage: Stage) -> None:
    history = fold(stage, exits(stage, CRASHING, 0), exits(stage, CRASHING, 1, 1))
    signal = exits(stage, CRASHING, 2, 2)
    decision = stage.decide(signal, history)
    recorded = parse_decided(decided_payload(decision))

    received = Received(signal=signal, door="test", principal="test")
    assert replay(received, recorded, history, stage.recipes).status == "same"
    (seen,) = cast("list[dict[str, Any]]", list(decision.history.values()))
    assert seen["counts"] == {"same_revision": 3, "previous_revision": 0}
    # One exit of the one before is another past, and another digest.
    other = stage.after(history, stage.decide(exits(stage, PREVIOUS, 0), history, values={}))
    assert replay(received, recorded, other, stage.recipes).status == "differs"


def test_a_recipe_that_counts_nothing_more_is_recorded_as_before(stage: Stage) -> None:
    decision = stage.decide(*stage.two_kills())

    (seen,) = cast("list[dict[str, Any]]", list(decision.history.values()))
    assert "counts" not in seen


def test_a_snapshot_keeps_all_levels(stage: Stage) -> None:
    history = fold(stage, exits(stage, CRASHING, 0), exits(stage, PREVIOUS, 0))

    assert parse_history(history.record()) == history
    assert len(history.hits) == 3
