"""Attacks on evidence: what a forger does to an exported log, and what each caller then hears.

A forger owns the files; some rows also own the signing key, never a witness's. A caller brings
nothing, the log's key, a checkpoint kept from earlier, or a policy of witnesses with freshness;
each of the last two includes what stands before it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

import attrs

from autonomics.receipts import canonical, tiles, verify
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.proof import format_proof
from autonomics.testing.store_contract import IDEM_KEY, NOW, count_salts_from

from .evidence import (
    ACME,
    HOUR,
    OWNER,
    THIEF,
    TODAY,
    WITNESSES,
    ZETA,
    Bundle,
    Key,
    bundle_of,
    checkpoint_of,
    cosign,
    flip,
    policy_of,
    trust,
    witness_name,
)

LEVELS: Final = ("nothing", "the key", "a kept checkpoint", "witnesses and freshness")
INTACT: Final = (20, 10, 10, 0)
KINDS: Final = ("received", "decided", "outcome", "verified", "gate", "usage")


@attrs.frozen
class Case:
    """Evidence as a caller gets it: a bundle, or one proof."""

    bundle: Bundle = attrs.field(factory=dict[str, bytes])
    proof: bytes | None = None
    vkey: str = OWNER.vkey()
    kept: bytes | None = None
    seq: int | None = None

    def judge(self, level: int, kept: bytes) -> verify.Verdict:
        held = [kept if self.kept is None else self.kept] if level >= 2 else []
        given = trust(
            *held,
            vkeys=[self.vkey] if level >= 1 else [],
            policy=policy_of() if level == 3 else None,
            max_age_s=HOUR if level == 3 else None,
        )
        if self.proof is not None:
            return verify.verify_proof(self.proof, given)
        return verify.verify_bundle(self.bundle.get, given)


class World:
    """A random log with restarts and authorised erasures, exported and cosigned just now."""

    def __init__(self, seed: int, origin: str = ACME) -> None:
        self.rng = rng = Random(seed)
        self.origin = origin
        size = rng.choice([*range(10, 40), *range(254, 260)])
        self.free: list[int] = []
        while len(self.free) < 6:  # a log may be all restarts and erasures
            self.receipts = self._append_all(size)
            self.free = self._erase_some()
        # Both sides of the kept checkpoint have two receipts that no erasure speaks of.
        self.kept_size = rng.randint(self.free[2], self.free[-2])
        self.kept = checkpoint_of(self.receipts[: self.kept_size])
        self.cosigners = rng.sample(sorted(WITNESSES), 2)
        signed = checkpoint_of(self.receipts)
        self.note = cosign(signed, *self.cosigners, at=TODAY - rng.randrange(HOUR))
        self.signed = signed
        self.bundle = bundle_of(self.receipts, self.note)

    @property
    def size(self) -> int:
        return len(self.receipts)

    def _append_all(self, size: int) -> list[Receipt]:
        rng, head, receipts = self.rng, LogHead.empty(self.origin), list[Receipt]()
        salts = count_salts_from(rng.randrange(1 << 30))
        epoch = 1
        while len(receipts) < size:
            count = rng.randint(1, size - len(receipts))
            entries = [self._entry(len(receipts)) for _ in range(count)]
            head, made = append(head, entries, NOW, salts, IDEM_KEY, epoch=epoch)
            receipts += made
            epoch += rng.randint(0, 2)
        return receipts

    def _entry(self, known: int) -> Entry:
        rng = self.rng
        cause = tuple(sorted(rng.sample(range(known), min(known, rng.randint(0, 2)))))
        payload = rng.choice([rng.randbytes(rng.randint(0, 40)), f"naïve {rng.random()}".encode()])
        return Entry(
            kind=rng.choice(KINDS),
            actor=f"tenants/{rng.choice('abc')}",
            payload=payload,
            payload_type="test/1",
            cause=cause,
            idem=rng.choice([None, str(rng.random())]),
        )

    def _erase_some(self) -> list[int]:
        """Turn some receipts into erasures of earlier ones; return who has no part in it."""
        rng = self.rng
        taken = {r.seq for r in self.receipts if r.fields.kind in ("genesis", "epoch")}
        items = [Item.of(receipt) for receipt in self.receipts]
        for _ in range(rng.randint(0, 2)):
            pair = sorted(rng.sample(range(1, len(items)), 2))
            if taken.isdisjoint(pair):
                target, by = pair
                taken.update(pair)
                items[by].fields.update(kind="erasure", ref=target)
        self._unerased = relink(items)
        self.receipts = self.at_size(len(items))
        return [seq for seq in range(len(items)) if seq not in taken]

    def pick(self, side: str = "") -> int:
        """Choose a free receipt: before the kept checkpoint's size (`early`), or after (`late`)."""
        early = [seq for seq in self.free if seq < self.kept_size]
        late = [seq for seq in self.free if seq >= self.kept_size]
        return self.rng.choice({"early": early, "late": late}.get(side, self.free))

    def at_size(self, size: int) -> list[Receipt]:
        """Return the log as it was at a size: what was erased later was still there."""
        log = self._unerased[:size]
        erased = {receipt.fields.ref for receipt in log} - {None}
        return [attrs.evolve(r, salt=None, payload=None) if r.seq in erased else r for r in log]

    def items(self) -> list[Item]:
        return [Item.of(receipt) for receipt in self.receipts]

    def hashes(self) -> list[bytes]:
        return [receipt.leaf_hash for receipt in self.receipts]

    def proof(self, seq: int) -> bytes:
        return format_proof(self.receipts[seq], self.hashes(), self.note)


