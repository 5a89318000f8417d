from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import DoorRefused
from autonomics.http.credential import (
    read_idempotency_key,
    read_request_id,
    read_secret,
    read_trace,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "token", "secret"),
    [
        (None, None, None),
        ("Bearer abc", None, "abc"),
        ("bearer   abc ", None, "abc"),
        ("Basic abc", None, ""),
        ("Bearer", None, ""),
        ("Bearer a b", None, ""),
        ("Bearer " + "a" * 600, None, ""),
        (None, "tok", "tok"),
        (None, "t k", ""),
        (None, "t" * 600, ""),
        ("Basic abc", "tok", ""),
        ("Bearer abc", "tok", "abc"),
    ],
)
def test_the_header_decides_and_the_token_stands_in_for_it(
    header: str | None, token: str | None, secret: str | None
) -> None:
    headers: dict[str, str] = {} if header is None else {"authorization": header}
    assert read_secret(headers, token) == secret


@pytest.mark.parametrize("value", ["", "-x", "a b", "a\n", "é", "x" * 129, '"'])
def test_a_request_id_that_is_not_safe_to_repeat_is_dropped(value: Any) -> None:
    assert read_request_id({"x-request-id": value}) is None


def test_a_sane_request_id_is_kept() -> None:
    assert read_request_id({"x-request-id": "req-1.a:b/c"}) == "req-1.a:b/c"


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"cc-{TRACE}-{SPAN}-01-later", TRACE),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(value: Any, trace: str | None) -> None:
    assert read_trace({"traceparent": value}) == trace


def test_an_idempotency_key_is_the_same_with_quotes_and_without() -> None:
    key = "8e03978e-40d5-43e8-bc93-6894a57f9324"
    assert read_idempotency_key({"idempotency-key": key}) == key
    assert read_idempotency_key({"idempotency-key": f'"{key}"'}) == key
    assert read_idempotency_key({"idempotency-key": '"a\\"b"'}) == 'a"b'
    assert read_idempotency_key({}) is None


@pytest.mark.parametrize("value", ["", '"', '""', '"a', "é", "a\x00", "x" * 256, " a"])
def test_a_malformed_idempotency_key_is_refused(value: Any) -> None:
    with pytest.raises(DoorRefused) as refused:
        read_idempotency_key({"idempotency-key": value})
    assert refused.value.code == "bad_idempotency_key"


@given(st.text(max_size=50))
def test_no_header_makes_them_raise_anything_else(value: str) -> None:
    headers: dict[str, str] = dict.fromkeys(("authorization", "x-request-id", "traceparent"), value)
    read_secret(headers, value)
    read_request_id(headers)
    read_trace(headers)
