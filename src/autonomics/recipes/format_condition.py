"""Conditions as they stand in a recipe: triples, `{ all = [...] }` and `{ any = [...] }`."""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from typing import Final, cast

from autonomics.errors import InvalidRecipe
from autonomics.recipes.path import Path, parse_path
from autonomics.recipes.pattern import compile_pattern
from autonomics.recipes.predicate import (
    OPERATORS,
    ORDER_OPERATORS,
    PATH_OPERATORS,
    SHARE_OPERATORS,
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Operand,
    Scalar,
    Share,
)
from autonomics.recipes.signal import decimal_text
from autonomics.recipes.table import Table
from autonomics.recipes.view import ROOTS

MAX_NESTING: Final = 6
MAX_SHARE: Final = 1_000
_TEXT_OPERATORS: Final = frozenset({"has", "prefix", "suffix"})
_LIST_OPERATORS: Final = frozenset({"in", "nin"})


def read_condition(rows: list[object], place: str) -> Condition:
    """Read a list of conditions that must all hold."""
    return AllOf(tuple(_read(row, f"{place}[{i}]", MAX_NESTING) for i, row in enumerate(rows)))


def _read(row: object, place: str, nesting: int) -> Condition:
    if nesting == 0:
        raise InvalidRecipe(f"expected {place} to be nested at most {MAX_NESTING} deep")
    if isinstance(row, dict):
        table = cast("dict[str, object]", row)
        word, rows = next(iter(table.items()), ("", None))
        if len(table) != 1 or word not in {"all", "any"} or not isinstance(rows, list) or not rows:
            raise InvalidRecipe.expected(place, "one of { all = [...] }, { any = [...] }", table)
        parts = tuple(
            _read(each, f"{place}.{word}[{i}]", nesting - 1)
            for i, each in enumerate(cast("list[object]", rows))
        )
        return AllOf(parts) if word == "all" else AnyOf(parts)
    triple = _as_list(row)
    if len(triple) != 3:
        raise InvalidRecipe.expected(place, "a triple [path, operator, value]", row)
    return _read_triple(triple, place)


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _read_triple(triple: list[object], place: str) -> Comparison:
    where, op, value = triple
    if not isinstance(where, str) or not isinstance(op, str):
        raise InvalidRecipe.expected(place, "a triple [path, operator, value]", triple)
    if op not in OPERATORS:
        near = get_close_matches(op, OPERATORS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        error = InvalidRecipe.expected(f"operator of {place}", f"one of {sorted(OPERATORS)}", op)
        raise InvalidRecipe(f"{error}{hint}")
    operand = _read_operand(op, value, place)
    text = f"{where} {op} {_show(value, operand)}"
    return Comparison(path=read_path(where, place), op=op, operand=operand, text=text)


def _show(value: object, operand: Operand) -> str:
    if isinstance(operand, Share):
        return f"{decimal_text(operand.share)} * {'.'.join(operand.of)}"
    shown = decimal_text(value) if isinstance(value, Decimal) else value
    return shown if isinstance(shown, str) else repr(shown)


def _read_operand(op: str, value: object, place: str) -> Operand:
    if op in {"exists", "absent"}:
        if value is not True:
            raise InvalidRecipe.expected(f"value of {place}", "true", value)
        return True
    if op in ORDER_OPERATORS:
        if type(value) is int or isinstance(value, Decimal):
            return Decimal(value)
        raise InvalidRecipe.expected(f"value of {place}", "a number", value)
    if op in SHARE_OPERATORS:
        return _read_share(value, f"value of {place}")
    if op in _LIST_OPERATORS:
        return _read_scalars(value, place)
    if op in {"eq", "ne"}:
        return _read_scalar(value, place)
    if not isinstance(value, str) or not value:
        raise InvalidRecipe.expected(f"value of {place}", "a text that is not empty", value)
    if op in PATH_OPERATORS:
        return read_path(value, place)
    return value if op in _TEXT_OPERATORS else compile_pattern(value)


def _read_scalars(value: object, place: str) -> tuple[Scalar, ...]:
    values = _as_list(value)
    if not values:
        raise InvalidRecipe.expected(f"value of {place}", "a list that is not empty", value)
    return tuple(_read_scalar(each, place) for each in values)


def _read_share(value: object, place: str) -> Share:
    if not isinstance(value, dict):
        raise InvalidRecipe.expected(place, "{ of = <path>, share = <number> }", value)
    table = Table(cast("dict[str, object]", value), place)
    share = Share(of=read_path(table.text("of"), table.name("of")), share=table.decimal("share"))
    if not 0 < share.share <= MAX_SHARE:
        raise table.fail("share", f"in 0..{MAX_SHARE}, above 0", share.share)
    table.end()
    return share


def _read_scalar(value: object, place: str) -> Scalar:
    if isinstance(value, bool | int | Decimal | str):
        return value
    raise InvalidRecipe.expected(f"value of {place}", "a text, a number or a flag", value)


def read_path(text: str, place: str) -> Path:
    """Read a path whose root is known."""
    path = parse_path(text)
    root, rest = path[0], path[1:]
    needed = ROOTS.get(root)
    if needed is None:
        near = get_close_matches(root, ROOTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        error = InvalidRecipe.expected(f"root of path in {place}", f"one of {sorted(ROOTS)}", text)
        raise InvalidRecipe(f"{error}{hint}")
    if len(path) < needed or (needed == 1 and len(path) > 1):
        raise InvalidRecipe.expected(f"path in {place}", "of the right length", text)
    is_label = rest[:1] == ("labels",) and len(rest) > 1
    if root == "resource" and rest != ("type",) and not is_label:
        constraint = "resource.type or resource.labels.<name>"
        raise InvalidRecipe.expected(f"path in {place}", constraint, text)
    return path
