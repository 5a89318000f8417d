"""The stop-the-line latch: what is stopped, why, and how it is cleared. Pure.

Any trip or clearance raises the generation, so an intent planned under an older one is stale.
Whoever can't read the latch has to treat it as tripped: `Latch.unreadable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import assert_never, cast

from attrs import evolve, field, frozen

from autonomics.errors import InvalidInput


class ScopeKind(Enum):
    """How wide a stop reaches."""

    LINE = "line"
    TENANT = "tenant"
    RECIPE = "recipe"
    RESOURCE = "resource"


@frozen(order=True)
class Scope:
    """What a stop covers: the whole line, or one tenant, recipe or resource by name."""

    kind: ScopeKind = field(order=lambda kind: kind.value)
    name: str = ""

    def __attrs_post_init__(self) -> None:
        if (self.kind is ScopeKind.LINE) != (self.name == ""):
            raise InvalidInput.expected(
                f"name of scope {self.kind.value}",
                "empty" if self.kind is ScopeKind.LINE else "not empty",
                self.name,
            )

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}".rstrip()

    def covers(self, tenant: str, recipe: str, resource: str | None) -> bool:
        """Say whether an act of that tenant, recipe and resource falls under the scope."""
        match self.kind:
            case ScopeKind.LINE:
                return True
            case ScopeKind.TENANT:
                return self.name == tenant
            case ScopeKind.RECIPE:
                return self.name == recipe
            case ScopeKind.RESOURCE:
                return self.name == resource
            case _:
                assert_never(self.kind)


LINE = Scope(ScopeKind.LINE)


def tenant_scope(handle: str) -> Scope:
    """Scope of one tenant."""
    return Scope(ScopeKind.TENANT, handle)


def recipe_scope(recipe_id: str) -> Scope:
    """Scope of one recipe, for all tenants."""
    return Scope(ScopeKind.RECIPE, recipe_id)


def resource_scope(resource: str) -> Scope:
    """Scope of one resource."""
    return Scope(ScopeKind.RESOURCE, resource)


@frozen(kw_only=True)
class Stop:
    """One standing stop: its scope, why, and who pulled the cord."""

    scope: Scope
    reason: str
    by: str


@frozen(kw_only=True)
class Clearance:
    """What it takes to clear a stop; none of the four may be left empty."""

    root_cause: str
    fix: str
    prevention: str
    by: str

    def __attrs_post_init__(self) -> None:
        for name in ("root_cause", "fix", "prevention", "by"):
            _require_text(name, getattr(self, name))


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput.expected(name, "a text that is not empty", value)


@frozen(kw_only=True)
class Latch:
    """All standing stops. `stops` are sorted by scope, at most one per scope."""

    generation: int = 0
    stops: tuple[Stop, ...] = ()
    is_readable: bool = True

    @classmethod
    def unreadable(cls, generation: int = 0) -> Latch:
        """Give the latch of someone who can't read it: tripped everywhere."""
        return cls(generation=generation, is_readable=False)

    def stops_for(self, tenant: str, recipe: str, resource: str | None) -> tuple[Stop, ...]:
        """List the stops that forbid an act. Empty is no permission while unreadable."""
        return tuple(stop for stop in self.stops if stop.scope.covers(tenant, recipe, resource))

    def is_tripped(self, tenant: str = "", recipe: str = "", resource: str | None = None) -> bool:
        """Say whether an act of that tenant, recipe and resource is forbidden."""
        return not self.is_readable or bool(self.stops_for(tenant, recipe, resource))

    def trip(self, scope: Scope, reason: str, by: str) -> Latch:
        """Stop a scope. A second trip keeps the first reason: that one is being looked into."""
        _require_text("reason", reason)
        _require_text("by", by)
        raised = self.generation + 1
        if any(stop.scope == scope for stop in self.stops):
            return evolve(self, generation=raised)
        stops = sorted((*self.stops, Stop(scope=scope, reason=reason, by=by)), key=_by_scope)
        return evolve(self, generation=raised, stops=tuple(stops))

    def clear(self, scope: Scope, clearance: Clearance) -> Latch:
        """Lift the stop of one scope, and no other.

        An unreadable latch becomes readable only when the line is cleared. What isn't stopped
        can't be cleared: InvalidInput, so that nobody believes to have started the line.
        """
        _require_text("by", clearance.by)
        lifts_unreadable = not self.is_readable and scope == LINE
        rest = tuple(stop for stop in self.stops if stop.scope != scope)
        if len(rest) == len(self.stops) and not lifts_unreadable:
            stopped = [str(stop.scope) for stop in self.stops]
            raise InvalidInput.expected("scope to clear", f"one of {stopped}", str(scope))
        return Latch(
            generation=self.generation + 1,
            stops=rest,
            is_readable=self.is_readable or lifts_unreadable,
        )

    def record(self) -> dict[str, object]:
        """Give the canonical form."""
        return {
            "generation": self.generation,
            "readable": self.is_readable,
            "stops": [
                {
                    "scope": stop.scope.kind.value,
                    "name": stop.scope.name,
                    "reason": stop.reason,
                    "by": stop.by,
                }
                for stop in self.stops
            ],
        }


def _by_scope(stop: Stop) -> Scope:
    return stop.scope


def parse_latch(record: object) -> Latch:
    """Read what `Latch.record` wrote; whatever can't be read is an unreadable latch."""
    try:
        return _parse_latch(record)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Latch.unreadable()


def _parse_latch(record: object) -> Latch:
    if not isinstance(record, Mapping):
        raise InvalidInput.expected("latch", "an object", record)
    row = cast("Mapping[str, object]", record)
    generation, is_readable, rows = row["generation"], row["readable"], row["stops"]
    if type(generation) is not int or generation < 0 or type(is_readable) is not bool:
        raise InvalidInput.expected("latch", "a generation and a readable flag", row)
    latch = Latch(is_readable=is_readable)
    for stop in cast("list[Mapping[str, str]]", rows):
        scope = Scope(ScopeKind(stop["scope"]), stop["name"])
        latch = latch.trip(scope, stop["reason"], stop["by"])
    return evolve(latch, generation=generation)
