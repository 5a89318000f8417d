from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidRecipe
from autonomics.recipes.format_condition import read_condition
from autonomics.recipes.predicate import (
    OPERATORS,
    Truth,
    conjoin,
    describe,
    disjoin,
    evaluate,
    negate,
    paths_of,
)
from autonomics.recipes.signal import Signal, canonical_tree, decimal_text, moment_text
from autonomics.recipes.table import Table
from autonomics.recipes.view import SignalView

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
truths = st.sampled_from([True, False, None])


def view(fields: Mapping[str, object] | None = None, **facts: object) -> SignalView:
    return SignalView(
        signal=Signal(kind="text", fields=canonical_tree(fields or {})),
        extracts={"used": "516Mi"},
        facts=facts,
        counts={"window": 2},
        recipe_id="run.x",
        fingerprint="f",
        now=NOW,
    )


def judge(triple: list[object], fields: Mapping[str, object] | None = None, **facts: object) -> Any:
    return evaluate(read_condition([triple], "when"), view(fields, **facts))


@given(truths)
def test_a_double_negation_is_the_truth_itself(truth: Truth) -> None:
    assert negate(negate(truth)) is truth


@given(st.lists(truths))
def test_and_and_or_are_each_others_mirror(values: list[Truth]) -> None:
    assert negate(conjoin(values)) is disjoin(negate(value) for value in values)


@given(st.lists(truths), st.lists(truths))
def test_and_and_or_do_not_depend_on_order_or_grouping(
    left: list[Truth], right: list[Truth]
) -> None:
    for join in (conjoin, disjoin):
        assert join([*left, *right]) is join([*right, *left])
        assert join([join(left), join(right)]) is join([*left, *right])


@given(truths, truths, truths)
def test_and_distributes_over_or(a: Truth, b: Truth, c: Truth) -> None:
    assert conjoin([a, disjoin([b, c])]) is disjoin([conjoin([a, b]), conjoin([a, c])])


@given(st.lists(truths), st.integers(0, 7), st.booleans())
def test_learning_what_was_unknown_never_turns_a_known_truth(
    values: list[Truth], place: int, learned: bool
) -> None:
    better = [learned if value is None and i == place else value for i, value in enumerate(values)]
    for join in (conjoin, disjoin):
        before = join(values)
        assert before is None or join(better) is before


@pytest.mark.parametrize(
    ("triple", "fields", "expected"),
    [
        (["fields.a", "eq", 5], {"a": 5}, True),
        (["fields.a", "eq", 5], {"a": "5.0"}, True),
        (["fields.a", "eq", 5], {"a": 5.5}, False),
        (["fields.a", "eq", 5], {"a": True}, None),
        (["fields.a", "eq", True], {"a": 1}, None),
        (["fields.a", "eq", False], {"a": False}, True),
        (["fields.a", "eq", "5"], {"a": 5}, None),
        (["fields.a", "eq", "x"], {"a": "x"}, True),
        (["fields.a", "eq", "x"], {}, None),
        (["fields.a", "eq", "x"], {"a": None}, None),
        (["fields.a", "ne", "x"], {"a": "y"}, True),
        (["fields.a", "ne", "x"], {}, None),
        (["fields.a", "in", ["x", "y"]], {"a": "y"}, True),
        (["fields.a", "in", ["x", 3]], {"a": "z"}, None),
        (["fields.a", "in", ["x", "y"]], {"a": "z"}, False),
        (["fields.a", "nin", ["x", "y"]], {"a": "z"}, True),
        (["fields.a", "nin", ["x", "y"]], {"a": 7}, None),
        (["fields.a", "lt", 5], {"a": 5}, False),
        (["fields.a", "le", 5], {"a": 5}, True),
        (["fields.a", "ge", 5], {"a": 5}, True),
        (["fields.a", "gt", 5], {"a": 5}, False),
        (["fields.a", "ge", 5], {"a": "many"}, None),
        (["fields.a", "ge", 536870912], {"a": "512Mi"}, True),
        (["fields.a", "ge", 1], {"a": "500m"}, False),
        (["fields.a", "has", "mid"], {"a": "amidst"}, True),
        (["fields.a", "has", "mid"], {"a": 5}, None),
        (["fields.a", "prefix", "am"], {"a": "amidst"}, True),
        (["fields.a", "suffix", "st"], {"a": "amidst"}, True),
        (["fields.a", "suffix", "am"], {"a": "amidst"}, False),
        (["fields.a", "regex", "^a.*t$"], {"a": "amidst"}, True),
        (["fields.a", "regex", "x"], {"a": "amidst"}, False),
        (["fields.a", "regex", "x"], {"a": 5}, None),
        (["fields.a", "exists", True], {"a": None}, True),
        (["fields.a", "exists", True], {}, False),
        (["fields.a", "absent", True], {}, True),
        (["fields.a", "eq_path", "fields.b"], {"a": "512Mi", "b": "536870912"}, True),
        (["fields.a", "eq_path", "fields.b"], {"a": "x", "b": "x"}, True),
        (["fields.a", "eq_path", "fields.b"], {"a": "x", "b": 5}, None),
        (["fields.a", "eq_path", "fields.b"], {"a": "x"}, None),
        (["fields.a", "lt_path", "fields.b"], {"a": 4, "b": 5}, True),
        (["fields.a", "le_path", "fields.b"], {"a": 5, "b": 5}, True),
        (["fields.a", "ge_path", "fields.b"], {"a": 5, "b": 5}, True),
        (["fields.a", "gt_path", "fields.b"], {"a": 5, "b": 5}, False),
        (["fields.a", "tail_eq_path", "fields.b"], {"a": "revisions/x-1", "b": "x-1"}, True),
        (["fields.a", "tail_eq_path", "fields.b"], {"a": "revisions/x-1", "b": "1"}, False),
        (["fields.a", "tail_eq_path", "fields.b"], {"a": "x-1", "b": "x-1"}, True),
        (["fields.a.0.b", "eq", "x"], {"a": [{"b": "x"}]}, True),
        (["fields.a.1.b", "eq", "x"], {"a": [{"b": "x"}]}, None),
        (["fields.a.b", "eq", "x"], {"a": "x"}, None),
        (['fields."a.b"', "eq", "x"], {"a.b": "x"}, True),
        (["x.used", "ge", 1], {}, True),
        (["x.limit", "ge", 1], {}, None),
        (["count.window", "ge", 2], {}, True),
        (["count.since_action", "eq", 0], {}, None),
        (["recipe.id", "eq", "run.x"], {}, True),
    ],
)
def test_an_operator_says_true_false_or_unknown(
    triple: list[object], fields: Mapping[str, object], expected: Truth
) -> None:
    assert judge(triple, fields) is expected


