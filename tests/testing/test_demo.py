"""The demo keeps what it promises, and its parts notice when it does not."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from autonomics.errors import CommandFailed, InvalidConfig, InvalidSignal
from autonomics.recipes.normalise import normalise
from autonomics.supervisors import TreeNode
from autonomics.telemetry import emit
from autonomics.testing import demo
from autonomics.testing.demo import add_arguments, next_command, run_demo
from autonomics.testing.demo_audit import (
    Audit,
    Finding,
    flip_a_byte,
    run_verifier,
    write_bundle,
)
from autonomics.testing.demo_load import Tally
from autonomics.testing.demo_signal import everyday, malformed, quota_report, read_samples, wrap
from autonomics.testing.demo_view import View, Watcher, describe_result, draw_tree, summarize
from autonomics.testing.house import open_house, shipped_recipes

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "signals"
FIELDS = {
    "signals_sent",
    "acknowledged",
    "duplicates",
    "malformed",
    "diagnosed",
    "no_recipe",
    "refused",
    "decisions",
    "actions",
    "outcomes",
    "rolled_back",
    "restarts",
    "receipts",
    "lost",
    "doubled",
    "logs",
    "logs_verified",
    "tamper_detected_at",
    "diagnosis_ms",
    "signal_to_decision_ms",
}


def run(*arguments: str) -> int:
    parser = ArgumentParser()
    add_arguments(parser)
    return run_demo(parser.parse_args(arguments))


def test_the_demo_loses_nothing_doubles_nothing_and_finds_the_flipped_byte(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("--json")

    result = json.loads(capsys.readouterr().out)
    assert code == 0, result
    assert result.keys() >= FIELDS
    assert (result["lost"], result["doubled"]) == (0, 0)
    assert result["signals_sent"] >= demo.LEAST_SIGNALS
    assert result["logs"] == result["logs_verified"] == 6
    assert result["restarts"] >= 3
    assert result["duplicates"] > 0
    assert result["malformed"] > 0
    assert result["actions"].keys() == set(demo.RECIPES)
    assert result["outcomes"]["unknown"] == result["rolled_back"] == 1
    assert isinstance(result["tamper_detected_at"], int)


def test_the_demo_takes_the_signals_of_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no signals in {SHARED}")
    folder = tmp_path / "kept"

    code = run("--signals", str(SHARED), "--data", str(folder))

    out = capsys.readouterr().out
    assert code == 0, out
    assert "0 lost, 0 doubled" in out
    assert next_command(folder) in out
    assert (folder / "ledger.sqlite").is_file()
    with pytest.raises(CommandFailed, match="new or empty"):
        run("--data", str(folder))


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(CommandFailed, match="new or empty"):
        run("--data", str(path))


# Samples


def test_samples_are_read_by_path_and_line(tmp_path: Path) -> None:
    for folder, rows in (("b", [3]), ("a", [1, 2])):
        (tmp_path / folder).mkdir()
        lines = "".join(json.dumps({"payload": {"n": n}}) + "\n" for n in rows)
        (tmp_path / folder / "samples.jsonl").write_text(lines)
    assert [row["n"] for row in read_samples(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("line", ["{nonsense", "[]", '{"other": 1}', '"text"'])
def test_a_line_that_is_no_sample_is_named(line: Any, tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"payload": {}}\n' + line + "\n")
    with pytest.raises(InvalidConfig, match="samples.jsonl:2"):
        read_samples(tmp_path)


def test_a_folder_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="samples.jsonl"):
        read_samples(tmp_path)
    with pytest.raises(InvalidConfig, match=r"samples\.jsonl"):
        run("--signals", str(tmp_path))


# Traffic


def test_everyday_signals_are_the_same_each_time_and_can_be_read() -> None:
    for index in range(64):
        body = everyday(index, "acme", NOW)
        assert body == everyday(index, "acme", NOW)
        assert normalise(body, source="test").kind != "unknown", body
    assert normalise(quota_report("signals", 4, 5), source="test").kind == "quota"


def test_malformed_pushes_each_have_a_fault_of_their_own() -> None:
    bodies = {malformed(index, NOW).body.replace(b"%d" % index, b"") for index in range(8)}
    assert len(bodies) == 8
    assert malformed(3, NOW).message_id == "malformed-3"


def test_a_push_is_wrapped_as_google_does() -> None:
    push = wrap(b"{}", "m", NOW, {"tenant": "acme"})
    message = json.loads(push.body)["message"]
    assert message["messageId"] == message["message_id"] == "m"
    assert message["attributes"] == {"tenant": "acme"}
    assert message["publishTime"] == "2026-03-02T09:00:00Z"


# The audit


async def audited(house: Any, tally: Tally) -> Finding:
    audit = Audit(house.control, shipped_recipes())
    await audit.read_logs([house.handles["acme"], "platform"], tally)
    return audit.finding


async def test_an_audit_finds_nothing_wrong_with_a_good_house(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        await house.create("acme")
        decided = await house.run_out_of_memory("acme")
        await house.settle(2000)
        tally = Tally(acknowledged={decided.accepted.receipt.id: "m"})

        finding = await audited(house, tally)

    assert (finding.lost, finding.doubled, finding.replayed_differently) == ([], [], 0)
    assert finding.decisions == 2
    assert finding.actions == {"run.oom_memory_limit": 1}
    assert finding.outcomes == {"done": 1}


async def test_an_audit_names_what_was_acknowledged_and_is_not_there(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        gone = f"{house.handles['acme']}.999"

        finding = await audited(house, Tally(acknowledged={gone: "m"}, undecided=["acme.7"]))

    assert finding.lost == [gone, "acme.7"]


async def test_a_flipped_byte_is_named_by_the_verifier_in_the_bundle(tmp_path: Path) -> None:
    async with open_house() as house:
        await house.create("acme")
        for number in range(5):
            await house.say("acme", {"n": number})
        vkey = await house.control.verifier_key("acme")
        write_bundle(await house.control.export("acme"), tmp_path)

        good, _ = await run_verifier(tmp_path, vkey)
        seq = flip_a_byte(tmp_path)
        bad, verdict = await run_verifier(tmp_path, vkey)

    assert (good, bad) == (10, 40)
    assert verdict["seq"] == seq


# What is shown


def test_a_problem_is_said_for_each_promise_that_is_not_kept() -> None:
    finding = Finding(lost=["a"], doubled=["b"], logs=2, logs_verified=1, tampered_seq=3)
    finding.replayed_differently = 1
    problems = list(demo.find_problems({"diagnosis_ms": {"mean": 500.0}}, finding))
    for part in ("lost: a", "twice: b", "1 of 2 logs", "receipt 3", "differently", "500"):
        assert any(part in problem for problem in problems), part
    assert "never killed: governor, executor, receipt_writer" in problems
    assert "nothing was decided" in problems
    assert f"never acted: {', '.join(demo.RECIPES)}" in problems
    assert "nothing was rolled back" in problems
    assert "no outcome was unknown" in problems
    assert len(problems) == 11


def test_numbers_are_summarized() -> None:
    assert summarize([]) == {"mean": 0.0, "p50": 0.0, "p99": 0.0}
    assert summarize([3.0, 1.0, 2.0]) == {"mean": 2.0, "p50": 2.0, "p99": 3.0}


def test_a_tree_is_drawn_with_what_is_worth_knowing() -> None:
    leaf = TreeNode(
        "governor", "root/governor", "actor", "running", restarts=2, mailbox_depth=1,
        detail={"state": "stable", "open_acts": 0},
    )  # fmt: skip
    root = TreeNode("root", "root", "supervisor", "stopping", children=(leaf,))
    lines = draw_tree(root)
    assert lines[0] == "root [stopping]"
    assert lines[1].startswith("  governor")
    assert "restarts 2" in lines[1]
    assert "state stable" in lines[1]
    assert "open_acts" not in lines[1]


class Screen:
    def __init__(self, *, is_live: bool) -> None:
        self.is_live = is_live
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return self.is_live


@pytest.mark.parametrize("is_live", [True, False])
def test_a_view_shows_the_tree_on_a_terminal_and_lines_elsewhere(is_live: Any) -> None:
    screen: Any = Screen(is_live=is_live)
    tree = TreeNode("root", "root", "supervisor", "running")
    with Watcher() as watcher:
        view = View(screen, watcher, is_live=is_live)
        emit("child.restarted", path="root", child="line", restarts=1)
        emit("tenant.unknown", tenant="elm", command="create elm")
        view.show(tree, 3, 9, 17)

    assert watcher.restarts == 1
    assert "sent 3/9" in screen.text
    assert "restarted root/line" in screen.text
    assert "parked until `create elm`" in screen.text
    assert ("\x1b" in screen.text) is is_live


def test_a_result_is_put_into_words() -> None:
    numbers = {"mean": 1.0, "p50": 1.0, "p99": 2.0}
    result = dict.fromkeys(FIELDS, 1) | {
        "actions": {},
        "outcomes": {"done": 2},
        "diagnosis_ms": numbers,
        "signal_to_decision_ms": numbers,
    }
    text = "\n".join(describe_result(result, ["governor"] * 3))
    assert "acts       none" in text
    assert "outcomes   done 2; 1 rolled back" in text
    assert "1 lost, 1 doubled" in text


def test_what_has_no_message_is_no_signal() -> None:
    with pytest.raises(InvalidSignal):
        normalise([], source="test")
