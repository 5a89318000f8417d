"""A stage for decisions: the shipped recipes, their fixtures, and one tenant to decide for."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

from attrs import evolve, frozen

from autonomics.gates import Latch
from autonomics.recipes import (
    Decision,
    Fact,
    History,
    Policy,
    RecipeSet,
    Signal,
    decide,
    needed_facts,
    normalise,
    parse_fixtures,
    parse_library,
)
from autonomics.recipes.record import decided_payload, intent_payload, parse_payload
from autonomics.service import read_library
from autonomics.tenancy import Entitlement, TenantState, price_plan_named

HANDLE: Final = "00112233aabbccdd"
NOW: Final = datetime(2026, 3, 2, 9, 15, 5, tzinfo=UTC)


# Which fixture answers a fact of that name.
FACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "service": "run/fixtures/service_512.json",
        "memory": "run/fixtures/memory_flat.json",
        "instances": "run/fixtures/instances_at_limit.json",
        "starts": "run/fixtures/starts_slow.json",
        "requests": "run/fixtures/requests_flat.json",
        "revisions": "run/fixtures/revisions.json",
        "quota": "ent/fixtures/platform_quota_80.json",
    }
)


@frozen
class DecisionStage:
    """Decide as the governor would, on fixtures instead of the world."""

    files: list[tuple[str, bytes]]
    recipes: RecipeSet
    fixtures: Mapping[str, object]
    policy: Policy

    def message(self, name: str) -> dict[str, Any]:
        """Give a fixture of one's own to change."""
        return deepcopy(cast("dict[str, Any]", self.fixtures[name]))

    def signal(self, name: str, **changes: Any) -> Signal:
        """Normalise a fixture, with fields changed after."""
        return evolve(normalise(self.message(name), source="test"), **changes)

    def facts(
        self, signal: Signal, history: History, now: datetime, values: Mapping[str, str]
    ) -> dict[str, Fact]:
        """Answer what is needed from fixtures, by the name of the fact."""
        return {
            request.key: Fact(
                key=request.key, value=self.message(values[request.name]), read_at=now
            )
            for request in needed_facts(signal, history, self.recipes, now)
            if request.name in values
        }

    def decide(
        self,
        signal: Signal,
        history: History,
        now: datetime = NOW,
        policy: Policy | None = None,
        values: Mapping[str, str] | None = None,
    ) -> Decision:
        """Decide with the facts that are needed, answered from `values`."""
        values = FACTS if values is None else values
        facts = self.facts(signal, history, now, values)
        return decide(signal, facts, history, self.recipes, policy or self.policy, now)

    def after(self, history: History, decision: Decision, seq: int = 0) -> History:
        """Fold in what the decision leaves in the ledger."""
        payload = parse_payload(decided_payload(decision))
        history = history.apply("decided", payload, seq, decision.now)
        if decision.answer == "act":
            intent = parse_payload(intent_payload(decision))
            history = history.apply("intent", intent, seq + 1, decision.now)
        return history

    def two_kills(self) -> tuple[Signal, History]:
        """Give the second of two kills a minute apart, and the history before it."""
        first = self.signal("run/fixtures/kill.json", message_id="1")
        history = self.after(History.empty(), self.decide(first, History.empty()))
        moment = cast("datetime", first.event_at) + timedelta(seconds=60)
        return evolve(first, event_at=moment, message_id="2"), history


def open_decision_stage() -> DecisionStage:
    """Set the stage with the library that the package ships and a tenant on the standard plan."""
    files = read_library()
    plan = price_plan_named("standard")
    policy = Policy(
        tenant=HANDLE,
        tenant_state=TenantState.ACTIVE,
        entitlement=Entitlement.of(plan),
        role="service",
        latch=Latch(),
        quotas=plan.opening_quotas(),
    )
    return DecisionStage(files, parse_library(files), parse_fixtures(files), policy)
