"""What a signal is about, how sure that is, and why. Pure; the first half of `decide`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum

from attrs import evolve, field, frozen

from autonomics.receipts.canonical import encode
from autonomics.recipes.counting import count_levels, level_keys
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.history import History, Hit, Key
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.pick import take_picks
from autonomics.recipes.predicate import Truth, conjoin, evaluate
from autonomics.recipes.recipe import Evidence, Recipe
from autonomics.recipes.signal import Json, Signal, decimal_text
from autonomics.recipes.view import SignalView, extract_from, fresh_values, request_facts


class Outcome(Enum):
    """How sure a diagnosis is. Only CONFIRMED may act."""

    CONFIRMED = "CONFIRMED"
    LIKELY = "LIKELY"
    INCONCLUSIVE = "INCONCLUSIVE"
    NONE = "NONE"


_RANK = {Outcome.CONFIRMED: 0, Outcome.LIKELY: 1, Outcome.INCONCLUSIVE: 2, Outcome.NONE: 3}


@frozen(kw_only=True)
class Finding:
    """One piece of evidence as it was judged."""

    name: str
    weight: Decimal
    is_required: bool
    is_veto: bool
    truth: Truth
    text: str

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        return {
            "name": self.name,
            "weight": decimal_text(self.weight),
            "required": self.is_required,
            "veto": self.is_veto,
            "truth": self.truth,
            "text": self.text,
        }


@frozen(kw_only=True)
class Candidate:
    """One recipe weighed against the signal."""

    recipe: Recipe
    outcome: Outcome
    score: Decimal
    findings: tuple[Finding, ...]
    view: SignalView
    requests: tuple[FactRequest, ...]

    @property
    def key(self) -> Key:
        """Give the key under which the history counts it."""
        return (self.recipe.id, self.view.fingerprint)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Give all keys under which the history keeps it, the recipe's finer levels among them."""
        return (self.key, *level_keys(self.recipe, self.view))


