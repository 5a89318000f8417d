"""Verify Autonomics receipts offline: one file, nothing but Python's standard library.

    python verify.py PATH [--vkey KEY[:SIZE] ...] [--policy FILE] [--max-age AGE]
                          [--known-checkpoint FILE ...] [--at TIME] [--json]

PATH is a bundle (a folder, a .zip or a .tar), a `.jsonl` file of receipts, or one tlog-proof. Keys,
policy and known checkpoints come from you and never from the bundle: what travels with the evidence
proves nothing.

    exit  verdict
       0  witnessed    cosigned by a quorum of the witnesses that you named
      10  consistent   signed by your key, or equal to the checkpoint that you hold; no quorum
      20  unanchored   consistent with itself; you brought nothing that it could be held to
      30  diverged     valid, and contradicts a checkpoint that you hold
      40  invalid      the first bad sequence number (or the object) and why
      50  stale        a quorum cosigned, longer ago than you allow
       2  usage        a path, key, policy or option that can't be used

How much was never recorded, nobody can tell: the counts say how many receipts are present, erased
and pruned, and nothing more.

Formats: RFC 6962 (tree), RFC 8785 in a restricted profile (leaf), RFC 8032 (Ed25519), and C2SP's
signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-tiles and tlog-proof.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import hmac
import json
import re
import stat
import sys
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

MAX_SAFE_INTEGER = 2**53 - 1
MAX_LEAF_BYTES = 8192
MAX_DEPTH = 64
MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 64
MAX_CAUSES = 64
MAX_LINE_BYTES = 1 << 25
TILE_WIDTH = 256
CLOCK_SKEW_S = 300
LEAF_SCHEMA = "autonomics.receipt/1"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
ED25519, COSIGNATURE = 0x01, 0x04  # C2SP signature types: of a log, of a witness

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
_BEST_FIRST = (WITNESSED, CONSISTENT, UNANCHORED, STALE, DIVERGED, INVALID)


class Invalid(Exception):
    """Evidence breaks a rule; `seq` names the receipt where it can be located."""

    def __init__(self, reason: str, seq: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seq = seq


class Diverged(Exception):
    """Evidence is valid and contradicts what the caller holds."""


class Unusable(Exception):
    """What the caller brought (path, key, policy, known checkpoint) can't be used."""


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


_decode = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
).decode


def parse_json(data: bytes) -> Any:
    """Read JSON strictly: UTF-8, no duplicate key, no float."""
    try:
        return _decode(data.decode())
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
    leaf = _parse_object(data)
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
    # All that is in it was looked at: ASCII strings and small integers, which need no second look.
    if _encode_sorted(leaf).encode() != data:
        raise Invalid("not in canonical form")
    return leaf


def _match(name: str, pattern: re.Pattern[str], value: object) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Invalid(f"{name} is not well formed: {value!r:.80}")


def _check_numbers(leaf: dict[str, Any]) -> None:
    for name in ("seq", "epoch"):
        if type(leaf[name]) is not int or not 0 <= leaf[name] <= MAX_SAFE_INTEGER:
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
    """A verifier key; a log's is named by its origin. `until`: the last tree size it may sign."""

    name: str
    key_id: bytes
    public_key: bytes
    until: int | None = None


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


def key_id(name: str, public_key: bytes, kind: int = ED25519) -> bytes:
    """First four bytes of the hash that C2SP signed-note recommends for an Ed25519 key."""
    return hashlib.sha256(b"%b\n%c%b" % (name.encode(), kind, public_key)).digest()[:4]


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def parse_vkey(text: str, kind: int = ED25519) -> Vkey:
    """Read `name+id+key`; Invalid for a key of another kind, a wrong id or a key of low order."""
    name, _, rest = text.strip().partition("+")
    short, _, encoded = rest.partition("+")
    if not _is_key_name(name) or not re.fullmatch(r"[0-9a-f]{8}", short):
        raise Invalid(f"not a verifier key (name+id+key): {text!r:.80}")
    material = decode_base64(encoded)
    if len(material) != 33 or material[0] != kind:
        what = "a log" if kind == ED25519 else "a witness"
        raise Invalid(f"not an Ed25519 key of {what} (type {kind:#04x}): {text!r:.80}")
    public_key = material[1:]
    if key_id(name, public_key, kind).hex() != short:
        raise Invalid(f"key id does not belong to name and key: {text!r:.80}")
    if is_low_order(public_key):
        raise Invalid(f"key is of low order or no point of the curve: {text!r:.80}")
    return Vkey(name, bytes.fromhex(short), public_key)


def parse_limited_vkey(text: str) -> Vkey:
    """Read `name+id+key`, or `name+id+key:size` for a key that signs up to that tree size only."""
    found = re.fullmatch(r"(.+):([0-9]{1,16})", text.strip())
    return parse_vkey(found[1])._replace(until=int(found[2])) if found else parse_vkey(text)


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


def check_note(note: Note, vkeys: Iterable[Vkey]) -> list[Vkey]:
    """Return those of `vkeys` that signed; Invalid if none did or a known key's line is bad."""
    known = {(vkey.name, vkey.key_id): vkey for vkey in vkeys}
    signers: list[Vkey] = []
    for line in note.signatures:
        vkey = known.get((line.name, line.key_id))
        if vkey is None:
            continue
        if not verify_ed25519(vkey.public_key, note.text.encode(), line.signature):
            raise Invalid(f"signature of {vkey.name} does not verify")
        signers.append(vkey)
    if not signers:
        raise Invalid("no signature of a key that you brought")
    return signers


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


