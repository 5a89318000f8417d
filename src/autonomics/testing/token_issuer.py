"""Somebody who signs tokens as Google does, with a real key and certificate of its own.

The signature is made with cryptography alone, so that it shares no code with what verifies it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from autonomics.config import GOOGLE_ISSUER

AUDIENCE: Final = "product.example.com"
LIFE_S: Final = 300
BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
END: Final = datetime(2100, 1, 1, tzinfo=UTC)


@attrs.frozen
class TokenIssuer:
    """One signing key under its id."""

    kid: str
    key: rsa.RSAPrivateKey = attrs.field(repr=False)

    def sign(self, claims: Mapping[str, Any] | bytes, **header: Any) -> str:
        """Return a token; `header` replaces members of its header, None takes one out."""
        members = {"alg": "RS256", "typ": "JWT", "kid": self.kid, **header}
        members = {name: value for name, value in members.items() if value is not None}
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{encode_part(json.dumps(members).encode())}.{encode_part(body)}"
        return f"{signed}.{encode_part(self.sign_bytes(signed.encode()))}"

    def sign_bytes(self, data: bytes) -> bytes:
        """Sign as RS256 does (RFC 7518, 3.3)."""
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def certificate(self, begin: datetime = BEGIN, end: datetime = END) -> str:
        """Return a certificate of the key, signed with itself, in PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer.example.com")])
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(begin)
            .not_valid_after(end)
            .sign(self.key, hashes.SHA256())
        )
        return built.public_bytes(Encoding.PEM).decode()

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public key as a JSON Web Key (RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": encode_part(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)),
            "e": encode_part(numbers.e.to_bytes(3)),
            **changes,
        }


@cache
def token_issuer(kid: str = "key-1", bits: int = 2048) -> TokenIssuer:
    """Return the issuer of that key id; making a key takes a while, so each is made once."""
    return TokenIssuer(kid, rsa.generate_private_key(65537, bits))


def encode_part(data: bytes) -> str:
    """Encode as tokens do: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_up_claims(account: object, now: datetime, **changes: Any) -> dict[str, Any]:
    """Return the claims of a sign-up token; `changes` replaces some, None takes one out."""
    claims = {
        "iss": GOOGLE_ISSUER,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=LIFE_S)).timestamp()),
        "aud": AUDIENCE,
        "sub": account,
        "google": {"roles": ["account_admin"], "user_identity": "1234567890"},
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def certificates(*issuers: TokenIssuer) -> str:
    """Return the file that Google serves: a map of key id to certificate."""
    return json.dumps({issuer.kid: issuer.certificate() for issuer in issuers})


def key_set(*issuers: TokenIssuer) -> str:
    """Return the issuers' keys as a JSON Web Key Set."""
    return json.dumps({"keys": [issuer.jwk() for issuer in issuers]})
