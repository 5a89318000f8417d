"""Conditions of recipes: closed operators over paths, in three-valued logic.

A truth is True, False or None for "nobody knows". A missing value makes a condition unknown, never
false: a recipe that silently doesn't fire is as wrong as one that fires. (Kleene's strong logic.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Protocol, TypeAlias, assert_never, cast

from attrs import frozen

from autonomics.errors import InvalidSignal
from autonomics.recipes.path import MISSING, UNREAD, Path
from autonomics.recipes.pattern import Pattern
from autonomics.recipes.quantity import read_number
from autonomics.recipes.signal import parse_moment
from autonomics.recipes.slope import slope_per_hour

Truth: TypeAlias = "bool | None"
Scalar: TypeAlias = "bool | int | Decimal | str"
Operand: TypeAlias = "Scalar | tuple[Scalar, ...] | Pattern | Path | Share"

# Wide enough for the product of any two numbers that `read_number` gives: nothing is rounded.
_EXACT = Context(prec=4000)


class Lookup(Protocol):
    """What a condition is judged against."""

    @property
    def now(self) -> datetime:
        """Give the moment of the decision."""
        ...

    def lookup(self, path: Path) -> object:
        """Give the value, MISSING, or UNREAD."""
        ...


@frozen
class Share:
    """A multiple of another value, such as 0.95 of a limit."""

    of: Path
    share: Decimal


@frozen
class Comparison:
    """One triple `[path, op, operand]`."""

    path: Path
    op: str
    operand: Operand
    text: str


@frozen
class AllOf:
    """True if all are; False if one is."""

    conditions: tuple[Condition, ...]


@frozen
class AnyOf:
    """True if one is; False if all are."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = "Comparison | AllOf | AnyOf"


def negate(truth: Truth) -> Truth:
    """Turn a truth around; unknown stays unknown."""
    return None if truth is None else not truth