# Witnesses: policies (C2SP tlog-policy) and cosignatures (C2SP tlog-cosignature, Ed25519)


class Witness(NamedTuple):
    """A witness by its name in a policy; its key has a name of its own."""

    name: str
    vkey: Vkey
    url: str | None = None


class Policy(NamedTuple):
    """Which logs count, and which witnesses must have cosigned.

    A group holds how many of its members it takes, and their names, defined before it.
    """

    logs: tuple[Vkey, ...]
    witnesses: tuple[Witness, ...]
    groups: Mapping[str, tuple[int, tuple[str, ...]]]
    quorum: str

    def is_met(self, cosigners: Iterable[str]) -> bool:
        """True when these witnesses make up the quorum."""
        met = {"none", *cosigners}
        for name, (least, members) in self.groups.items():
            if sum(member in met for member in members) >= least:
                met.add(name)
        return self.quorum in met


class _PolicyReader:
    def __init__(self) -> None:
        self.logs: list[Vkey] = []
        self.witnesses: list[Witness] = []
        self.groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.quorum: str | None = None
        self._names: set[str] = set()
        self._grouped: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._add_log(parse_vkey(vkey))
            case ["witness", name, vkey]:
                self._add_witness(Witness(name, parse_vkey(vkey, COSIGNATURE)))
            case ["witness", name, vkey, url]:
                self._add_witness(Witness(name, parse_vkey(vkey, COSIGNATURE), url))
            case ["group", name, least, *members] if members:
                self._add_group(name, least, members)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise Invalid("a second quorum")
                if name != "none":
                    self._expect_defined(name)
                self.quorum = name
            case _:
                raise Invalid(f"no log, witness, group or quorum: {' '.join(words)!a:.80}")

    def _add_log(self, vkey: Vkey) -> None:
        if any(vkey.public_key == other.public_key for other in self.logs):
            raise Invalid(f"the key of log {vkey.name} stands twice")
        self.logs.append(vkey)

    def _add_witness(self, witness: Witness) -> None:
        key = witness.vkey.public_key
        if any(key == other.vkey.public_key for other in self.witnesses):
            raise Invalid(f"the key of witness {witness.name!a} stands twice")
        self._define(witness.name)
        self.witnesses.append(witness)

    def _add_group(self, name: str, least: str, members: list[str]) -> None:
        for member in members:
            self._expect_defined(member)
            if member in self._grouped:
                raise Invalid(f"{member!a} is a member twice")
            self._grouped.add(member)
        self._define(name)
        words = {"any": 1, "all": len(members)}
        count = words.get(least, int(least) if re.fullmatch("[1-9][0-9]{0,5}", least) else 0)
        if not 1 <= count <= len(members):
            raise Invalid(f"not any, all or 1 to {len(members)}: {least!a:.40}")
        self.groups[name] = (count, tuple(members))

    def _define(self, name: str) -> None:
        if name == "none" or name in self._names:
            raise Invalid(f"the name {name!a:.80} is taken")
        self._names.add(name)

    def _expect_defined(self, name: str) -> None:
        if name not in self._names:
            raise Invalid(f"{name!a:.80} is not defined above")


def parse_policy(data: bytes) -> Policy:
    """Read a tlog-policy; Invalid names the line. Witnesses must have Ed25519 keys (type 0x04)."""
    if len(data) > MAX_NOTE_BYTES:
        raise Invalid(f"has more than {MAX_NOTE_BYTES} bytes")
    if re.search(rb"[^\t\n -~\x80-\xff]", data):
        raise Invalid("holds a control character")
    if not data.endswith(b"\n"):  # a file that was cut off must not ask for less
        raise Invalid("last line does not end in a newline")
    reader = _PolicyReader()
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        try:
            # Names are opaque bytes, which this keeps apart whatever they are.
            reader.take([word.decode(errors="surrogateescape") for word in words])
        except (Invalid, UnicodeEncodeError) as error:
            raise Invalid(f"line {number}: {error}") from None
    if reader.quorum is None:
        raise Invalid("has no quorum")
    return Policy(tuple(reader.logs), tuple(reader.witnesses), reader.groups, reader.quorum)


def cosigned_message(text: str, at: int) -> bytes:
    """What a witness signs: the note's text at a POSIX time."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def check_cosignatures(note: Note, witnesses: Iterable[Witness]) -> dict[str, int]:
    """POSIX time at which each witness cosigned; Invalid for a bad line of a known one."""
    known = {(witness.vkey.name, witness.vkey.key_id): witness for witness in witnesses}
    times: dict[str, int] = {}
    for line in note.signatures:
        witness = known.get((line.name, line.key_id))
        if witness is None:
            continue
        at = int.from_bytes(line.signature[:8], "big")
        message, signature = cosigned_message(note.text, at), line.signature[8:]
        if at >= 1 << 63 or not verify_ed25519(witness.vkey.public_key, message, signature):
            raise Invalid(f"cosignature of {witness.name!a} does not verify")
        times[witness.name] = at
    return times


# Verdict


class Verdict(NamedTuple):
    """What can be said about the evidence; `code` is the exit code.

    `evidence` holds the two checkpoints that contradict each other, for whoever is to be told.
    """

    code: int
    reason: str
    seq: int | None = None
    origin: str | None = None
    size: int = 0
    present: int = 0
    erased: int = 0
    pruned: int = 0
    warnings: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The verdict's word."""
        return VERDICTS[self.code]


