"""The README's code runs as it stands there, and prints what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autonomics.testing.page import WITHIN_S, read_blocks, read_steps, run_steps

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_program_prints_what_stands_below_it() -> None:
    program, expected = read_blocks(README, "python")[0], read_blocks(README, "text")[0]
    assert len(program.strip().splitlines()) <= 40
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    assert done.stdout == expected


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl"
)
def test_the_sessions_go_as_they_are_written(tmp_path: Path) -> None:
    """One shell runs all commands in order; an output that is not shown may be any."""
    for step, output in run_steps(read_steps(README), tmp_path, os.environ):
        assert not step.shown or step.is_met_by(output), (step, output)
    story = (tmp_path / "story.txt").read_text()
    assert "ent.quota_near_limit" in story
