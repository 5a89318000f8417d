"""Whom a payload names: the people of whom somebody may ask that all of it be erased.

Subjects are e-mail addresses, wherever they stand, and the values of keys that name a person. An
index keeps keyed hashes of them, and only as long as their payload.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from autonomics.errors import InvalidInput

MAX_SUBJECT: Final = 320
MAX_SUBJECTS: Final = 1024
KEYS: Final = (
    "email",
    "employee_id",
    "person",
    "principalEmail",
    "principal_email",
    "subject",
    "user",
    "userId",
    "user_email",
    "user_id",
    "username",
)
_LOCAL_BYTES = rb"[A-Za-z0-9._%+'\x80-\xff-]"
_LOCAL = re.compile(_LOCAL_BYTES + rb"{1,64}")
# From the sign on: a search that began with the local part would try each letter of a long text.
_DOMAIN = re.compile(
    rb"(?<=" + _LOCAL_BYTES + rb")@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,126}"
)
_NAMED = re.compile(rb'"(?:%b)":"([^"\\]{1,320})"' % "|".join(KEYS).encode())
_STEMS: Final = (b"mail", b"user", b"subject", b"person", b"employee")
_WRAPPED = re.compile(rb'"body":"([A-Za-z0-9+/]{8,}={0,2})"')
_CONTEXT: Final = b"autonomics.subject/1\n"


def normalise_subject(text: str) -> str:
    """Give a subject the one form that is compared; InvalidInput for none, or one too long."""
    subject = text.strip().casefold()
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise InvalidInput.expected("subject", f"1 to {MAX_SUBJECT} printable characters", text)
    return subject


def find_subjects(payload: bytes) -> frozenset[str]:
    """Return whom a payload names, normalised; a message that it carries in base64 counts too.

    Of a payload that names more than `MAX_SUBJECTS`, the first of them.
    """
    return frozenset(islice(_find(payload), MAX_SUBJECTS))


def _find(payload: bytes) -> Iterator[str]:
    for raw in _find_raw(payload):
        subject = raw.decode(errors="replace").strip().casefold()
        if subject:
            yield subject
    if b'"body":"' in payload:
        for wrapped in _WRAPPED.finditer(payload):
            try:
                body = base64.b64decode(wrapped[1], validate=True)
            except binascii.Error:
                continue
            yield from _find(body)


def _find_raw(data: bytes) -> Iterator[bytes]:
    if b"@" in data:
        for domain in _DOMAIN.finditer(data):
            at = domain.start()
            local = _LOCAL.match(data[max(0, at - 64) : at][::-1])
            assert local is not None, "the letter before the sign is one"
            yield local[0][::-1] + domain[0]
    # Each key has one of the stems, nearly no payload has, and a plain search is far cheaper.
    if any(stem in data for stem in _STEMS):
        for named in _NAMED.finditer(data):
            yield named[1]


def hash_subject(key: bytes, subject: str) -> bytes:
    """Hash a normalised subject under the deployment's secret: the index gives no name away."""
    return hmac.digest(key, _CONTEXT + subject.encode(), "sha256")