@frozen(kw_only=True)
class Diagnosis:
    """The best candidate, or none, with the evidence for and against it.

    `candidates` are all recipes whose match holds, the best first: what the history counts.
    """

    outcome: Outcome
    candidate: Candidate | None
    candidates: tuple[Candidate, ...] = field(repr=False)
    margin: Decimal | None
    runner_up: str | None
    is_closed: bool
    explanation: str

    @property
    def recipe(self) -> Recipe | None:
        """Give the diagnosed recipe; None where the outcome is NONE."""
        return None if self.candidate is None else self.candidate.recipe

    @property
    def recipe_id(self) -> str | None:
        """Give the diagnosed recipe's id; None where the outcome is NONE."""
        return None if self.candidate is None else self.candidate.recipe.id

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Give the evidence as it was judged."""
        return () if self.candidate is None else self.candidate.findings

    @property
    def found(self) -> tuple[Finding, ...]:
        """Give the evidence that speaks for the recipe."""
        return tuple(
            each
            for each in self.findings
            if each.truth is True and each.weight >= 0 and not each.is_veto
        )

    @property
    def missing(self) -> tuple[Finding, ...]:
        """Give the evidence that nobody can judge."""
        return tuple(each for each in self.findings if each.truth is None)

    @property
    def against(self) -> tuple[Finding, ...]:
        """Give the evidence that speaks against the recipe, vetoes among it."""
        return tuple(
            each
            for each in self.findings
            if each.truth is True and (each.weight < 0 or each.is_veto)
        )

    @property
    def vetoes(self) -> tuple[Finding, ...]:
        """Give the vetoes that stand."""
        return tuple(each for each in self.findings if each.truth is True and each.is_veto)

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        best = self.candidate
        return {
            "outcome": self.outcome.value,
            "recipe": None if best is None else best.recipe.ref(),
            "score": None if best is None else decimal_text(best.score),
            "findings": [finding.record() for finding in self.findings],
            "margin": None if self.margin is None else decimal_text(self.margin),
            "runner_up": self.runner_up,
            "closed": self.is_closed,
            "explanation": self.explanation,
        }


def diagnose(
    signal: Signal,
    facts: Mapping[str, Fact],
    history: History,
    recipes: RecipeSet,
    now: datetime,
) -> Diagnosis:
    """Weigh all recipes against a signal; `facts` by the key of their request."""
    weighed = [_weigh(recipe, signal, facts, history, now) for recipe in recipes.candidates(signal)]
    matched = sorted(
        (each for each in weighed if each is not None),
        key=lambda each: (_RANK[each.outcome], -each.score, each.recipe.id),
    )
    standing = [each for each in matched if each.outcome is not Outcome.NONE]
    if signal.closed or not standing:
        return Diagnosis(
            outcome=Outcome.NONE,
            candidate=None,
            candidates=tuple(matched),
            margin=None,
            runner_up=None,
            is_closed=signal.closed,
            explanation=_explain_none(signal, matched),
        )
    best = standing[0]
    rivals = [each for each in standing[1:] if each.outcome is not Outcome.INCONCLUSIVE]
    margin = best.score - rivals[0].score if rivals else None
    outcome = best.outcome
    if margin is not None and margin < best.recipe.diagnose.min_margin:
        both_confirmed = best.outcome is rivals[0].outcome is Outcome.CONFIRMED
        outcome = Outcome.INCONCLUSIVE if both_confirmed else _weaker(outcome)
    return Diagnosis(
        outcome=outcome,
        candidate=evolve(best, outcome=outcome),
        candidates=tuple(matched),
        margin=margin,
        runner_up=rivals[0].recipe.id if rivals else None,
        is_closed=False,
        explanation=_explain(best, outcome, margin, rivals[0].recipe.id if rivals else None),
    )


def needed_facts(
    signal: Signal, history: History, recipes: RecipeSet, now: datetime
) -> tuple[FactRequest, ...]:
    """Say which facts could still confirm a diagnosis; none where no fact could."""
    requests: dict[str, FactRequest] = {}
    if signal.closed:
        return ()
    for recipe in recipes.candidates(signal):
        candidate = _weigh(recipe, signal, {}, history, now)
        if candidate is None or candidate.outcome is Outcome.NONE:
            continue
        if _best_possible(candidate) >= recipe.diagnose.min_score:
            for request in candidate.requests:
                requests.setdefault(request.key, request)
    return tuple(requests.values())


def _best_possible(candidate: Candidate) -> Decimal:
    hoped = (each.weight for each in candidate.findings if each.truth is None and each.weight > 0)
    return candidate.score + sum(hoped, Decimal(0))


def _weaker(outcome: Outcome) -> Outcome:
    return Outcome.LIKELY if outcome is Outcome.CONFIRMED else outcome


def _weigh(
    recipe: Recipe,
    signal: Signal,
    facts: Mapping[str, Fact],
    history: History,
    now: datetime,
) -> Candidate | None:
    """Weigh one recipe; None where its match does not hold."""
    bare = SignalView(
        signal=signal,
        extracts=extract_from(signal, recipe),
        facts={},
        counts={},
        recipe_id=recipe.id,
        fingerprint="",
        now=now,
        absent=recipe.absent,
    )
    is_match = evaluate(recipe.match.condition, bare)
    if is_match is False:
        return None
    fingerprint = fingerprint_of(recipe, bare)
    hit = hit_of(signal, now)
    key = (recipe.id, fingerprint)
    counts = {"window": history.count_window(key, hit, recipe.diagnose.window_s)}
    since_action = history.count_since_action(key, hit)
    if since_action is not None:
        counts["since_action"] = since_action
    requests = request_facts(recipe, bare)
    view = evolve(
        bare,
        facts=fresh_values(requests, facts, now),
        counts=counts,
        fingerprint=fingerprint,
    )
    if recipe.picks:
        view = evolve(view, picks=take_picks(recipe.picks, view))
    if recipe.diagnose.counts:
        view = evolve(view, counts={**counts, **count_levels(recipe, view, history, hit)})
    findings = tuple(_find(evidence, view) for evidence in recipe.diagnose.evidence)
    score = sum((each.weight for each in findings if each.truth is True), Decimal(0))
    return Candidate(
        recipe=recipe,
        outcome=_conclude(recipe, is_match, findings, score),
        score=score,
        findings=findings,
        view=view,
        requests=requests,
    )


def _find(evidence: Evidence, view: SignalView) -> Finding:
    return Finding(
        name=evidence.name,
        weight=evidence.weight,
        is_required=evidence.is_required,
        is_veto=evidence.is_veto,
        truth=evaluate(evidence.when, view),
        text=evidence.text,
    )


def _conclude(
    recipe: Recipe, is_match: Truth, findings: tuple[Finding, ...], score: Decimal
) -> Outcome:
    required = conjoin((is_match, *(each.truth for each in findings if each.is_required)))
    if required is False:
        return Outcome.NONE
    if required is None:
        return Outcome.INCONCLUSIVE
    if score < recipe.diagnose.min_score:
        return Outcome.LIKELY
    vetoes = [each.truth for each in findings if each.is_veto]
    if True in vetoes:
        return Outcome.LIKELY
    return Outcome.INCONCLUSIVE if None in vetoes else Outcome.CONFIRMED


def fingerprint_of(recipe: Recipe, view: SignalView) -> str:
    """Name what the signal is about: equal for signals that count as the same fault."""
    values = [view.lookup(path) for path in recipe.diagnose.fingerprint]
    named: list[Json] = [value if isinstance(value, str | int) else None for value in values]
    return hashlib.sha256(encode([recipe.id, named])).hexdigest()[:32]


def hit_of(signal: Signal, now: datetime) -> Hit:
    """Give what the history counts of a signal; one that names no time happens now."""
    if not signal.message_id:
        return Hit(signal.event_at or now)
    content: list[Json] = [signal.source, signal.message_id]
    return Hit(signal.event_at or now, hashlib.sha256(encode(content)).hexdigest()[:16])


def _explain_none(signal: Signal, matched: list[Candidate]) -> str:
    if signal.closed:
        return "NONE: the incident is closed"
    if not matched:
        return f"NONE: no recipe matches a signal of kind {signal.kind}"
    lines = [
        f"{each.recipe.id} is ruled out by {finding.name}: {finding.text} is not so"
        for each in matched
        for finding in each.findings
        if finding.is_required and finding.truth is False
    ]
    return "\n".join(["NONE: no recipe is left", *lines])


def _explain(
    best: Candidate, outcome: Outcome, margin: Decimal | None, runner_up: str | None
) -> str:
    recipe = best.recipe
    score, needed = decimal_text(best.score), decimal_text(recipe.diagnose.min_score)
    lines = [f"{outcome.value} {recipe.id}: {recipe.title} (score {score}, needs {needed})"]
    words = {True: "found", False: "not found", None: "not known"}
    for finding in best.findings:
        role = " required" if finding.is_required else " veto" if finding.is_veto else ""
        weight = decimal_text(finding.weight)
        lines.append(f"{words[finding.truth]}: {finding.name} ({weight}{role}): {finding.text}")
    if runner_up is not None and margin is not None:
        least = decimal_text(recipe.diagnose.min_margin)
        lines.append(f"runner-up: {runner_up}, margin {decimal_text(margin)}, needs {least}")
    return "\n".join(lines)
