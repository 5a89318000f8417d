"""What a caller's policy makes of cosigned checkpoints: the ladder from witnessed to invalid."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from autonomics.receipts import verify
from autonomics.receipts.export import export_lines
from autonomics.receipts.proof import format_proof

from .evidence import (
    ACME,
    HOUR,
    OWNER,
    THIEF,
    TODAY,
    WITNESSES,
    ZETA,
    Key,
    build,
    bundle_of,
    check,
    checkpoint_of,
    cosign,
    flip,
    forge,
    policy_of,
    rename,
    trust,
    witness_name,
)

W = {name: key.vkey(witness_name(name)) for name, key in WITNESSES.items()}
POLICY = policy_of()


# Reading a policy


def test_the_example_of_the_spec_takes_two_levels_of_groups() -> None:
    keys = {name: Key(50 + n, verify.COSIGNATURE) for n, name in enumerate(("Y1", "Y2", "Y3"))}
    lines = [
        f"log {OWNER.vkey()}",
        "",
        *(f"witness X{n} {W[f'w{n}']}" for n in (1, 2, 3)),
        "group X-witnesses 2 X1 X2 X3",
        "  # a comment, indented",
        *(
            f"\twitness {name}  {key.vkey('y.example/' + name)} https://y.example"
            for name, key in keys.items()
        ),
        "group Y-witnesses any Y1 Y2 Y3",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
    ]
    policy = verify.parse_policy("\n".join([*lines, ""]).encode())
    assert [vkey.name for vkey in policy.logs] == [ACME]
    assert policy.witnesses[-1].url == "https://y.example"
    for cosigners, met in (
        (["X1", "X2", "Y1"], True),
        (["X1", "X3", "Y2", "Y3"], True),
        (["X1", "X2", "X3"], False),
        (["X1", "Y1", "Y2", "Y3"], False),
        ([], False),
        (["X-and-Y"], True),
    ):
        assert policy.is_met(cosigners) == met, cosigners


def test_a_policy_may_ask_for_one_witness_or_for_none() -> None:
    one = verify.parse_policy(f"witness w {W['w1']}\nquorum w\n".encode())
    assert one.is_met(["w"])
    assert not one.is_met([])
    assert verify.parse_policy(b"quorum none\n").is_met([])


def test_names_are_opaque_bytes() -> None:
    kelvin = "witness \N{KELVIN SIGN} " + W["w1"] + "\nwitness K " + W["w2"] + "\n"
    assert len(verify.parse_policy(f"{kelvin}quorum K\n".encode()).witnesses) == 2
    odd = b"witness \xff %b\nquorum \xff\n" % W["w1"].encode()
    (witness,) = verify.parse_policy(odd).witnesses
    verdict = check(bundle_of(build(2), cosign(checkpoint_of(build(2)), "w1")), trust(policy=odd))
    assert verdict.code == 0
    assert verdict.reason.isprintable()
    assert witness.name != "\N{REPLACEMENT CHARACTER}"


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "last line does not end"),
    "no quorum": (b"\n", "has no quorum"),
    "cut off": (POLICY[:-1], "last line does not end"),
    "carriage return": (POLICY.replace(b"\n", b"\r\n"), "control character"),
    "too long": (b"#" * (1 << 20) + b"\n", "more than"),
    "two quorums": (POLICY + b"quorum none\n", "line 7: a second quorum"),
    "quorum of nobody": (b"quorum w\n", "line 1: 'w' is not defined above"),
    "unknown word": (b"witnesses w\n", "no log, witness, group or quorum"),
    "two names of a quorum": (b"quorum a b\n", "no log, witness, group or quorum"),
    "group of nobody": (b"group g any\n", "no log, witness, group or quorum"),
    "group defined later": (b"group g any w\n", "not defined above"),
    "group in itself": (b"group g any g\n", "not defined above"),
    "key of a log as witness": (b"witness w %b\n" % OWNER.vkey().encode(), "key of a witness"),
    "key of a witness as log": (b"log %b\n" % W["w1"].encode(), "key of a log"),
    "key that is no key": (b"log nonsense\n", "not a verifier key"),
    "key that is not UTF-8": (b"log \xff%b\n" % OWNER.vkey().encode(), "line 1: "),
    "taken name": (f"witness w {W['w1']}\nwitness w {W['w2']}\n".encode(), "'w' is taken"),
    "name none": (f"witness none {W['w1']}\n".encode(), "'none' is taken"),
    "witness twice": (f"witness a {W['w1']}\nwitness b {W['w1']}\n".encode(), "stands twice"),
    "log twice": (POLICY + POLICY.split(b"\n")[0] + b"\n", "stands twice"),
    "group of its members twice": (POLICY + b"group g any w1\n", "'w1' is a member twice"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_a_policy_out_of_form_is_refused_with_its_line(way: str) -> None:
    data, reason = REFUSED[way]
    with pytest.raises(verify.Invalid) as caught:
        verify.parse_policy(data)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "least", ["0", "4", "02", "-1", "x", "1000000", "\N{ARABIC-INDIC DIGIT TWO}"]
)
def test_a_group_takes_one_to_all_of_its_members(least: str) -> None:
    with pytest.raises(verify.Invalid, match="not any, all or 1 to 3"):
        verify.parse_policy(policy_of(least))


def test_a_key_whose_name_is_no_text_can_not_be_hashed() -> None:
    name, _, rest = W["w1"].partition("+")
    line = b"witness w " + name.encode() + b"\xff+" + rest.encode() + b"\nquorum w\n"
    with pytest.raises(verify.Invalid, match="line 1"):
        verify.parse_policy(line)


# The ladder


RECEIPTS = build(5)
SIGNED = checkpoint_of(RECEIPTS)


def judge(checkpoint: bytes, given: verify.Trust) -> verify.Verdict:
    return check(bundle_of(RECEIPTS, checkpoint), given)


@pytest.mark.parametrize("least", ["any", "all", "1", "2", "3"])
@pytest.mark.parametrize("cosigners", [(), ("w1",), ("w3", "w1"), ("w1", "w2", "w3")])
def test_a_quorum_makes_it_witnessed_and_less_leaves_it_consistent(
    least: str, cosigners: tuple[str, ...]
) -> None:
    wanted = {"any": 1, "all": 3}.get(least) or int(least)
    verdict = judge(cosign(SIGNED, *cosigners), trust(policy=policy_of(least)))
    assert verdict.code == (0 if len(cosigners) >= wanted else 10)
    assert verdict.warnings == ()
    for name in cosigners:
        assert name in verdict.reason


def test_a_policy_that_asks_for_no_witness_is_no_witness() -> None:
    verdict = judge(cosign(SIGNED, "w1"), trust(policy=b"quorum none\n"))
    assert verdict.code == 10
    assert verdict.reason.endswith("your policy asks for no witness")


def test_the_policy_may_bring_the_logs_key() -> None:
    given = trust(policy=POLICY, vkeys=[])
    assert judge(cosign(SIGNED, "w1", "w2"), given).code == 0
    assert judge(checkpoint_of(RECEIPTS, THIEF), given).code == 40
    with pytest.raises(verify.Unusable, match="names no log"):
        trust(policy=policy_of(log=None), vkeys=[])


def test_cosignatures_of_strangers_do_not_count() -> None:
    stranger = Key(99, verify.COSIGNATURE)
    text = verify.parse_note(SIGNED).text
    lines = [stranger.line(text, f"s{n}.example", TODAY) for n in range(5)]
    note = cosign(SIGNED, "w2") + "".join(lines).encode()
    verdict = judge(note, trust(policy=POLICY))
    assert verdict.code == 10
    assert "w2 alone" in verdict.reason
    # Same name as a witness, another key: unknown, hence ignored.
    note = cosign(SIGNED, "w2") + stranger.line(text, witness_name("w1"), TODAY).encode()
    assert judge(note, trust(policy=POLICY)).code == 10


def test_a_quorum_must_be_as_fresh_as_the_caller_asks() -> None:
    def at_age(*ages: int) -> bytes:
        note = SIGNED
        for name, age in zip(("w1", "w2", "w3"), ages, strict=False):
            note = cosign(note, name, at=TODAY - age)
        return note

    given = trust(policy=POLICY, max_age_s=HOUR)
    assert judge(at_age(HOUR, HOUR), given).code == 0
    stale = judge(at_age(HOUR + 1, HOUR + 1), given)
    assert stale.code == 50
    assert (
        "did not cosign within the last 3600 s, the newest at 2030-03-17T16:46:39Z" in stale.reason
    )
    # One fresh witness of the two that it takes does not make the state fresh.
    assert judge(at_age(0, HOUR + 1), given).code == 50
    assert judge(at_age(0, HOUR + 1, 0), given).code == 0
    # Below the quorum it is no matter of age.
    assert judge(at_age(HOUR + 1), given).code == 10


def test_a_time_from_the_future_or_none_does_not_count() -> None:
    for at, word in (
        (0, "has no time"),
        (TODAY + verify.CLOCK_SKEW_S + 1, "is from the future (2030-"),
        ((1 << 63) - 1, "is from the future (9223372036854775807 s)"),
    ):
        verdict = judge(cosign(cosign(SIGNED, "w1"), "w2", at=at), trust(policy=POLICY))
        assert verdict.code == 10
        assert any(word in warning for warning in verdict.warnings), verdict
    skewed = cosign(cosign(SIGNED, "w1"), "w2", at=TODAY + verify.CLOCK_SKEW_S)
    assert judge(skewed, trust(policy=POLICY)).code == 0


def test_who_names_no_time_gets_no_quorum() -> None:
    given = verify.gather_trust([], policy=POLICY)
    assert judge(cosign(SIGNED, "w1", "w2"), given).code == 10


def test_a_cosignature_that_does_not_verify_makes_the_checkpoint_invalid() -> None:
    other = verify.parse_note(checkpoint_of(RECEIPTS[:4])).text
    reused = WITNESSES["w1"].line(other, witness_name("w1"), TODAY).encode()
    text = verify.parse_note(SIGNED).text
    as_log = Key(11).line(text, witness_name("w1"))
    material = base64.b64decode(as_log.split(" ")[2])
    short = WITNESSES["w1"].vkey(witness_name("w1")).split("+")[1]
    swapped = base64.b64encode(bytes.fromhex(short) + material[4:]).decode()
    too_late = bytes.fromhex(short) + (1 << 63).to_bytes(8, "big") + bytes(64)
    no_time = WITNESSES["w1"].line(text, witness_name("w1"), 1 << 63)  # beyond what the spec allows
    for line in (
        reused,
        no_time.encode(),
        f"— {witness_name('w1')} {swapped}\n".encode(),
        f"— {witness_name('w1')} {base64.b64encode(too_late).decode()}\n".encode(),
    ):
        verdict = judge(cosign(SIGNED, "w2", "w3") + line, trust(policy=POLICY))
        assert verdict.code == 40
        assert verdict.reason == "checkpoint: cosignature of 'w1' does not verify"
        # To whoever does not know the witness it is a stranger's line.
        assert judge(cosign(SIGNED, "w2", "w3") + line, trust()).code == 10


def test_every_flipped_bit_of_a_cosigned_checkpoint_costs_the_quorum() -> None:
    note = cosign(SIGNED, "w1", "w2")
    for bit in range(0, len(note) * 8, 11):
        verdict = check(
            {**bundle_of(RECEIPTS), "checkpoint": flip(note, bit)}, trust(policy=POLICY)
        )
        # In a name it makes the line a stranger's; anywhere else it is noticed.
        assert verdict.code in (10, 40), (bit, verdict)


def test_a_kept_checkpoint_lends_its_cosignatures_to_equal_evidence() -> None:
    kept = cosign(SIGNED, "w2", "w3", at=TODAY - HOUR)
    assert judge(SIGNED, trust(kept, policy=POLICY)).code == 0
    both = judge(cosign(SIGNED, "w2", at=TODAY), trust(kept, policy=POLICY, max_age_s=60))
    assert both.code == 50
    (verdict,) = verify.verify_lines(
        [line.rstrip(b"\n") for line in export_lines(RECEIPTS)], trust(kept, policy=POLICY)
    )
    assert verdict.code == 0
    assert verdict.reason.startswith("equal to the checkpoint that you hold; cosigned by w2, w3")
    proof = format_proof(RECEIPTS[2], [r.leaf_hash for r in RECEIPTS], SIGNED)
    assert verify.verify_proof(proof, trust(kept, policy=POLICY)).code == 0
    assert verify.verify_proof(proof, trust(policy=POLICY)).code == 10


def test_a_kept_checkpoint_with_a_bad_cosignature_can_not_be_used() -> None:
    bad = cosign(checkpoint_of(build(3)), "w1").replace(b" w1.", b" w2.")
    assert trust(bad, policy=POLICY)
    line = WITNESSES["w1"].line("another text\n", witness_name("w1"), TODAY)
    with pytest.raises(verify.Unusable, match="known checkpoint: cosignature of 'w1'"):
        trust(SIGNED + line.encode(), policy=POLICY)


def test_two_trees_of_one_size_are_shown_side_by_side() -> None:
    forged = forge(RECEIPTS, 2, rename)
    ours, theirs = cosign(SIGNED, "w1", "w2"), cosign(checkpoint_of(forged), "w2", "w3")
    verdict = check(bundle_of(forged, theirs), trust(ours, policy=POLICY))
    assert verdict.code == 30
    assert "equivocation, its key signed both, and w2 cosigned both" in verdict.reason
    assert verdict.evidence == (ours.decode(), theirs.decode())
    said = verify.describe_verdict(verdict)
    for note in verdict.evidence:
        for line in note.splitlines():
            assert line in said
    unsigned = check(bundle_of(forged, theirs), verify.gather_trust([], [ours]))
    assert unsigned.code == 30
    assert "equivocation" not in unsigned.reason
    unwitnessed = check(bundle_of(forged, checkpoint_of(forged)), trust(ours))
    assert unwitnessed.reason.endswith("its key signed both")


def test_several_kept_checkpoints_are_all_held_to() -> None:
    forged = forge(RECEIPTS, 3, rename)
    early, late = checkpoint_of(RECEIPTS[:2]), checkpoint_of(RECEIPTS)
    foreign = checkpoint_of(build(3, ZETA))
    keys = [OWNER.vkey(), OWNER.vkey(ZETA)]
    assert judge(SIGNED, trust(early, late, foreign, vkeys=keys)).code == 10
    assert check(bundle_of(forged, checkpoint_of(forged)), trust(early)).code == 10
    assert check(bundle_of(forged, checkpoint_of(forged)), trust(early, late)).code == 30
    assert judge(SIGNED, trust(foreign, vkeys=keys)).code == 40
    lines = [line.rstrip(b"\n") for line in export_lines(forged)]
    verdicts = verify.verify_lines(lines, trust(early, late, foreign, vkeys=keys))
    assert [v.code for v in verdicts] == [30]
    assert verdicts[0].evidence == (late.decode(),)


def test_a_kept_checkpoint_of_an_empty_log_contradicts_nothing() -> None:
    root = base64.b64encode(verify.EMPTY_ROOT).decode()
    assert judge(SIGNED, trust(OWNER.sign(f"{ACME}\n0\n{root}\n"))).code == 10


def test_of_several_logs_the_worst_verdict_is_the_exit_code() -> None:
    def worst(*codes: int) -> int:
        return verify.worst_code(verify.Verdict(code, "") for code in codes)

    assert worst(50, 40) == 40
    assert worst(50, 30) == 30
    assert worst(0, 10, 20) == 20
    assert worst(0, 50, 20) == 50
    assert worst(0, 0) == 0


# Keys that are rotated by tree size


def test_a_key_does_not_vouch_for_a_tree_beyond_its_last_size() -> None:
    new = Key(3)
    limited = f"{OWNER.vkey()}:4"
    over = judge(SIGNED, trust(vkeys=[limited]))
    assert over.code == 40
    assert "signed size 5, beyond its 4" in over.reason
    assert judge(SIGNED, trust(vkeys=[f"{OWNER.vkey()}:5"])).code == 10
    text = verify.parse_note(SIGNED).text
    overlap = SIGNED + new.line(text, ACME).encode()
    both = judge(overlap, trust(vkeys=[limited, new.vkey()]))
    assert both.code == 10
    assert "beyond its 4" in both.warnings[0]
    # What the policy names without a limit does not lift the limit.
    assert judge(SIGNED, trust(vkeys=[limited], policy=POLICY)).code == 40
    with pytest.raises(verify.Unusable):
        trust(vkeys=["nonsense:4"])


# What the caller says in words


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604800)]
)
def test_an_age_has_a_unit(text: str, seconds: int) -> None:
    assert verify.parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1.5h", "\N{ARABIC-INDIC DIGIT TWO}h"])
def test_an_age_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an age such as"):
        verify.parse_age(text)


def test_a_moment_has_a_zone() -> None:
    assert verify.parse_moment("2030-03-17T17:46:40Z") == TODAY
    assert verify.parse_moment("2030-03-17T18:46:40+01:00") == TODAY
    with pytest.raises(ValueError, match="with its zone"):
        verify.parse_moment("2030-03-17T17:46:40")


@pytest.mark.parametrize("policy", [None, b"quorum none\n"])
def test_an_age_without_a_quorum_is_misuse(policy: bytes | None) -> None:
    with pytest.raises(verify.Unusable, match="with a quorum of witnesses only"):
        trust(policy=policy, max_age_s=60)


def test_a_policy_that_can_not_be_read_is_misuse() -> None:
    change: Callable[[bytes], bytes] = lambda data: data.replace(b"quorum", b"quorom")  # noqa: E731
    with pytest.raises(verify.Unusable, match="policy: line 6: no log, witness"):
        trust(policy=change(POLICY))
