from __future__ import annotations

import base64
import hmac
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from autonomics.config import GOOGLE_ISSUER
from autonomics.errors import TokenRefused
from autonomics.integrations.google_sign_up import HEADER_LIMIT, TOKEN_LIMIT, GoogleSignUp
from autonomics.integrations.key_set_file import KeySetFile, PublicKey, parse_key_set
from autonomics.tenancy.sign_up import Account
from autonomics.testing.token_issuer import (
    AUDIENCE,
    certificates,
    encode_part,
    key_set,
    sign_up_claims,
    token_issuer,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
ISSUER, STRANGER = token_issuer("key-1"), token_issuer("key-2")
ACCOUNT = "E-1234-5678-9ABC-DEF0"


class Keys(dict[str, PublicKey]):
    """A key set that never changes."""

    def find(self, kid: str) -> PublicKey | None:
        return self.get(kid)


def verifier(now: datetime = NOW, text: str = certificates(ISSUER)) -> GoogleSignUp:
    return GoogleSignUp(
        Keys(parse_key_set(text.encode(), "test")),
        issuer=GOOGLE_ISSUER,
        audience=AUDIENCE,
        clock=lambda: now,
    )


def claims(**changes: Any) -> dict[str, Any]:
    return sign_up_claims(ACCOUNT, NOW, **changes)


VALID = ISSUER.sign(claims())


def refusal_of(token: str, using: GoogleSignUp | None = None) -> str:
    with pytest.raises(TokenRefused) as caught:
        (using or verifier()).verify(token)
    assert str(caught.value) == f"the token is not valid here: {caught.value.reason}"
    return caught.value.reason


@pytest.mark.parametrize("text", [certificates(ISSUER), key_set(ISSUER)])
def test_a_valid_token_speaks_for_its_account(text: str) -> None:
    assert verifier(text=text).verify(VALID) == Account(ACCOUNT)


@pytest.mark.parametrize(
    "token",
    [
        ISSUER.sign(claims(aud=[AUDIENCE, "another.example.com"])),
        ISSUER.sign(claims(orders=[{"id": "1"}], unheard_of=None)),
        ISSUER.sign(claims(), typ=None),
        ISSUER.sign(claims(), unheard_of="x"),
        ISSUER.sign(claims(nbf=NOW_S)),
        ISSUER.sign(claims(exp=NOW_S + 0.5)),
    ],
)
def test_what_may_differ_does_not_matter(token: str) -> None:
    assert verifier().verify(token) == Account(ACCOUNT)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("exp", NOW_S - 59, None),
        ("exp", NOW_S - 60, "expired"),
        ("iat", NOW_S + 60, None),
        ("iat", NOW_S + 61, "from_the_future"),
        ("nbf", NOW_S + 60, None),
        ("nbf", NOW_S + 61, "from_the_future"),
    ],
)
def test_clocks_may_differ_by_a_minute(name: str, value: int, reason: str | None) -> None:
    token = ISSUER.sign(claims(**{name: value}))
    if reason is None:
        assert verifier().verify(token) == Account(ACCOUNT)
    else:
        assert refusal_of(token) == reason


def hs256(kid: str) -> str:
    """A token that is signed with the public key as if it were a shared secret."""
    public = ISSUER.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = encode_part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    signed = f"{header}.{encode_part(json.dumps(claims()).encode())}"
    return f"{signed}.{encode_part(hmac.digest(public, signed.encode(), 'sha256'))}"


def unsigned() -> str:
    header = encode_part(json.dumps({"alg": "none", "kid": ISSUER.kid}).encode())
    return f"{header}.{encode_part(json.dumps(claims()).encode())}."


