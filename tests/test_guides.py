"""The programs of the guides run as they stand there, and print what stands below them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

GUIDES = sorted((Path(__file__).resolve().parents[1] / "docs/guides").glob("*.md"))
PROGRAM = re.compile(
    r"^```python\n(.*?)^```$(?:(?!^```).)*^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
# They have threads, or hosts of their own, and those know no virtual clock.
ON_REAL_TIME = {"embedding.md", "watching.md"}

PROGRAMS: list[tuple[str, str, str]] = [
    (guide.name, text, output)
    for guide in GUIDES
    for text, output in PROGRAM.findall(guide.read_text("utf-8"))
]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_block_of_a_guide_is_a_program_with_its_output(guide: Path) -> None:
    count = sum(name == guide.name for name, _, _ in PROGRAMS)
    assert count == guide.read_text("utf-8").count("```python") > 0


@pytest.mark.parametrize(
    ("name", "text", "output"), PROGRAMS, ids=[name for name, _, _ in PROGRAMS]
)
def test_the_programs_print_what_stands_below_them(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    output: str,
) -> None:
    run: Callable[..., object] = trio.run

    def run_at_once(main: Any) -> None:
        run(main, clock=MockClock(autojump_threshold=0))

    if name not in ON_REAL_TIME:
        monkeypatch.setattr(trio, "run", run_at_once)
    exec(compile(text, name, "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out == output
