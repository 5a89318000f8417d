"""What a caller asks to append; the log adds place, chain, epoch and commitment."""

from __future__ import annotations

import difflib
import hmac
import re

import attrs

from autonomics.errors import InvalidInput
from autonomics.receipts.leaf import KINDS, RecipeRef
from autonomics.receipts.verify import MAX_CAUSES

_ACTOR = re.compile(r"[ -~]{1,255}")
_PAYLOAD_TYPE = re.compile(r"[!-~]{1,127}")
_VERSION = re.compile(r"[!-~]{1,63}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Entry:
    """One receipt to be written.

    `cause` names earlier receipts by seq. A negative number counts back within the same append:
    -1 is the entry before this one, whose seq the caller can't know yet.
    `idem` is the raw idempotency key and `further_idem` are more keys that lead to this receipt;
    only keyed hashes of them are stored. `line_generation` is for an intent, which must have it.
    """

    kind: str
    actor: str
    payload: bytes
    payload_type: str
    cause: tuple[int, ...] = ()
    idem: str | None = None
    further_idem: tuple[str, ...] = ()
    recipe: RecipeRef | None = None
    digest: str | None = None
    trace: str | None = None
    ref: int | None = None
    line_generation: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.kind not in KINDS:
            close = difflib.get_close_matches(self.kind, KINDS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise InvalidInput.expected("kind", f"a known kind{hint}", self.kind)
        if self.kind in ("genesis", "epoch"):
            raise InvalidInput.expected("kind", "one that the log does not write itself", self.kind)
        _expect("actor", "1 to 255 printable ASCII characters", _ACTOR, self.actor)
        _expect("payload_type", "1 to 127 ASCII characters", _PAYLOAD_TYPE, self.payload_type)
        _expect("trace", "32 hex digits", _TRACE, self.trace)
        _expect("digest", "64 hex digits", _DIGEST, self.digest)
        if self.recipe is not None:
            _expect("recipe.id", "1 to 127 ASCII characters", _PAYLOAD_TYPE, self.recipe.id)
            _expect("recipe.version", "1 to 63 ASCII characters", _VERSION, self.recipe.version)
            _expect("recipe.digest", "64 hex digits", _DIGEST, self.recipe.digest)
        if len(self.cause) > MAX_CAUSES:
            raise InvalidInput.expected("cause", f"at most {MAX_CAUSES} receipts", self.cause)
        if (self.kind == "intent") != (self.line_generation is not None):
            raise InvalidInput.expected(
                "line_generation", "set for an intent and for nothing else", self.line_generation
            )
        if self.kind == "erasure" and self.ref is None:
            raise InvalidInput.expected("ref", "the receipt whose payload is erased", None)


def _expect(name: str, constraint: str, pattern: re.Pattern[str], value: str | None) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise InvalidInput.expected(name, constraint, value)


def hash_idem(idem_key: bytes, raw: str) -> str:
    """Hash an idempotency key under the deployment's secret, so that a leaf gives none away."""
    return hmac.digest(idem_key, raw.encode(), "sha256").hex()
