"""A recipe file, strictly read: TOML in, Recipe out, or one error that says where and why."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

from autonomics.errors import InvalidRecipe
from autonomics.receipts.canonical import encode
from autonomics.recipes.format_action import read_actions
from autonomics.recipes.format_condition import read_condition, read_path
from autonomics.recipes.format_template import read_args
from autonomics.recipes.format_test import plain_json, read_tests
from autonomics.recipes.path import Path, parse_path
from autonomics.recipes.pattern import compile_pattern
from autonomics.recipes.predicate import AllOf, Comparison, Condition
from autonomics.recipes.recipe import (
    Bounds,
    Count,
    Diagnose,
    Evidence,
    Extraction,
    FactSpec,
    Match,
    Maturity,
    Pick,
    Precondition,
    Rate,
    Recipe,
    Rollback,
    Verify,
)
from autonomics.recipes.signal import Json, decimal_text
from autonomics.recipes.table import Table

SCHEMA: Final = 1
KINDS: Final = (
    "gcp_log_entry",
    "gcp_audit_event",
    "monitoring_incident",
    "prometheus_alert",
    "quota",
    "api_error",
    "text",
)
_ID: Final = re.compile(r"[a-z][a-z0-9]*\.[a-z][a-z0-9_]*")
_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_APPROVALS: Final = {"none": 0, "one": 1, "two": 2}


def parse_recipe(data: bytes) -> Recipe:
    """Read one recipe file; raise InvalidRecipe with the place in the file."""
    try:
        rows = tomllib.loads(data.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ArithmeticError) as error:
        raise InvalidRecipe(f"expected recipe to be TOML, got: {error}") from error
    table = Table(rows, "")
    if table.count("schema") != SCHEMA:
        raise table.fail("schema", f"{SCHEMA}", rows["schema"])
    recipe = Recipe(
        id=_matching(table, "id", _ID, "area.name in lower case"),
        version=_matching(table, "version", _VERSION, "major.minor.patch"),
        title=table.text("title"),
        pack=table.text("pack"),
        owner=table.text("owner"),
        maturity=cast("Maturity", table.choice("maturity", ("manual", "automated", "predictive"))),
        advice=table.text("advice", default="look at the signal"),
        max_age_s=table.count("max_age_s", default=3600, least=1),
        match=_read_match(table.table("match")),
        extract=tuple(_read_extraction(each) for each in table.tables("extract")),
        diagnose=_read_diagnose(table.table("diagnose")),
        facts=_read_facts(table.table("facts")),
        picks=tuple(_read_pick(each) for each in table.tables("pick")),
        preconditions=tuple(_read_precondition(each) for each in table.tables("pre")),
        managed_when=_read_managed(gates := table.table("gates")),
        approvals=_APPROVALS[gates.choice("approval", tuple(_APPROVALS), default="none")],
        actions=read_actions(table),
        bounds=_read_bounds(table.table("bounds")) if table.has("bounds") else None,
        verify=_read_verify(table.table("verify")) if table.has("verify") else None,
        rollback=_read_rollback(table.table("rollback")) if table.has("rollback") else None,
        tests=read_tests(table),
        digest=digest_of(rows),
    )
    gates.allow("managed_when")
    gates.end()
    table.allow("bounds", "verify", "rollback")
    table.end()
    return recipe


def digest_of(rows: Mapping[str, object]) -> str:
    """Give the SHA-256 of a recipe's content as RFC 8785, decimals as texts."""
    return hashlib.sha256(encode(canonical_content(rows))).hexdigest()


def canonical_content(value: object) -> Json:
    """Turn decoded TOML into canonical JSON; raise InvalidRecipe on a date or time."""
    match value:
        case bool() | int() | str():
            return value
        case Decimal():
            if not value.is_finite():
                raise InvalidRecipe.expected("number", "finite", value)
            return decimal_text(value)
        case list():
            return [canonical_content(each) for each in cast("list[object]", value)]
        case Mapping():
            pairs = cast("Mapping[str, object]", value)
            return {key: canonical_content(each) for key, each in pairs.items()}
        case _:
            raise InvalidRecipe.expected("value", "a text, number, flag, list or table", value)


def _matching(table: Table, key: str, pattern: re.Pattern[str], constraint: str) -> str:
    value = table.text(key)
    if pattern.fullmatch(value) is None:
        raise table.fail(key, constraint, value)
    return value


def _read_match(table: Table) -> Match:
    kinds = table.texts("kinds")
    for kind in kinds:
        if kind not in KINDS:
            raise table.fail("kinds", f"among {list(KINDS)}", kind)
    condition = read_condition(table.items("all"), table.name("all"))
    match = Match(
        kinds=kinds,
        condition=condition,
        literals=table.texts("any_literal", default=()),
        resource_types=_demanded_types(condition),
    )
    table.end()
    return match


def _demanded_types(condition: Condition) -> tuple[str, ...]:
    """Find the resource types that the top level of a condition demands."""
    tops = condition.conditions if isinstance(condition, AllOf) else ()
    for top in tops:
        if isinstance(top, Comparison) and top.path == ("resource", "type"):
            if top.op == "eq" and isinstance(top.operand, str):
                return (top.operand,)
            if top.op == "in" and isinstance(top.operand, tuple):
                return tuple(each for each in top.operand if isinstance(each, str))
    return ()


