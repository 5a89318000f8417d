"""Ask witnesses for cosignatures, and hear what they say when they refuse."""

from __future__ import annotations

import base64

import httpx2
import pytest
import trio

from autonomics.errors import InvalidInput
from autonomics.integrations.google_api import open_client
from autonomics.integrations.witness_http import WitnessHttp
from autonomics.receipts import verify
from autonomics.receipts.log import Receipt
from autonomics.receipts.witness import (
    SIZE_TYPE,
    Cosigned,
    Refusal,
    Refused,
    Reply,
    add_cosignatures,
    ask_witness,
    format_request,
)

from .c2sp_witness import Witness
from .evidence import (
    ACME,
    OWNER,
    THIEF,
    TODAY,
    WITNESSES,
    Key,
    build,
    bundle_of,
    check,
    checkpoint_of,
    forge,
    policy_of,
    rename,
    trust,
    witness_name,
)

LOG = build(300)
HASHES = [receipt.leaf_hash for receipt in LOG]


def make_witness(name: str = "w1", *, key: Key = OWNER, now: int = TODAY) -> Witness:
    return Witness(witness_name(name), WITNESSES[name], {ACME: key.vkey()}, now)


async def ask(
    witness: Witness, receipts: list[Receipt], *, old_size: int = 0, key: Key = OWNER
) -> Cosigned | Refused:
    hashes = [receipt.leaf_hash for receipt in receipts]
    note = checkpoint_of(receipts, key)
    return await ask_witness(witness, witness.vkey, note, hashes, old_size=old_size)


async def test_a_log_that_grows_is_cosigned_at_every_size_it_shows() -> None:
    witness = make_witness()
    last = 0
    for size in (1, 2, 3, 7, 8, 9, 255, 256, 257, 300):
        answer = await ask(witness, LOG[:size], old_size=last)
        assert isinstance(answer, Cosigned)
        assert answer.at == TODAY
        last = size
    assert len(witness.requests) == 10


async def test_who_does_not_know_where_the_witness_stands_is_told() -> None:
    witness = make_witness()
    await ask(witness, LOG[:100])
    assert isinstance(await ask(witness, LOG[:250]), Cosigned)
    assert [body.split(b"\n")[0] for body in witness.requests] == [b"old 0", b"old 0", b"old 100"]
    # A guess beyond the log's own size, as after a rollback, is no request that could be made.
    assert isinstance(await ask(witness, LOG, old_size=1000), Cosigned)


async def test_the_same_size_may_be_cosigned_again_for_a_fresh_time() -> None:
    witness = make_witness()
    await ask(witness, LOG[:9])
    witness.now += 60
    answer = await ask(witness, LOG[:9], old_size=9)
    assert isinstance(answer, Cosigned)
    assert answer.at == TODAY + 60


async def test_a_quorum_of_real_cosignatures_is_witnessed() -> None:
    note = checkpoint_of(LOG)
    answers = [await ask(make_witness(name), LOG) for name in WITNESSES]
    lines = [answer.line for answer in answers if isinstance(answer, Cosigned)]
    assert (
        check(bundle_of(LOG, add_cosignatures(note, lines)), trust(policy=policy_of("3"))).code == 0
    )


async def test_a_fork_is_refused_and_said_to_be_one() -> None:
    for size, forked in ((300, 300), (200, 300)):
        witness = make_witness()
        await ask(witness, LOG[:size])
        answer = await ask(witness, forge(LOG, 50, rename)[:forked])
        assert isinstance(answer, Refused)
        assert answer.refusal is Refusal.FORK
        assert answer.refusal.is_alarm
        assert witness.latest[ACME][0] == size


async def test_a_log_that_was_rolled_back_hears_how_long_it_was() -> None:
    witness = make_witness()
    await ask(witness, LOG)
    answer = await ask(witness, LOG[:200])
    assert isinstance(answer, Refused)
    assert (answer.refusal, answer.size) == (Refusal.AHEAD, 300)
    assert answer.refusal.is_alarm


async def test_a_witness_that_knows_no_such_log_or_key_says_so() -> None:
    stranger = Witness("w.example", WITNESSES["w1"], {}, TODAY)
    answer = await ask(stranger, LOG[:3])
    assert answer == Refused(Refusal.UNKNOWN_LOG, "404")
    answer = await ask(make_witness(), LOG[:3], key=THIEF)
    assert answer == Refused(Refusal.UNKNOWN_KEY, "403")
    assert not Refusal.UNKNOWN_KEY.is_alarm


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 503])
async def test_a_witness_that_can_not_answer_now_may_be_asked_again(status: int) -> None:
    answer = await ask_reply(Reply(status, body=b"later\xff"))
    assert answer == Refused(Refusal.UNAVAILABLE, f"{status} 'later\\ufffd'")


async def ask_reply(*answers: Reply, old_size: int = 0) -> Cosigned | Refused:
    left = list(answers)

    async def post(body: bytes) -> Reply:
        return left.pop(0)

    witness = make_witness().vkey
    return await ask_witness(post, witness, checkpoint_of(LOG[:9]), HASHES, old_size=old_size)


def size_reply(body: bytes, content_type: str = SIZE_TYPE) -> Reply:
    return Reply(409, content_type, body)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400),
        Reply(301),
        Reply(204),
        Reply(200),
        Reply(200, body=b"no signature\n"),
        Reply(200, body=b"\xff\n"),
        Reply(200, body="— stranger.example AAAAAAAAAAAA\n".encode()),
        size_reply(b""),
        size_reply(b"9"),
        size_reply(b"09\n"),
        size_reply(b"-1\n"),
        size_reply(b"5\n5\n"),
        size_reply(b"5\n", "text/plain"),
        size_reply(b"99999999999999999\n"),
    ],
)
async def test_what_no_witness_would_say_is_not_understood(reply: Reply) -> None:
    answer = await ask_reply(reply)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.MISUNDERSTOOD


