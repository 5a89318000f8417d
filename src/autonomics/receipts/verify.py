"""Verify Autonomics receipts offline: one file, nothing but Python's standard library.

    python verify.py PATH [--vkey VKEY ...] [--known-checkpoint FILE] [--json]

PATH is a bundle directory, a `.jsonl` file of receipts, or one tlog-proof. Keys and the known
checkpoint come from you and never from the bundle: what travels with the evidence proves nothing.

    exit  verdict
       0  witnessed    cosigned by a quorum of the witnesses that you named
      10  consistent   signed by your key, or equal to the checkpoint that you hold; no quorum
      20  unanchored   consistent with itself; you brought nothing that it could be held to
      30  diverged     valid, and contradicts the checkpoint that you hold
      40  invalid      the first bad sequence number (or the object) and why
      50  stale        the newest cosignature is older than your policy allows
       2  usage        a path, key or option that can't be used

No witness policy can be given yet, so 10 is the best verdict. How much was never recorded, nobody
can tell: the counts say how many receipts are present, erased and pruned, and nothing more.

Formats: RFC 6962 (tree), RFC 8785 in a restricted profile (leaf), RFC 8032 (Ed25519), and C2SP's
signed-note, tlog-checkpoint, tlog-tiles and tlog-proof.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

MAX_SAFE_INTEGER = 2**53 - 1
MAX_LEAF_BYTES = 8192
MAX_DEPTH = 64
MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 64
MAX_CAUSES = 64
TILE_WIDTH = 256
LEAF_SCHEMA = "autonomics.receipt/1"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"

WITNESSED, CONSISTENT, UNANCHORED, DIVERGED, INVALID, STALE, USAGE = 0, 10, 20, 30, 40, 50, 2
VERDICTS = {
    WITNESSED: "witnessed",
    CONSISTENT: "consistent",
    UNANCHORED: "unanchored",
    DIVERGED: "diverged",
    INVALID: "invalid",
    STALE: "stale",
    USAGE: "usage",
}


class Invalid(Exception):
    """Evidence breaks a rule; `seq` names the receipt where it can be located."""

    def __init__(self, reason: str, seq: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seq = seq


class Diverged(Exception):
    """Evidence is valid and contradicts what the caller holds."""


class Unusable(Exception):
    """What the caller brought (path, key, known checkpoint) can't be used."""


# Canonical JSON (RFC 8785 without floats). Keys, depth and size of a leaf are bound further down.

_encode_sorted = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_encode_ordered = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def canonical_bytes(value: object) -> bytes:
    """Encode as RFC 8785; Invalid for a float, a key that is no string, or an unsafe integer."""
    ascii_keys = _check_value(value, MAX_DEPTH)
    try:
        text = _encode_sorted(value) if ascii_keys else _encode_ordered(_in_utf16_order(value))
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid("a string holds a lone surrogate") from None


def _check_value(value: object, depth_left: int) -> bool:
    """Refuse what has no canonical form; True when all keys are ASCII (the usual, fast case)."""
    kind = type(value)  # exact: a subclass may encode as anything
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        if not -MAX_SAFE_INTEGER <= cast("int", value) <= MAX_SAFE_INTEGER:
            raise Invalid(f"integer {value!r:.40} is outside +-(2^53-1)")
        return True
    if depth_left == 0:
        raise Invalid(f"value is nested deeper than {MAX_DEPTH}")
    if kind is dict:
        ascii_keys = True
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str:
                raise Invalid(f"key {key!r:.40} is not a string")
            ascii_keys = _check_value(item, depth_left - 1) and ascii_keys and key.isascii()
        return ascii_keys
    if kind is list or kind is tuple:
        ascii_keys = True
        for item in cast("list[object]", value):
            ascii_keys = _check_value(item, depth_left - 1) and ascii_keys
        return ascii_keys
    raise Invalid(f"a {kind.__name__} has no canonical form")


