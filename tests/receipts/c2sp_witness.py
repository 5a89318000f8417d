"""A witness after the text of C2SP's tlog-witness: it holds our client to the specification."""

from __future__ import annotations

import base64
import binascii

from autonomics.receipts import verify
from autonomics.receipts.witness import Reply

from .evidence import Key


class Witness:
    """Keeps the latest checkpoint of each log that it was told of, and cosigns its extensions."""

    def __init__(self, name: str, key: Key, logs: dict[str, str], now: int) -> None:
        self.name = name
        self.key = key
        self.now = now
        self.requests: list[bytes] = []
        self.latest: dict[str, tuple[int, bytes]] = {}
        self._logs = {origin: verify.parse_vkey(vkey) for origin, vkey in logs.items()}

    @property
    def vkey(self) -> verify.Vkey:
        return verify.parse_vkey(self.key.vkey(self.name), verify.COSIGNATURE)

    async def __call__(self, body: bytes) -> Reply:
        return self.add_checkpoint(body)

    def add_checkpoint(self, body: bytes) -> Reply:
        self.requests.append(body)
        head, separator, checkpoint = body.partition(b"\n\n")
        first, *rest = head.decode().split("\n")
        word, _, number = first.partition(" ")
        if not separator or word != "old" or not number.isdecimal() or str(int(number)) != number:
            return Reply(400, body=b"malformed")
        try:
            proof = [base64.b64decode(line, validate=True) for line in rest]
            note = verify.parse_note(checkpoint)
            tree = verify.parse_tree_head(note.text)
        except (verify.Invalid, binascii.Error):
            return Reply(400, body=b"malformed")
        vkey = self._logs.get(tree.origin)
        if vkey is None:
            return Reply(404)
        try:
            verify.check_note(note, [vkey])
        except verify.Invalid:
            return Reply(403)
        old = int(number)
        if old > tree.size or len(proof) > 63:
            return Reply(400, body=b"old size is beyond the checkpoint")
        size, root = self.latest.get(tree.origin, (0, verify.EMPTY_ROOT))
        conflict = Reply(409, "text/x.tlog.size", b"%d\n" % size)
        if old != size or (old == tree.size and root != tree.root):
            return conflict
        try:
            if old == 0 and proof:
                raise verify.Invalid("expected no proof from size 0")
            if old:
                verify.check_consistency(old, root, tree.size, tree.root, proof)
        except verify.Invalid:
            return Reply(422)
        self.latest[tree.origin] = (tree.size, tree.root)
        return Reply(200, body=self.key.line(note.text, self.name, self.now).encode())