class Sighting(NamedTuple):
    """A checkpoint that was seen: what it says, who signed, and when each witness cosigned."""

    head: TreeHead
    content: str
    is_signed: bool
    times: Mapping[str, int]


class Trust(NamedTuple):
    """What the caller brings; nothing of it comes from the evidence.

    `now` is in POSIX seconds: a cosignature from later does not count. `max_age_s` bounds the age
    of the cosignatures that make up the quorum.
    """

    vkeys: tuple[Vkey, ...] = ()
    held: tuple[Sighting, ...] = ()
    policy: Policy | None = None
    now: float = 0
    max_age_s: float | None = None

    def held_of(self, origin: str) -> list[Sighting]:
        """Return the checkpoints of one log."""
        return [held for held in self.held if held.head.origin == origin]


class _Counts:
    """Payloads that are there and that were erased, and leaves that were pruned."""

    def __init__(self) -> None:
        self.present = 0
        self.erased = 0
        self.pruned = 0


class _Tally:
    """What was seen of one log so far, so that a bad verdict can still say it."""

    def __init__(self, origin: str | None = None) -> None:
        self.origin = origin
        self.size = 0
        self.counts = _Counts()
        self.warnings: list[str] = []

    def verdict(
        self, code: int, reason: str, seq: int | None = None, evidence: tuple[str, ...] = ()
    ) -> Verdict:
        found = self.counts
        counts = (self.size, found.present, found.erased, found.pruned)
        return Verdict(code, reason, seq, self.origin, *counts, tuple(self.warnings), evidence)


# (salt, payload) of a receipt that still has them
Disclosed = tuple[bytes, bytes]


class LogCheck:
    """Check the leaves of one log in order: form, place, chain, tree and payload.

    Memory grows with the logarithm of the size, and with the number of payloads that are gone.
    `roots` will hold the roots at `root_sizes`.
    """

    def __init__(self, origin: str, warnings: list[str], root_sizes: Iterable[int] = ()) -> None:
        self.size = 0
        self.counts = _Counts()
        self.subtrees: list[bytes] = []
        self.roots = {0: EMPTY_ROOT}
        self._origin = origin
        self._warnings = warnings
        self._root_sizes = frozenset(root_sizes)
        self._last = genesis_prev(origin)
        self._commit = ""
        self._epoch = 0
        self._ts = ""
        self._missing: set[int] = set()
        self._erasures: set[int] = set()

    @property
    def head(self) -> TreeHead:
        """What a checkpoint of the leaves so far would say."""
        return TreeHead(self._origin, self.size, fold_roots(self.subtrees))

    def skip(self, hashed: bytes) -> None:
        """Take the hash of a leaf that was pruned."""
        push_leaf(self.size, self.subtrees, hashed)
        self._last = hashed
        self.size += 1
        if self.size in self._root_sizes:
            self.roots[self.size] = fold_roots(self.subtrees)

    def take(self, data: bytes, hashed: bytes | None = None) -> None:
        """Check the next leaf; Invalid names its seq, or the one before if that was changed.

        `hashed` spares the work where the leaf's hash is known.
        """
        seq = self.size
        try:
            leaf = parse_leaf(data)
        except Invalid as error:
            raise Invalid(error.reason, seq) from None
        self._check_place(leaf, seq)
        self._note_clock(leaf, seq)
        self._epoch = leaf["epoch"]
        self._commit = leaf["commit"]
        self._missing.add(seq)
        if leaf["kind"] == "erasure" and "ref" in leaf:
            self._take_erasure(leaf["ref"])
        self.skip(leaf_hash(data) if hashed is None else hashed)

    def _check_place(self, leaf: dict[str, Any], seq: int) -> None:
        if leaf["log"] != self._origin:
            raise Invalid(f"belongs to log {leaf['log']}", seq)
        if leaf["seq"] != seq:
            raise Invalid(f"says seq {leaf['seq']}, stands at {seq}", seq)
        self._check_prev(bytes.fromhex(leaf["prev"]), seq)
        if (leaf["kind"] == "genesis") != (seq == 0):
            raise Invalid("a log's first leaf, and no other, is genesis", seq)
        if leaf["epoch"] < self._epoch:
            raise Invalid(f"epoch goes back from {self._epoch} to {leaf['epoch']}", seq)

    def _check_prev(self, found: bytes, seq: int) -> None:
        if found == self._last:
            return
        # A changed leaf changes half of all bits of its hash; damage to `prev` itself is small.
        distance = (int.from_bytes(found, "big") ^ int.from_bytes(self._last, "big")).bit_count()
        if distance <= 32 or seq == 0:
            raise Invalid("prev is not the hash of the leaf before", seq)
        raise Invalid(f"was changed: prev of receipt {seq} does not match it", seq - 1)

    def _note_clock(self, leaf: dict[str, Any], seq: int) -> None:
        if leaf["ts"] < self._ts and leaf["epoch"] == self._epoch:
            self._warnings.append(f"clock went back at seq {seq}")
        self._ts = leaf["ts"]

    def _take_erasure(self, ref: int) -> None:
        if ref in self._erasures:
            return
        self._erasures.add(ref)
        if ref in self._missing:
            self._missing.remove(ref)
            self.counts.erased += 1
        elif ref >= self.counts.pruned:
            self._warnings.append(f"payload of seq {ref} is still there after its erasure")

    def check_payload(self, seq: int, salt: bytes, payload: bytes) -> None:
        """Hold a payload to the commitment in its leaf, which is the last that was taken."""
        assert seq == self.size - 1
        check_payload(self._origin, seq, self._commit, salt, payload)
        self._missing.remove(seq)
        self.counts.present += 1

    def root_at(self, size: int) -> bytes:
        """Root at one of the sizes that were asked for, or of all leaves so far."""
        return fold_roots(self.subtrees) if size == self.size else self.roots[size]

    def finish(self) -> None:
        """Hold that a payload is missing only where an erasure receipt says so."""
        if self._missing:
            reason = "payload is missing and no erasure receipt says why"
            raise Invalid(reason, min(self._missing))


