from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import DoorRefused
from autonomics.http.json_body import read_json, read_json_object
from autonomics.http.problem import PROBLEMS

FAULTS = [
    (b"\xff\xfe", "body_not_utf8"),
    (b'"caf\xe9"', "body_not_utf8"),
    (b"", "body_not_json"),
    (b"{bad", "body_not_json"),
    (b'{"a":1} trailing', "body_not_json"),
    (b'{"a":1}{"b":2}', "body_not_json"),
    (b"\xef\xbb\xbf{}", "body_not_json"),
    (b'"\\ud800"', "body_not_json"),
    (b'{"\\udfff": 1}', "body_not_json"),
    (b"[" * 100_000, "body_too_deep"),
    (b"[" * 65 + b"]" * 65, "body_too_deep"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "body_too_deep"),
    (b"NaN", "number_out_of_range"),
    (b'{"a": Infinity}', "number_out_of_range"),
    (b"[-Infinity]", "number_out_of_range"),
    (b"1e999", "number_out_of_range"),
    (b"-1e999", "number_out_of_range"),
    (b"9" * 5000, "number_out_of_range"),
    (b'{"a":1,"a":2}', "duplicate_key"),
    (b'{"x":{"a":1,"b":2,"a":3}}', "duplicate_key"),
    (b"[" + b"0," * 600_000 + b"0]", "body_too_large"),
]


@pytest.mark.parametrize(
    ("body", "code"), FAULTS, ids=[f"{c}-{i}" for i, (_, c) in enumerate(FAULTS)]
)
def test_each_fault_has_its_own_code(body: Any, code: str) -> None:
    with pytest.raises(DoorRefused) as refused:
        read_json(body)
    assert refused.value.code == code
    assert code in PROBLEMS
    assert len(str(refused.value)) < 300


def test_nesting_up_to_the_limit_is_read() -> None:
    assert read_json(b"[" * 64 + b"]" * 64) is not None


def test_brackets_inside_strings_do_not_nest() -> None:
    text = json.dumps(["[" * 500, '\\"{' * 500, '"'])
    assert read_json(text.encode()) == json.loads(text)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"[]", "an array"),
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"1", "a number"),
        (b'"x"', "a string"),
    ],
)
def test_another_value_than_an_object_is_named(body: Any, shown: str) -> None:
    with pytest.raises(DoorRefused, match=shown) as refused:
        read_json_object(body)
    assert refused.value.code == "body_not_object"


def test_hostile_bodies_cost_linear_time() -> None:
    unit = 500_000
    for body in (b'\\"' * unit, b'"' + b'\\"' * unit, b'"' * unit, b'{"a":[' + b'"\\' * unit):
        started = time.perf_counter()
        with pytest.raises(DoorRefused):
            read_json(b"[" * 65 + body, size_limit_bytes=10**8)
        assert time.perf_counter() - started < 5
    many = b"{" + b",".join(b'"%d":0' % n for n in range(80_000)) + b',"79999":0}'
    started = time.perf_counter()
    with pytest.raises(DoorRefused, match="79999"):
        read_json(many)
    assert time.perf_counter() - started < 5


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_what_json_can_say_is_read_as_it_is(value: Any, escaped: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_but_a_refusal(body: Any) -> None:
    with suppress(DoorRefused):
        read_json(body)