@attrs.frozen
class Item:
    """A receipt taken apart, so that a forger can change it; `was` is its seq in the real log."""

    fields: dict[str, Any]
    salt: bytes | None
    payload: bytes | None
    was: int

    @classmethod
    def of(cls, receipt: Receipt) -> Item:
        fields = json.loads(receipt.leaf)
        return cls(fields, receipt.salt, receipt.payload, receipt.seq)

    def copy(self) -> Item:
        return attrs.evolve(self, fields=dict(self.fields))

    def leaf(self) -> bytes:
        """Return the leaf as it is, but for the commitment to a payload that was changed."""
        return canonical.encode({**self.fields, "commit": self.commit(self.fields["seq"])})

    def commit(self, seq: int) -> str:
        if self.salt is None or self.payload is None:
            return str(self.fields["commit"])
        origin = self.fields["log"]
        return verify.payload_commitment(self.salt, origin, seq, self.payload).hex()


def relink(items: Sequence[Item]) -> list[Receipt]:
    """Make a log of changed receipts that only its root tells from a real one.

    Numbers, links, references, epochs and commitments are all made to fit.
    """
    moved = {item.was: seq for seq, item in enumerate(items)}
    made: list[Receipt] = []
    prev, epoch = verify.genesis_prev(items[0].fields["log"]), 0
    for seq, item in enumerate(items):
        fields = dict(item.fields)
        origin = fields["log"]
        epoch = max(epoch, fields["epoch"])
        fields.update(seq=seq, prev=prev.hex(), epoch=epoch)
        fields["cause"] = sorted({moved.get(c, 0) for c in fields["cause"]} & {*range(seq)})
        if "ref" in fields:
            fields["ref"] = moved[fields["ref"]]
        fields["commit"] = item.commit(seq)
        leaf = canonical.encode(fields)
        prev = verify.leaf_hash(leaf)
        salt = None if item.payload is None else item.salt
        made.append(Receipt(origin, seq, leaf, prev, salt, item.payload))
    return made


# Changes to the order and the content of receipts


def edit(world: World, items: list[Item], seq: int) -> None:
    item = items[seq].copy()
    match world.rng.randrange(3):
        case 0:
            item.fields["actor"] += "/x"
        case 1:
            item.fields["kind"] = "of_tomorrow"
        case _:
            item = attrs.evolve(item, payload=b"what really happened")
    items[seq] = item


def delete(world: World, items: list[Item], seq: int) -> None:
    del items[seq]


def insert(world: World, items: list[Item], seq: int) -> None:
    invented = attrs.evolve(items[seq].copy(), payload=b"never happened", was=-1)
    items.insert(seq, invented)


def duplicate(world: World, items: list[Item], seq: int) -> None:
    other = world.rng.choice([free for free in world.free if free != seq])
    items.insert(seq, attrs.evolve(items[other].copy(), was=-1))


def swap(world: World, items: list[Item], seq: int) -> None:
    later = [other for other in world.free if other > seq]
    other = world.rng.choice(later) if later else seq
    if other == seq:
        seq = world.free[world.free.index(seq) - 1]
    items[seq], items[other] = items[other], items[seq]


