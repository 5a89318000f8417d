"""The runtime of this project; `call1_plain` has a plain def handler, all others an async def."""

from __future__ import annotations

from bench.cases import CASES
from bench.peer import Peer, on_trio

PEER = Peer(
    name="autonomics",
    distribution="autonomics",
    handler="async def",
    host="task, with a mailbox of its own",
    measures={case.name: on_trio(case.open) for case in CASES},
)