def test_absent_is_unknown_as_long_as_the_fact_is_unread() -> None:
    triple: list[object] = ["fact.service.reconciling", "absent", True]

    assert judge(triple) is None
    assert judge(triple, service={}) is True
    assert judge(triple, service={"reconciling": True}) is False


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0, True), (60, True), (61, False), (-60, True), (-61, False)]
)
def test_within_holds_on_both_sides_of_now(age_s: int, expected: Truth) -> None:
    moment = moment_text(NOW - timedelta(seconds=age_s))

    assert judge(["fields.at", "within", 60], {"at": moment}) is expected
    assert judge(["fields.at", "within", 60], {"at": "yesterday"}) is None


def test_an_event_without_a_time_has_no_age() -> None:
    condition = read_condition([["event_at", "within", 60]], "when")
    dated = view()

    assert evaluate(condition, dated) is None
    assert evaluate(condition, evolve(dated, signal=evolve(dated.signal, event_at=NOW))) is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OPERANDS: dict[str, object] = {
    "eq": 5,
    "ne": "x",
    "in": ["x", 5],
    "nin": [True],
    "has": "x",
    "prefix": "x",
    "suffix": "x",
    "regex": "x+",
    "exists": True,
    "absent": True,
    "within": 5,
    "lt": 5,
    "le": 5,
    "gt": 5,
    "ge": 5,
    "slope_ge": 5,
    "eq_path": "fields.b",
    "lt_path": "fields.b",
    "le_path": "fields.b",
    "gt_path": "fields.b",
    "ge_path": "fields.b",
    "tail_eq_path": "fields.b",
    "ge_share": {"of": "fields.b", "share": Decimal("0.95")},
    "lt_share": {"of": "fields.b", "share": Decimal("0.95")},
}


def test_every_operator_is_among_those_that_are_tried() -> None:
    assert set(OPERANDS) == OPERATORS


@given(st.sampled_from(sorted(OPERATORS)), json_values, json_values)
def test_no_value_makes_an_operator_raise(op: str, value: object, other: object) -> None:
    assert judge(["fields.a", op, OPERANDS[op]], {"a": value, "b": other}) in {True, False, None}


decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=40, min_value=-(10**40), max_value=10**40
)
shares = st.decimals(min_value=Decimal("0.000001"), max_value=1000, places=6)


@given(value=decimals, whole=decimals, share=shares)
def test_a_share_is_compared_as_an_exact_fraction(
    value: Decimal, whole: Decimal, share: Decimal
) -> None:
    fields = {"a": decimal_text(value), "b": decimal_text(whole)}
    operand = {"of": "fields.b", "share": share}

    exact = Fraction(value) >= Fraction(whole) * Fraction(share)

    assert judge(["fields.a", "ge_share", operand], fields) is exact
    assert judge(["fields.a", "lt_share", operand], fields) is not exact


