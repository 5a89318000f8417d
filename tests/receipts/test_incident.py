"""The evidence of one incident: what is proven, what is told, and what does not leave."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from autonomics.errors import InvalidInput
from autonomics.receipts import canonical, verify
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import read_bundle
from autonomics.receipts.incident import ALLOWED, TEMPLATES, export_incident, find_incident, redact
from autonomics.receipts.leaf import KINDS, RecipeRef
from autonomics.receipts.log import Receipt

from .evidence import (
    ACME,
    VERIFIER,
    build,
    bundle_of,
    checkpoint_of,
    forge,
    rename,
    trust,
)

RECIPE = RecipeRef("run.oom", "1.2.0", "ab" * 32)
SECRET = "Alice Example, alice@example.org"


def entry(kind: str, payload: object, cause: tuple[int, ...] = (), **more: Any) -> Entry:
    data = payload if isinstance(payload, bytes) else canonical.encode(payload)
    return Entry(
        kind=kind,
        actor="tenants/a",
        payload=data,
        payload_type=f"autonomics.{kind}/1",
        cause=cause,
        line_generation=0 if kind == "intent" else None,
        **more,
    )


DECISION = {
    "answer": "act",
    "code": None,
    "diagnosis": {
        "explanation": SECRET,
        "findings": [{"name": "oom", "text": SECRET, "truth": True}, {"text": SECRET}],
        "outcome": "CONFIRMED",
        "recipe": {"id": "run.oom", "version": "1.2.0", "digest": "ab" * 32},
    },
    "facts": [{"key": "k", "value": SECRET}],
    "policy": {"monitor": ["run.oom"]},
}
LIFE = (
    entry("received", {"signal": {"kind": "oom `x`\n# forged", "text": SECRET}, "by": SECRET}),
    entry("gate", {"by": SECRET}),
    entry("decided", DECISION, (1,), recipe=RECIPE),
    entry(
        "intent",
        {"action_id": "a1", "plan": {"calls": [{"call": "scale", "resource": SECRET}]}},
        (3,),
        recipe=RECIPE,
    ),
    entry("outcome", {"action_id": "a1", "calls_done": 1, "result": "done"}, (4,)),
    entry("received", {"signal": {"kind": "another"}}),
    entry("verified", b"\xff\0", (3, 5)),
    entry("decided", {"answer": "none"}, (6,)),
)
LOG = build(0, entries=LIFE)
NOTE = checkpoint_of(LOG)


def make(seq: int = 3, log: Sequence[Receipt] = LOG, note: bytes = NOTE) -> dict[str, bytes]:
    return dict(export_incident(log, note, seq, VERIFIER))


def told(files: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["incident.json"])
    return found


@pytest.mark.parametrize("seq", [1, 3, 4, 5, 7])
def test_an_incident_is_all_that_led_to_a_receipt_and_followed_from_it(seq: int) -> None:
    assert find_incident(LOG, seq) == [1, 3, 4, 5, 7]


def test_what_has_no_part_in_it_is_left_out() -> None:
    assert find_incident(LOG, 0) == [0]
    assert find_incident(LOG, 2) == [2]
    assert find_incident(LOG, 8) == [6, 8]
    for seq in (-1, 9):
        with pytest.raises(InvalidInput, match="expected seq to be of a receipt below 9"):
            find_incident(LOG, seq)


def test_every_receipt_of_it_has_a_proof_that_verifies() -> None:
    files = make()
    proofs = [name for name in files if name.startswith("proofs/")]
    assert proofs == [f"proofs/{seq:010d}.tlog-proof" for seq in (1, 3, 4, 5, 7)]
    for name in proofs:
        verdict = verify.verify_proof(files[name], trust())
        assert verdict.code == 10
        assert int(name[7:17]) == verify.parse_proof(files[name]).seq
    assert files["verify.py"] == VERIFIER
    assert files["checkpoint"] == NOTE


def test_only_a_payload_that_may_leave_whole_is_in_its_proof() -> None:
    files = make()
    present = [
        verify.verify_proof(data, trust()).present
        for name, data in files.items()
        if name.startswith("proofs/")
    ]
    states = [item["payload_is"] for item in told(files)["receipts"]]
    assert states == ["redacted", "redacted", "redacted", "whole, and proven", "redacted"]
    assert present == [0, 0, 0, 1, 0]


def test_nothing_leaves_that_is_not_on_the_list() -> None:
    for seq in range(len(LOG)):
        for name, data in make(seq).items():
            if name != "verify.py":
                assert b"Alice" not in data, name
    extra = next(data for name, data in make().items() if name.startswith("proofs/"))
    record = verify.parse_proof(extra).extra
    assert record is not None
    assert b"Alice" not in record


def test_what_is_told_of_a_decision_is_what_is_listed() -> None:
    decided = told(make())["receipts"][1]
    assert decided["payload"] == {
        "answer": "act",
        "code": None,
        "diagnosis": {
            "findings": [{"name": "oom", "truth": True}, None],
            "outcome": "CONFIRMED",
            "recipe": {"id": "run.oom", "version": "1.2.0", "digest": "ab" * 32},
        },
    }
    assert decided["leaf"]["cause"] == [1]
    assert verify.leaf_hash(LOG[3].leaf).hex() == decided["leaf_hash"]


def test_recipes_and_policies_are_named_by_their_digests() -> None:
    found = told(make())
    assert found["recipes"] == [{"id": "run.oom", "version": "1.2.0", "digest": "ab" * 32}]
    (policy,) = found["policies"]
    assert policy["seq"] == 3
    assert policy["digest"] == hashlib.sha256(b'{"monitor":["run.oom"]}').hexdigest()
    assert (found["log"], found["about"], found["causes_elsewhere"]) == (ACME, 3, [])


def test_the_same_log_and_checkpoint_give_the_same_bytes() -> None:
    again = build(0, entries=LIFE)
    assert list(export_incident(again, checkpoint_of(again), 3, VERIFIER)) == list(
        export_incident(LOG, NOTE, 3, VERIFIER)
    )
    # What was appended since does not matter: the checkpoint says which log it is.
    longer = build(0, entries=(*LIFE, entry("gate", {}, (3,))))
    assert make(log=longer) == make()
    assert make(log=longer, note=checkpoint_of(longer)) != make()


def test_the_narrative_tells_each_receipt_by_its_template() -> None:
    story = make()["narrative.md"].decode()
    assert "Recipe run.oom 1.2.0 gave the diagnosis CONFIRMED; the answer was act" in story
    assert "- 4 `intent` " in story
    assert " after 3: Act a1 was about to be attempted." in story
    assert "Act a1 ended: done, calls done 1." in story
    assert "The effect of act (none told) was read back: (none told)." in story
    # A stranger's text can neither end the line nor the quotation.
    assert 'A signal of kind `"oom ?x?\\n# forged"` became durable.' in story
    assert "A receipt of this kind was written." in make(2)["narrative.md"].decode()


def test_an_erased_payload_is_said_to_be() -> None:
    log = build(0, entries=(*LIFE, entry("erasure", {}, ref=5)))
    log[5] = attrs.evolve(log[5], salt=None, payload=None)
    files = make(log=log, note=checkpoint_of(log))
    assert told(files)["receipts"][3]["payload_is"] == "erased"
    assert "after 4: Its payload is erased." in files["narrative.md"].decode()


def test_a_log_that_is_not_the_checkpoints_is_refused() -> None:
    for log in (forge(LOG, 2, rename), LOG[:5]):
        changed = [attrs.evolve(r, leaf_hash=bytes(32)) if r.seq == 2 else r for r in log]
        with pytest.raises(InvalidInput, match="the log of the checkpoint"):
            make(log=changed)
    with pytest.raises(InvalidInput, match="of a receipt below 9"):
        make(9)


def test_the_caller_may_allow_more_or_less() -> None:
    allowed = {
        **ALLOWED,
        "autonomics.gate/1": frozenset({"by"}),
        "autonomics.outcome/1": frozenset[str](),
    }
    files = dict(export_incident(LOG, NOTE, 2, VERIFIER, allowed=allowed))
    assert told(files)["receipts"][0]["payload"] == {"by": SECRET}
    files = dict(export_incident(LOG, NOTE, 3, VERIFIER, allowed=allowed))
    assert told(files)["receipts"][3]["payload"] is None


def test_redaction_keeps_what_a_path_leads_to() -> None:
    def keep(value: object, *paths: str) -> object:
        return redact(value, frozenset(tuple(path.split(".")) for path in paths))

    value = {"a": {"b": 1, "c": [1, {"d": 2, "e": 3}]}, "f": None}
    assert keep(value) is None
    assert keep(value, "a") == {"a": None}
    assert keep(value, "a.b") == {"a": {"b": 1}}
    assert keep(value, "a.c.*.d") == {"a": {"c": [None, {"d": 2}]}}
    assert keep(value, "a.c.*") == {"a": {"c": [1, None]}}
    assert keep(value, "f", "a.b", "a.c.*", "a.c.*.d", "a.c.*.e") == value
    assert keep(value, "x", "f.g", "a.c") == {"f": None, "a": {"c": None}}
    assert keep(value, "*.b") is None


def test_templates_are_for_kinds_that_there_are_and_tell_what_is_allowed() -> None:
    assert TEMPLATES.keys() <= KINDS.keys()
    for kind, template in TEMPLATES.items():
        for path in re.findall(r"\{([a-z_.]+)\}", template):
            assert path in ALLOWED[f"autonomics.{kind}/1"]


# Reading a bundle back


@pytest.mark.parametrize("size", [1, 9, 300])
def test_a_bundle_is_read_back_as_it_was_written(size: int) -> None:
    log = build(size)
    assert read_bundle(bundle_of(log).get) == (log, checkpoint_of(log))


def test_a_bundle_with_erased_and_binary_payloads_is_read_back() -> None:
    log = build(0, entries=(*LIFE, entry("erasure", {}, ref=5)))
    log[5] = attrs.evolve(log[5], salt=None, payload=None)
    bundle = bundle_of(log)
    null = b'{"seq":5,"salt":null,"payload":null}\n'
    lines = bundle["payloads.jsonl"].splitlines(keepends=True)
    bundle["payloads.jsonl"] = b"".join([*lines[:5], null, *lines[5:]])
    assert read_bundle(bundle.get)[0] == log


def test_a_bundle_that_does_not_verify_is_not_read() -> None:
    bundle = bundle_of(LOG)
    for wrong in ({}, {**bundle, "payloads.jsonl": b""}):
        with pytest.raises(InvalidInput, match="expected bundle to be whole and consistent"):
            read_bundle(wrong.get)
