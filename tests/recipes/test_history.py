from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.receipts.canonical import decode, encode
from autonomics.recipes import History, parse_history
from autonomics.recipes.history import ACT_STATES, MAX_FINGERPRINTS, MAX_HITS, Hit
from autonomics.recipes.signal import moment_text
from autonomics.testing.decision_stage import NOW

KEY = ("run.x", "f")


def at(seconds: int) -> Any:
    return NOW + timedelta(seconds=seconds)


def decided(
    seconds: int, fingerprint: str = "f", *, closed: bool = False, hit: str = ""
) -> dict[str, Any]:
    return {
        "event_at": moment_text(at(seconds)),
        "hit": hit,
        "closed": closed,
        "matches": [{"recipe": "run.x", "fingerprint": fingerprint}],
    }


def intent(number: int) -> dict[str, Any]:
    return {
        "action_id": f"a{number}",
        "recipe": {"id": "run.x"},
        "fingerprint": "f",
        "resource": "services/a",
    }


def fold(*receipts: tuple[str, dict[str, Any], int]) -> History:
    history = History.empty()
    for seq, (kind, payload, seconds) in enumerate(receipts):
        history = history.apply(kind, payload, seq, at(seconds))
    return history


@pytest.mark.parametrize(("seconds", "count"), [(0, 2), (600, 2), (601, 1), (-600, 2), (-601, 1)])
def test_a_window_is_inclusive_and_takes_event_time(seconds: int, count: int) -> None:
    history = fold(("decided", decided(0), 99_999))

    assert history.count_window(KEY, Hit(at(seconds)), 600) == count


def test_a_signal_that_is_decided_again_has_hit_once() -> None:
    history = fold(("decided", decided(0, hit="a"), 0), ("decided", decided(0, hit="a"), 1))

    assert len(history.hits[KEY]) == 1
    assert history.count_window(KEY, Hit(at(0), "a"), 600) == 1
    assert history.count_window(KEY, Hit(at(0), "b"), 600) == 2


def test_hits_without_an_id_are_all_counted() -> None:
    history = fold(("decided", decided(0), 0), ("decided", decided(0), 1))

    assert history.count_window(KEY, Hit(at(0)), 600) == 3


def test_events_that_come_out_of_order_are_counted_all_the_same() -> None:
    history = fold(("decided", decided(300), 1), ("decided", decided(0), 2))

    assert history.hits[KEY] == (Hit(at(0)), Hit(at(300)))


def test_a_closed_incident_takes_its_signals_out_of_the_count() -> None:
    history = fold(
        ("decided", decided(0), 0),
        ("decided", decided(200), 200),
        ("decided", decided(100, closed=True), 300),
    )

    assert history.hits[KEY] == (Hit(at(200)),)


def test_a_closed_incident_leaves_others_alone() -> None:
    history = fold(("decided", decided(0), 0), ("decided", decided(9, "g", closed=True), 9))

    assert set(history.hits) == {KEY}


def test_hits_and_fingerprints_are_bounded() -> None:
    history = fold(*(("decided", decided(n), n) for n in range(MAX_HITS + 10)))
    assert len(history.hits[KEY]) == MAX_HITS
    assert history.hits[KEY][-1] == Hit(at(MAX_HITS + 9))

    for number in range(MAX_FINGERPRINTS + 5):
        history = history.apply("decided", decided(0, f"other {number}"), number, at(0))
    assert len(history.hits) == MAX_FINGERPRINTS
    assert KEY not in history.hits


def test_old_acts_are_forgotten_and_the_number_of_acts_is_bounded() -> None:
    month = 33 * 86_400
    history = fold(("intent", intent(1), 0), ("intent", intent(2), month))

    assert set(history.acts) == {"a2"}


@pytest.mark.parametrize("result", ACT_STATES)
def test_an_act_ends_in_the_state_that_its_receipt_names(result: str) -> None:
    history = fold(("intent", intent(1), 0), ("outcome", {"action_id": "a1", "result": result}, 5))

    assert history.acts["a1"].state == result
    assert history.acts["a1"].ended_at == at(5)