def check_payload(origin: str, seq: int, commit: str, salt: bytes, payload: bytes) -> None:
    """Hold a payload to its commitment; a shorter salt could be the same key of the HMAC."""
    if len(salt) != 32 or payload_commitment(salt, origin, seq, payload).hex() != commit:
        raise Invalid("payload does not match its commitment", seq)


def _open_checkpoint(data: bytes, trust: Trust, warnings: list[str]) -> Sighting:
    try:
        note = parse_note(data)
        head = parse_tree_head(note.text)
        if trust.held and not trust.held_of(head.origin):
            others = ", ".join(sorted({held.head.origin for held in trust.held}))
            raise Invalid(f"is of log {head.origin}, you hold one of {others}")
        if trust.vkeys:
            _check_signers(check_note(note, trust.vkeys), head, warnings)
        times = check_cosignatures(note, trust.policy.witnesses) if trust.policy else {}
    except Invalid as error:
        raise Invalid(f"checkpoint: {error.reason}") from None
    return Sighting(head, data.decode(), bool(trust.vkeys), times)


def _check_signers(signers: list[Vkey], head: TreeHead, warnings: list[str]) -> None:
    own = [vkey for vkey in signers if vkey.name == head.origin]
    if not own:
        raise Invalid(f"is of log {head.origin}, signed as {signers[0].name}")
    late = [vkey for vkey in own if vkey.until is not None and head.size > vkey.until]
    if late:
        reason = f"key {late[0].key_id.hex()} signed size {head.size}, beyond its {late[0].until}"
        if len(late) == len(own):
            raise Invalid(reason)
        warnings.append(reason)


def _judge(
    tally: _Tally,
    trust: Trust,
    head: TreeHead,
    seen: Sighting | None,
    roots: Mapping[int, bytes] | None,
) -> Verdict:
    """Say what valid evidence is worth to the caller.

    `roots` are those of a whole log at the sizes that the caller holds; None for one proof, which
    says nothing about other sizes than its own.
    """
    held = trust.held_of(head.origin)
    for item in held:
        size = item.head.size
        if roots is None and size != head.size:
            warning = f"your checkpoint is of size {size}: one proof can't be held to it"
            tally.warnings.append(warning)
        elif size > head.size:
            reason = f"you hold a checkpoint of size {size}, this shows only {head.size}"
            return tally.verdict(DIVERGED, reason, evidence=_list_evidence(item, seen))
        elif (head.root if roots is None else roots[size]) != item.head.root:
            reason = f"root at size {size} differs from the checkpoint that you hold"
            reason += _describe_fork(item, seen)
            return tally.verdict(DIVERGED, reason, evidence=_list_evidence(item, seen))
    equal = [item for item in held if item.head == head]
    if (seen is None or not seen.is_signed) and not equal:
        return tally.verdict(UNANCHORED, _describe_lack(trust, held, seen, is_proof=roots is None))
    code, reason = _weigh([*equal, *([] if seen is None else [seen])], trust, tally.warnings)
    if roots is None:
        basis = "in a tree that you trust"
    elif seen is not None and seen.is_signed:
        basis = "signed by a key that you brought"
    else:
        basis = "equal to the checkpoint that you hold"
    return tally.verdict(code, f"{basis}; {reason}")


def _list_evidence(held: Sighting, seen: Sighting | None) -> tuple[str, ...]:
    return (held.content,) if seen is None else (held.content, seen.content)


def _describe_fork(held: Sighting, seen: Sighting | None) -> str:
    if seen is None or not (held.is_signed and seen.is_signed):
        return ""
    both = sorted(held.times.keys() & seen.times.keys())
    witnesses = f", and {_join(both)} cosigned both" if both else ""
    return f": equivocation, its key signed both{witnesses}"


def _describe_lack(
    trust: Trust, held: list[Sighting], seen: Sighting | None, *, is_proof: bool
) -> str:
    if is_proof:
        return "you brought no key and no checkpoint of its size"
    if held:
        size = max(item.head.size for item in held)
        return f"only the first {size} receipts are covered by a checkpoint"
    if trust.vkeys and seen is None:
        return "there is no checkpoint that a key could be held to"
    return "you brought no key and no checkpoint"


