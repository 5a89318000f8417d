"""Running a recipe's own examples: the real decision on fixtures, against what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from attrs import evolve, frozen

from autonomics.errors import InvalidRecipe
from autonomics.gates.context import Certificate, Freeze, LegalHold
from autonomics.gates.latch import LINE, Latch, recipe_scope, tenant_scope
from autonomics.recipes.decision import Decision, decide
from autonomics.recipes.diagnosis import diagnose, needed_facts
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.history import Act, History
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.normalise import normalise
from autonomics.recipes.path import Path, parse_path
from autonomics.recipes.plan import resource_of
from autonomics.recipes.policy import ACTS_QUOTA, Policy
from autonomics.recipes.recipe import EarlierSignal, InlineTest, Recipe
from autonomics.recipes.record import decided_payload, parse_payload
from autonomics.recipes.signal import Json, Signal, canonical_tree
from autonomics.tenancy.entitlement import Entitlement
from autonomics.tenancy.price_plans import price_plan_named
from autonomics.tenancy.quota import Quota
from autonomics.tenancy.tenant import TenantState

HANDLE: Final = "0123456789abcdef"
_UNDATED: Final = datetime(2026, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class InlineResult:
    """The end of one inline test; `differences` is empty where it passed."""

    recipe: str
    name: str
    differences: tuple[str, ...]
    decision: Decision

    @property
    def has_passed(self) -> bool:
        """True if the decision was as expected."""
        return not self.differences


def run_inline_tests(
    recipe: Recipe, fixtures: Mapping[str, object], recipes: RecipeSet | None = None
) -> tuple[InlineResult, ...]:
    """Run all inline tests of a recipe among `recipes`, by default alone.

    Raises InvalidRecipe for a fixture that is not there.
    """
    among = RecipeSet((recipe,)) if recipes is None else recipes
    return tuple(_run(recipe, test, fixtures, among) for test in recipe.tests)


def _run(
    recipe: Recipe, test: InlineTest, fixtures: Mapping[str, object], recipes: RecipeSet
) -> InlineResult:
    message = _message(recipe, test.signal, test.signal_overrides, fixtures)
    history = History.empty()
    decision: Decision | None = None
    for signal, now in _earlier(recipe, test, normalise(message), fixtures):
        early = decide(signal, {}, history, recipes, _policy(test, now), now)
        history = history.apply("decided", parse_payload(decided_payload(early)), 0, now)
    for turn in range(test.repeat):
        signal, now = _at_turn(normalise(message, source="inline test"), turn, test)
        history = _with_earlier_acts(history, recipe, test, signal, now) if turn == 0 else history
        requests = needed_facts(signal, history, recipes, now)
        decision = decide(
            signal,
            _facts(recipe, test, fixtures, requests, now),
            history,
            recipes,
            _policy(test, now),
            now,
        )
        payload = parse_payload(decided_payload(decision))
        history = history.apply("decided", payload, turn, now)
    if decision is None:
        raise InvalidRecipe.expected(f"repeat of test {test.name!r}", ">= 1", test.repeat)
    return InlineResult(
        recipe=recipe.id,
        name=test.name,
        differences=tuple(_compare(test.expect, decision)),
        decision=decision,
    )


def _message(
    recipe: Recipe, name: str, overrides: Mapping[str, Json], fixtures: Mapping[str, object]
) -> dict[str, Any]:
    message = _fixture(recipe, name, fixtures)
    for path, value in overrides.items():
        _put(message, parse_path(path), value)
    return message


def _earlier(
    recipe: Recipe, test: InlineTest, first: Signal, fixtures: Mapping[str, object]
) -> Iterator[tuple[Signal, datetime]]:
    """Give the signals that came before, each `age_s` before the first, and when it is decided.

    They are decided without facts: what counts is that they came.
    """
    moment = first.event_at or _UNDATED

    def date(place: int, earlier: EarlierSignal) -> tuple[Signal, datetime]:
        message = _message(recipe, earlier.signal, earlier.signal_overrides, fixtures)
        at = moment - timedelta(seconds=earlier.age_s)
        signal = normalise(message, source="inline test")
        return evolve(signal, event_at=at, message_id=f"earlier/{place}"), at

    return (date(place, earlier) for place, earlier in enumerate(test.earlier))


def _fixture(recipe: Recipe, name: str, fixtures: Mapping[str, object]) -> dict[str, Any]:
    full = f"{recipe.id.partition('.')[0]}/{name}"
    found = fixtures.get(full)
    if not isinstance(found, dict):
        raise InvalidRecipe.expected(
            f"fixture {full} of {recipe.id}", "there and an object", sorted(fixtures)
        )
    return deepcopy(cast("dict[str, Any]", found))


def _put(tree: dict[str, Any], path: Path, value: Json) -> None:
    node: Any = tree
    for segment in path[:-1]:
        if isinstance(node, dict):
            inner = cast("dict[str, Any]", node)
            node = inner.setdefault(segment, {})
        else:
            node = node[int(segment)]
    node[path[-1]] = value


def _at_turn(signal: Signal, turn: int, test: InlineTest) -> tuple[Signal, datetime]:
    """Move the signal to its turn; the decision falls five seconds later."""
    later = timedelta(seconds=turn * test.every_s)
    first = signal.event_at or _UNDATED
    moved = None if signal.event_at is None else signal.event_at + later
    own = evolve(signal, event_at=moved, message_id=f"{signal.message_id}/{turn}")
    return own, first + later + timedelta(seconds=5)


def _facts(
    recipe: Recipe,
    test: InlineTest,
    fixtures: Mapping[str, object],
    requests: tuple[FactRequest, ...],
    now: datetime,
) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for request in requests:
        if request.name not in test.facts:
            continue
        value = _fixture(recipe, test.facts[request.name], fixtures)
        for path, override in test.fact_overrides.items():
            segments = parse_path(path)
            if segments[0] == request.name:
                _put(value, segments[1:], override)
        tree = canonical_tree(value)
        facts[request.key] = Fact(key=request.key, value=tree, read_at=now)
    return facts


def _with_earlier_acts(
    history: History, recipe: Recipe, test: InlineTest, signal: Signal, now: datetime
) -> History:
    if not test.earlier_acts:
        return history
    found = diagnose(signal, {}, history, RecipeSet((recipe,)), now).candidates
    if not found:
        return history
    view = found[0].view
    acts = {
        f"{place:032x}": Act(
            id=f"{place:032x}",
            recipe=recipe.id,
            fingerprint=view.fingerprint,
            resource=resource_of(found[0]) or "",
            at=now - timedelta(seconds=age_s),
            ended_at=now - timedelta(seconds=age_s),
            state="effective",
        )
        for place, age_s in enumerate(test.earlier_acts)
    }
    return evolve(history, acts=acts)


def _policy(test: InlineTest, now: datetime) -> Policy:
    wanted = test.policy
    plan = price_plan_named(str(wanted.get("price_plan", "enterprise")))
    grant = plan.quotas[ACTS_QUOTA]
    used = wanted.get("acts_used", 0)
    hour = timedelta(hours=1)
    return Policy(
        tenant=HANDLE,
        tenant_state=TenantState(wanted.get("tenant_state", "active")),
        entitlement=Entitlement.of(plan),
        role=str(wanted.get("role", "service")),
        latch=_latch(str(wanted.get("stop", "")), test),
        quotas={
            ACTS_QUOTA: Quota(
                name=ACTS_QUOTA,
                limit=grant.limit,
                used=used if isinstance(used, int) else 0,
                ceiling=grant.ceiling,
            )
        },
        certificate=_certificate(str(wanted.get("certificate", "")), now),
        legal_holds=(LegalHold(id="hold-1", resource="*"),) if wanted.get("legal_hold") else (),
        freezes=(Freeze(starts_at=now - hour, ends_at=now + hour, reason="year end"),)
        if wanted.get("freeze")
        else (),
        monitor=("*",) if wanted.get("monitor") else (),
    )


def _latch(scope: str, test: InlineTest) -> Latch:
    if not scope:
        return Latch()
    if scope == "unreadable":
        return Latch.unreadable()
    scopes = {
        "line": LINE,
        "tenant": tenant_scope(HANDLE),
        "recipe": recipe_scope(test.expect.get("diagnosis", "none")),
    }
    if scope not in scopes:
        constraint = f"one of {sorted((*scopes, 'unreadable'))}"
        raise InvalidRecipe.expected(f"policy.stop of test {test.name!r}", constraint, scope)
    return Latch().trip(scopes[scope], "an inline test stops it", "test")


def _certificate(state: str, now: datetime) -> Certificate | None:
    if not state:
        return None
    ends_at = now if state == "expired" else now + timedelta(days=1)
    return Certificate(id="certificate-1", covers=("*",), ends_at=ends_at)


def _compare(expect: Mapping[str, str], decision: Decision) -> list[str]:
    got = {
        "diagnosis": decision.diagnosis.recipe_id or "none",
        "outcome": decision.diagnosis.outcome.value,
        "answer": decision.answer,
        "code": decision.code or "none",
    }
    return [
        f"expected {name} to be {wanted}, got {got[name]}"
        for name, wanted in expect.items()
        if got[name] != wanted
    ]
