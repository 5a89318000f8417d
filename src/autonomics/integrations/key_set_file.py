"""Public keys of somebody else, by key id, in a file that may be replaced while we run.

Two forms: a JSON Web Key Set (RFC 7517), and Google's map of key id to X.509 certificate in PEM.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.x509 import load_pem_x509_certificate
from joserfc.jwk import RSAKey

from autonomics.errors import InvalidConfig
from autonomics.telemetry import declare, emit

SIZE_LIMIT_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 64
MOST_KID: Final = 256
LEAST_BITS: Final = 2048
MOST_BITS: Final = 8192

declare("keys.read", "A file of public keys was read.", path="the file", kids="ids of its keys")
declare(
    "keys.unreadable",
    "A file of public keys can't be used; the keys that were read before stay in force.",
    path="the file",
    reason="why",
)


@frozen
class PublicKey:
    """An RSA key, and for how long its certificate holds; a bare key holds without end."""

    key: RSAKey
    not_before: datetime | None = None
    not_after: datetime | None = None

    def holds_at(self, moment: datetime) -> bool:
        """Say whether the certificate is in force; both ends are inclusive (RFC 5280, 4.1.2.5)."""
        return (self.not_before is None or self.not_before <= moment) and (
            self.not_after is None or moment <= self.not_after
        )


class KeySetFile:
    """Keys by id. Every look-up reads the file, and what is new in it is parsed.

    That costs less than the signature that follows, and is sure: two writes within one tick of the
    file system's clock leave the same size and time.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; InvalidConfig if it can't be used: there is no older set to keep."""
        self._path = path
        data = read_bounded(path)
        self._keys = parse_key_set(data, str(path))
        self._seen: bytes | str = data
        self._tell()

    def find(self, kid: str) -> PublicKey | None:
        """Return the key of that id, or None."""
        self._refresh()
        return self._keys.get(kid)

    def _refresh(self) -> None:
        """Take up a new file; one that can't be used is told once and changes nothing."""
        found: bytes | str
        try:
            found = read_bounded(self._path)
        except InvalidConfig as error:
            found = str(error)
        if found == self._seen:
            return
        self._seen = found
        try:
            if isinstance(found, str):
                raise InvalidConfig(found)
            self._keys = parse_key_set(found, str(self._path))
        except InvalidConfig as error:
            emit("keys.unreadable", path=str(self._path), reason=str(error))
        else:
            self._tell()

    def _tell(self) -> None:
        emit("keys.read", path=str(self._path), kids=sorted(self._keys))


def read_bounded(path: Path) -> bytes:
    """Return the bytes of a file; InvalidConfig if it can't be read or is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidConfig(f"can't read {path}: {error.strerror}") from None
    if len(data) > SIZE_LIMIT_BYTES:
        raise InvalidConfig(f"expected {path} to be at most {SIZE_LIMIT_BYTES} bytes, got more")
    return data


def parse_key_set(data: bytes, place: str) -> Mapping[str, PublicKey]:
    """Read either form; InvalidConfig names the key that is wrong, and shows nothing of it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidConfig(f"expected {place} to be JSON, got something else") from None
    if not isinstance(value, dict):
        raise InvalidConfig(f"expected {place} to be an object, got {type(value).__name__}")
    rows = cast("dict[str, Any]", value)
    pairs = _read_jwks(rows["keys"], place) if "keys" in rows else _read_certificates(rows, place)
    keys: dict[str, PublicKey] = {}
    for kid, key in pairs:
        if not 1 <= len(kid) <= MOST_KID or kid in keys:
            raise _wrong(place, kid, f"named by a text of its own, of 1 to {MOST_KID} characters")
        keys[kid] = key
    if not 1 <= len(keys) <= MOST_KEYS:
        raise InvalidConfig(
            f"expected {place} to hold 1 to {MOST_KEYS} RSA keys for signatures, got {len(keys)}"
        )
    return keys


def _wrong(place: str, kid: object, constraint: str) -> InvalidConfig:
    return InvalidConfig(f"expected key {str(kid)[:80]!a} of {place} to be {constraint}")


def _read_jwks(value: object, place: str) -> list[tuple[str, PublicKey]]:
    if not isinstance(value, list):
        raise InvalidConfig(f"expected keys of {place} to be a list")
    found: list[tuple[str, PublicKey]] = []
    for row in cast("list[object]", value):
        if not isinstance(row, dict):
            raise InvalidConfig(f"expected keys of {place} to be a list of objects")
        members = cast("dict[str, Any]", row)
        # A set may serve several purposes: what is not for this one is passed over (RFC 7517, 5).
        if members.get("kty") != "RSA" or members.get("use", "sig") != "sig":
            continue
        if members.get("alg", "RS256") != "RS256":
            continue
        kid = members.get("kid")
        if not isinstance(kid, str):
            raise _wrong(place, kid, "named by a kid")
        if "d" in members:
            raise _wrong(place, kid, "a public key")
        found.append((kid, PublicKey(_import_jwk(members, kid, place))))
    return found


def _import_jwk(members: Mapping[str, Any], kid: str, place: str) -> RSAKey:
    try:
        modulus, exponent = _read_number(members["n"]), _read_number(members["e"])
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except (KeyError, TypeError, ValueError):
        raise _wrong(place, kid, "an RSA key with n and e") from None
    return _bounded(key, kid, place)


def _read_number(text: str) -> int:
    """Read a base64url integer (RFC 7518, 6.3.1)."""
    return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))


def _bounded(key: RSAPublicKey, kid: str, place: str) -> RSAKey:
    if not LEAST_BITS <= key.key_size <= MOST_BITS:  # the library would only warn
        raise _wrong(place, kid, f"of {LEAST_BITS} to {MOST_BITS} bits")
    return RSAKey.import_key(key)


def _read_certificates(rows: Mapping[str, Any], place: str) -> list[tuple[str, PublicKey]]:
    return [(kid, _import_certificate(pem, kid, place)) for kid, pem in rows.items()]


def _import_certificate(pem: object, kid: str, place: str) -> PublicKey:
    wrong = _wrong(place, kid, "an X.509 certificate in PEM with an RSA key")
    if not isinstance(pem, str):
        raise wrong
    try:
        certificate = load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
    except (ValueError, TypeError):
        raise wrong from None
    if not isinstance(key, RSAPublicKey):
        raise wrong
    return PublicKey(
        _bounded(key, kid, place),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
