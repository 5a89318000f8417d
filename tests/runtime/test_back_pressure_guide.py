"""The guide's tables and numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import attrs

from autonomics.runtime import MailboxStatistics, actor, host, state_machine, timer
from autonomics.runtime.mailbox import FEW, OnFull

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/back_pressure.md").read_text("utf-8")


def test_the_tables_list_all_policies_and_counters() -> None:
    rows = re.findall(r"^\| `(\w+)`", GUIDE, re.MULTILINE)
    fields = [field.name for field in attrs.fields(MailboxStatistics)]
    assert rows == ["refuse", "block", "drop_oldest", "drop_newest", *fields]
    assert set(rows) - set(fields) == set(get_args(OnFull))


def test_its_numbers_are_those_of_the_code() -> None:
    text = " ".join(GUIDE.split())
    for said in (
        f"lets others run after {actor.BATCH} messages",
        f"and as a rule after {actor.SHORT_BATCH} where",
        f"`cast_when_room`: {host.REDUCTIONS} of them",
        f"enters again: {state_machine.BURST}, beside its messages",
        f"due together: {timer.BURST}.",
        f"with {FEW} of them",
    ):
        assert said in text
