from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from autonomics.errors import InvalidInput
from autonomics.gates import (
    LINE,
    Clearance,
    Latch,
    Scope,
    ScopeKind,
    parse_latch,
    recipe_scope,
    resource_scope,
    tenant_scope,
)

ACME, OTHER = "00112233aabbccdd", "ffffffffffffffff"
CLEARANCE = Clearance(root_cause="a full disk", fix="a larger one", prevention="an alert", by="eve")
SCOPES = [LINE, tenant_scope(ACME), recipe_scope("run.x"), resource_scope("services/a")]
ACTS = [
    (tenant, recipe, resource)
    for tenant in (ACME, OTHER)
    for recipe in ("run.x", "run.y")
    for resource in ("services/a", "services/b", None)
]


def test_a_new_latch_stops_nothing() -> None:
    assert not any(Latch().is_tripped(*act) for act in ACTS)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_a_trip_stops_exactly_its_scope(scope: Scope) -> None:
    latch = Latch().trip(scope, "something is wrong", "bob")

    for tenant, recipe, resource in ACTS:
        is_meant = {
            ScopeKind.LINE: True,
            ScopeKind.TENANT: tenant == ACME,
            ScopeKind.RECIPE: recipe == "run.x",
            ScopeKind.RESOURCE: resource == "services/a",
        }[scope.kind]
        assert latch.is_tripped(tenant, recipe, resource) is is_meant


def test_clearing_a_tenant_leaves_the_line_stopped() -> None:
    latch = Latch().trip(LINE, "fork", "watchdog").trip(tenant_scope(ACME), "unknown", "bob")

    latch = latch.clear(tenant_scope(ACME), CLEARANCE)

    assert latch.is_tripped(ACME)
    assert [str(stop.scope) for stop in latch.stops] == ["line"]


def test_every_trip_and_every_clearance_raises_the_generation() -> None:
    latch = Latch().trip(LINE, "first", "bob").trip(LINE, "second", "bob")
    cleared = latch.clear(LINE, CLEARANCE)

    assert (latch.generation, cleared.generation) == (2, 3)


def test_a_second_trip_keeps_the_first_reason() -> None:
    latch = Latch().trip(LINE, "first", "bob").trip(LINE, "second", "eve")

    assert [(stop.reason, stop.by) for stop in latch.stops] == [("first", "bob")]


def test_what_is_not_stopped_cannot_be_cleared() -> None:
    latch = Latch().trip(tenant_scope(ACME), "unknown outcome", "bob")

    with pytest.raises(InvalidInput, match=rf"one of \['tenant {ACME}'\], got 'line'"):
        latch.clear(LINE, CLEARANCE)


@pytest.mark.parametrize("name", ["root_cause", "fix", "prevention", "by"])
@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_clearance_without_one_of_its_parts_is_refused(name: str, text: str) -> None:
    parts: dict[str, Any] = {"root_cause": "a", "fix": "b", "prevention": "c", "by": "d"}

    with pytest.raises(InvalidInput, match=f"expected {name} to be a text that is not empty"):
        Clearance(**{**parts, name: text})


@pytest.mark.parametrize(("reason", "by"), [("", "bob"), ("why", " ")])
def test_a_trip_needs_a_reason_and_a_name(reason: str, by: str) -> None:
    with pytest.raises(InvalidInput, match="a text that is not empty"):
        Latch().trip(LINE, reason, by)


def test_an_unreadable_latch_stops_everything_until_the_line_is_cleared() -> None:
    latch = Latch.unreadable(7)
    assert all(latch.is_tripped(*act) for act in ACTS)
    with pytest.raises(InvalidInput):
        latch.clear(tenant_scope(ACME), CLEARANCE)

    cleared = latch.clear(LINE, CLEARANCE)

    assert not any(cleared.is_tripped(*act) for act in ACTS)
    assert cleared.generation == 8


def test_clearing_a_tenant_leaves_an_unreadable_latch_unreadable() -> None:
    latch = Latch.unreadable().trip(tenant_scope(ACME), "x", "bob")

    assert latch.clear(tenant_scope(ACME), CLEARANCE).is_tripped(OTHER)


def test_a_scope_has_a_name_unless_it_is_the_line() -> None:
    with pytest.raises(InvalidInput, match="expected name of scope line to be empty"):
        Scope(ScopeKind.LINE, "x")
    with pytest.raises(InvalidInput, match="expected name of scope tenant to be not empty"):
        Scope(ScopeKind.TENANT, "")


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "latch",
        {},
        {"generation": 1, "readable": True},
        {"generation": -1, "readable": True, "stops": []},
        {"generation": True, "readable": True, "stops": []},
        {"generation": 1, "readable": "yes", "stops": []},
        {"generation": 1, "readable": True, "stops": [{"scope": "planet"}]},
        {"generation": 1, "readable": True, "stops": [7]},
        {"generation": 1, "readable": True, "stops": 7},
        {
            "generation": 1,
            "readable": True,
            "stops": [{"scope": "line", "name": "", "reason": "", "by": "x"}],
        },
    ],
)
def test_a_record_that_cannot_be_read_counts_as_tripped(record: object) -> None:
    assert parse_latch(record).is_tripped(ACME, "run.x", "services/a")


events = st.lists(
    st.tuples(st.sampled_from(["trip", "clear"]), st.sampled_from(SCOPES)), max_size=12
)


@given(events, st.booleans())
def test_a_latch_survives_its_record(history: list[tuple[str, Scope]], is_readable: bool) -> None:
    latch = Latch() if is_readable else Latch.unreadable(3)
    for word, scope in history:
        try:
            latch = (
                latch.trip(scope, "why", "bob") if word == "trip" else latch.clear(scope, CLEARANCE)
            )
        except InvalidInput:
            continue
    assert parse_latch(latch.record()) == latch


class LatchMachine(RuleBasedStateMachine):
    """The latch against a plain set of stopped scopes."""

    def __init__(self) -> None:
        super().__init__()
        self.latch = Latch()
        self.model: set[Scope] = set()
        self.generations = [0]

    @rule(scope=st.sampled_from(SCOPES))
    def trip(self, scope: Scope) -> None:
        self.latch = self.latch.trip(scope, "why", "bob")
        self.model.add(scope)
        self.generations.append(self.latch.generation)

    @rule(scope=st.sampled_from(SCOPES))
    def clear(self, scope: Scope) -> None:
        if scope in self.model:
            self.latch = self.latch.clear(scope, CLEARANCE)
            self.model.remove(scope)
            self.generations.append(self.latch.generation)
        else:
            with pytest.raises(InvalidInput):
                self.latch.clear(scope, CLEARANCE)

    @invariant()
    def stops_what_the_model_stops(self) -> None:
        for act in ACTS:
            assert self.latch.is_tripped(*act) is any(scope.covers(*act) for scope in self.model)

    @invariant()
    def never_repeats_a_generation(self) -> None:
        assert self.generations == sorted(set(self.generations))


TestLatchMachine = LatchMachine.TestCase
TestLatchMachine.settings = settings(max_examples=50, stateful_step_count=20)
