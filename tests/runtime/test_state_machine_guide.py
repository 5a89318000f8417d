"""The guide's tables name every event, action and answer."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from autonomics.runtime import state_event

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/state_machine.md").read_text("utf-8")


def test_the_tables_list_all_events_actions_and_answers() -> None:
    named = set(re.findall(r"^\| `(\w+)", GUIDE, re.MULTILINE))
    known = {
        name
        for name, kind in vars(state_event).items()
        if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == state_event.__name__
    }
    assert named == known - {"Initial", "Unchanged", "Postpone"} | {"POSTPONE", "Stop"}
