"""The types that a user of the library sees are complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autonomics

PYRIGHT = Path(sys.executable).parent / "pyright"


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
