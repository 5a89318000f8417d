from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autonomics.actors.governor_state import (
    TRANSITIONS,
    GovernorEvent,
    GovernorState,
    step,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "design" / "governor.md"
EDGE = re.compile(r"^\s+(\w+) --> (\w+): (.+)$", re.MULTILINE)


def test_the_page_draws_exactly_the_table() -> None:
    drawn = {
        (GovernorState(start), GovernorEvent(event)): GovernorState(end)
        for start, end, events in EDGE.findall(PAGE.read_text(encoding="utf-8"))
        for event in events.split(", ")
    }
    assert drawn == dict(TRANSITIONS)


def test_the_page_explains_every_event() -> None:
    text = PAGE.read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert explained == {event.value for event in GovernorEvent}


def test_every_pair_has_an_answer() -> None:
    for state in GovernorState:
        for event in GovernorEvent:
            assert step(state, event) is TRANSITIONS.get((state, event), state)


@given(st.lists(st.sampled_from(GovernorEvent)))
def test_nothing_leaves_refusing_but_a_clearing_or_a_reactivation(
    events: list[GovernorEvent],
) -> None:
    lawful = {GovernorEvent.CLEARED, GovernorEvent.REACTIVATED}
    state = GovernorState.REFUSING
    for event in events:
        after = step(state, event)
        if state is GovernorState.REFUSING and after is not state:
            assert event in lawful
        state = after


@given(st.lists(st.sampled_from(GovernorEvent)))
def test_nobody_comes_back_to_boot(events: list[GovernorEvent]) -> None:
    state = step(GovernorState.BOOT, GovernorEvent.FOLDED)
    for event in events:
        state = step(state, event)
        assert state is not GovernorState.BOOT