def conjoin(truths: Iterable[Truth]) -> Truth:
    """Join by and; nothing at all is true."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            result = None
    return result


def disjoin(truths: Iterable[Truth]) -> Truth:
    """Join by or; nothing at all is false."""
    result: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if truth is None:
            result = None
    return result


def evaluate(condition: Condition, view: Lookup) -> Truth:
    """Judge a condition. Total: never raises, whatever the values are."""
    match condition:
        case Comparison():
            return _compare(condition, view)
        case AllOf(conditions):
            return conjoin(evaluate(each, view) for each in conditions)
        case AnyOf(conditions):
            return disjoin(evaluate(each, view) for each in conditions)
        case _:
            assert_never(condition)


def describe(condition: Condition) -> str:
    """Write a condition for people."""
    match condition:
        case Comparison():
            return condition.text
        case AllOf(conditions):
            return " and ".join(_in_brackets(each) for each in conditions)
        case AnyOf(conditions):
            return " or ".join(_in_brackets(each) for each in conditions)
        case _:
            assert_never(condition)


def _in_brackets(condition: Condition) -> str:
    text = describe(condition)
    return text if isinstance(condition, Comparison) else f"({text})"


def paths_of(condition: Condition) -> Iterable[Path]:
    """Give all paths that a condition reads."""
    match condition:
        case Comparison():
            yield condition.path
            if condition.op in PATH_OPERATORS:
                yield cast("Path", condition.operand)
            if isinstance(condition.operand, Share):
                yield condition.operand.of
        case AllOf(conditions) | AnyOf(conditions):
            for each in conditions:
                yield from paths_of(each)
        case _:
            assert_never(condition)


def _compare(condition: Comparison, view: Lookup) -> Truth:
    value = view.lookup(condition.path)
    if value is UNREAD:
        return None
    if condition.op == "exists":
        return value is not MISSING
    if condition.op == "absent":
        return value is MISSING
    if value is MISSING or value is None:
        return None
    if condition.op == "within":
        return _is_within(value, condition.operand, view.now)
    operand: object = condition.operand
    if condition.op in PATH_OPERATORS:
        operand = view.lookup(cast("Path", operand))
        if operand is MISSING or operand is UNREAD or operand is None:
            return None
    if isinstance(operand, Share):
        operand = _take_share(operand, view)
    return _OPERATORS[condition.op](value, operand)


def _take_share(operand: Share, view: Lookup) -> Decimal | None:
    whole = read_number(view.lookup(operand.of))
    return None if whole is None else _EXACT.multiply(whole, operand.share)


def _is_equal(value: object, operand: object) -> Truth:
    if isinstance(operand, bool):
        return value is operand if isinstance(value, bool) else None
    if isinstance(operand, int | Decimal):
        number = read_number(value)
        return None if number is None else number == operand
    return value == operand if isinstance(value, str) else None


def _is_in(value: object, operand: object) -> Truth:
    return disjoin(_is_equal(value, each) for each in cast("tuple[Scalar, ...]", operand))


def _is_not_equal(value: object, operand: object) -> Truth:
    return negate(_is_equal(value, operand))


def _is_not_in(value: object, operand: object) -> Truth:
    return negate(_is_in(value, operand))


def _ordered(holds: Callable[[Decimal, Decimal], bool]) -> Callable[[object, object], Truth]:
    def compare(value: object, operand: object) -> Truth:
        left, right = read_number(value), read_number(operand)
        return None if left is None or right is None else holds(left, right)

    return compare


def _textual(holds: Callable[[str, str], bool]) -> Callable[[object, object], Truth]:
    def compare(value: object, operand: object) -> Truth:
        if not isinstance(value, str) or not isinstance(operand, str):
            return None
        return holds(value, operand)

    return compare


def _is_equal_to_path(value: object, operand: object) -> Truth:
    numbers = read_number(value), read_number(operand)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    return value == operand if type(value) is type(operand) else None


def _has_tail(value: str, tail: str) -> bool:
    return value == tail or value.endswith(f"/{tail}")


def _matches(value: object, operand: object) -> Truth:
    return cast("Pattern", operand).is_found_in(value) if isinstance(value, str) else None


def _climbs(value: object, operand: object) -> Truth:
    slope = slope_per_hour(value)
    return None if slope is None else slope >= cast("Decimal", operand)


def _is_within(value: object, operand: object, now: datetime) -> Truth:
    try:
        moment = parse_moment(value)
    except InvalidSignal:
        return None
    # Both ways: a sender's clock may run ahead of ours.
    return abs(now - moment) <= timedelta(seconds=int(cast("Decimal", operand)))


_OPERATORS: dict[str, Callable[[object, object], Truth]] = {
    "eq": _is_equal,
    "ne": _is_not_equal,
    "in": _is_in,
    "nin": _is_not_in,
    "lt": _ordered(lambda left, right: left < right),
    "le": _ordered(lambda left, right: left <= right),
    "gt": _ordered(lambda left, right: left > right),
    "ge": _ordered(lambda left, right: left >= right),
    "eq_path": _is_equal_to_path,
    "lt_path": _ordered(lambda left, right: left < right),
    "le_path": _ordered(lambda left, right: left <= right),
    "gt_path": _ordered(lambda left, right: left > right),
    "ge_path": _ordered(lambda left, right: left >= right),
    "ge_share": _ordered(lambda left, right: left >= right),
    "lt_share": _ordered(lambda left, right: left < right),
    "tail_eq_path": _textual(_has_tail),
    "has": _textual(lambda value, part: part in value),
    "prefix": _textual(lambda value, part: value.startswith(part)),
    "suffix": _textual(lambda value, part: value.endswith(part)),
    "regex": _matches,
    "slope_ge": _climbs,
}
PATH_OPERATORS = frozenset(op for op in _OPERATORS if op.endswith("_path"))
SHARE_OPERATORS = frozenset({"ge_share", "lt_share"})
ORDER_OPERATORS = frozenset({"lt", "le", "gt", "ge", "slope_ge", "within"})
OPERATORS = frozenset(_OPERATORS) | {"exists", "absent", "within"}