def test_a_later_receipt_keeps_the_moment_of_the_outcome() -> None:
    history = fold(
        ("intent", intent(1), 0),
        ("outcome", {"action_id": "a1", "result": "done"}, 5),
        ("verified", {"action_id": "a1", "result": "effective"}, 125),
    )

    assert (history.acts["a1"].state, history.acts["a1"].ended_at) == ("effective", at(5))


def test_hits_since_the_last_act_leave_out_the_time_to_settle() -> None:
    history = fold(
        ("decided", decided(0), 0),
        ("intent", intent(1), 1),
        ("outcome", {"action_id": "a1", "result": "done"}, 10),
        ("decided", decided(40), 40),
        ("decided", decided(90), 90),
    )

    assert history.count_since_action(KEY) == 2
    assert history.count_since_action(KEY, settle_s=60) == 1
    assert history.count_since_action(KEY, Hit(at(95)), settle_s=60) == 2
    assert history.count_since_action(("run.x", "g")) is None


def test_an_act_that_has_not_ended_has_nothing_since() -> None:
    assert fold(("intent", intent(1), 0)).count_since_action(KEY) is None


@pytest.mark.parametrize(("seconds", "count"), [(3600, 1), (3601, 0)])
def test_a_period_is_inclusive(seconds: int, count: int) -> None:
    history = fold(("intent", intent(1), 0))

    assert history.count_acts_on_resource("run.x", "services/a", at(seconds), 3600) == count
    assert history.count_acts_of_tenant("run.x", at(seconds), 3600) == count
    assert history.count_recurrence(KEY, at(seconds), 3600) == count


def test_the_end_of_an_act_that_nobody_knows_changes_nothing() -> None:
    assert fold(("outcome", {"action_id": "a9", "result": "done"}, 0)) == History.empty()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("decided", {}),
        ("decided", {**decided(0), "event_at": "noon"}),
        ("intent", {"action_id": "a"}),
        ("outcome", {"action_id": "a", "result": "splendid"}),
        ("approval", {"recipe": "run.x"}),
    ],
)
def test_a_payload_of_another_form_names_kind_and_seq(kind: str, payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"payload of {kind} at seq 7"):
        History.empty().apply(kind, payload, 7, NOW)


def test_kinds_that_recipes_do_not_count_change_nothing() -> None:
    assert fold(("received", {}, 0), ("genesis", {}, 0), ("usage", {}, 0)) == History.empty()


Receipt = tuple[str, dict[str, Any], int]


def a_decided(seconds: int, closed: bool) -> Receipt:
    return "decided", decided(seconds, closed=closed), seconds


def an_intent(number: int) -> Receipt:
    return "intent", intent(number), number


def an_outcome(number: int, result: str) -> Receipt:
    return "outcome", {"action_id": f"a{number}", "result": result}, number


def an_approval(by: str, approved: bool) -> Receipt:
    given_by = {"recipe": "run.x", "fingerprint": "f", "by": by, "approved": approved}
    return "approval", {**given_by, "expires_at": moment_text(NOW)}, 0


receipts: st.SearchStrategy[list[Receipt]] = st.lists(
    st.one_of(
        st.builds(a_decided, st.integers(0, 999), st.booleans()),
        st.builds(an_intent, st.integers(0, 5)),
        st.builds(an_outcome, st.integers(0, 5), st.sampled_from(ACT_STATES)),
        st.builds(an_approval, st.sampled_from(["ann", "bob"]), st.booleans()),
    ),
    max_size=20,
)


@given(receipts, receipts)
def test_a_snapshot_is_as_good_as_the_whole_fold(
    before: list[tuple[str, dict[str, Any], int]], after: list[tuple[str, dict[str, Any], int]]
) -> None:
    whole = fold(*before, *after)

    resumed = parse_history(decode(encode(fold(*before).record())))
    for seq, (kind, payload, seconds) in enumerate(after):
        resumed = resumed.apply(kind, payload, len(before) + seq, at(seconds))

    assert (resumed.hits, resumed.acts) == (whole.hits, whole.acts)
    assert {k: v for k, v in resumed.approvals.items() if v} == {
        k: v for k, v in whole.approvals.items() if v
    }