Change = Callable[[World, list[Item], int], None]
CHANGES: Final[dict[str, Change]] = {
    "edit a receipt": edit,
    "delete a receipt": delete,
    "insert a receipt": insert,
    "duplicate a receipt": duplicate,
    "swap two receipts": swap,
}


def with_leaves(world: World, leaves: Sequence[bytes]) -> Bundle:
    """Put leaves into the entry bundles, and leave all else as it was."""
    bundle = dict(world.bundle)
    spans = list(verify.tile_spans(world.size))
    for index, width in spans:
        start = index * verify.TILE_WIDTH
        end = None if (index, width) == spans[-1] else start + width
        bundle[verify.tile_path("entries", index, width)] = tiles.entry_bundle(leaves[start:end])
    return bundle


def as_it_comes(change: Change) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        items = world.items()
        change(world, items, world.pick())
        return Case(with_leaves(world, [item.leaf() for item in items]))

    return forge


def chained(change: Change) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        items = world.items()
        change(world, items, world.pick())
        forged = relink(items)
        return Case({**bundle_of(forged), "checkpoint": world.note})

    return forge


def resigned(change: Change, side: str, key: Key = OWNER) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        items = world.items()
        change(world, items, world.pick(side))
        forged = relink(items)
        return Case(bundle_of(forged, checkpoint_of(forged, key)))

    return forge


# The tail


def truncate(world: World) -> Case:
    size = world.rng.randrange(world.size)
    leaves = [receipt.leaf for receipt in world.receipts[:size]]
    return Case(with_leaves(world, leaves), seq=size)


def truncate_and_rebuild(world: World) -> Case:
    shorter = world.receipts[: world.rng.randrange(1, world.size)]
    return Case({**bundle_of(shorter), "checkpoint": world.note})


def older_state(*, below_kept: bool, age: int | None = None) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        low, high = (1, world.kept_size) if below_kept else (world.kept_size, world.size)
        older = world.at_size(world.rng.randrange(low, high))
        note = checkpoint_of(older)
        if age is not None:
            note = cosign(note, *WITNESSES, at=TODAY - age - world.rng.randrange(HOUR))
        return Case(bundle_of(older, note))

    return forge


# Other logs


def stranger(world: World) -> World:
    return World(world.rng.randrange(1 << 32), ZETA)


def splice(world: World) -> Case:
    seq, other = world.pick(), stranger(world)
    leaves = [receipt.leaf for receipt in world.receipts]
    leaves[seq] = other.receipts[other.pick()].leaf
    return Case(with_leaves(world, leaves), seq=seq)


def splice_chained(world: World) -> Case:
    other = stranger(world)
    items = world.items()
    theirs = Item.of(other.receipts[other.pick()])
    items[world.pick()] = attrs.evolve(theirs, was=-1)
    forged = relink(items)
    files = dict(bundle_of(world.receipts))
    files.update(tiles.hash_tiles([r.leaf_hash for r in forged]))
    return Case({**files, **with_leaves(world, [r.leaf for r in forged])})


def relabel(world: World) -> Case:
    items = stranger(world).items()
    for item in items:
        item.fields["log"] = ACME
    forged = relink(items)
    return Case({**bundle_of(forged), "checkpoint": world.note})


# Checkpoints


def with_note(change: Callable[[World, bytes], bytes]) -> Callable[[World], Case]:
    return lambda world: Case({**world.bundle, "checkpoint": change(world, world.note)})


def flip_text(world: World, note: bytes) -> bytes:
    return flip(note, world.rng.randrange(8 * note.rindex(b"\n\n")))


def flip_signature(world: World, note: bytes) -> bytes:
    start = note.rindex(b"\n\n") + 2
    return flip(note, world.rng.randrange(8 * start, 8 * note.index(b"\n", start)))


def flip_cosignature(world: World, note: bytes) -> bytes:
    return flip(note, world.rng.randrange(8 * len(world.signed), 8 * len(note)))


def sign_as(key: Key, name: str = ACME) -> Callable[[World, bytes], bytes]:
    return lambda _, note: key.sign(verify.parse_note(note).text, name)