@given(
    whole=st.integers(0, 10**60).map(lambda number: Fraction(number, 10**30)),
    share=st.integers(1, 10**9).map(lambda number: Fraction(number, 10**6)),
    off=st.sampled_from([-1, 0, 1]),
)
def test_no_share_is_met_or_missed_by_rounding(whole: Fraction, share: Fraction, off: int) -> None:
    def write(number: Fraction) -> str:
        units = number * 10**36
        assert units.denominator == 1
        sign, digits = "-" if units < 0 else "", str(abs(units.numerator)).rjust(37, "0")
        return f"{sign}{digits[:-36]}.{digits[-36:]}"

    fields = {"a": write(whole * share + Fraction(off, 10**36)), "b": write(whole)}
    operand = {"of": "fields.b", "share": Decimal(write(share))}

    assert judge(["fields.a", "ge_share", operand], fields) is (off >= 0)


@pytest.mark.parametrize("fields", [{"a": 1}, {"b": 1}, {"a": 1, "b": "many"}, {"a": "x", "b": 1}])
def test_a_share_of_what_is_no_number_is_unknown(fields: dict[str, object]) -> None:
    assert judge(["fields.a", "ge_share", {"of": "fields.b", "share": 1}], fields) is None


def test_a_share_says_what_it_is_of() -> None:
    triple: list[object] = ["fields.a", "ge_share", {"of": "fact.b.c", "share": Decimal("0.950")}]
    condition = read_condition([triple], "when")

    assert describe(condition) == "fields.a ge_share 0.95 * fact.b.c"
    assert set(paths_of(condition)) == {("fields", "a"), ("fact", "b", "c")}


def test_groups_nest_and_are_described() -> None:
    condition = read_condition(
        [
            {
                "any": [
                    ["kind", "eq", "text"],
                    {"all": [["fields.a", "ge", 5], ["x.used", "exists", True]]},
                ]
            }
        ],
        "when",
    )

    assert evaluate(condition, view()) is True
    assert describe(condition) == "(kind eq text or (fields.a ge 5 and x.used exists True))"
    assert set(paths_of(condition)) == {("kind",), ("fields", "a"), ("x", "used")}


UNREADABLE: list[tuple[object, str]] = [
    (["kind", "equals", "x"], "operator of when"),
    (["kind", "eqq", "x"], "did you mean 'eq'"),
    (["kin", "eq", "x"], "did you mean 'kind'"),
    (["kind.x", "eq", "x"], "of the right length"),
    (["resource.name", "eq", "x"], "resource.type or resource.labels"),
    (["kind", "ge_share", 0.95], "of = <path>, share = <number>"),
    (["kind", "ge_share", {"of": "kin", "share": 1}], "root of path in value of when.0..of"),
    (["kind", "ge_share", {"of": "text", "share": "1"}], "value of when.0..share to be a number"),
    (["kind", "ge_share", {"of": "text", "share": Decimal(0)}], "in 0..1000, above 0"),
    (["kind", "lt_share", {"of": "text", "share": Decimal(1001)}], "in 0..1000, above 0"),
    (["kind", "lt_share", {"of": "text", "share": 1, "off": 2}], "did you mean 'of'"),
    (["kind", "eq"], "a triple"),
    (["kind", "eq", None], "a text, a number or a flag"),
    (["kind", "in", []], "a list that is not empty"),
    (["kind", "exists", False], "to be true"),
    (["kind", "ge", "5"], "to be a number"),
    (["kind", "has", ""], "a text that is not empty"),
    (["kind", "regex", "("], "re2 accepts"),
    (["kind", 5, "x"], "a triple"),
    ([5, "eq", "x"], "a triple"),
    ("kind eq x", "a triple"),
    ({"none": []}, "one of"),
    ({"all": [], "any": []}, "one of"),
    ({"any": []}, "one of"),
    (["fields..a", "eq", "x"], "segments joined by dots"),
    (['fields."a', "eq", "x"], "quotes closed"),
    (['fields."a"b', "eq", "x"], "a dot after each quote"),
    (['fields.a"b"', "eq", "x"], "a dot before each quote"),
]


@pytest.mark.parametrize(("row", "message"), UNREADABLE)
def test_a_condition_that_cannot_be_read_says_why(row: object, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        read_condition([row], "when")


def test_conditions_nest_only_so_deep() -> None:
    row: object = ["kind", "eq", "x"]
    for _ in range(7):
        row = {"all": [row]}

    with pytest.raises(InvalidRecipe, match="nested at most 6 deep"):
        read_condition([row], "when")


def test_an_unknown_key_names_its_place_and_the_nearest() -> None:
    table = Table({"wieght": 1}, "diagnose.evidence[0]")
    table.allow("weight")

    with pytest.raises(InvalidRecipe, match=r"evidence\[0\] .* did you mean 'weight'"):
        table.end()