def _in_utf16_order(value: object) -> object:
    """Sort keys by UTF-16 code units (RFC 8785 3.2.3); Python sorts by code points."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        ordered = sorted(items, key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        return {key: _in_utf16_order(item) for key, item in ordered}
    if isinstance(value, list | tuple):
        return [_in_utf16_order(item) for item in cast("list[object]", value)]
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid("a key stands twice in one object")
    return found


def _refuse_number(text: str) -> object:
    raise Invalid(f"number {text:.40} is not an integer")


def parse_json(data: bytes) -> Any:
    """Read JSON strictly: UTF-8, no duplicate key, no float."""
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_without_duplicates,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not readable as JSON: {error}") from None


def _parse_object(data: bytes) -> dict[str, Any]:
    value = parse_json(data)
    if not isinstance(value, dict):
        raise Invalid("not an object")
    return cast("dict[str, Any]", value)


def parse_canonical(data: bytes) -> Any:
    """Read bytes that must be exactly the canonical form of what they say."""
    value = parse_json(data)
    if canonical_bytes(value) != data:
        raise Invalid("not in canonical form")
    return value


# One leaf

_HEX32 = re.compile(r"[0-9a-f]{64}")
_PATTERNS: dict[str, re.Pattern[str]] = {
    "log": re.compile(r"[a-z0-9][a-z0-9._~:/-]{0,254}"),
    "prev": _HEX32,
    "ts": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII),
    "kind": re.compile(r"[a-z][a-z0-9_]{0,63}"),
    "actor": re.compile(r"[ -~]{1,255}"),
    "commit": _HEX32,
    "payload_type": re.compile(r"[!-~]{1,127}"),
    "idem": _HEX32,
    "digest": _HEX32,
    "trace": re.compile(r"[0-9a-f]{32}"),
}
_RECIPE_PATTERNS = {
    "id": re.compile(r"[!-~]{1,127}"),
    "version": re.compile(r"[!-~]{1,63}"),
    "digest": _HEX32,
}
REQUIRED_KEYS = frozenset(
    ("v", "log", "seq", "prev", "epoch", "ts", "kind", "actor", "cause", "commit", "payload_type")
)
OPTIONAL_KEYS = frozenset(("idem", "recipe", "digest", "trace", "ref"))


def parse_leaf(data: bytes) -> dict[str, Any]:
    """Read the stored bytes of one leaf (`autonomics.receipt/1`); an unknown `v` or key is Invalid.

    An optional key is left out where it has no value: null would be a second form of the same leaf.
    """
    if len(data) > MAX_LEAF_BYTES:
        raise Invalid(f"leaf has {len(data)} bytes, the limit is {MAX_LEAF_BYTES}")
    value = parse_canonical(data)
    if type(value) is not dict:
        raise Invalid("leaf is not an object")
    leaf = cast("dict[str, Any]", value)
    if leaf.get("v") != LEAF_SCHEMA:
        raise Invalid(f"unknown schema v={leaf.get('v')!r:.40}")
    if missing := REQUIRED_KEYS - leaf.keys():
        raise Invalid(f"leaf lacks {', '.join(sorted(missing))}")
    if unknown := leaf.keys() - REQUIRED_KEYS - OPTIONAL_KEYS:
        raise Invalid(f"leaf has unknown key {min(unknown)!r:.40}")
    for name, pattern in _PATTERNS.items():
        if name in leaf:
            _match(name, pattern, leaf[name])
    try:
        dt.datetime.fromisoformat(leaf["ts"])
    except ValueError:
        raise Invalid(f"ts {leaf['ts']!r} is no date") from None
    _check_numbers(leaf)
    if "recipe" in leaf:
        _check_recipe(leaf["recipe"])
    return leaf


def _match(name: str, pattern: re.Pattern[str], value: object) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Invalid(f"{name} is not well formed: {value!r:.80}")


def _check_numbers(leaf: dict[str, Any]) -> None:
    for name in ("seq", "epoch"):
        if type(leaf[name]) is not int or leaf[name] < 0:
            raise Invalid(f"{name} is not a natural number: {leaf[name]!r:.40}")
    seq: int = leaf["seq"]
    ref: object = leaf.get("ref", 0)
    if "ref" in leaf and not (type(ref) is int and 0 <= ref < seq):
        raise Invalid(f"ref does not name an earlier receipt: {ref!r:.40}")
    causes = leaf["cause"]
    if type(causes) is not list or len(cast("list[object]", causes)) > MAX_CAUSES:
        raise Invalid(f"cause is not a list of at most {MAX_CAUSES}")
    last = -1
    for cause in cast("list[object]", causes):
        if type(cause) is not int or not last < cause < seq:
            raise Invalid(f"cause does not name earlier receipts in order: {causes!r:.80}")
        last = cause


def _check_recipe(recipe: object) -> None:
    if type(recipe) is not dict or recipe.keys() != _RECIPE_PATTERNS.keys():
        raise Invalid("recipe is not {id, version, digest}")
    fields = cast("dict[str, object]", recipe)
    for name, pattern in _RECIPE_PATTERNS.items():
        _match(f"recipe.{name}", pattern, fields[name])


def genesis_prev(origin: str) -> bytes:
    """What stands in `prev` of a log's first leaf."""
    return hashlib.sha256(b"autonomics.genesis/1\n" + origin.encode()).digest()


def payload_commitment(salt: bytes, origin: str, seq: int, payload: bytes) -> bytes:
    """Bind stored payload bytes to their place; the salt makes a guess of the payload worthless."""
    context = b"autonomics.payload/1\n%b\n%d\n" % (origin.encode(), seq)
    return hmac.digest(salt, context + payload, "sha256")


# Merkle tree (RFC 6962 section 2; proofs checked as in RFC 9162 2.1.3.2 and 2.1.4.2)

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf; the first byte keeps leaves and nodes apart."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return hashlib.sha256(b"\1" + left + right).digest()


def fold_roots(subtrees: Sequence[bytes]) -> bytes:
    """Root of a tree from its perfect subtrees, largest first."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root


def push_leaf(size: int, subtrees: list[bytes], leaf: bytes) -> None:
    """Add one leaf hash to the perfect subtrees (largest first) of a tree with `size` leaves."""
    while size & 1:
        leaf = node_hash(subtrees.pop(), leaf)
        size >>= 1
    subtrees.append(leaf)


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Hold that `leaf` (its hash) stands at `index` of the tree of `size`; Invalid when not."""
    if not 0 <= index < size or len(leaf) != 32:
        raise Invalid(f"index {index} is outside the tree of size {size}")
    found, _ = _climb(index, size - 1, leaf, leaf, proof)
    if found != root:
        raise Invalid("inclusion proof does not lead to the root")


