"""A recipe as data: what it matches, how it diagnoses, what it may do, within which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Literal, TypeAlias

from attrs import field, frozen

from autonomics.recipes.path import Path
from autonomics.recipes.pattern import Pattern
from autonomics.recipes.predicate import Condition, Scalar, describe
from autonomics.recipes.signal import Json
from autonomics.recipes.template import Template

Maturity = Literal["manual", "automated", "predictive"]


@frozen(kw_only=True)
class Match:
    """Which signals a recipe looks at. One of `literals` must occur in the text, if there are any.

    `resource_types` are those that `condition` demands: the index's key. Empty means any.
    """

    kinds: tuple[str, ...]
    condition: Condition
    literals: tuple[str, ...]
    resource_types: tuple[str, ...]


@frozen(kw_only=True)
class Extraction:
    """Named groups of a pattern become `x.<group>`, with a unit appended where one is declared."""

    path: Path
    pattern: Pattern
    units: Mapping[str, str]


@frozen(kw_only=True)
class Evidence:
    """One weighed observation. A veto that is true, or can't be judged, forbids CONFIRMED."""

    name: str
    weight: Decimal
    is_required: bool
    is_veto: bool
    when: Condition

    @cached_property
    def text(self) -> str:
        """Give the condition as people read it."""
        return describe(self.when)


@frozen(kw_only=True)
class Count:
    """Signals that share the values of `by`, under its name: `count.<name>`.

    `level` names the count under whose values signals are kept, its own or another one's.
    `window_s` is None where signals since the last act are counted.
    """

    name: str
    level: str
    by: tuple[Path, ...]
    window_s: int | None

    @property
    def is_level(self) -> bool:
        """Say whether signals are kept by the values of this count."""
        return self.level == self.name


@frozen(kw_only=True)
class Diagnose:
    """How evidence is weighed, and which signals are about the same thing."""

    window_s: int
    recovery_s: int
    fingerprint: tuple[Path, ...]
    counts: tuple[Count, ...]
    evidence: tuple[Evidence, ...]
    min_score: Decimal
    min_margin: Decimal


@frozen(kw_only=True)
class FactSpec:
    """A fact to read, under its name in conditions: `fact.<name>`.

    `absent` holds what paths below the fact mean where the answer leaves them out.
    """

    name: str
    call: str
    args: Mapping[str, Template]
    timeout_ms: int
    max_age_s: int
    absent: Mapping[Path, Json]


@frozen(kw_only=True)
class Pick:
    """The first element of a list for which a condition holds, under its name: `pick.<name>`.

    With `after`, only elements behind the one that the pick of that name has found.
    """

    name: str
    source: Path
    after: str | None
    where: Condition


@frozen(kw_only=True)
class Precondition:
    """What must hold before an act, and what to do where it doesn't."""

    name: str
    when: Condition
    next_step: str | None


@frozen(kw_only=True)
class NextStepUp:
    """The smallest of `steps` above the present value."""

    of: Path
    steps: tuple[str, ...]


@frozen(kw_only=True)
class Scale:
    """The present integer times `factor`, rounded down, at least one more, at most each cap."""

    of: Path
    factor: Decimal
    caps: tuple[Path | Decimal, ...]


@frozen(kw_only=True)
class Add:
    """The present integer and `by` more, at most each cap."""

    of: Path
    by: int
    caps: tuple[Path | Decimal, ...]


@frozen(kw_only=True)
class Const:
    """A fixed value."""

    value: Scalar


@frozen(kw_only=True)
class FromPath:
    """A value taken from an extract or a fact."""

    path: Path


@frozen(kw_only=True)
class Fill:
    """A structure as it is written, with the places in its texts filled."""

    value: Frame


Frame: TypeAlias = "Template | int | list[Frame] | dict[str, Frame]"
ValueSpec: TypeAlias = NextStepUp | Scale | Add | Const | FromPath | Fill


@frozen(kw_only=True)
class ActionSpec:
    """One call: the paths it sets, and where their present values are read."""

    call: str
    resource: Template
    set: Mapping[str, ValueSpec]
    mask: tuple[str, ...]
    before: Mapping[str, Path]
    args: Mapping[str, Template]
    validate_only_first: bool
    etag: Path | None
    idempotency_key: tuple[Path, ...]
    timeout_s: int
    max_factor: Decimal | None
    is_irreversible: bool


@frozen(kw_only=True)
class Rate:
    """At most `count` acts per `period_s`."""

    count: int
    period_s: int


@frozen(kw_only=True)
class Bounds:
    """How often a recipe may act: per resource, per tenant, in the fleet; and recurrence.

    `fleet_share` is the share of tenants that the recipe may touch within an hour.
    """

    per_resource: Rate
    per_tenant: Rate
    fleet_share: Decimal
    max_recurrence: Rate


@frozen(kw_only=True)
class Verify:
    """When to look whether the act helped: from `after_s` on, until `until_s` at the latest.

    Signals of the first `settle_s` are about the world before the act and don't count against it.
    """

    settle_s: int
    after_s: int
    until_s: int
    condition: Condition


@frozen(kw_only=True)
class Rollback:
    """How to undo: the same mask, with the values from before."""

    call: str


@frozen(kw_only=True)
class EarlierSignal:
    """A signal that came `age_s` before an inline test's own one."""

    signal: str
    signal_overrides: Mapping[str, Json]
    age_s: int


@frozen(kw_only=True)
class InlineTest:
    """An example that must hold before the recipe may load; `signal` and facts name fixtures."""

    name: str
    signal: str
    earlier: tuple[EarlierSignal, ...]
    repeat: int
    every_s: int
    facts: Mapping[str, str]
    fact_overrides: Mapping[str, Json]
    signal_overrides: Mapping[str, Json]
    earlier_acts: tuple[int, ...]
    policy: Mapping[str, Json]
    expect: Mapping[str, str]


@frozen(kw_only=True)
class Recipe:
    """One recipe. `digest` is the SHA-256 of its content in canonical form."""

    id: str
    version: str
    title: str
    pack: str
    owner: str
    maturity: Maturity
    advice: str
    max_age_s: int
    match: Match
    extract: tuple[Extraction, ...]
    diagnose: Diagnose
    facts: tuple[FactSpec, ...]
    picks: tuple[Pick, ...]
    preconditions: tuple[Precondition, ...]
    managed_when: Condition | None
    approvals: int
    actions: tuple[ActionSpec, ...]
    bounds: Bounds | None
    verify: Verify | None
    rollback: Rollback | None
    tests: tuple[InlineTest, ...] = field(repr=False)
    digest: str

    @cached_property
    def absent(self) -> Mapping[Path, Json]:
        """Give what paths mean where a fact leaves them out, from the fact's name on."""
        return {
            (spec.name, *path): value for spec in self.facts for path, value in spec.absent.items()
        }

    def ref(self) -> dict[str, Json]:
        """Give the reference that receipts carry."""
        return {"id": self.id, "version": self.version, "digest": self.digest}