HEAD, BODY, SIGNATURE = VALID.split(".")
REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "malformed"),
    "no dot": ("garbage", "malformed"),
    "one dot": ("a.b", "malformed"),
    "three dots": (f"{VALID}.", "malformed"),
    "four parts": (f"{VALID}.AAAA", "malformed"),
    "a space": (f"{VALID} ", "malformed"),
    "a line": (f"{VALID}\n", "malformed"),
    "padded": (f"{VALID}==", "malformed"),
    "standard base64": (f"{HEAD}.{BODY}.+/+/", "malformed"),
    "not ascii": (f"{HEAD}.{BODY}.ä", "malformed"),
    "half a quantum": (f"{HEAD}.{BODY}.AAAAA", "malformed"),
    "loose bits": (f"{HEAD}.{BODY}.AB", "malformed"),
    "header no json": (f"{encode_part(b'no')}.{BODY}.{SIGNATURE}", "malformed"),
    "header no utf-8": (f"{encode_part(bytes([255]))}.{BODY}.{SIGNATURE}", "malformed"),
    "header a list": (f"{encode_part(b'[]')}.{BODY}.{SIGNATURE}", "malformed"),
    "header deep": (f"{encode_part(b'[' * 380)}.{BODY}.{SIGNATURE}", "malformed"),
    "header long": (ISSUER.sign(claims(), x=" " * HEADER_LIMIT), "too_long"),
    "header of 10 kB": (ISSUER.sign(claims(), x="x" * 10_000), "too_long"),
    "token long": (VALID + "A" * TOKEN_LIMIT, "too_long"),
    "alg none": (f"{unsigned()}AAAA", "wrong_algorithm"),
    "alg none, no signature": (unsigned(), "malformed"),
    "alg HS256 with the public key": (hs256(ISSUER.kid), "wrong_algorithm"),
    "alg RS512": (ISSUER.sign(claims(), alg="RS512"), "wrong_algorithm"),
    "alg PS256": (ISSUER.sign(claims(), alg="PS256"), "wrong_algorithm"),
    "alg rs256": (ISSUER.sign(claims(), alg="rs256"), "wrong_algorithm"),
    "alg missing": (ISSUER.sign(claims(), alg=None), "wrong_algorithm"),
    "alg a list": (ISSUER.sign(claims(), alg=["RS256"]), "wrong_algorithm"),
    "typ": (ISSUER.sign(claims(), typ="at+jwt"), "wrong_header"),
    "crit": (ISSUER.sign(claims(), crit=["exp"]), "wrong_header"),
    "b64": (ISSUER.sign(claims(), b64=False), "wrong_header"),
    "kid unknown": (STRANGER.sign(claims()), "unknown_key"),
    "kid missing": (ISSUER.sign(claims(), kid=None), "unknown_key"),
    "kid a number": (ISSUER.sign(claims(), kid=1), "unknown_key"),
    "kid a path": (ISSUER.sign(claims(), kid="../../key-1"), "unknown_key"),
    "kid of another key": (STRANGER.sign(claims(), kid=ISSUER.kid), "wrong_signature"),
    "jwk": (STRANGER.sign(claims(), kid=ISSUER.kid, jwk={"kty": "RSA"}), "wrong_signature"),
    "no signature": (f"{HEAD}.{BODY}.AAAA", "wrong_signature"),
    "signature of another": (f"{HEAD}.{BODY}.{ISSUER.sign({}).split('.')[2]}", "wrong_signature"),
    "claims no json": (ISSUER.sign(b"no"), "malformed"),
    "claims a list": (ISSUER.sign(b"[]"), "malformed"),
    "claims deep": (ISSUER.sign(b"[" * 5000), "malformed"),
    "iss missing": (ISSUER.sign(claims(iss=None)), "wrong_issuer"),
    "iss another": (ISSUER.sign(claims(iss="https://accounts.google.com")), "wrong_issuer"),
    "iss a list": (ISSUER.sign(claims(iss=[GOOGLE_ISSUER])), "wrong_issuer"),
    "iss with a slash": (ISSUER.sign(claims(iss=f"{GOOGLE_ISSUER}/")), "wrong_issuer"),
    "aud missing": (ISSUER.sign(claims(aud=None)), "wrong_audience"),
    "aud another": (ISSUER.sign(claims(aud="example.com")), "wrong_audience"),
    "aud a list without ours": (ISSUER.sign(claims(aud=["a", "b"])), "wrong_audience"),
    "aud an empty list": (ISSUER.sign(claims(aud=[])), "wrong_audience"),
    "aud a long list": (ISSUER.sign(claims(aud=["a"] * 16 + [AUDIENCE])), "wrong_audience"),
    "aud nested": (ISSUER.sign(claims(aud=[[AUDIENCE]])), "wrong_audience"),
    "exp missing": (ISSUER.sign(claims(exp=None)), "wrong_exp"),
    "exp a text": (ISSUER.sign(claims(exp=str(NOW_S + 300))), "wrong_exp"),
    "exp true": (ISSUER.sign(claims(exp=True)), "wrong_exp"),
    "exp far": (ISSUER.sign(claims(exp=10**400)), "wrong_exp"),
    "exp infinite": (ISSUER.sign(claims(exp=float("inf"))), "wrong_exp"),
    "exp not a number": (ISSUER.sign(claims(exp=float("nan"))), "wrong_exp"),
    "exp past": (ISSUER.sign(claims(exp=NOW_S - 3600)), "expired"),
    "iat missing": (ISSUER.sign(claims(iat=None)), "wrong_iat"),
    "iat negative": (ISSUER.sign(claims(iat=-1)), "wrong_iat"),
    "iat ahead": (ISSUER.sign(claims(iat=NOW_S + 3600)), "from_the_future"),
    "nbf a text": (ISSUER.sign(claims(nbf="now")), "wrong_nbf"),
    "sub missing": (ISSUER.sign(claims(sub=None)), "wrong_subject"),
    "sub empty": (ISSUER.sign(claims(sub="")), "wrong_subject"),
    "sub a number": (ISSUER.sign(claims(sub=1)), "wrong_subject"),
    "sub with a space": (ISSUER.sign(claims(sub="a b")), "wrong_subject"),
    "sub long": (ISSUER.sign(claims(sub="a" * 129)), "wrong_subject"),
    "jwk whole": (STRANGER.sign(claims(), kid="key-1", jwk=STRANGER.jwk()), "too_long"),
}