def _read_extraction(table: Table) -> Extraction:
    pattern = compile_pattern(table.text("pattern"))
    units = table.table("units")
    extraction = Extraction(
        path=read_path(table.text("path"), table.name("path")),
        pattern=pattern,
        units={name: units.text(name) for name, _ in units.entries()},
    )
    unknown = sorted(set(extraction.units) - pattern.group_names)
    if unknown:
        raise table.fail("units", f"names of groups {sorted(pattern.group_names)}", unknown)
    table.end()
    return extraction


def _read_diagnose(table: Table) -> Diagnose:
    diagnose = Diagnose(
        window_s=table.count("window_s", least=1),
        recovery_s=table.count("recovery_s", least=1),
        fingerprint=tuple(
            read_path(text, table.name("fingerprint")) for text in table.texts("fingerprint")
        ),
        counts=_read_counts(table.table("counts")),
        evidence=tuple(_read_evidence(each) for each in table.tables("evidence")),
        min_score=table.decimal("min_score"),
        min_margin=table.decimal("min_margin"),
    )
    if not diagnose.evidence or not diagnose.fingerprint:
        raise table.fail("evidence", "not empty, as is fingerprint", [])
    table.end()
    return diagnose


def _read_evidence(table: Table) -> Evidence:
    evidence = Evidence(
        name=table.text("name"),
        weight=table.decimal("weight", default=Decimal(0)),
        is_required=table.flag("required", default=False),
        is_veto=table.flag("veto", default=False),
        when=read_condition(table.items("when"), table.name("when")),
    )
    if evidence.is_required and evidence.is_veto:
        raise table.fail("veto", "false where required is true", evidence.is_veto)
    table.end()
    return evidence


def _read_facts(table: Table) -> tuple[FactSpec, ...]:
    specs: list[FactSpec] = []
    for name, _ in table.entries():
        row = table.table(name)
        specs.append(
            FactSpec(
                name=name,
                call=row.text("call"),
                args=read_args(row),
                timeout_ms=row.count("timeout_ms", least=1),
                max_age_s=row.count("max_age_s", least=0),
                absent=_read_absent(row.table("absent")),
            )
        )
        row.end()
    return tuple(specs)


def _read_absent(table: Table) -> dict[Path, Json]:
    return {
        parse_path(path): plain_json(value, table.name(path)) for path, value in table.entries()
    }


def _read_pick(table: Table) -> Pick:
    pick = Pick(
        name=table.text("name"),
        source=read_path(table.text("from"), table.name("from")),
        after=table.text("after") if table.has("after") else None,
        where=read_condition(table.items("where"), table.name("where")),
    )
    table.allow("after")
    table.end()
    return pick


def _read_counts(table: Table) -> tuple[Count, ...]:
    counts: list[Count] = []
    for name, _ in table.entries():
        row = table.table(name)
        since_action = row.flag("since_action", default=False)
        counts.append(
            Count(
                name=name,
                level=row.text("level", default=name),
                by=tuple(read_path(text, row.name("by")) for text in row.texts("by")),
                window_s=None if since_action else row.count("window_s", least=1),
            )
        )
        if not counts[-1].by:
            raise row.fail("by", "not empty", [])
        row.allow("window_s")
        if since_action and row.has("window_s"):
            raise row.fail("window_s", "left out where since_action is true", row.peek("window_s"))
        row.end()
    return tuple(counts)


def _read_precondition(table: Table) -> Precondition:
    precondition = Precondition(
        name=table.text("name"),
        when=read_condition(table.items("when"), table.name("when")),
        next_step=table.text("next") if table.has("next") else None,
    )
    table.allow("next")
    table.end()
    return precondition


def _read_managed(table: Table) -> Condition | None:
    if not table.has("managed_when"):
        return None
    return read_condition(table.items("managed_when"), table.name("managed_when"))


def _read_rate(table: Table) -> Rate:
    rate = Rate(count=table.count("count", least=1), period_s=table.count("period_s", least=1))
    table.end()
    return rate


def _read_bounds(table: Table) -> Bounds:
    bounds = Bounds(
        per_resource=_read_rate(table.table("per_resource")),
        per_tenant=_read_rate(table.table("per_tenant")),
        fleet_share=table.decimal("fleet_share"),
        max_recurrence=_read_rate(table.table("max_recurrence")),
    )
    if not 0 < bounds.fleet_share <= 1:
        raise table.fail("fleet_share", "in 0..1, above 0", bounds.fleet_share)
    table.end()
    return bounds


def _read_verify(table: Table) -> Verify:
    verify = Verify(
        settle_s=table.count("settle_s", default=0),
        after_s=table.count("after_s", least=0),
        until_s=table.count("until_s", least=1),
        condition=read_condition(table.items("all"), table.name("all")),
    )
    if verify.until_s < verify.after_s:
        raise table.fail("until_s", f">= after_s ({verify.after_s})", verify.until_s)
    table.end()
    return verify


def _read_rollback(table: Table) -> Rollback:
    rollback = Rollback(call=table.text("call"))
    table.choice("restore", ("before_image",))
    table.end()
    return rollback