def _weigh(sightings: list[Sighting], trust: Trust, warnings: list[str]) -> tuple[int, str]:
    """Hold the cosignatures of one tree, wherever they were seen, to the caller's policy."""
    policy = trust.policy
    if policy is None:
        return CONSISTENT, "no witness policy"
    if policy.quorum == "none":
        return CONSISTENT, "your policy asks for no witness"
    times: dict[str, int] = {}
    for name, at in (pair for sighting in sightings for pair in sighting.times.items()):
        if at == 0 or at > trust.now + CLOCK_SKEW_S:
            when = "has no time" if at == 0 else f"is from the future ({_format_time(at)})"
            warnings.append(f"cosignature of {_join([name])} {when} and does not count")
        else:
            times[name] = max(at, times.get(name, 0))
    quorum = _join([policy.quorum])
    if not policy.is_met(times):
        who = f"by {_join(sorted(times))} alone" if times else "by no witness of yours"
        return CONSISTENT, f"cosigned {who}, below the quorum {quorum}"
    newest = f"the newest at {_format_time(max(times.values()))}"
    if trust.max_age_s is not None:
        oldest_allowed = trust.now - trust.max_age_s
        if not policy.is_met(name for name, at in times.items() if at >= oldest_allowed):
            limit = f"the last {trust.max_age_s:g} s"
            return STALE, f"the quorum {quorum} did not cosign within {limit}, {newest}"
    return WITNESSED, f"cosigned by {_join(sorted(times))}, {newest}: the quorum {quorum}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(name.encode(errors="replace").decode() for name in names)


def _format_time(at: int) -> str:
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at} s"


# A bundle: checkpoint, tiles, entries, payloads. The manifest is an index for people; not read.

Read = Callable[[str], bytes | None]


def verify_bundle(
    read: Read, trust: Trust, payload_lines: Iterable[bytes] | None = None
) -> Verdict:
    """Check a whole log; `read` gives a file's bytes by its relative path, None if absent.

    `payload_lines` are those of `payloads.jsonl`, for whoever does not want to hold them at once.
    """
    tally = _Tally()
    try:
        data = read("checkpoint")
        if data is None:
            raise Invalid("checkpoint is missing")
        seen = _open_checkpoint(data, trust, tally.warnings)
        head = seen.head
        tally.origin, tally.size = head.origin, head.size
        if head.size == 0:
            raise Invalid("checkpoint has size 0, and no log is empty")
        if payload_lines is None:
            payload_lines = split_lines(read("payloads.jsonl") or b"")
        held_sizes = [held.head.size for held in trust.held_of(head.origin)]
        log = LogCheck(head.origin, tally.warnings, held_sizes)
        tally.counts = log.counts
        _take_leaves(read, log, head, _Payloads(payload_lines))
    except Invalid as error:
        return tally.verdict(INVALID, error.reason, error.seq)
    return _judge(tally, trust, head, seen, log.roots)


