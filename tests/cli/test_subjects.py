from __future__ import annotations

from pathlib import Path

from .conftest import Shell


def test_a_person_is_found_and_erased(house: Shell, tmp_path: Path) -> None:
    house.say("tenants", "create", "people")
    message = tmp_path / "message.json"
    message.write_text('{"textPayload": "Dana@example.com has called"}')
    house.say("signal", "people", str(message))
    found = house.value("subjects", "find", "dana@example.com")["receipts"]
    assert "received" in {row["kind"] for row in found}
    done = house.value("subjects", "erase", "dana@example.com", "--reason", "asked for it")
    assert done == {"erased": found, "kept": []}
    shown = house.value("receipts", "people")["receipts"]
    assert "dana" not in str(shown).casefold()
    assert [row["erased"] for row in shown if row["kind"] == "received"] == [True]
    code, line = house.fail("subjects", "erase", "dana@example.com", "--reason", "again")
    assert (code, line.partition(";")[0]) == (1, "no payload names this subject")


def test_what_is_kept_is_told_with_its_reason(house: Shell) -> None:
    house.say("tenants", "create", "solo", "--name", "erin@example.com")
    out = house.say("subjects", "erase", "erin@example.com", "--reason", "asked")
    assert "without it the tenant would be unknown" in out
    assert "Erased 0 payloads; 1 are kept." in out


def test_whom_nothing_names_is_refused(house: Shell) -> None:
    code, line = house.fail("subjects", "find", "nobody@example.com")
    assert (code, line.partition(";")[0]) == (1, "no payload names this subject")


def test_a_reason_is_required_and_may_not_name_the_person(house: Shell) -> None:
    assert house.fail("subjects", "erase", "x@example.com")[0] == 2
    line = house.fail("subjects", "erase", "x@example.com", "--reason", "X@example.com asked")[1]
    assert line.startswith("expected reason to be 1 to 500 characters that don't name the subject")