def collide(world: World, note: bytes) -> bytes:
    """Sign with a key that has the name and the short id of the real one."""
    line = THIEF.line(verify.parse_note(note).text, ACME)
    material = verify.parse_vkey(OWNER.vkey()).key_id + base64.b64decode(line.split(" ")[2])[4:]
    text, _, _ = note.rpartition(b"\n\n")
    return text + f"\n\n\N{EM DASH} {ACME} {base64.b64encode(material).decode()}\n".encode()


def other_size(world: World, note: bytes) -> bytes:
    size = world.size + world.rng.choice([-1, 1, 7])
    return note.replace(b"\n%d\n" % world.size, b"\n%d\n" % size, 1)


def crowd(world: World, note: bytes) -> bytes:
    text = verify.parse_note(note).text
    return note + "".join(THIEF.line(text, f"s{n}.example") for n in range(64)).encode()


def one_witness_twice(world: World, note: bytes) -> bytes:
    name = world.cosigners[0]
    return cosign(cosign(world.signed, name), name, at=TODAY - 1)


def below_quorum(world: World, note: bytes) -> bytes:
    return cosign(world.signed, world.cosigners[0])


def other_witnesses(world: World, note: bytes) -> bytes:
    text = verify.parse_note(note).text
    thieves = (
        Key(80 + n, verify.COSIGNATURE).line(text, witness_name(w), TODAY)
        for n, w in enumerate(WITNESSES)
    )
    return world.signed + "".join(thieves).encode()


def at_time(at: int) -> Callable[[World, bytes], bytes]:
    return lambda world, _: cosign(world.signed, *world.cosigners, at=at)


def reuse_cosignature(world: World, note: bytes) -> bytes:
    earlier = cosign(world.kept, *world.cosigners)
    return world.signed + earlier.removeprefix(world.kept)


MANGLED: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda n: n.replace(b"\n", b"\r\n"),
    lambda n: n.replace(b"\n", b"\t\n", 1),
    lambda n: n.replace(b"\n", b"\0\n", 1),
    lambda n: b"\xef\xbb\xbf" + n,
    lambda n: n[:-1],
    lambda n: n + b"\n",
    lambda n: n + b"x",
    lambda n: n.replace(b"\n\n", b"\n\n\n"),
    lambda n: n.replace(b"\n\n", b"\nextension\n\n"),
    lambda n: n.partition(b"\n\n")[0] + b"\n\n",
)


def mangle(world: World, note: bytes) -> bytes:
    return world.rng.choice(MANGLED)(note)


SIZES: Final = (b"007", b"-1", b"+5", b"9223372036854775808", b"1e1", b"", b" 5")


def bad_size(world: World) -> Case:
    text = verify.parse_note(world.note).text.encode()
    size = world.rng.choice(SIZES)
    changed = text.replace(b"\n%d\n" % world.size, b"\n%b\n" % size).decode()
    return Case({**world.bundle, "checkpoint": OWNER.sign(changed)})


def bad_root(world: World) -> Case:
    origin, size, root, _ = verify.parse_note(world.note).text.split("\n")
    length = world.rng.choice([0, 31, 33])
    data = (base64.b64decode(root) + b"x")[:length]
    changed = f"{origin}\n{size}\n{base64.b64encode(data).decode()}\n"
    return Case({**world.bundle, "checkpoint": OWNER.sign(changed)})


def equivocate(world: World) -> Case:
    """Show a fork of the size that the caller kept, signed and even cosigned."""
    items = world.items()
    edit(world, items, world.pick())
    forged = relink(items)
    note = cosign(checkpoint_of(forged), *WITNESSES)
    return Case(bundle_of(forged, note), kept=world.note)


def outlive(world: World) -> Case:
    return Case(world.bundle, vkey=f"{OWNER.vkey()}:{world.size - 1}")


# The form of a leaf, under the real key