class _Payloads:
    """The payloads of a bundle, taken in the order of their receipts."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._records = _read_payloads(lines)
        self._next = next(self._records, None)

    def take(self, seq: int) -> Disclosed | None:
        if self._next is None or self._next[0] > seq:
            return None
        found, disclosed = self._next
        if found < seq:
            raise Invalid("payload belongs to no receipt that is present", found)
        self._next = next(self._records, None)
        return disclosed

    def finish(self) -> None:
        if self._next is not None:
            raise Invalid("payload belongs to no receipt that is present", self._next[0])


def _read_payloads(lines: Iterable[bytes]) -> Iterator[tuple[int, Disclosed | None]]:
    last = -1
    for number, line in enumerate(lines, 1):
        try:
            record = _parse_object(line)
            seq: object = record.pop("seq", None)
            if type(seq) is not int or seq < 0:
                raise Invalid("no seq")
            disclosed = parse_disclosure(record)
        except Invalid as error:
            raise Invalid(f"payloads.jsonl line {number}: {error.reason}") from None
        if seq <= last:
            raise Invalid(f"payloads.jsonl line {number}: payload stands twice or too late", seq)
        last = seq
        yield seq, disclosed


def _take_leaves(read: Read, log: LogCheck, head: TreeHead, payloads: _Payloads) -> None:
    tiles = _TileCheck(read)
    for index, width in tile_spans(head.size):
        tiles.take(_read_tile(read, index, width))
    tiles.finish()
    # Tiles that lead to the signed root say which leaf is the changed one.
    tiles_hold = fold_roots(tiles.subtrees) == head.root
    differ = False
    for index, width in tile_spans(head.size):
        start = index * TILE_WIDTH
        hashes = _read_tile(read, index, width)
        bundle = read(tile_path("entries", index, width))
        if bundle is None:
            if log.size != log.counts.pruned or width != TILE_WIDTH:
                raise Invalid(f"{tile_path('entries', index, width)} is missing", start)
            for hashed in hashes:
                log.skip(hashed)
            log.counts.pruned = log.size
            continue
        differ |= _take_bundle(log, bundle, start, hashes, payloads, tiles_hold=tiles_hold)
    if differ:
        raise Invalid("tile/0 does not hold the hashes of the leaves")
    if log.head.root != head.root:
        raise Invalid("the leaves do not lead to the root of the checkpoint")
    if tiles.problem is not None:
        raise tiles.problem
    payloads.finish()
    log.finish()


def _take_bundle(
    log: LogCheck,
    bundle: bytes,
    start: int,
    hashes: list[bytes],
    payloads: _Payloads,
    *,
    tiles_hold: bool,
) -> bool:
    """Take the leaves of one bundle; True when their hashes are not those of the tile."""
    broken: Invalid | None = None
    try:
        leaves = split_entries(bundle, len(hashes))
    except Invalid as error:
        broken = Invalid(error.reason, start + (error.seq or 0))
        leaves = split_entries_loosely(bundle, len(hashes))
    differ = False
    for offset, leaf in enumerate(leaves):
        hashed = leaf_hash(leaf)
        if hashed != hashes[offset]:
            differ = True
            if tiles_hold:
                raise _tell_change(leaf, start + offset)
        log.take(leaf, hashed)
        disclosed = payloads.take(start + offset)
        if disclosed is not None:
            log.check_payload(start + offset, *disclosed)
    if broken is not None:
        raise broken
    return differ


def _tell_change(leaf: bytes, seq: int) -> Invalid:
    try:
        parse_leaf(leaf)
    except Invalid as error:
        return Invalid(error.reason, seq)
    return Invalid("was changed: its hash is not the one in the tree", seq)


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


def _read_tile(read: Read, index: int, width: int) -> list[bytes]:
    path = tile_path(0, index, width)
    data = read(path)
    if data is None:
        raise Invalid(f"{path} is missing")
    if len(data) != 32 * width:
        raise Invalid(f"{path} has {len(data)} bytes, not {32 * width}")
    return [data[at : at + 32] for at in range(0, len(data), 32)]


class _TileCheck:
    """Hold the tiles above level 0 to the ones below, with one unfinished row per level."""

    def __init__(self, read: Read) -> None:
        self.subtrees: list[bytes] = []
        self.problem: Invalid | None = None
        self._read = read
        self._size = 0
        self._rows: list[list[bytes]] = []
        self._full: list[int] = []

    def take(self, tile: list[bytes]) -> None:
        for hashed in tile:
            push_leaf(self._size, self.subtrees, hashed)
            self._size += 1
        self._push(0, next_tile_level(tile))

    def _push(self, row: int, roots: list[bytes]) -> None:
        if not roots:
            return
        if row == len(self._rows):
            self._rows.append([])
            self._full.append(0)
        self._rows[row].extend(roots)
        if len(self._rows[row]) == TILE_WIDTH:
            self._check(row)
            self._full[row] += 1
            above = next_tile_level(self._rows[row])
            self._rows[row] = []
            self._push(row + 1, above)

    def finish(self) -> None:
        for row, hashes in enumerate(self._rows):
            if hashes:
                self._check(row)

    def _check(self, row: int) -> None:
        hashes = self._rows[row]
        path = tile_path(row + 1, self._full[row], len(hashes))
        if self.problem is None and self._read(path) != b"".join(hashes):
            self.problem = Invalid(f"{path} is missing or does not hold the hashes below it")


def split_lines(data: bytes) -> list[bytes]:
    """Lines that end in a newline and nothing else; none in an empty file."""
    return data.removesuffix(b"\n").split(b"\n") if data else []


def parse_disclosure(record: dict[str, Any]) -> Disclosed | None:
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


class _LineLog:
    """One log of a file of lines, up to its first bad receipt."""

    def __init__(self, origin: str, trust: Trust) -> None:
        self.tally = _Tally(origin)
        held_sizes = [held.head.size for held in trust.held_of(origin)]
        self.check = LogCheck(origin, self.tally.warnings, held_sizes)
        self.tally.counts = self.check.counts
        self.bad: Invalid | None = None

    def take(self, leaf: bytes, disclosed: Disclosed | None) -> None:
        if self.bad is None:
            try:
                self.check.take(leaf)
                if disclosed is not None:
                    self.check.check_payload(self.check.size - 1, *disclosed)
            except Invalid as error:
                self.bad = error

    def judge(self, trust: Trust) -> Verdict:
        self.tally.size = self.check.size
        try:
            if self.bad is not None:
                raise self.bad
            self.check.finish()
        except Invalid as error:
            return self.tally.verdict(INVALID, error.reason, error.seq)
        return _judge(self.tally, trust, self.check.head, None, self.check.roots)


def verify_lines(lines: Iterable[bytes], trust: Trust) -> list[Verdict]:
    """Check receipts line by line; one verdict per log, in the order of their first receipts."""
    logs: dict[str, _LineLog] = {}
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007 - told when a line is bad
            leaf, disclosed = _parse_line(line)
            origin = _peek_origin(leaf)
            if origin not in logs:
                logs[origin] = _LineLog(origin, trust)
            logs[origin].take(leaf, disclosed)
    except Invalid as error:
        return [Verdict(INVALID, f"line {number}: {error.reason}", _guess_seq(logs))]
    if not logs:
        return [Verdict(INVALID, "there is no receipt in it")]
    return [log.judge(trust) for log in logs.values()]


def _guess_seq(logs: Mapping[str, _LineLog]) -> int | None:
    """Seq of an unreadable line: only a file of one log tells."""
    return next(iter(logs.values())).check.size if len(logs) == 1 else None if logs else 0


def _parse_line(line: bytes) -> tuple[bytes, Disclosed | None]:
    record = _parse_object(line)
    leaf: object = record.pop("leaf", None)
    if not isinstance(leaf, str):
        raise Invalid("no leaf")
    try:
        return leaf.encode(), parse_disclosure(record)
    except UnicodeEncodeError:
        raise Invalid("leaf holds a lone surrogate") from None


def _peek_origin(leaf: bytes) -> str:
    try:
        origin: object = _parse_object(leaf).get("log")
    except Invalid:
        origin = None
    if not isinstance(origin, str):
        raise Invalid("leaf names no log")
    return origin


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
        seen = _open_checkpoint(proof.checkpoint, trust, tally.warnings)
        head = seen.head
        tally.origin, tally.size = head.origin, head.size
        if proof.extra is None:
            raise Invalid("proof carries no receipt", seq)
        leaf_bytes, disclosed = _parse_line(proof.extra)
        leaf = parse_leaf(leaf_bytes)
        if leaf["log"] != head.origin or leaf["seq"] != seq:
            raise Invalid(f"is receipt {leaf['seq']} of {leaf['log']}", seq)
        check_inclusion(leaf_hash(leaf_bytes), seq, head.size, proof.hashes, head.root)
        if disclosed is not None:
            check_payload(head.origin, seq, leaf["commit"], *disclosed)
            tally.counts.present = 1
        else:
            tally.warnings.append("payload is not part of the proof")
    except Invalid as error:
        return tally.verdict(INVALID, error.reason, error.seq if error.seq is not None else seq)
    return _judge(tally, trust, head, seen, None)


# Files. What a stranger packed is refused where it could mislead or flood whoever reads it.

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)
Open = Callable[[str], IO[bytes] | None]


def verify_path(path: Path, trust: Trust) -> list[Verdict]:
    """Check what stands at `path`; Unusable when it can't be read."""
    try:
        if path.is_dir():
            return [_verify_files(partial(_open_in_folder, path), trust)]
        with path.open("rb") as file:
            start = file.peek(512)
            if start.startswith(b"c2sp.org/tlog-proof"):
                return [verify_proof(file.read(MAX_LINE_BYTES), trust)]
            if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                return [_verify_archive(_open_zip, file, trust)]
            if start[257:262] == b"ustar":
                return [_verify_archive(_open_tar, file, trust)]
            return verify_lines(read_lines(file), trust)
    except OSError as error:
        raise Unusable(f"can't read {path}: {error.strerror or error}") from None


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines without their newlines; Invalid for one that is too long to be a receipt's."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise Invalid(f"a line has more than {MAX_LINE_BYTES} bytes")
        yield line.removesuffix(b"\n")


