"""Actions as they stand in a recipe."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, cast

from autonomics.errors import InvalidRecipe
from autonomics.recipes.format_condition import read_path
from autonomics.recipes.format_template import read_args, read_template
from autonomics.recipes.path import Path
from autonomics.recipes.quantity import read_number
from autonomics.recipes.recipe import (
    ActionSpec,
    Add,
    Const,
    Fill,
    Frame,
    FromPath,
    NextStepUp,
    Scale,
    ValueSpec,
)
from autonomics.recipes.table import Table

FUNCTIONS: Final = ("next_step", "scale", "add", "const", "fill", "from_extract", "from_fact")
MAX_FRAME_DEPTH: Final = 8
MAX_FRAME_NODES: Final = 200


def read_actions(table: Table) -> tuple[ActionSpec, ...]:
    """Read all `[[action]]` tables."""
    return tuple(_read_action(each) for each in table.tables("action"))


def _read_action(table: Table) -> ActionSpec:
    settings = table.table("set")
    specs = {path: _read_value(settings.table(path)) for path, _ in settings.entries()}
    mask = table.texts("mask")
    if sorted(mask) != sorted(specs):
        raise table.fail("mask", f"the keys of set, {sorted(specs)}", list(mask))
    action = ActionSpec(
        call=table.text("call"),
        resource=read_template(table.peek("resource"), table.name("resource")),
        set=specs,
        mask=mask,
        before=_read_before(table, specs),
        args=read_args(table),
        validate_only_first=table.flag("validate_only_first", default=False),
        etag=_read_optional_path(table, "etag"),
        idempotency_key=tuple(
            read_path(text, table.name("idempotency_key"))
            for text in table.texts("idempotency_key")
        ),
        timeout_s=table.count("timeout_s", least=1),
        max_factor=table.decimal("max_factor") if table.has("max_factor") else None,
        is_irreversible=table.flag("irreversible", default=False),
    )
    if not action.idempotency_key:
        raise table.fail("idempotency_key", "not empty", [])
    table.allow("max_factor", "etag")
    table.end()
    return action


def _read_before(table: Table, specs: dict[str, ValueSpec]) -> dict[str, Path]:
    """Read where each path's present value stands; by default where a step starts from."""
    declared = table.table("before")
    before: dict[str, Path] = {
        path: spec.of for path, spec in specs.items() if isinstance(spec, NextStepUp | Scale | Add)
    }
    for path, _ in declared.entries():
        before[path] = read_path(declared.text(path), declared.name(path))
    if sorted(before) != sorted(specs):
        raise table.fail("before", f"a path for each of {sorted(specs)}", sorted(before))
    return before


def _read_optional_path(table: Table, key: str) -> tuple[str, ...] | None:
    return read_path(table.text(key), table.name(key)) if table.has(key) else None


def _read_value(table: Table) -> ValueSpec:
    spec: ValueSpec
    function = table.choice("fn", FUNCTIONS)
    match function:
        case "next_step":
            spec = NextStepUp(of=_path(table, "of"), steps=_read_steps(table))
        case "scale":
            spec = _read_scale(table)
        case "add":
            by = table.count("by", least=1)
            spec = Add(of=_path(table, "of"), by=by, caps=_read_caps(table))
        case "fill":
            spec = Fill(value=_read_frame(table))
        case "const":
            spec = Const(value=_read_const(table))
        case "from_extract":
            spec = FromPath(path=_path(table, "of"))
        case _:
            spec = FromPath(path=_path(table, "of"))
    roots = {"from_extract": "x", "from_fact": "fact"}
    if isinstance(spec, FromPath) and spec.path[0] != roots[function]:
        raise table.fail("of", f"a path that starts with {roots[function]}.", spec.path)
    table.end()
    return spec


def _path(table: Table, key: str) -> tuple[str, ...]:
    return read_path(table.text(key), table.name(key))


def _read_steps(table: Table) -> tuple[str, ...]:
    steps = table.texts("steps")
    numbers = [read_number(step) for step in steps]
    known = [number for number in numbers if number is not None]
    if len(known) != len(steps) or not known or sorted(set(known)) != known:
        raise table.fail("steps", "quantities in ascending order", list(steps))
    return steps


def _read_scale(table: Table) -> Scale:
    factor = table.decimal("factor")
    if factor <= 1:
        raise table.fail("factor", "above 1", factor)
    return Scale(of=_path(table, "of"), factor=factor, caps=_read_caps(table))


def _read_caps(table: Table) -> tuple[Path | Decimal, ...]:
    """Read one cap or several, each a path or a number; the least of them counts."""
    value = table.peek("cap")
    if isinstance(value, str):
        return (_path(table, "cap"),)
    if not isinstance(value, list):
        return (table.decimal("cap"),)
    caps: list[Path | Decimal] = []
    for cap in cast("list[object]", value):
        if isinstance(cap, str):
            caps.append(read_path(cap, table.name("cap")))
        elif type(cap) is int or isinstance(cap, Decimal):
            caps.append(Decimal(cap))
        else:
            raise table.fail("cap", "paths and numbers", cap)
    if not caps:
        raise table.fail("cap", "not empty", caps)
    return tuple(caps)


def _read_frame(table: Table) -> Frame:
    budget = [MAX_FRAME_NODES]
    frame = _frame(table.peek("value"), table.name("value"), MAX_FRAME_DEPTH, budget)
    if not isinstance(frame, list | dict):
        raise table.fail("value", "a list or a table", table.peek("value"))
    return frame


def _frame(value: object, place: str, depth: int, budget: list[int]) -> Frame:
    budget[0] -= 1
    if depth == 0 or budget[0] < 0:
        constraint = f"at most {MAX_FRAME_DEPTH} levels deep and {MAX_FRAME_NODES} values large"
        raise InvalidRecipe.expected(place, constraint, value)
    match value:
        case bool() | int():
            return value
        case str():
            return read_template(value, place)
        case list():
            items = cast("list[object]", value)
            return [_frame(each, place, depth - 1, budget) for each in items]
        case dict():
            pairs = cast("dict[str, object]", value)
            return {
                name: _frame(each, f"{place}.{name}", depth - 1, budget)
                for name, each in pairs.items()
            }
        case _:
            raise InvalidRecipe.expected(place, "made of texts, integers, flags, lists", value)


def _read_const(table: Table) -> bool | int | Decimal | str:
    table.allow("value")
    value = table.peek("value")
    if not isinstance(value, bool | int | Decimal | str):
        raise InvalidRecipe.expected(table.name("value"), "a text, a number or a flag", value)
    return value