LEAVES: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda leaf: leaf.replace(b":", b": ", 1),
    lambda leaf: leaf + b" ",
    lambda leaf: leaf[:-1] + b',"actor":"again"}',
    lambda leaf: b"{" + leaf[1:-1].partition(b",")[2] + b"," + leaf[1:].partition(b",")[0] + b"}",
    lambda leaf: leaf.replace(b'"epoch":', b'"epoch":0.0,"e":', 1),
    lambda leaf: leaf.replace(b'"cause":[', b'"cause":[1e0,', 1),
    lambda leaf: leaf.replace(b'"cause":[', b'"cause":[-0,', 1),
    lambda leaf: leaf.replace(b'"epoch":', b'"epoch":9007199254740992', 1),
    lambda leaf: leaf.replace(b'"epoch":', b'"epoch":NaN,"e":', 1),
    lambda leaf: leaf.replace(b'"actor":"', b'"actor":"\\ud800', 1),
    lambda leaf: leaf.replace(b'"actor":"t', b'"actor":"\\u0074', 1),
    lambda leaf: leaf.replace(b'"epoch"', b'"debt":1,"epoch"', 1),
    lambda leaf: leaf.replace(b"receipt/1", b"receipt/2", 1),
    lambda leaf: leaf.replace(b'"actor":"', b'"actor":"' + b"a" * 8192, 1),
    lambda leaf: leaf.replace(b'"actor":"', b'"actor":"' + b"a" * (0xFFFF - len(leaf)), 1),
    lambda leaf: leaf.replace(b'"kind":"', b'"kind":"genesis","k":"', 1),
    lambda leaf: leaf.replace(b'"prev":"', b'"prev":"0', 1),
    lambda leaf: b"",
    lambda leaf: b"null",
    lambda leaf: b"\xff" + leaf,
)


def malform(world: World) -> Case:
    """Replace one leaf, and sign tiles and root over it with the real key."""
    seq = world.pick()
    leaves = [receipt.leaf for receipt in world.receipts]
    leaves[seq] = world.rng.choice(LEAVES)(leaves[seq])
    return sign_leaves(world, leaves, seq)


def node_as_leaf(world: World) -> Case:
    seq = world.pick()
    leaves = [receipt.leaf for receipt in world.receipts]
    leaves[seq] = b"".join(world.hashes()[:2])
    return sign_leaves(world, leaves, seq)


def sign_leaves(world: World, leaves: list[bytes], seq: int) -> Case:
    hashes = [verify.leaf_hash(leaf) for leaf in leaves]
    made = [attrs.evolve(r, leaf_hash=h) for r, h in zip(world.receipts, hashes, strict=True)]
    bundle = {**with_leaves(world, leaves), **dict(tiles.hash_tiles(hashes))}
    return Case({**bundle, "checkpoint": checkpoint_of(made)}, seq=seq)


def epoch_back(world: World) -> Case:
    seq = world.pick("late")
    receipt = world.receipts[seq]
    leaf = receipt.leaf.replace(b'"epoch":%d,' % receipt.fields.epoch, b'"epoch":0,')
    return rechain(world, seq, leaf)


def clock_back(world: World) -> Case:
    seq = world.pick("late")
    leaf = world.receipts[seq].leaf.replace(b'"ts":"2026', b'"ts":"2025')
    return rechain(world, seq, leaf)


def rechain(world: World, seq: int, leaf: bytes) -> Case:
    """Put a leaf in as it is, link all later ones to it, and sign."""
    made = list(world.receipts[:seq])
    for receipt in world.receipts[seq:]:
        data = leaf if receipt.seq == seq else receipt.leaf
        if receipt.seq > seq:
            old = world.receipts[receipt.seq - 1].leaf_hash.hex().encode()
            data = data.replace(old, made[-1].leaf_hash.hex().encode())
        made.append(attrs.evolve(receipt, leaf=data, leaf_hash=verify.leaf_hash(data)))
    return Case(bundle_of(made, checkpoint_of(made)))


# Payloads


def with_payloads(
    change: Callable[[World, list[dict[str, Any]], int], None],
) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        records = [json.loads(line) for line in world.bundle["payloads.jsonl"].splitlines()]
        seq = world.pick()
        change(world, records, [record["seq"] for record in records].index(seq))
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        return Case({**world.bundle, "payloads.jsonl": lines})

    return forge


def edit_payload(world: World, records: list[dict[str, Any]], at: int) -> None:
    record = records[at]
    records[at] = {"seq": record["seq"], "salt": record["salt"], "payload": "another"}


def other_salt(world: World, records: list[dict[str, Any]], at: int) -> None:
    records[at] = {**records[at], "salt": world.rng.randbytes(32).hex()}


def swap_payloads(world: World, records: list[dict[str, Any]], at: int) -> None:
    other = at - 1 if at else at + 1
    first, second = sorted((at, other))
    one, two = records[first], records[second]
    records[first], records[second] = {**two, "seq": one["seq"]}, {**one, "seq": two["seq"]}