def _verify_files(open_: Open, trust: Trust) -> Verdict:
    def read(name: str) -> bytes | None:
        file = open_(name)
        if file is None:
            return None
        limit = _limit_of(name)
        with file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Invalid(f"{name} has more than {limit} bytes")
        return data

    def read_payload_lines() -> Iterator[bytes]:
        file = open_("payloads.jsonl")
        if file is not None:
            with file:
                yield from read_lines(file)

    return verify_bundle(read, trust, read_payload_lines())


def _limit_of(name: str) -> int:
    if name == "checkpoint":
        return MAX_NOTE_BYTES
    return TILE_WIDTH * (2 + MAX_LEAF_BYTES if name.startswith("tile/entries/") else 32)


def _open_in_folder(folder: Path, name: str) -> IO[bytes] | None:
    # The verifier names the files, never the bundle, so no name can lead out; a link still could.
    file = folder
    for part in name.split("/"):
        file /= part
        if file.is_symlink():
            raise Invalid(f"{name} is a link")
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait for ever
            raise Invalid(f"{name} is no plain file")
        return file.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _verify_archive(
    open_archive: Callable[[IO[bytes]], Open], file: IO[bytes], trust: Trust
) -> Verdict:
    try:
        return _verify_files(open_archive(file), trust)
    except Invalid as error:
        return Verdict(INVALID, error.reason)
    except _BROKEN as error:
        return Verdict(INVALID, f"the archive can't be read: {error}")


def _open_zip(file: IO[bytes]) -> Open:
    archive = zipfile.ZipFile(file)
    names = _Names()
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = names.take(info.orig_filename)
        if info.is_dir():
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_plain = kind in (0, stat.S_IFREG) and not info.flag_bits & 1
        if not is_plain or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Invalid(f"{name!a:.80} is a link, encrypted or packed in a strange way")
        members[name] = info
    prefix = _find_prefix(members)

    def open_(name: str) -> IO[bytes] | None:
        info = members.get(prefix + name)
        return None if info is None else archive.open(info)

    return open_


def _open_tar(file: IO[bytes]) -> Open:
    archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - read until the end
    names = _Names()
    members: dict[str, tarfile.TarInfo] = {}
    for info in archive:
        name = names.take(info.name)
        if info.isdir():
            continue
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise Invalid(f"{name!a:.80} is a link or no plain file")
        members[name] = info
    prefix = _find_prefix(members)

    def open_(name: str) -> IO[bytes] | None:
        info = members.get(prefix + name)
        return None if info is None else archive.extractfile(info)

    return open_


