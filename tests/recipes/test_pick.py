from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.recipes.format_condition import read_condition
from autonomics.recipes.path import MISSING, UNREAD
from autonomics.recipes.pick import MAX_ITEMS, take_picks
from autonomics.recipes.recipe import Pick
from autonomics.recipes.signal import Signal, canonical_tree
from autonomics.recipes.view import SignalView

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CRASHING = Pick(
    name="crashing",
    source=("fact", "revisions", "rows"),
    after=None,
    where=read_condition([["item.id", "eq", "c"]], "where"),
)
PREVIOUS = Pick(
    name="previous",
    source=("fact", "revisions", "rows"),
    after="crashing",
    where=read_condition([["item.ready", "eq", True]], "where"),
)


def view(**facts: object) -> SignalView:
    return SignalView(
        signal=Signal(kind="text"),
        extracts={},
        facts=canonical_tree(facts),
        counts={},
        recipe_id="run.x",
        fingerprint="f",
        now=NOW,
    )


def take(rows: object) -> tuple[object, object]:
    taken = take_picks((CRASHING, PREVIOUS), view(revisions={"rows": rows}))
    return taken["crashing"], taken["previous"]


def row(name: str, ready: object = True) -> dict[str, object]:
    return {"id": name, "ready": ready}


def test_the_first_that_fits_behind_another_is_taken() -> None:
    rows = [row("e"), row("c"), row("b", ready=False), row("a"), row("0")]

    assert take(rows) == (row("c"), row("a"))


@pytest.mark.parametrize(
    ("rows", "crashing", "previous"),
    [
        ([], MISSING, UNREAD),
        ([row("e")], MISSING, UNREAD),
        ([row("c")], row("c"), MISSING),
        ([row("c"), row("b", ready=False)], row("c"), MISSING),
        # Whether b fits is not known, so a might not be the first.
        ([row("c"), {"id": "b"}, row("a")], row("c"), UNREAD),
        ([{"ready": True}, row("c")], UNREAD, UNREAD),
        (["c", row("c")], UNREAD, UNREAD),
        ({"c": row("c")}, UNREAD, UNREAD),
        (None, UNREAD, UNREAD),
        ([row("c")] * (MAX_ITEMS + 1), UNREAD, UNREAD),
    ],
)
def test_what_nobody_can_say_is_unknown_and_not_absent(
    rows: object, crashing: object, previous: object
) -> None:
    assert take(rows) == (crashing, previous)


def test_nothing_is_picked_of_a_fact_that_is_unread() -> None:
    assert set(take_picks((CRASHING, PREVIOUS), view()).values()) == {UNREAD}


def test_an_element_is_judged_beside_all_else_and_at_the_same_moment() -> None:
    recent = Pick(
        name="recent",
        source=("fact", "revisions", "rows"),
        after=None,
        where=read_condition(
            [["item.at", "within", 60], ["item.id", "eq_path", "fact.revisions.wanted"]], "where"
        ),
    )
    rows = [
        {"id": "c", "at": "2026-03-01T11:58:59Z"},
        {"id": "b", "at": "2026-03-01T11:59:30Z"},
        {"id": "c", "at": "2026-03-01T11:59:00Z"},
    ]

    taken = take_picks((recent,), view(revisions={"rows": rows, "wanted": "c"}))

    assert taken["recent"] == rows[2]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_value_makes_a_pick_raise(value: object) -> None:
    crashing, previous = take(value)

    assert crashing in (MISSING, UNREAD) or isinstance(crashing, dict)
    assert previous in (MISSING, UNREAD) or isinstance(previous, dict)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8))
def test_a_pick_is_what_a_plain_search_finds(pairs: list[tuple[str, bool]]) -> None:
    rows = [row(name, ready) for name, ready in pairs]
    place = next((i for i, each in enumerate(rows) if each["id"] == "c"), None)
    behind = [] if place is None else rows[place + 1 :]
    expected = next((each for each in behind if each["ready"]), MISSING)

    assert take(rows)[1] == (UNREAD if place is None else expected)