def drop_payload(world: World, records: list[dict[str, Any]], at: int) -> None:
    del records[at]


def extra_payload(world: World, records: list[dict[str, Any]], at: int) -> None:
    records.append({**records[at], "seq": world.size + world.rng.randrange(5)})


def forged_erasure(sign: bool) -> Callable[[World], Case]:
    """Drop a payload, and turn a later receipt into the erasure that would allow it."""

    def forge(world: World) -> Case:
        late = [seq for seq in world.free if seq >= world.kept_size]
        by = world.rng.choice(late[1:])
        items = world.items()
        target = world.rng.choice([seq for seq in world.free if seq < by])
        fields = {**items[by].fields, "kind": "erasure", "ref": target}
        items[by] = attrs.evolve(items[by], fields=fields)
        items[target] = attrs.evolve(items[target], payload=None)
        forged = relink(items)
        note = checkpoint_of(forged) if sign else world.note
        return Case({**bundle_of(forged), "checkpoint": note})

    return forge


def no_erasure(world: World) -> Case:
    """Hand out the log as it is, less one payload."""
    items = world.items()
    seq = world.pick()
    items[seq] = attrs.evolve(items[seq], payload=None)
    return Case({**bundle_of(relink(items)), "checkpoint": world.note}, seq=seq)


# One proof


def with_proof(change: Callable[[World, list[str], int], list[str]]) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        seq = world.pick()
        head, _, checkpoint = world.proof(seq).partition(b"\n\n")
        lines = change(world, head.decode().split("\n"), seq)
        return Case(proof="\n".join(lines).encode() + b"\n\n" + checkpoint)

    return forge


def cut_proof(world: World, lines: list[str], seq: int) -> list[str]:
    return lines[:-1]


def lengthen_proof(world: World, lines: list[str], seq: int) -> list[str]:
    return [*lines, world.rng.choice(lines[3:])]


def swap_proof(world: World, lines: list[str], seq: int) -> list[str]:
    return [*lines[:3], *reversed(lines[3:])]


def other_index(world: World, lines: list[str], seq: int) -> list[str]:
    index = world.rng.choice([seq + 1, seq - 1, world.size, 1 << 40])
    return [*lines[:2], f"index {index}", *lines[3:]]


def other_receipt(world: World, lines: list[str], seq: int) -> list[str]:
    other = next(s for s in world.free if s != seq)
    return [lines[0], world.proof(other).decode().split("\n")[1], *lines[2:]]


def other_payload(world: World, lines: list[str], seq: int) -> list[str]:
    record = json.loads(base64.b64decode(lines[1].removeprefix("extra ")))
    record.pop("payload_base64", None)
    record["payload"] = "another"
    return [lines[0], "extra " + base64.b64encode(json.dumps(record).encode()).decode(), *lines[2:]]


def prove_node(world: World, lines: list[str], seq: int) -> list[str]:
    """Present a node of the tree as a receipt: a second pre-image, were both hashed alike."""
    left, right = world.hashes()[seq - 1 : seq + 1]
    record = {"leaf": (left + right).decode("latin-1"), "salt": None, "payload": None}
    extra = base64.b64encode(json.dumps(record).encode()).decode()
    return [lines[0], f"extra {extra}", f"index {seq >> 1}", *lines[4:]]


def flip_proof(world: World) -> Case:
    proof = world.proof(world.pick())
    end = proof.index(b"\n\n") * 8
    return Case(proof=flip(proof, world.rng.randrange(end)))


def no_receipt(world: World, lines: list[str], seq: int) -> list[str]:
    return [lines[0], *lines[2:]]


def foreign_proof(world: World) -> Case:
    other = stranger(world)
    return Case(proof=other.proof(other.pick()))


# Flipped bits, missing files


def flip_leaf(world: World) -> Case:
    seq = world.rng.randrange(world.size)
    leaves = [receipt.leaf for receipt in world.receipts]
    leaves[seq] = flip(leaves[seq], world.rng.randrange(8 * len(leaves[seq])))
    return Case(with_leaves(world, leaves), seq=seq)


def flip_file(prefix: str) -> Callable[[World], Case]:
    def forge(world: World) -> Case:
        names = sorted(n for n in world.bundle if n.startswith(prefix))
        name = world.rng.choice(names)
        data = flip(world.bundle[name], world.rng.randrange(8 * len(world.bundle[name])))
        return Case({**world.bundle, name: data})

    return forge