class _Names:
    """The names in an archive; one that leads out, or that some disk takes for another, is bad."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def take(self, name: str) -> str:
        plain = name.removeprefix("./").removesuffix("/")
        parts = plain.split("/")
        if plain not in ("", ".") and (
            any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\x00-\x1f]", plain)
        ):
            raise Invalid(f"{name!a:.80} is no name of a file in a bundle")
        folded = unicodedata.normalize("NFC", plain).casefold()
        if folded in self._seen:
            raise Invalid(f"{name!a:.80} stands twice in the archive")
        self._seen.add(folded)
        return plain


def _find_prefix(members: Mapping[str, object]) -> str:
    """The folder that was packed as a whole, with a slash; empty where its content was."""
    found = [name for name in members if re.fullmatch("([^/]+/)?checkpoint", name)]
    return found[0].removesuffix("checkpoint") if len(found) == 1 else ""


# What the caller brings


def gather_trust(
    vkeys: Iterable[str],
    known: Iterable[bytes] | None = None,
    *,
    policy: bytes | None = None,
    now: float = 0,
    max_age_s: float | None = None,
) -> Trust:
    """Read keys, checkpoints and policy of the caller; Unusable names what is wrong with them."""
    try:
        keys = [parse_limited_vkey(text) for text in vkeys]
    except Invalid as error:
        raise Unusable(error.reason) from None
    rules = None
    if policy is not None:
        try:
            rules = parse_policy(policy)
        except Invalid as error:
            raise Unusable(f"policy: {error.reason}") from None
        keys += [log for log in rules.logs if all(log[:3] != key[:3] for key in keys)]
        if not keys:
            raise Unusable("policy: it names no log, and you brought no key")
    if max_age_s is not None and (rules is None or rules.quorum == "none"):
        raise Unusable("an age of cosignatures can be bounded with a quorum of witnesses only")
    trust = Trust(tuple(keys), (), rules, now, max_age_s)
    held: list[Sighting] = []
    for data in known or ():
        try:
            held.append(_open_checkpoint(data, trust, []))
        except Invalid as error:
            raise Unusable(f"known {error.reason}") from None
    return trust._replace(held=tuple(held))


def parse_age(text: str) -> int:
    """Read seconds of `90s`, `15m`, `24h` or `7d`."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not found:
        raise ValueError(f"expected an age such as 90s, 15m, 24h or 7d, got {text!r}")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def parse_moment(text: str) -> float:
    """Read the POSIX time of an RFC 3339 text."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with its zone, got {text!r}")
    return moment.timestamp()


# The command


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the path and what a caller can bring to it."""
    take = parser.add_argument
    take(
        "path",
        type=Path,
        metavar="PATH",
        help="a bundle (folder, .zip or .tar), receipts as .jsonl, or a proof",
    )
    take(
        "--vkey",
        action="append",
        default=[],
        metavar="KEY[:SIZE]",
        help="a log's verifier key, and the last tree size that it may sign; repeats",
    )
    take("--policy", type=Path, metavar="FILE", help="the logs and witnesses that you trust")
    take(
        "--max-age",
        type=_argument(parse_age),
        metavar="AGE",
        help="how old a quorum's cosignatures may be: 90s, 15m, 24h or 7d",
    )
    take(
        "--known-checkpoint",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a checkpoint that you kept; repeats",
    )
    take(
        "--at",
        type=_argument(parse_moment),
        metavar="TIME",
        help="judge as of this time (RFC 3339) instead of now",
    )


def _argument(parse: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def run_verify(options: argparse.Namespace) -> list[Verdict]:
    """Verify what the options name; Unusable when it can't be read or used."""
    try:
        known = [path.read_bytes() for path in options.known_checkpoint]
        policy = None if options.policy is None else options.policy.read_bytes()
    except OSError as error:
        raise Unusable(f"can't read {error.filename}: {error.strerror}") from None
    trust = gather_trust(
        options.vkey,
        known,
        policy=policy,
        now=time.time() if options.at is None else options.at,
        max_age_s=options.max_age,
    )
    return verify_path(options.path, trust)


def describe_verdict(verdict: Verdict) -> str:
    """Say a verdict in a few lines."""
    where = "" if verdict.seq is None else f" at seq {verdict.seq}"
    lines = [f"{verdict.name} ({verdict.code}){where}: {verdict.reason}"]
    if verdict.origin is not None:
        counts = f"present {verdict.present}, erased {verdict.erased}, pruned {verdict.pruned}"
        lines.append(f"  log {verdict.origin}, size {verdict.size}; {counts}")
    lines.extend(f"  warning: {warning}" for warning in verdict.warnings)
    for title, note in zip(("you hold", "this shows"), verdict.evidence, strict=False):
        lines.append(f"  {title}:")
        lines.extend(f"    {line}".rstrip() for line in note.rstrip("\n").split("\n"))
    return "\n".join(lines)


def worst_code(verdicts: Iterable[Verdict]) -> int:
    """Exit code of several logs: that of the worst."""
    return max((verdict.code for verdict in verdicts), key=_BEST_FIRST.index)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify Autonomics receipts offline."
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per log")
    options = parser.parse_args(arguments)
    try:
        verdicts = run_verify(options)
    except Unusable as error:
        sys.stderr.write(f"verify: {error}\n")
        return USAGE
    for verdict in verdicts:
        shown = json.dumps({"verdict": verdict.name, **verdict._asdict()})
        sys.stdout.write(f"{shown if options.json else describe_verdict(verdict)}\n")
    return worst_code(verdicts)


if __name__ == "__main__":
    sys.exit(main())
