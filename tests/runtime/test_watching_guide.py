"""The guide's table has every field."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from autonomics.runtime import ActorStatus

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/watching.md").read_text("utf-8")


def test_the_table_has_every_field_of_a_status() -> None:
    (table,) = re.findall(r"\| field of `status`.*?\n\n", GUIDE, re.DOTALL)
    cells = re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)
    named = {name for cell in cells[2:] for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(attrs.fields_dict(ActorStatus))
