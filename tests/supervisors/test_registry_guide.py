"""The programs of the guide run as they stand there, and print what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/registry_and_tasks.md"
PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS: list[tuple[str, str]] = PROGRAM.findall(GUIDE.read_text("utf-8"))


def test_every_block_is_a_program_with_its_output() -> None:
    assert len(PROGRAMS) == GUIDE.read_text("utf-8").count("```python") == 5


@pytest.mark.parametrize(
    ("text", "output"), PROGRAMS, ids=["keys", "requests", "partitions", "pool", "tasks"]
)
def test_the_programs_print_what_stands_below_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, output: str
) -> None:
    run: Callable[..., object] = trio.run

    def run_at_once(main: Any) -> None:
        run(main, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run_at_once)
    exec(compile(text, GUIDE.name, "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out == output
