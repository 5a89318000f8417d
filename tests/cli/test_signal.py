from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from autonomics.service import read_library

from .conftest import Shell

LIBRARY = dict(read_library())


@pytest.fixture
def kill(tmp_path: Path) -> str:
    """A file with the log entry of a Cloud Run instance that was killed for memory."""
    path = tmp_path / "kill.json"
    path.write_bytes(LIBRARY["run/fixtures/kill.json"])
    return str(path)


def test_a_signal_is_decided_and_its_story_is_told_from_any_of_its_receipts(
    house: Shell, kill: str
) -> None:
    house.say("tenants", "create", "told")
    out = house.say("signal", "told", kill)
    assert "diagnosis   LIKELY run.oom_memory_limit" in out
    decided = out.rpartition("autonomics explain ")[2].strip()
    story = house.say("explain", decided)
    for text in (
        "received: gcp_log_entry",
        "decided: refuse: evidence_short",
        "evidence    found: kill_line (required), weight 3",
        "refused     run.oom_memory_limit may not act",
        "next step   look at the evidence",
        "state       from stable to warning",
    ):
        assert text in story
    received = story.split()[1]
    assert received != decided
    assert house.say("explain", received) == story
    kinds = [row["kind"] for row in house.value("explain", received)["receipts"]]
    assert kinds == ["received", "decided"]


def test_a_signal_is_answered_with_one_json_value(house: Shell, kill: str) -> None:
    house.say("tenants", "create", "valued")
    answer = house.value("signal", "valued", kill)
    assert answer["decision"]["answer"] == "refuse"
    assert answer["duplicate"] is False


def test_a_key_makes_a_repetition_harmless(house: Shell, kill: str) -> None:
    house.say("tenants", "create", "twice")
    first = house.value("signal", "twice", kill, "--key", "one")
    again = house.value("signal", "twice", kill, "--key", "one")
    assert again["duplicate"] is True
    assert again["receipts"] == first["receipts"]
    assert "the first answer" in house.say("signal", "twice", kill, "--key", "one")


def test_a_signal_may_come_from_standard_input(
    house: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.say("tenants", "create", "piped")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"kind": "none such"}')))
    assert "no recipe matches" in house.say("signal", "piped", "-")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"[1]", "object"), (b"\xff", "UTF-8"), (b"{", "JSON"), (b"", "JSON")],
)
def test_what_is_no_json_object_is_refused_in_one_line(
    house: Shell, tmp_path: Path, content: bytes, says: str
) -> None:
    if "unread" not in house.say("tenants", "list"):
        house.say("tenants", "create", "unread")
    path = tmp_path / "signal"
    path.write_bytes(content)
    code, line = house.fail("signal", "unread", str(path))
    assert code == 1
    assert says in line


def test_a_file_that_is_not_there_is_told(house: Shell, tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert (
        house.fail("signal", "x", str(path))[1] == f"can't read {path}: no such file or directory"
    )


def test_a_tenant_that_is_not_there_is_told(house: Shell, kill: str) -> None:
    assert house.fail("signal", "nobody", kill)[1].startswith("nobody has created tenant 'nobody'")


def test_a_receipt_that_is_not_there_is_told(house: Shell) -> None:
    assert house.fail("explain", "platform.99999")[1].startswith("there is no receipt")
    assert house.fail("explain", "no/such")[0] == 1


def test_the_log_is_printed_in_order_and_in_pages(house: Shell, tmp_path: Path) -> None:
    house.say("tenants", "create", "paged")
    path = tmp_path / "signal.json"
    path.write_text(json.dumps({"kind": "none such"}))
    for _ in range(3):
        house.say("signal", "paged", str(path))
    whole = house.value("receipts", "paged")
    assert whole["next"] is None
    seqs = [row["seq"] for row in whole["receipts"]]
    assert seqs == list(range(len(seqs)))
    page = house.value("receipts", "paged", "--after", "1", "--limit", "2")
    assert [row["seq"] for row in page["receipts"]] == [2, 3]
    assert page["next"] == 3
    lines = house.say("receipts", "paged").splitlines()
    assert len(lines) == len(seqs)
    assert lines[-1].endswith("decided: do nothing: no_recipe")


def test_the_houses_own_log_is_called_platform(house: Shell) -> None:
    house.say("tenants", "create", "noted")
    out = house.say("receipts", "platform")
    assert "tenant: created, tenant noted, by control-socket" in out
    assert "key: created" in out


def test_the_log_of_nobody_is_told(house: Shell) -> None:
    assert house.fail("receipts", "nobody")[1].startswith("there is no tenant 'nobody'")
