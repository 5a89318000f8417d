from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Shell, clean_environ

CLEARANCE = ("--root-cause", "a cause", "--fix", "a fix", "--prevention", "a prevention")


def test_the_line_is_stopped_shown_and_cleared(house: Shell) -> None:
    before = house.value("line", "status")
    assert before["stopped"] is False
    out = house.say("line", "stop", "--reason", "because")
    assert "line: because (by control-socket at " in out
    stopped = house.value("line", "status")
    assert stopped["stopped"] is True
    assert stopped["generation"] == before["generation"] + 1
    cleared = house.value("line", "clear", *CLEARANCE)
    assert cleared == {"generation": before["generation"] + 2, "stopped": False, "stops": []}
    assert house.say("line", "status").startswith("The line is running (generation ")
    assert "line: cleared, scope line" in house.say("receipts", "platform")


def test_a_scope_is_stopped_by_its_name(house: Shell) -> None:
    scope = ("--scope", "recipe:run.oom_memory_limit")
    shown = house.value("line", "stop", *scope, "--reason", "loops")
    assert [stop["reason"] for stop in shown["stops"]] == ["loops"]
    house.say("line", "clear", *scope, *CLEARANCE)


def test_a_stopped_line_refuses_an_act_with_its_next_step(house: Shell, tmp_path: Path) -> None:
    house.say("tenants", "create", "stopped", "--quota", "signals=2")
    report = tmp_path / "report.json"
    report.write_text('{"kind": "quota", "quota": "signals", "used": 2, "limit": 2}')
    house.say("line", "stop", "--reason", "an exercise")
    try:
        house.say("signal", "stopped", str(report))
        # With the second the quota is used up in the meter's own eyes too.
        out = house.say("signal", "stopped", str(report))
    finally:
        house.say("line", "clear", *CLEARANCE)
    assert "refused     " in out
    assert "(line_stopped)" in out
    assert "next step   clear the stop with root cause, fix and prevention" in out


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_to_clear_takes_all_three_texts(house: Shell, missing: int) -> None:
    words = CLEARANCE[:missing] + CLEARANCE[missing + 2 :]
    code, line = house.fail("line", "clear", *words)
    assert (code, line) == (2, f"to clear a stop takes {CLEARANCE[missing]}")


def test_what_is_not_stopped_can_not_be_cleared(house: Shell) -> None:
    assert house.fail("line", "clear", *CLEARANCE)[0] == 1


def test_a_scope_that_is_none_is_told(house: Shell) -> None:
    code, line = house.fail("line", "stop", "--scope", "world", "--reason", "r")
    assert code == 1
    assert "'world'" in line


def test_a_stop_needs_a_reason(house: Shell) -> None:
    assert house.fail("line", "stop")[0] == 2


def clear_on_a_terminal(data: Path, typed: bytes, *words: str) -> subprocess.CompletedProcess[str]:
    theirs, ours = pty.openpty()
    os.write(theirs, typed)
    try:
        return subprocess.run(
            [sys.executable, "-m", "autonomics", "line", "clear", "--data", str(data), *words],
            stdin=ours,
            capture_output=True,
            text=True,
            env=clean_environ(),
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(ours)


def test_a_terminal_is_asked_for_what_is_missing(new_house: Shell) -> None:
    new_house.say("line", "stop", "--reason", "because")
    done = clear_on_a_terminal(new_house.data, b"\na cause\na prevention\n", "--fix", "a fix")
    assert done.returncode == 0
    assert done.stderr.count("root cause (why it had to be stopped): ") == 2
    assert "fix (" not in done.stderr
    payload = new_house.value("receipts", "platform")["receipts"][-1]["payload"]
    assert (payload["root_cause"], payload["fix"], payload["prevention"]) == (
        "a cause",
        "a fix",
        "a prevention",
    )


def test_an_answer_that_is_not_given_leaves_the_stop(new_house: Shell) -> None:
    new_house.say("line", "stop", "--reason", "because")
    done = clear_on_a_terminal(new_house.data, b"a cause\n\x04")
    assert done.returncode == 2
    assert done.stderr.endswith("autonomics: the stop stands: --fix was not given\n")
    assert new_house.value("line", "status")["stopped"] is True