def check_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Hold that the tree (size2, root2) extends (size1, root1); Invalid when not, or size1 is 0."""
    if not 0 < size1 <= size2:
        raise Invalid(f"no consistency proof from size {size1} to size {size2}")
    if size1 == size2:
        if proof or root1 != root2:
            raise Invalid("trees of one size differ")
        return
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    if not path:
        raise Invalid("consistency proof is empty")
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position >>= 1
        last >>= 1
    new, old = _climb(position, last, path[0], path[0], path[1:])
    if old != root1 or new != root2:
        raise Invalid("consistency proof does not lead to both roots")


def _climb(
    position: int, last: int, new: bytes, old: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Hash up from `position` of a row that ends at `last`; `old` takes left siblings alone."""
    for sibling in proof:
        if last == 0 or len(sibling) != 32:
            raise Invalid("proof is too long or malformed")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise Invalid("proof is too short")
    return new, old


def tile_path(level: int | str, index: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile (`level` is "entries" for a bundle of leaves), as in C2SP tlog-tiles."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(parts)}{partial}"


def tile_spans(size: int) -> Iterable[tuple[int, int]]:
    """(index, width) of each tile of one level that holds `size` hashes."""
    for index in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
        yield index, min(TILE_WIDTH, size - index * TILE_WIDTH)


def next_tile_level(hashes: Sequence[bytes]) -> list[bytes]:
    """Hashes one tile level up: the roots of this level's full tiles."""
    roots: list[bytes] = []
    for start in range(0, len(hashes) - TILE_WIDTH + 1, TILE_WIDTH):
        row = list(hashes[start : start + TILE_WIDTH])
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        roots.append(row[0])
    return roots


def split_entries(bundle: bytes, width: int) -> list[bytes]:
    """Leaves of an entry bundle: a big-endian uint16 length before each."""
    leaves: list[bytes] = []
    offset = 0
    for _ in range(width):
        end = offset + 2 + int.from_bytes(bundle[offset : offset + 2], "big")
        if offset + 2 > len(bundle) or end > len(bundle):
            break
        leaves.append(bundle[offset + 2 : end])
        offset = end
    if len(leaves) != width or offset != len(bundle):
        raise Invalid("entry bundle is cut off or has trailing bytes", len(leaves))
    return leaves


# Ed25519 (RFC 8032): no secret is handled here, so time may depend on the input.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_IDENTITY: _Point = (0, 1, 1, 0)


def _add(a: _Point, b: _Point) -> _Point:
    e = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f = (a[1] + a[0]) * (b[1] + b[0]) % _P
    g = 2 * a[3] * b[3] * _D % _P
    h = 2 * a[2] * b[2] % _P
    x, y, z, t = f - e, h - g, h + g, f + e
    return x * y % _P, z * t % _P, y * z % _P, x * t % _P


def _decompress(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(x2, (_P + 3) // 8, _P)
    if (x * x - x2) % _P:
        x = x * _I % _P
    if (x * x - x2) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = cast("_Point", _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")))


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Check one signature, without the cofactor and with canonical S and R, as OpenSSL does."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = _decompress(public_key)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= _L:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(digest, "little") % _L
    minus_key: _Point = (-key[0] % _P, key[1], key[2], -key[3] % _P)
    both = _add(_BASE, minus_key)
    total = _IDENTITY
    for bit in range(max(s, k).bit_length() - 1, -1, -1):
        total = _add(total, total)
        match s >> bit & 1, k >> bit & 1:
            case 1, 1:
                total = _add(total, both)
            case 1, 0:
                total = _add(total, _BASE)
            case 0, 1:
                total = _add(total, minus_key)
            case _:
                pass
    return _compress(total) == signature[:32]


def is_low_order(public_key: bytes) -> bool:
    """True for a key under which one signature fits many messages, or which is no point."""
    point = _decompress(public_key)
    if point is None:
        return True
    for _ in range(3):
        point = _add(point, point)
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0


# Signed notes, keys and checkpoints (C2SP)


class Vkey(NamedTuple):
    """A verifier key; its name is the log's origin."""

    name: str
    key_id: bytes
    public_key: bytes


class NoteSignature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A signed note taken apart; nothing in it is trusted yet."""

    text: str
    signatures: tuple[NoteSignature, ...]


class TreeHead(NamedTuple):
    """What a checkpoint says."""

    origin: str
    size: int
    root: bytes


def decode_base64(text: str) -> bytes:
    """Decode standard base64 in its one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Invalid(f"not base64: {text!r:.80}") from None
    if base64.b64encode(data).decode() != text:
        raise Invalid(f"not canonical base64: {text!r:.80}")
    return data


def key_id(name: str, public_key: bytes) -> bytes:
    """First four bytes of the hash that C2SP signed-note recommends for an Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public_key).digest()[:4]


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def parse_vkey(text: str) -> Vkey:
    """Read `name+id+key`; Invalid for another key type, a wrong id or a key of low order."""
    name, _, rest = text.strip().partition("+")
    short, _, encoded = rest.partition("+")
    if not _is_key_name(name) or not re.fullmatch(r"[0-9a-f]{8}", short):
        raise Invalid(f"not a verifier key (name+id+key): {text!r:.80}")
    material = decode_base64(encoded)
    if len(material) != 33 or material[0] != 1:
        raise Invalid(f"not an Ed25519 key (type 0x01): {text!r:.80}")
    public_key = material[1:]
    if key_id(name, public_key).hex() != short:
        raise Invalid(f"key id does not belong to name and key: {text!r:.80}")
    if is_low_order(public_key):
        raise Invalid(f"key is of low order or no point of the curve: {text!r:.80}")
    return Vkey(name, bytes.fromhex(short), public_key)


def parse_note(data: bytes) -> Note:
    """Take a signed note apart, strictly; Invalid when any byte is out of place."""
    if len(data) > MAX_NOTE_BYTES:
        raise Invalid(f"note has {len(data)} bytes, the limit is {MAX_NOTE_BYTES}")
    try:
        content = data.decode()
    except UnicodeDecodeError:
        raise Invalid("note is not UTF-8") from None
    if any(c < " " and c != "\n" for c in content):
        raise Invalid("note holds a control character")
    body, separator, tail = content.rpartition("\n\n")
    if not separator or not body or not tail.endswith("\n"):
        raise Invalid("note has no signature block that ends in a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Invalid(f"note has more than {MAX_SIGNATURES} signatures")
    signatures = tuple(_parse_signature(line) for line in lines)
    if len({(s.name, s.key_id) for s in signatures}) != len(signatures):
        raise Invalid("note has two signatures of one key")
    return Note(body + "\n", signatures)


def _parse_signature(line: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "\N{EM DASH}" or not _is_key_name(name):
        raise Invalid(f"not a signature line: {line!r:.80}")
    material = decode_base64(encoded)
    if len(material) < 5:
        raise Invalid(f"signature is too short: {line!r:.80}")
    return NoteSignature(name, material[:4], material[4:])


def check_note(note: Note, vkeys: Iterable[Vkey]) -> Vkey:
    """Return the first of `vkeys` that signed; Invalid if none did or a known key's line is bad."""
    known = {(vkey.name, vkey.key_id): vkey for vkey in vkeys}
    signer: Vkey | None = None
    for line in note.signatures:
        vkey = known.get((line.name, line.key_id))
        if vkey is None:
            continue
        if not verify_ed25519(vkey.public_key, note.text.encode(), line.signature):
            raise Invalid(f"signature of {vkey.name} does not verify")
        signer = signer or vkey
    if signer is None:
        raise Invalid("no signature of a key that you brought")
    return signer


def parse_tree_head(text: str) -> TreeHead:
    """Read a checkpoint's note text: origin, size, root. Extension lines are refused."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise Invalid("checkpoint is not origin, size and root")
    origin, size, encoded, _ = lines
    if not _PATTERNS["log"].fullmatch(origin):
        raise Invalid(f"origin is not well formed: {origin!r:.80}")
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", size) or int(size) > MAX_SAFE_INTEGER:
        raise Invalid(f"size is not well formed: {size!r:.40}")
    root = decode_base64(encoded)
    if len(root) != 32:
        raise Invalid(f"root has {len(root)} bytes, not 32")
    return TreeHead(origin, int(size), root)


# Verdict


class Verdict(NamedTuple):
    """What can be said about the evidence; `code` is the exit code."""

    code: int
    reason: str
    seq: int | None = None
    origin: str | None = None
    size: int = 0
    present: int = 0
    erased: int = 0
    pruned: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The verdict's word."""
        return VERDICTS[self.code]


class Trust(NamedTuple):
    """What the caller brings; nothing of it comes from the evidence."""

    vkeys: tuple[Vkey, ...] = ()
    known: TreeHead | None = None


class _Tally:
    """Counts of one log while it is checked, so that a bad verdict can still say what was seen."""

    def __init__(self, origin: str | None = None, size: int = 0) -> None:
        self.origin = origin
        self.size = size
        self.present = 0
        self.erased = 0
        self.pruned = 0
        self.warnings: list[str] = []

    def verdict(self, code: int, reason: str, seq: int | None = None) -> Verdict:
        counts = (self.size, self.present, self.erased, self.pruned)
        return Verdict(code, reason, seq, self.origin, *counts, tuple(self.warnings))


# (salt, payload) of each receipt that still has them
Payloads = Mapping[int, tuple[bytes, bytes]]


class LogCheck:
    """Check the leaves of one log in order: form, place, chain and tree."""

    def __init__(self, origin: str, warnings: list[str]) -> None:
        self.origin = origin
        self.size = 0
        self.epoch = 0
        self.ts = ""
        self.subtrees: list[bytes] = []
        self.hashes: list[bytes] = []
        self.commits: dict[int, str] = {}
        self.erasures: dict[int, int] = {}
        self.warnings = warnings

    def skip(self, hashed: bytes) -> None:
        """Take the hash of a leaf that was pruned."""
        push_leaf(self.size, self.subtrees, hashed)
        self.hashes.append(hashed)
        self.size += 1

    def take(self, data: bytes) -> dict[str, Any]:
        """Check the next leaf; Invalid names its seq, or the one before if that was changed."""
        seq = self.size
        try:
            leaf = parse_leaf(data)
        except Invalid as error:
            raise Invalid(error.reason, seq) from None
        self._check_place(leaf, seq)
        self._note_clock(leaf, seq)
        self.epoch = leaf["epoch"]
        self.commits[seq] = leaf["commit"]
        if leaf["kind"] == "erasure" and "ref" in leaf:
            self.erasures.setdefault(leaf["ref"], seq)
        self.skip(leaf_hash(data))
        return leaf

    def _check_place(self, leaf: dict[str, Any], seq: int) -> None:
        if leaf["log"] != self.origin:
            raise Invalid(f"belongs to log {leaf['log']}", seq)
        if leaf["seq"] != seq:
            raise Invalid(f"says seq {leaf['seq']}, stands at {seq}", seq)
        expected = self.hashes[-1] if seq else genesis_prev(leaf["log"])
        self._check_prev(bytes.fromhex(leaf["prev"]), expected, seq)
        if (leaf["kind"] == "genesis") != (seq == 0):
            raise Invalid("a log's first leaf, and no other, is genesis", seq)
        if leaf["epoch"] < self.epoch:
            raise Invalid(f"epoch goes back from {self.epoch} to {leaf['epoch']}", seq)

    def _check_prev(self, found: bytes, expected: bytes, seq: int) -> None:
        if found == expected:
            return
        # A changed leaf changes half of all bits of its hash; damage to `prev` itself is small.
        distance = (int.from_bytes(found, "big") ^ int.from_bytes(expected, "big")).bit_count()
        if distance <= 32 or seq == 0:
            raise Invalid("prev is not the hash of the leaf before", seq)
        raise Invalid(f"was changed: prev of receipt {seq} does not match it", seq - 1)

    def _note_clock(self, leaf: dict[str, Any], seq: int) -> None:
        if leaf["ts"] < self.ts and leaf["epoch"] == self.epoch:
            self.warnings.append(f"clock went back at seq {seq}")
        self.ts = leaf["ts"]

    def root_at(self, size: int) -> bytes:
        """Root of the first `size` leaves."""
        subtrees: list[bytes] = []
        for index in range(size):
            push_leaf(index, subtrees, self.hashes[index])
        return fold_roots(subtrees)

    def check_payload(self, seq: int, salt: bytes, payload: bytes) -> None:
        """Hold a payload to the commitment in its leaf."""
        commitment = payload_commitment(salt, self.origin, seq, payload).hex()
        if len(salt) != 32 or commitment != self.commits[seq]:
            raise Invalid("payload does not match its commitment", seq)

    def check_payloads(self, payloads: Payloads, tally: _Tally) -> None:
        """Check all payloads; one may be missing only where an erasure receipt says so."""
        if stray := [seq for seq in payloads if seq not in self.commits]:
            raise Invalid("payload belongs to no receipt that is present", min(stray))
        for seq in self.commits:
            if seq not in payloads:
                if seq not in self.erasures:
                    raise Invalid("payload is missing and no erasure receipt says why", seq)
                tally.erased += 1
                continue
            self.check_payload(seq, *payloads[seq])
            tally.present += 1
            if seq in self.erasures:
                self.warnings.append(f"payload of seq {seq} is still there after its erasure")


def check_known(log: LogCheck, known: TreeHead) -> None:
    """Hold the log to the checkpoint that the caller holds; Diverged when they contradict."""
    if known.size > log.size:
        raise Diverged(f"you hold a checkpoint of size {known.size}, this shows only {log.size}")
    if log.root_at(known.size) != known.root:
        raise Diverged(f"root at size {known.size} differs from the checkpoint that you hold")


def _judge(tally: _Tally, log: LogCheck, trust: Trust, *, is_signed: bool) -> Verdict:
    if trust.known is not None:
        try:
            check_known(log, trust.known)
        except Diverged as error:
            return tally.verdict(DIVERGED, str(error))
    if is_signed:
        return tally.verdict(CONSISTENT, "signed by a key that you brought; no witness policy")
    if trust.known is not None and trust.known.size == log.size:
        return tally.verdict(CONSISTENT, "equal to the checkpoint that you hold; no witness policy")
    if trust.known is not None:
        return tally.verdict(
            UNANCHORED, f"only the first {trust.known.size} receipts are covered by a checkpoint"
        )
    if trust.vkeys:
        return tally.verdict(UNANCHORED, "there is no checkpoint that a key could be held to")
    return tally.verdict(UNANCHORED, "you brought no key and no checkpoint")


# A bundle: checkpoint, tiles, entries, payloads. The manifest is an index for people; not read.


def verify_bundle(read: Callable[[str], bytes | None], trust: Trust) -> Verdict:
    """Check a whole log; `read` gives a file's bytes by its relative path, None if absent."""
    tally = _Tally()
    try:
        data = read("checkpoint")
        if data is None:
            raise Invalid("checkpoint is missing")
        head, is_signed = _open_checkpoint(data, trust)
        tally.origin, tally.size = head.origin, head.size
        if head.size == 0:
            raise Invalid("checkpoint has size 0, and no log is empty")
        log = LogCheck(head.origin, tally.warnings)
        _take_leaves(read, log, head, tally)
        _check_tiles(read, log)
        log.check_payloads(_read_payloads(read("payloads.jsonl") or b""), tally)
    except Invalid as error:
        return tally.verdict(INVALID, error.reason, error.seq)
    return _judge(tally, log, trust, is_signed=is_signed)


def _open_checkpoint(data: bytes, trust: Trust) -> tuple[TreeHead, bool]:
    try:
        note = parse_note(data)
        head = parse_tree_head(note.text)
        if trust.known is not None and trust.known.origin != head.origin:
            raise Invalid(f"is of log {head.origin}, you hold one of {trust.known.origin}")
        if not trust.vkeys:
            return head, False
        signer = check_note(note, trust.vkeys)
        if signer.name != head.origin:
            raise Invalid(f"is of log {head.origin}, signed as {signer.name}")
    except Invalid as error:
        raise Invalid(f"checkpoint: {error.reason}") from None
    return head, True


def _take_leaves(
    read: Callable[[str], bytes | None], log: LogCheck, head: TreeHead, tally: _Tally
) -> None:
    tiles = [_read_tile(read, index, width) for index, width in tile_spans(head.size)]
    hashes = [hashed for tile in tiles for hashed in tile]
    subtrees: list[bytes] = []
    for index, hashed in enumerate(hashes):
        push_leaf(index, subtrees, hashed)
    # Tiles that lead to the signed root say which leaf is the changed one.
    tiles_hold = fold_roots(subtrees) == head.root
    for index, width in tile_spans(head.size):
        start = index * TILE_WIDTH
        bundle = read(tile_path("entries", index, width))
        if bundle is None:
            if log.size != tally.pruned or width != TILE_WIDTH:
                raise Invalid(f"{tile_path('entries', index, width)} is missing", start)
            for hashed in tiles[index]:
                log.skip(hashed)
            tally.pruned = log.size
            continue
        _take_bundle(log, bundle, start, hashes[start : start + width], tiles_hold=tiles_hold)
    if log.hashes != hashes:
        raise Invalid("tile/0 does not hold the hashes of the leaves")
    if fold_roots(log.subtrees) != head.root:
        raise Invalid("the leaves do not lead to the root of the checkpoint")


def _take_bundle(
    log: LogCheck, bundle: bytes, start: int, hashes: list[bytes], *, tiles_hold: bool
) -> None:
    broken: Invalid | None = None
    try:
        leaves = split_entries(bundle, len(hashes))
    except Invalid as error:
        broken = Invalid(error.reason, start + (error.seq or 0))
        leaves = split_entries_loosely(bundle, len(hashes))
    for offset, leaf in enumerate(leaves):
        if tiles_hold and leaf_hash(leaf) != hashes[offset]:
            try:
                parse_leaf(leaf)
            except Invalid as error:
                raise Invalid(error.reason, start + offset) from None
            raise Invalid("was changed: its hash is not the one in the tree", start + offset)
        log.take(leaf)
    if broken is not None:
        raise broken


def split_entries_loosely(bundle: bytes, width: int) -> list[bytes]:
    """Leaves as far as the bundle can be read, to name the first bad one."""
    leaves: list[bytes] = []
    offset = 0
    while len(leaves) < width and offset + 2 <= len(bundle):
        end = offset + 2 + int.from_bytes(bundle[offset : offset + 2], "big")
        if end > len(bundle):
            break
        leaves.append(bundle[offset + 2 : end])
        offset = end
    return leaves


def _read_tile(read: Callable[[str], bytes | None], index: int, width: int) -> list[bytes]:
    path = tile_path(0, index, width)
    data = read(path)
    if data is None:
        raise Invalid(f"{path} is missing")
    if len(data) != 32 * width:
        raise Invalid(f"{path} has {len(data)} bytes, not {32 * width}")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def _check_tiles(read: Callable[[str], bytes | None], log: LogCheck) -> None:
    level, hashes = 1, next_tile_level(log.hashes)
    while hashes:
        for index, width in tile_spans(len(hashes)):
            path = tile_path(level, index, width)
            start = index * TILE_WIDTH
            if read(path) != b"".join(hashes[start : start + width]):
                raise Invalid(f"{path} is missing or does not hold the hashes below it")
        level, hashes = level + 1, next_tile_level(hashes)


def _read_payloads(data: bytes) -> Payloads:
    payloads: dict[int, tuple[bytes, bytes]] = {}
    for number, line in enumerate(split_lines(data), 1):
        try:
            record = _parse_object(line)
            seq: object = record.pop("seq", None)
            if type(seq) is not int or seq < 0:
                raise Invalid("no seq")
            disclosed = parse_disclosure(record)
        except Invalid as error:
            raise Invalid(f"payloads.jsonl line {number}: {error.reason}") from None
        if seq in payloads:
            raise Invalid(f"payloads.jsonl line {number}: payload stands twice", seq)
        if disclosed is not None:
            payloads[seq] = disclosed
    return payloads


def split_lines(data: bytes) -> list[bytes]:
    """Lines that end in a newline and nothing else; none in an empty file."""
    return data.removesuffix(b"\n").split(b"\n") if data else []


def parse_disclosure(record: dict[str, Any]) -> tuple[bytes, bytes] | None:
    """(salt, payload) of {"salt", "payload"} (text) or {"salt", "payload_base64"}; None if null."""
    if record.keys() not in ({"salt", "payload"}, {"salt", "payload_base64"}):
        raise Invalid("expected the keys salt and payload or payload_base64")
    salt = record["salt"]
    content = record.get("payload", record.get("payload_base64"))
    if salt is None and content is None:
        return None
    if not isinstance(salt, str) or not _HEX32.fullmatch(salt) or not isinstance(content, str):
        raise Invalid("salt is not 64 hex digits, or payload is no string")
    if "payload_base64" in record:
        return bytes.fromhex(salt), decode_base64(content)
    try:
        return bytes.fromhex(salt), content.encode()
    except UnicodeEncodeError:
        raise Invalid("payload holds a lone surrogate") from None


# A file of receipts, one a line, of one log or of several


def verify_lines(lines: Iterable[bytes], trust: Trust) -> list[Verdict]:
    """Check receipts line by line; one verdict per log, in the order of their first receipts."""
    logs: dict[str, tuple[LogCheck, dict[int, tuple[bytes, bytes]]]] = {}
    bad: dict[str, Invalid] = {}
    for number, line in enumerate(lines, 1):
        try:
            leaf, disclosed = _parse_line(line)
        except Invalid as error:
            reason = f"line {number}: {error.reason}"
            return [Verdict(INVALID, reason, _guess_seq(logs))]
        origin = _peek_origin(leaf)
        if origin is None:
            reason = f"line {number}: leaf names no log"
            return [Verdict(INVALID, reason, _guess_seq(logs))]
        log, payloads = logs.setdefault(origin, (LogCheck(origin, []), {}))
        if origin in bad:
            continue
        try:
            taken = log.take(leaf)
        except Invalid as error:
            bad[origin] = error
        else:
            if disclosed is not None:
                payloads[taken["seq"]] = disclosed
    if not logs:
        return [Verdict(INVALID, "there is no receipt in it")]
    return [
        _judge_lines(log, payloads, bad.get(origin), trust)
        for origin, (log, payloads) in logs.items()
    ]


def _guess_seq(logs: Mapping[str, tuple[LogCheck, object]]) -> int | None:
    """Seq of an unreadable line: only a file of one log tells."""
    return next(iter(logs.values()))[0].size if len(logs) == 1 else None if logs else 0


def _parse_line(line: bytes) -> tuple[bytes, tuple[bytes, bytes] | None]:
    record = _parse_object(line)
    leaf: object = record.pop("leaf", None)
    if not isinstance(leaf, str):
        raise Invalid("no leaf")
    try:
        return leaf.encode(), parse_disclosure(record)
    except UnicodeEncodeError:
        raise Invalid("leaf holds a lone surrogate") from None


def _peek_origin(leaf: bytes) -> str | None:
    try:
        origin: object = _parse_object(leaf).get("log")
    except Invalid:
        return None
    return origin if isinstance(origin, str) else None


def _judge_lines(
    log: LogCheck, payloads: dict[int, tuple[bytes, bytes]], bad: Invalid | None, trust: Trust
) -> Verdict:
    tally = _Tally(log.origin, log.size)
    tally.warnings = log.warnings
    if bad is not None:
        return tally.verdict(INVALID, bad.reason, bad.seq)
    try:
        log.check_payloads(payloads, tally)
    except Invalid as error:
        return tally.verdict(INVALID, error.reason, error.seq)
    known = trust.known if trust.known and trust.known.origin == log.origin else None
    return _judge(tally, log, trust._replace(known=known), is_signed=False)


# One receipt with its proof


class Proof(NamedTuple):
    """A C2SP tlog-proof taken apart."""

    seq: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None


def parse_proof(data: bytes) -> Proof:
    """Read a C2SP tlog-proof strictly."""
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError:
        raise Invalid("proof is not UTF-8") from None
    if not separator or lines.pop(0) != PROOF_HEADER:
        raise Invalid("not a tlog-proof")
    extra = decode_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    found = re.fullmatch(r"index (0|[1-9][0-9]{0,15})", lines.pop(0) if lines else "")
    if not found:
        raise Invalid("proof has no index")
    if len(lines) > 63:
        raise Invalid("proof is too long")
    hashes = tuple(decode_base64(line) for line in lines)
    if any(len(item) != 32 for item in hashes):
        raise Invalid("a hash of the proof has not 32 bytes")
    return Proof(int(found[1]), hashes, checkpoint, extra)


def verify_proof(data: bytes, trust: Trust) -> Verdict:
    """Check one receipt: its leaf is in `extra`, as in a line of a receipts file."""
    tally = _Tally()
    seq: int | None = None
    try:
        proof = parse_proof(data)
        seq = proof.seq
        head, is_signed = _open_checkpoint(proof.checkpoint, trust)
        tally.origin, tally.size = head.origin, head.size
        if proof.extra is None:
            raise Invalid("proof carries no receipt", seq)
        leaf_bytes, disclosed = _parse_line(proof.extra)
        leaf = parse_leaf(leaf_bytes)
        if leaf["log"] != head.origin or leaf["seq"] != seq:
            raise Invalid(f"is receipt {leaf['seq']} of {leaf['log']}", seq)
        check_inclusion(leaf_hash(leaf_bytes), seq, head.size, proof.hashes, head.root)
        if disclosed is not None:
            commitment = payload_commitment(disclosed[0], head.origin, seq, disclosed[1])
            if commitment.hex() != leaf["commit"]:
                raise Invalid("payload does not match its commitment", seq)
            tally.present = 1
        else:
            tally.warnings.append("payload is not part of the proof")
    except Invalid as error:
        return tally.verdict(INVALID, error.reason, error.seq if error.seq is not None else seq)
    return _judge_proof(tally, head, trust, is_signed=is_signed)


def _judge_proof(tally: _Tally, head: TreeHead, trust: Trust, *, is_signed: bool) -> Verdict:
    known = trust.known
    if known is not None and known.size == head.size:
        if known.root != head.root:
            reason = f"root at size {known.size} differs from the checkpoint that you hold"
            return tally.verdict(DIVERGED, reason)
        is_signed = True
    elif known is not None:
        tally.warnings.append(
            f"your checkpoint is of size {known.size}: one proof can't be held to it"
        )
    if is_signed:
        return tally.verdict(CONSISTENT, "in a tree that you trust; no witness policy")
    return tally.verdict(UNANCHORED, "you brought no key and no checkpoint of its size")


# The command


def verify_path(path: Path, trust: Trust) -> list[Verdict]:
    """Check what stands at `path`; Unusable when it can't be read."""
    try:
        if path.is_dir():
            return [verify_bundle(lambda name: _read_file(path, name), trust)]
        data = path.read_bytes()
    except OSError as error:
        raise Unusable(f"can't read {path}: {error.strerror}") from None
    if data.startswith(b"c2sp.org/tlog-proof"):
        return [verify_proof(data, trust)]
    return verify_lines(split_lines(data), trust)


def _read_file(folder: Path, name: str) -> bytes | None:
    # The verifier names the files, never the bundle, so no name can lead out; a link still could.
    file = folder
    for part in name.split("/"):
        file /= part
        if file.is_symlink():
            raise Invalid(f"{name} is a link")
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def gather_trust(vkeys: Iterable[str], known: bytes | None) -> Trust:
    """Read what the caller brings; Unusable names what is wrong with it."""
    try:
        keys = tuple(parse_vkey(text) for text in vkeys)
    except Invalid as error:
        raise Unusable(error.reason) from None
    if known is None:
        return Trust(keys)
    try:
        note = parse_note(known)
        head = parse_tree_head(note.text)
        if keys:
            check_note(note, keys)
    except Invalid as error:
        raise Unusable(f"known checkpoint: {error.reason}") from None
    return Trust(keys, head)


def describe_verdict(verdict: Verdict) -> str:
    """Say a verdict in a few lines."""
    where = "" if verdict.seq is None else f" at seq {verdict.seq}"
    lines = [f"{verdict.name} ({verdict.code}){where}: {verdict.reason}"]
    if verdict.origin is not None:
        counts = f"present {verdict.present}, erased {verdict.erased}, pruned {verdict.pruned}"
        lines.append(f"  log {verdict.origin}, size {verdict.size}; {counts}")
    lines.extend(f"  warning: {warning}" for warning in verdict.warnings)
    return "\n".join(lines)


def worst_code(verdicts: Iterable[Verdict]) -> int:
    """Exit code of several logs: that of the worst."""
    return max(verdict.code for verdict in verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify Autonomics receipts offline."
    )
    parser.add_argument("path", type=Path, help="bundle directory, receipts .jsonl, or tlog-proof")
    parser.add_argument("--vkey", action="append", default=[], help="a log's verifier key")
    parser.add_argument("--known-checkpoint", type=Path, help="a checkpoint that you kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object per log")
    options = parser.parse_args(arguments)
    try:
        known = options.known_checkpoint.read_bytes() if options.known_checkpoint else None
        verdicts = verify_path(options.path, gather_trust(options.vkey, known))
    except (Unusable, OSError) as error:
        sys.stderr.write(f"verify: {error}\n")
        return USAGE
    for verdict in verdicts:
        shown = json.dumps({"verdict": verdict.name, **verdict._asdict()})
        sys.stdout.write(f"{shown if options.json else describe_verdict(verdict)}\n")
    return worst_code(verdicts)


if __name__ == "__main__":
    sys.exit(main())
