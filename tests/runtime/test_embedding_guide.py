"""The guide's program runs as it stands there, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/embedding.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_program_prints_what_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = dict(BLOCK.findall(GUIDE))
    exec(compile(blocks["python"], "embedding.md", "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out == blocks["text"]
