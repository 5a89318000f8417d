from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.receipts.subject import (
    KEYS,
    MAX_SUBJECTS,
    find_subjects,
    hash_subject,
    normalise_subject,
)


@pytest.mark.parametrize(
    ("payload", "subjects"),
    [
        (b"", set[str]()),
        (b'{"text":"nobody at home"}', set[str]()),
        (b'{"text":"by Alice@Example.COM today"}', {"alice@example.com"}),
        (
            b"a.b+c@d-e.example.org,x_y%z@example.com.",
            {"a.b+c@d-e.example.org", "x_y%z@example.com"},
        ),
        (b"@example.com a@ a@b @ a@ b.de", set[str]()),
        ("<jürgen@example.com>".encode(), {"jürgen@example.com"}),
        (b"a" * 100 + b"@example.com", {"a" * 64 + "@example.com"}),
        (b"a@b@c.de", {"b@c.de"}),
        (b'{"user_id":" U-4711 "}', {"u-4711"}),
        (b'{"principalEmail":"bob@example.com"}', {"bob@example.com"}),
        ('{"user":"Jürgen"}'.encode(), {"jürgen"}),
        (b'{"user":{"id":1},"users":"x","superuser":"y"}', set[str]()),
        (b'{"user":""}', set[str]()),
    ],
)
def test_whom_a_payload_names(payload: bytes, subjects: set[str]) -> None:
    assert find_subjects(payload) == subjects


def test_a_blank_names_nobody() -> None:
    assert find_subjects(b'{"user":"  "}') == frozenset()


@pytest.mark.parametrize("key", KEYS)
def test_each_key_that_names_a_person_is_read(key: str) -> None:
    assert find_subjects(b'{"x":1,"%b":"Somebody"}' % key.encode()) == {"somebody"}


def test_a_message_that_is_kept_as_it_came_is_looked_into() -> None:
    body = base64.b64encode(b'{"textPayload":"carol@example.com has called"}')
    assert find_subjects(b'{"body":"%b"}' % body) == {"carol@example.com"}
    assert find_subjects(b'{"body":"AAAAAAAAA"}') == set()


@given(st.binary(max_size=300))
def test_any_bytes_can_be_looked_through(payload: bytes) -> None:
    for subject in find_subjects(payload):
        assert subject == subject.strip().casefold() != ""


@given(st.emails())
def test_an_address_is_found_under_the_form_that_is_asked_for(address: str) -> None:
    local = address.partition("@")[0]
    if set(local) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"):
        assert normalise_subject(address) in find_subjects(f"<{address}>".encode())


@pytest.mark.parametrize("unit", [b"@", b"a", b"a.", b"a@", b"a@a.", b"@a.a", b'"', b'"user":"'])
def test_a_megabyte_of_nonsense_is_looked_through_once(unit: bytes) -> None:
    """A search that went back at each byte would take hours, and hang this test."""
    find_subjects(unit * (2**20 // len(unit)))


def test_a_payload_that_names_a_whole_town_costs_the_index_only_so_much() -> None:
    payload = b"".join(b"p%d@example.com " % number for number in range(5000))
    assert find_subjects(payload) == {f"p{number}@example.com" for number in range(MAX_SUBJECTS)}


def test_what_is_wrapped_is_unwrapped_once_more_for_each_wrapping() -> None:
    body = b"dave@example.com"
    for _ in range(3):
        body = b'{"body":"%b"}' % base64.b64encode(body)
    assert find_subjects(body) == {"dave@example.com"}


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 321])
def test_a_subject_has_a_form(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected subject to be 1 to 320 printable characters"):
        normalise_subject(text)


def test_a_subject_is_compared_in_one_form() -> None:
    assert normalise_subject("  Alice@Example.com ") == "alice@example.com"


def test_a_hash_depends_on_the_deployments_secret_and_gives_no_name_away() -> None:
    one = hash_subject(b"1" * 32, "alice@example.com")
    assert len(one) == 32
    assert one == hash_subject(b"1" * 32, "alice@example.com")
    assert one != hash_subject(b"2" * 32, "alice@example.com")
    assert one != hash_subject(b"1" * 32, "alice@example.net")