@pytest.mark.parametrize(("token", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_token_that_is_wrong_in_any_way_speaks_for_nobody(token: str, reason: str) -> None:
    assert refusal_of(token) == reason


def test_nothing_is_fetched_from_where_a_token_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> NoReturn:
        raise AssertionError("somebody has opened a connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    url = "http://127.0.0.1:9/keys"
    for member in ("jku", "x5u"):
        assert refusal_of(STRANGER.sign(claims(), **{member: url})) == "unknown_key"
        token = STRANGER.sign(claims(), kid=ISSUER.kid, **{member: url})
        assert refusal_of(token) == "wrong_signature"
    assert refusal_of(ISSUER.sign(claims(iss=url))) == "wrong_issuer"


def test_a_key_counts_no_longer_than_its_certificate() -> None:
    text = json.dumps({"key-1": ISSUER.certificate(end=NOW)})
    assert verifier(text=text).verify(VALID) == Account(ACCOUNT)
    late = verifier(NOW + timedelta(seconds=1), text)
    assert refusal_of(VALID, late) == "expired_key"
    early = json.dumps({"key-1": ISSUER.certificate(begin=NOW + timedelta(seconds=1))})
    assert refusal_of(VALID, verifier(text=early)) == "expired_key"


def test_keys_are_rotated_by_replacing_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(certificates(ISSUER))
    google = GoogleSignUp(
        KeySetFile(path), issuer=GOOGLE_ISSUER, audience=AUDIENCE, clock=lambda: NOW
    )
    following = STRANGER.sign(claims())

    assert google.verify(VALID)
    assert refusal_of(following, google) == "unknown_key"
    path.write_text(certificates(ISSUER, STRANGER))
    assert google.verify(VALID) == google.verify(following)
    path.write_text(certificates(STRANGER))
    assert google.verify(following)
    assert refusal_of(VALID, google) == "unknown_key"
    path.unlink()
    assert google.verify(following)


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(place=st.integers(0, len(VALID) - 1), other=st.sampled_from(f"{ALPHABET}.=+/ \n\0é"))
def test_no_token_that_differs_in_one_character_is_valid(place: int, other: str) -> None:
    token = f"{VALID[:place]}{other}{VALID[place + 1 :]}"
    if token != VALID:
        refusal_of(token)


@given(data=st.data())
def test_no_cut_repeat_or_splice_of_a_token_is_valid(data: st.DataObject) -> None:
    other = ISSUER.sign(claims(sub="another"))
    donor = data.draw(st.sampled_from([VALID, other]))
    cut = data.draw(st.integers(0, len(VALID)))
    start = data.draw(st.integers(0, len(donor)))
    token = VALID[:cut] + donor[start:]
    if token not in (VALID, other):
        refusal_of(token)


@given(flipped=st.integers(0, 255 * 8 + 7))
def test_no_bit_of_a_signature_may_differ(flipped: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(f"{SIGNATURE}=="))
    raw[flipped // 8] ^= 1 << (flipped % 8)
    assert refusal_of(f"{HEAD}.{BODY}.{encode_part(bytes(raw))}") == "wrong_signature"


def test_every_other_spelling_of_the_last_character_is_refused() -> None:
    """Four of its bits are in no byte: a lenient decoder takes sixteen tokens for this one."""
    for last in ALPHABET:
        if last != VALID[-1]:
            refusal_of(VALID[:-1] + last)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_is_refused_and_not_a_crash(junk: bytes) -> None:
    refusal_of(junk.decode("latin-1"))
    refusal_of(f"{encode_part(junk)}.{BODY}.{SIGNATURE}")
    refusal_of(ISSUER.sign(junk))