async def test_the_type_of_a_size_may_have_parameters() -> None:
    answer = await ask_reply(size_reply(b"10\n", f"{SIZE_TYPE}; charset=utf-8"))
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.AHEAD


async def test_a_witness_that_moves_each_time_is_left_for_later() -> None:
    answer = await ask_reply(*(size_reply(b"%d\n" % size) for size in (3, 4, 5)))
    assert isinstance(answer, Refused)
    assert (answer.refusal, answer.size) == (Refusal.BUSY, 5)


async def test_a_cosignature_over_another_text_is_not_taken() -> None:
    witness = make_witness()
    other = verify.parse_note(checkpoint_of(LOG[:8])).text
    answer = await ask_reply(Reply(200, body=witness.key.line(other, witness.name, TODAY).encode()))
    assert isinstance(answer, Refused)
    assert "does not verify" in answer.detail


async def test_lines_of_other_keys_in_an_answer_are_ignored() -> None:
    witness = make_witness()
    text = verify.parse_note(checkpoint_of(LOG[:9])).text
    stranger = Key(70, verify.COSIGNATURE).line(text, "new.example", TODAY)
    own = witness.key.line(text, witness.name, TODAY)
    answer = await ask_reply(Reply(200, body=(stranger + own).encode()))
    assert answer == Cosigned(own.rstrip("\n"), TODAY)


def test_a_request_is_laid_out_as_the_spec_says() -> None:
    note = checkpoint_of(LOG[:9])
    assert format_request(note, 0, HASHES) == b"old 0\n\n" + note
    assert format_request(note, 9, HASHES) == b"old 9\n\n" + note
    head, _, rest = format_request(note, 5, HASHES).partition(b"\n\n")
    first, *proof = head.split(b"\n")
    assert (first, rest) == (b"old 5", note)
    assert all(len(base64.b64decode(line)) == 32 for line in proof)
    for size in (-1, 10):
        with pytest.raises(InvalidInput, match="expected old_size to be from 0 to 9"):
            format_request(note, size, HASHES)


def test_a_newer_line_takes_the_place_of_the_older_of_its_key() -> None:
    note = checkpoint_of(LOG[:9])
    text = verify.parse_note(note).text

    def line(name: str, at: int) -> str:
        return WITNESSES[name].line(text, witness_name(name), at).rstrip("\n")

    once = add_cosignatures(note, [line("w1", 1), line("w2", 1)])
    twice = add_cosignatures(once, [line("w1", 2)])
    assert twice == note + f"{line('w1', 2)}\n{line('w2', 1)}\n".encode()
    assert add_cosignatures(note, []) == note


@pytest.mark.parametrize("line", ["", "no line", "— a AAAA", "— a.example AAAAAAAAAAAA\n"])
def test_what_is_no_line_of_a_note_is_not_added(line: str) -> None:
    with pytest.raises(InvalidInput, match="fit for a note"):
        add_cosignatures(checkpoint_of(LOG[:9]), [line])


def test_more_lines_than_a_note_may_have_are_not_added() -> None:
    note = checkpoint_of(LOG[:9])
    text = verify.parse_note(note).text
    lines = [WITNESSES["w1"].line(text, f"s{n}.example").rstrip("\n") for n in range(64)]
    assert add_cosignatures(note, lines[:63])
    with pytest.raises(InvalidInput, match="more than 64 signatures"):
        add_cosignatures(note, lines)


# Over HTTP


def serve(witness: Witness) -> httpx2.AsyncClient:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.method, request.url.path) == ("POST", "/w1/add-checkpoint")
        reply = witness.add_checkpoint(await request.aread())
        headers = {"Content-Type": reply.content_type} if reply.content_type else {}
        return httpx2.Response(reply.status, headers=headers, content=reply.body)

    return open_client(httpx2.MockTransport(answer))


@pytest.mark.parametrize("url", ["https://w.example/w1", "https://w.example/w1/"])
async def test_over_http_the_witness_hears_and_says_the_same(url: str) -> None:
    witness = make_witness()
    async with serve(witness) as client:
        post = WitnessHttp(client, url)
        for size in (9, 100):
            note = checkpoint_of(LOG[:size])
            assert isinstance(await ask_witness(post, witness.vkey, note, HASHES), Cosigned)
        answer = await ask_witness(post, witness.vkey, checkpoint_of(LOG[:9]), HASHES)
    assert isinstance(answer, Refused)
    assert answer.refusal is Refusal.AHEAD


async def test_a_witness_that_is_not_there_is_unavailable() -> None:
    async def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    async def break_off(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("reset")

    for end in (fail, break_off):
        async with open_client(httpx2.MockTransport(end)) as client:
            post = WitnessHttp(client, "https://w.example")
            answer = await ask_witness(post, make_witness().vkey, checkpoint_of(LOG[:9]), HASHES)
        assert isinstance(answer, Refused)
        assert answer.refusal is Refusal.UNAVAILABLE
        assert "w.example" in answer.detail


async def test_a_witness_that_hangs_is_left_after_the_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hang(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with open_client(httpx2.MockTransport(hang)) as client:
        reply = await WitnessHttp(client, "https://w.example", timeout_s=7)(b"")
    assert reply == Reply(0, body=b"no answer within 7 s")
    assert trio.current_time() == pytest.approx(7)
