"""Our witness client and a witness server that none of us wrote, over HTTP on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from autonomics.integrations.google_api import open_client
from autonomics.integrations.witness_http import WitnessHttp
from autonomics.receipts import verify
from autonomics.receipts.log import Receipt
from autonomics.receipts.witness import Cosigned, Refusal, Refused, add_cosignatures, ask_witness

from ..receipts.evidence import (  # noqa: TID252 - tests are no package
    OWNER,
    THIEF,
    Key,
    build,
    bundle_of,
    check,
    checkpoint_of,
    forge,
    rename,
)
from .conftest import need_module

ORIGIN = "ledger.example.org/t/4f3c"
LOG = build(300, ORIGIN)


@pytest.fixture(scope="module")
def server(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(vkey, URL) of tracekit's public witness; it chooses a free port itself."""
    need_module(python, "tracekit")
    home = tmp_path_factory.mktemp("witness")
    command: list[str | Path] = [python, "-m", "tracekit", "public-witness"]
    name = ["--name", "witness.example.org/w1"]
    made = subprocess.run(
        [*command, "init", "--home", home, *name], check=True, capture_output=True, text=True
    )
    serve = [*command, "serve", "--home", home, "--port", "0"]
    with subprocess.Popen(
        serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        yield made.stdout.split()[0], said.split()[-1]
        running.send_signal(signal.SIGINT)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with open_client() as opened:
        yield opened


async def ask(
    client: httpx2.AsyncClient, server: tuple[str, str], log: list[Receipt], key: Key = OWNER
) -> Cosigned | Refused:
    vkey, url = server
    witness = verify.parse_vkey(vkey, verify.COSIGNATURE)
    hashes = [receipt.leaf_hash for receipt in log]
    return await ask_witness(WitnessHttp(client, url), witness, checkpoint_of(log, key), hashes)


def refusal_of(answer: Cosigned | Refused) -> Refusal | None:
    return answer.refusal if isinstance(answer, Refused) else None


async def test_a_real_witness_cosigns_what_grows_and_refuses_what_forks(
    client: httpx2.AsyncClient, server: tuple[str, str]
) -> None:
    vkey, url = server
    assert refusal_of(await ask(client, server, LOG[:100])) is Refusal.UNKNOWN_LOG

    first = checkpoint_of(LOG[:1]).decode()
    body = {"origin": ORIGIN, "vkey": OWNER.vkey(ORIGIN), "checkpoint": first}
    registered = await client.post(f"{url}/register", content=json.dumps(body))
    assert registered.status_code == 200, registered.text

    assert refusal_of(await ask(client, server, LOG[:100], THIEF)) is Refusal.UNKNOWN_KEY
    for size in (1, 100, 100, 257, 299):
        answer = await ask(client, server, LOG[:size])
        assert isinstance(answer, Cosigned), answer
    forked = forge(LOG, 50, rename)
    for log, refusal in (
        (forked, Refusal.FORK),
        (forked[:299], Refusal.FORK),
        (LOG[:200], Refusal.AHEAD),
    ):
        assert refusal_of(await ask(client, server, log)) is refusal

    answer = await ask(client, server, LOG)
    assert isinstance(answer, Cosigned)
    note = add_cosignatures(checkpoint_of(LOG), [answer.line])
    policy = f"log {OWNER.vkey(ORIGIN)}\nwitness w {vkey} {url}\nquorum w\n".encode()
    given = verify.gather_trust([], policy=policy, now=time.time(), max_age_s=3600)
    assert check(bundle_of(LOG, note), given).code == 0
    assert check(bundle_of(LOG), given).code == 10