def lose_file(world: World) -> Case:
    lost = world.rng.choice(sorted(world.bundle.keys() - {"MANIFEST.json", "verify.py"}))
    return Case({name: data for name, data in world.bundle.items() if name != lost})


@attrs.frozen
class Attack:
    """One row: what the forger does, and the verdicts that each caller may hear."""

    has: str
    name: str
    forge: Callable[[World], Case]
    verdicts: tuple[frozenset[int], ...]

    def is_missed_at(self, level: int) -> bool:
        """True when a caller may hear what an intact log gives."""
        return INTACT[level] in self.verdicts[level]


def _expect(text: str) -> tuple[frozenset[int], ...]:
    levels = tuple(frozenset(map(int, cell.split("/"))) for cell in text.split())
    assert len(levels) == len(LEVELS)
    return levels


def _list_attacks() -> Iterator[Attack]:
    files, key = "files", "files and key"

    def row(has: str, name: str, forge: Callable[[World], Case], verdicts: str) -> Attack:
        return Attack(has, name, forge, _expect(verdicts))

    for name, change in CHANGES.items():
        yield row(files, name, as_it_comes(change), "40 40 40 40")
        yield row(files, f"{name}, link all anew", chained(change), "40 40 40 40")
        own = resigned(change, "", THIEF)
        yield row(files, f"{name}, link all anew, sign with another key", own, "20 40 40 40")
        yield row(
            key, f"{name} before the kept checkpoint", resigned(change, "early"), "20 10 30 30"
        )
        yield row(key, f"{name} after the kept checkpoint", resigned(change, "late"), "20 10 10 10")
    yield row(files, "flip a bit of a receipt", flip_leaf, "40 40 40 40")
    yield row(files, "flip a bit of a tile", flip_file("tile/"), "40 40 40 40")
    yield row(files, "lose a file", lose_file, "40 40 40 40")
    yield row(files, "cut off the tail", truncate, "40 40 40 40")
    yield row(files, "cut off the tail, make the tiles fit", truncate_and_rebuild, "40 40 40 40")
    yield row(
        files,
        "show an older checkpoint that no witness signed",
        older_state(below_kept=False),
        "20 10 10 10",
    )
    yield row(
        files, "the same, older than the kept one", older_state(below_kept=True), "20 10 30 30"
    )
    yield row(
        files,
        "show an older state that all witnesses signed",
        older_state(below_kept=False, age=2 * HOUR),
        "20 10 10 50",
    )
    yield row(
        files,
        "the same, older than the kept one",
        older_state(below_kept=True, age=2 * HOUR),
        "20 10 30 30",
    )
    yield row(
        key, "show a fork of the kept size, cosigned by a bad quorum", equivocate, "20 10 30 30"
    )
    yield row(files, "put in another log's receipt", splice, "40 40 40 40")
    yield row(files, "put in another log's receipt, make all fit", splice_chained, "40 40 40 40")
    yield row(files, "give another log this one's name", relabel, "40 40 40 40")
    yield row(
        files, "show another log of the same key", lambda w: Case(stranger(w).bundle), "20 40 40 40"
    )
    yield row(
        files,
        "show another log's checkpoint",
        lambda w: Case({**w.bundle, "checkpoint": stranger(w).note}),
        "40 40 40 40",
    )
    yield row(
        files,
        "show another log's payloads",
        lambda w: Case({**w.bundle, "payloads.jsonl": stranger(w).bundle["payloads.jsonl"]}),
        "40 40 40 40",
    )
    yield row(files, "flip a bit of the checkpoint's text", with_note(flip_text), "40 40 40 40")
    yield row(files, "flip a bit of its signature", with_note(flip_signature), "20/40 40 40 40")
    yield row(
        files, "flip a bit of a cosignature", with_note(flip_cosignature), "20/40 10/40 10/40 10/40"
    )
    yield row(
        files, "sign it with another key of the same name", with_note(sign_as(THIEF)), "20 40 40 40"
    )
    yield row(
        files, "sign it with a key of the same name and id", with_note(collide), "20 40 40 40"
    )
    yield row(key, "sign it as another log", with_note(sign_as(OWNER, ZETA)), "20 40 40 40")
    yield row(files, "change the size in it", with_note(other_size), "40 40 40 40")
    yield row(
        files,
        "bend its form (CRLF, NUL, BOM, blank lines, an extension)",
        with_note(mangle),
        "40 40 40 40",
    )
    yield row(key, "write its size in another way", bad_size, "40 40 40 40")
    yield row(key, "write a root of 0, 31 or 33 bytes", bad_root, "40 40 40 40")
    yield row(files, "add 64 signatures", with_note(crowd), "40 40 40 40")
    yield row(key, "sign with a key that ended at an earlier size", outlive, "20 40 40 40")
    yield row(files, "leave out a cosignature", with_note(below_quorum), "20 10 10 10")
    yield row(files, "show one witness twice", with_note(one_witness_twice), "40 40 40 40")
    yield row(
        files, "bring other witnesses of the same names", with_note(other_witnesses), "20 10 10 10"
    )
    yield row(
        files,
        "use cosignatures of an earlier checkpoint",
        with_note(reuse_cosignature),
        "20 10 10 40",
    )
    yield row(files, "cosign without a time", with_note(at_time(0)), "20 10 10 10")
    yield row(files, "cosign from the future", with_note(at_time(TODAY + HOUR)), "20 10 10 10")
    yield row(key, "sign a receipt that breaks the format", malform, "40 40 40 40")
    yield row(key, "sign a tree node as a receipt", node_as_leaf, "40 40 40 40")
    yield row(key, "let the epoch go back", epoch_back, "40 40 40 40")
    yield row(key, "let the clock go back (a warning)", clock_back, "20 10 10 10")
    yield row(files, "edit a payload", with_payloads(edit_payload), "40 40 40 40")
    yield row(files, "exchange a payload's salt", with_payloads(other_salt), "40 40 40 40")
    yield row(files, "swap two payloads", with_payloads(swap_payloads), "40 40 40 40")
    yield row(files, "drop a line of payloads.jsonl", with_payloads(drop_payload), "40 40 40 40")
    yield row(files, "add a payload", with_payloads(extra_payload), "40 40 40 40")
    yield row(files, "drop a payload, leave its receipt", no_erasure, "40 40 40 40")
    yield row(files, "drop a payload, forge its erasure", forged_erasure(sign=False), "40 40 40 40")
    yield row(
        key,
        "drop a payload, forge its erasure after the kept checkpoint",
        forged_erasure(sign=True),
        "20 10 10 10",
    )
    yield row(files, "shorten a proof", with_proof(cut_proof), "40 40 40 40")
    yield row(files, "lengthen a proof", with_proof(lengthen_proof), "40 40 40 40")
    yield row(files, "reorder a proof", with_proof(swap_proof), "40 40 40 40")
    yield row(files, "prove another index", with_proof(other_index), "40 40 40 40")
    yield row(files, "prove another receipt", with_proof(other_receipt), "40 40 40 40")
    yield row(files, "prove it with another payload", with_proof(other_payload), "40 40 40 40")
    yield row(files, "prove a tree node as a receipt", with_proof(prove_node), "40 40 40 40")
    yield row(files, "prove nothing", with_proof(no_receipt), "40 40 40 40")
    yield row(files, "flip a bit of a proof", flip_proof, "40 40 40 40")
    yield row(files, "show another log's proof", foreign_proof, "20 40 40 40")


ATTACKS: Final = tuple(_list_attacks())


# What no evidence can show


def collude(world: World) -> Case:
    """Rewrite what came after the kept checkpoint, with key and quorum together."""
    items = world.items()
    edit(world, items, world.pick("late"))
    forged = relink(items)
    return Case(bundle_of(forged, cosign(checkpoint_of(forged), *world.cosigners)))


def never_record(world: World) -> Case:
    """Act, and leave no receipt: then this is the log."""
    return Case(world.bundle)


def _list_blind() -> Iterator[Attack]:
    intact = "20 10 10 0"
    for has, name, forge in (
        ("the executor", "act without a receipt", never_record),
        ("the ledger", "record what is not so", never_record),
        (
            "files",
            "show a state as young as the policy allows",
            older_state(below_kept=False, age=0),
        ),
        ("files, key and a quorum", "rewrite what you hold no checkpoint of", collude),
    ):
        yield Attack(has, name, forge, _expect(intact))


BLIND: Final = tuple(_list_blind())
