"""Inline tests as they stand in a recipe."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, cast

from autonomics.errors import InvalidRecipe
from autonomics.recipes.recipe import EarlierSignal, InlineTest
from autonomics.recipes.signal import Json, decimal_text
from autonomics.recipes.table import Table

EXPECTATIONS: Final = ("diagnosis", "outcome", "answer", "code")
POLICY_KEYS: Final = (
    "stop",
    "tenant_state",
    "price_plan",
    "role",
    "acts_used",
    "freeze",
    "legal_hold",
    "monitor",
    "certificate",
)


def read_tests(table: Table) -> tuple[InlineTest, ...]:
    """Read all `[[test]]` tables."""
    return tuple(_read_test(each) for each in table.tables("test"))


def _read_test(table: Table) -> InlineTest:
    facts = table.table("facts")
    expect = table.table("expect")
    expected = {name: expect.text(name) for name in EXPECTATIONS if expect.has(name)}
    for name in EXPECTATIONS:
        expect.allow(name)
    expect.end()
    if not expected:
        raise table.fail("expect", f"some of {list(EXPECTATIONS)}", {})
    policy = table.table("policy")
    for name in POLICY_KEYS:
        policy.allow(name)
    test = InlineTest(
        name=table.text("name"),
        signal=table.text("signal"),
        earlier=tuple(_read_earlier(each) for each in table.tables("earlier")),
        repeat=table.count("repeat", default=1, least=1),
        every_s=table.count("every_s", default=60, least=0),
        facts={name: facts.text(name) for name, _ in facts.entries()},
        fact_overrides=_read_overrides(table.table("fact_set")),
        signal_overrides=_read_overrides(table.table("signal_set")),
        earlier_acts=_read_ages(table),
        policy=_read_policy(policy),
        expect=expected,
    )
    table.end()
    return test


def _read_earlier(table: Table) -> EarlierSignal:
    earlier = EarlierSignal(
        signal=table.text("signal"),
        signal_overrides=_read_overrides(table.table("signal_set")),
        age_s=table.count("age_s"),
    )
    table.end()
    return earlier


def _read_ages(table: Table) -> tuple[int, ...]:
    ages = table.items("earlier_acts_s")
    if not all(type(age) is int and age >= 0 for age in ages):
        raise table.fail("earlier_acts_s", "a list of seconds >= 0", ages)
    return tuple(cast("list[int]", ages))


def _read_overrides(table: Table) -> dict[str, Json]:
    return {path: plain_json(value, table.name(path)) for path, value in table.entries()}


def _read_policy(table: Table) -> dict[str, Json]:
    table.end()
    return {name: plain_json(value, table.name(name)) for name, value in table.entries()}


def plain_json(value: object, place: str) -> Json:
    """Turn a TOML value into canonical JSON."""
    match value:
        case bool() | int() | str():
            return value
        case Decimal():
            return decimal_text(value)
        case list():
            return [plain_json(each, place) for each in cast("list[object]", value)]
        case dict():
            pairs = cast("dict[str, object]", value)
            return {key: plain_json(each, place) for key, each in pairs.items()}
        case _:
            raise InvalidRecipe.expected(place, "a text, number, flag, list or table", value)
