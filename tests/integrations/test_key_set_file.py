from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from autonomics.errors import InvalidConfig
from autonomics.integrations.key_set_file import (
    SIZE_LIMIT_BYTES,
    KeySetFile,
    parse_key_set,
)
from autonomics.telemetry import subscribe, unsubscribe
from autonomics.testing.token_issuer import certificates, key_set, token_issuer

ONE, TWO = token_issuer("one"), token_issuer("two")
Heard = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    events: Heard = []
    subscribe("test", lambda event, fields: events.append((event, dict(fields))))
    yield events
    unsubscribe("test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(certificates(ONE))
    return path


def public_numbers(keys: KeySetFile, kid: str) -> object:
    found = keys.find(kid)
    return None if found is None else found.key.public_key.public_numbers()


@pytest.mark.parametrize("form", [certificates, key_set])
def test_both_forms_give_the_keys_by_their_ids(
    path: Path, form: Callable[..., str], heard: Heard
) -> None:
    path.write_text(form(ONE, TWO))
    keys = KeySetFile(path)
    for issuer in (ONE, TWO):
        expected = issuer.key.public_key().public_numbers()
        assert public_numbers(keys, issuer.kid) == expected
    assert keys.find("three") is None
    assert heard == [("keys.read", {"path": str(path), "kids": ["one", "two"]})]


def test_a_new_file_is_taken_up_at_the_next_look_up(path: Path) -> None:
    keys = KeySetFile(path)
    before = path.stat()
    path.write_text(certificates(TWO))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if within one tick
    assert (keys.find("one"), keys.find("two") is None) == (None, False)

    other = path.with_name("other")
    other.write_text(key_set(ONE))
    other.replace(path)
    assert (keys.find("two"), keys.find("one") is None) == (None, False)


@pytest.mark.parametrize("trouble", ["gone", "broken", "empty", "folder"])
def test_the_keys_stay_in_force_while_the_file_can_not_be_used(
    path: Path, heard: Heard, trouble: str
) -> None:
    keys = KeySetFile(path)
    path.unlink()
    if trouble == "broken":
        path.write_text(certificates(TWO)[:-10])
    elif trouble == "empty":
        path.write_text("")
    elif trouble == "folder":
        path.mkdir()
    heard.clear()

    assert [keys.find("one") is None for _ in range(3)] == [False] * 3
    assert [event for event, _ in heard] == ["keys.unreadable"]  # told once
    assert str(path) in heard[0][1]["reason"]

    if path.is_dir():
        path.rmdir()
    path.write_text(certificates(TWO))
    assert (keys.find("one"), keys.find("two") is None) == (None, False)


def test_the_same_keys_after_a_trouble_are_told_again(path: Path, heard: Heard) -> None:
    keys = KeySetFile(path)
    text = path.read_text()
    path.unlink()
    keys.find("one")
    path.write_text(text)
    assert keys.find("one")
    assert [event for event, _ in heard] == ["keys.read", "keys.unreadable", "keys.read"]


def test_a_start_without_a_usable_file_is_refused(path: Path) -> None:
    path.unlink()
    with pytest.raises(InvalidConfig, match="can't read .*keys.json: No such file"):
        KeySetFile(path)


def test_a_certificate_says_for_how_long_its_key_holds() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    end = begin + timedelta(days=30)
    key = parse_key_set(json.dumps({"one": ONE.certificate(begin, end)}).encode(), "f")["one"]
    second = timedelta(seconds=1)
    moments = (begin - second, begin, end, end + second)
    assert [key.holds_at(moment) for moment in moments] == [False, True, True, False]
    bare = parse_key_set(key_set(ONE).encode(), "f")["one"]
    assert all(bare.holds_at(moment) for moment in moments)


def test_keys_of_a_set_that_are_for_something_else_are_passed_over() -> None:
    others = [
        {"kty": "EC", "kid": "ec"},
        TWO.jwk(use="enc", kid="enc"),
        TWO.jwk(alg="RS512", kid="other"),
    ]
    bare = {name: ONE.jwk()[name] for name in ("kty", "kid", "n", "e")}
    text = json.dumps({"keys": [*others, bare]}).encode()
    assert list(parse_key_set(text, "f")) == ["one"]


def ec_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ec")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    built = built.public_key(key.public_key()).not_valid_before(now).not_valid_after(now)
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


SHORT = token_issuer("short", 1024)
JWK = ONE.jwk()


def jwks(*rows: object) -> str:
    return json.dumps({"keys": rows})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the file to be JSON"),
        ("[" * 100_000, "expected the file to be JSON"),
        ("[]", "expected the file to be an object, got list"),
        ("{}", "expected the file to hold 1 to 64 RSA keys for signatures, got 0"),
        (jwks(), "to hold 1 to 64 RSA keys for signatures, got 0"),
        (jwks(*(ONE.jwk(kid=str(n)) for n in range(65))), "1 to 64 RSA keys .*, got 65"),
        ('{"keys": {}}', "expected keys of the file to be a list"),
        (jwks("one"), "expected keys of the file to be a list of objects"),
        (jwks(ONE.jwk(kid=None)), "expected key 'None' of the file to be named by a kid"),
        (jwks(ONE.jwk(kid="")), "key '' of the file to be named by a text of its own"),
        (jwks(ONE.jwk(kid="k" * 257)), "to be named by a text of its own, of 1 to 256"),
        (jwks(JWK, JWK), "key 'one' of the file to be named by a text of its own"),
        (jwks({**JWK, "d": "secret"}), "key 'one' of the file to be a public key$"),
        (jwks({**JWK, "n": 1}), "key 'one' of the file to be an RSA key with n and e$"),
        (jwks({**JWK, "e": None}), "key 'one' of the file to be an RSA key with n and e$"),
        (jwks({**JWK, "n": "?" * 400}), "key 'one' of the file to be an RSA key with n and e$"),
        (jwks({**JWK, "e": "AQ"}), "key 'one' of the file to be an RSA key with n and e$"),
        (jwks(SHORT.jwk()), "key 'short' of the file to be of 2048 to 8192 bits"),
        (
            jwks({**JWK, "n": "A" * 200 + str(SHORT.jwk()["n"])}),
            "key 'one' of the file to be of 2048 to 8192 bits",
        ),
        ('{"one": 1}', "key 'one' of the file to be an X.509 certificate in PEM with an RSA key"),
        ('{"one": "secret"}', "key 'one' of the file to be an X.509 certificate in PEM"),
        ('{"one": "\\ud800"}', "key 'one' of the file to be an X.509 certificate in PEM"),
        (json.dumps({"one": ec_certificate()}), "an X.509 certificate in PEM with an RSA key"),
        (certificates(SHORT), "key 'short' of the file to be of 2048 to 8192 bits"),
    ],
)
def test_a_wrong_file_is_refused_without_showing_what_is_in_it(text: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message) as caught:
        parse_key_set(text.encode(), "the file")
    assert "secret" not in str(caught.value)


def test_a_file_is_read_up_to_a_bound(path: Path) -> None:
    path.write_bytes(b" " * (SIZE_LIMIT_BYTES + 1))
    with pytest.raises(InvalidConfig, match="expected .*keys.json to be at most 262144 bytes"):
        KeySetFile(path)
    path.write_text(certificates(ONE).ljust(SIZE_LIMIT_BYTES))
    assert KeySetFile(path).find("one")
