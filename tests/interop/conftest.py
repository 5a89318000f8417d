"""An export for tools that none of us wrote; collected only where this folder is asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .export import Export

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "interop"
GO_PLACES = ("go", "/usr/lib/go-1.19/bin/go", "/usr/lib/go/bin/go")
GO_PATH = Path("/usr/share/gocode")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked = any("interop" in str(argument) for argument in config.invocation_params.args)
    return None if asked else True


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return Export(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def go_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the program that calls x/mod."""
    go = next((found for place in GO_PLACES if (found := shutil.which(place))), None)
    if go is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("needs Debian's golang-1.19-go and golang-golang-x-mod-dev")
    program = tmp_path_factory.mktemp("go") / "check"
    environment = {
        "GO111MODULE": "off",
        "GOPATH": str(GO_PATH),
        "GOCACHE": str(program.parent / "cache"),
        "GOFLAGS": "",
        "HOME": str(program.parent),
        "PATH": "/usr/bin:/bin",
    }
    source = Path(__file__).parent / "check.go"
    command = [go, "build", "-o", str(program), str(source)]
    subprocess.run(command, check=True, env=environment, cwd=program.parent)
    return program


@pytest.fixture(scope="session")
def python() -> Path:
    found = TOOLS / "venv" / "bin" / "python"
    if not found.exists():
        pytest.skip(
            f"needs an environment of its own at {found.parent.parent}: prepare.sh makes it"
        )
    return found


def need_module(python: Path, module: str) -> None:
    """Skip where the environment lacks a package."""
    done = subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"needs {module} in {python.parent.parent}")


@pytest.fixture(scope="session")
def node() -> Path:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not (TOOLS / "node_modules" / "canonicalize").exists():
        pytest.skip(f"needs npm's canonicalize in {TOOLS}")
    return TOOLS
