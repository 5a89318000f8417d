"""The examples run as processes of their own, and all hosts give the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

PRINTED = """\
left 6
ordered 8
left 2
locked up with 2 left
shop/stock ended before it replied: Crash(error=LookupError('4 pieces wanted, 2 there'))
left 9
locked up with 9 left
stopped
"""


@pytest.mark.parametrize("program", ["trio_program", "asyncio_service", "sync_script"])
def test_the_same_tree_gives_the_same_in_every_host(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / f"{program}.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == PRINTED
    assert done.stderr == ""


def test_every_example_is_run() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    services = {"fastapi_service", "flask_service", "django_service", "gunicorn_conf"}
    shared = {"shop_stock", "shop_portal"}
    assert programs == {"trio_program", "asyncio_service", "sync_script"} | services | shared
    tests = Path(__file__).parent.glob("test_*.py")
    text = "".join(path.read_text("utf-8") for path in tests if path != Path(__file__))
    assert [name for name in services if name not in text] == []
