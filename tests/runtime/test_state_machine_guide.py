"""The guide's program runs as it stands there, and prints what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from autonomics.runtime import state_event

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/state_machine.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_program_prints_what_stands_below_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that jumps: the minute that the door is locked takes no time."""
    blocks = dict(BLOCK.findall(GUIDE))
    run: Callable[..., object] = trio.run

    def run_at_once(main: Any) -> None:
        run(main, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run_at_once)
    program = compile(blocks["python"], "state_machine.md", "exec")
    exec(program, {"__name__": "guide"})
    assert capsys.readouterr().out == blocks["text"]


def test_the_tables_list_all_events_actions_and_answers() -> None:
    named = set(re.findall(r"^\| `(\w+)", GUIDE, re.MULTILINE))
    known = {
        name
        for name, kind in vars(state_event).items()
        if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == state_event.__name__
    }
    assert named == known - {"Initial", "Unchanged", "Postpone"} | {"POSTPONE", "Stop"}
