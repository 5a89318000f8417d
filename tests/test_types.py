"""The types that a user of the library sees are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import autonomics
from autonomics.runtime import ActorRef, Call, NamedRef, StateMachine

PYRIGHT = Path(sys.executable).parent / "pyright"
EXAMPLES = Path(__file__).parent / "typing"
GUIDE = Path(__file__).parents[1] / "docs/guides/actors.md"
ROW = re.compile(r"^\| `(.+?)` \| (.+) \|$", re.MULTILINE)
TABLE = """
from typing import assert_type
from autonomics.runtime import ActorRef
from autonomics.supervisors import which_children


class Borrow(Call[str]):
    pass


async def send(shelf: ActorRef[Shelf]) -> None:
"""
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRONG = re.compile(r"  # type: ignore\[[\w, -]+\]$", re.MULTILINE)
REPORTED = re.compile(r"(\w+\.py):(\d+)(?::\d+)?(?: -|:) error")


@pytest.mark.skipif(not PYRIGHT.exists(), reason="needs pyright beside the interpreter")
@pytest.mark.parametrize("room", ["autonomics.runtime", "autonomics.supervisors"])
def test_every_public_symbol_has_a_type_that_all_checkers_agree_on(
    room: str, tmp_path: Path
) -> None:
    """From a copy, for pyright looks for `py.typed` on the path and not behind an editable one."""
    shutil.copytree(Path(autonomics.__file__).parent, tmp_path / "autonomics")

    done = subprocess.run(
        [PYRIGHT, "--pythonpath", sys.executable, "--verifytypes", room, "--ignoreexternal"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Type completeness score: 100%" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.skipif(not PYRIGHT.exists(), reason="needs pyright beside the interpreter")
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_reports_every_wrong_line_and_no_other(checker: str, tmp_path: Path) -> None:
    """The files themselves are clean for both: there a line that is not wrong needs no ignore."""
    wrong = copy_examples(tmp_path) | copy_guide(tmp_path)
    assert len(wrong) > 50
    # Where they are the package's own sources, and not a third party's.
    source = Path(autonomics.__file__).parent.parent
    command = {
        "mypy": ["mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", "."],
        "pyright": ["pyright", "--pythonpath", sys.executable],
    }[checker]
    strict = {"include": ["."], "typeCheckingMode": "strict", "extraPaths": [str(source)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(strict), "utf-8")

    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )

    found = {(name, int(number)) for name, number in REPORTED.findall(done.stdout)}
    assert found == wrong, done.stdout + done.stderr


def test_the_types_weigh_nothing_at_run_time() -> None:
    """A machine takes its messages or none as arguments; a reference has one slot and no dict."""
    machine: Any = StateMachine
    assert machine[str, int].__origin__ is machine[str, int, object].__origin__ is StateMachine
    assert not hasattr(ActorRef.__new__(ActorRef), "__dict__")
    assert not hasattr(NamedRef.__new__(NamedRef), "__dict__")
    assert not hasattr(Call, "__asks__")


def copy_examples(folder: Path) -> set[tuple[str, int]]:
    """Copy the examples without their ignores; file and number of each line that had one."""
    wrong: set[tuple[str, int]] = set()
    for file in sorted(EXAMPLES.glob("*.py")):
        text = file.read_text("utf-8")
        marked = [n for n, line in enumerate(text.splitlines(), 1) if WRONG.search(line)]
        wrong |= {(file.name, number) for number in marked}
        (folder / file.name).write_text(WRONG.sub("", text), "utf-8")
    return wrong


def copy_guide(folder: Path) -> set[tuple[str, int]]:
    """Copy the programs of the guide, and its table's lines as code that follows the first."""
    guide = GUIDE.read_text("utf-8")
    for number, program in enumerate(PROGRAM.findall(guide)):
        (folder / f"guide_{number}.py").write_text(program, "utf-8")
    lines = ((folder / "guide_0.py").read_text("utf-8") + TABLE).splitlines()
    wrong: set[tuple[str, int]] = set()
    for line, verdict in ROW.findall(guide):
        type_ = re.fullmatch(r"an? `(\w+)`", verdict)
        lines.append(f"    assert_type({line}, {type_[1]})" if type_ else f"    {line}")
        if verdict.startswith("an error"):
            wrong.add(("guide_0.py", len(lines)))
    (folder / "guide_0.py").write_text("\n".join(lines) + "\n", "utf-8")
    return wrong
