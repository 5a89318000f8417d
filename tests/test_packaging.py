"""What is installed, and what an import costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("quart", "hypercorn", "httpx2", "cryptography", "structlog", "re2")
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")


def run(code: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def imported_by(statement: str) -> object:
    shown = f"print(json.dumps([m for m in {EXTRAS} if m in sys.modules]))"
    return run(f"import json, sys\n{statement}\n{shown}")


def test_the_base_install_needs_four_libraries() -> None:
    names = {re.split(r"[<>=~!\[ ]", line)[0] for line in PROJECT["dependencies"]}
    assert names == {"trio", "anyio", "attrs", "msgpack"}


@pytest.mark.parametrize(
    "module",
    [
        "autonomics.runtime",
        "autonomics.supervisors",
        "autonomics.receipts",
        "autonomics.gates",
        "autonomics.tenancy",
        "autonomics.recipes",
        "autonomics.telemetry",
        "autonomics.config",
        "autonomics.__main__",
        "autonomics.actors",
    ],
)
def test_a_room_is_imported_without_any_extra(module: str) -> None:
    assert imported_by(f"import {module}") == []


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_the_locked_requirements_name_no_host(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "://" in line or "index-url" in line]


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_locked_requirement_has_a_hash(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
    assert pins
    assert not [pin for pin in pins if "--hash=sha256:" not in pin]


def test_what_the_demo_installs_holds_no_development_tool() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(pytest|mypy|ruff|hypothesis|pyright)\b", text, re.MULTILINE)


def test_the_wheel_carries_recipes_and_verifier(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "autonomics/py.typed",
        "autonomics/receipts/verify.py",
        "autonomics/recipes/library/run/oom_memory_limit.toml",
        "autonomics/recipes/library/ent/quota_near_limit.toml",
        "autonomics/tenancy/support_model.toml",
    }
    assert wanted <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]
