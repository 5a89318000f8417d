"""The README's code runs as it stands there, and prints what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN_S = 90


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(README) if found == language]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def read_session(text: str) -> list[tuple[str, str]]:
    """Split a console block into (command, expected output)."""
    steps: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        size = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
        steps.append(("\n".join(lines[:size]), "\n".join(lines[size:])))
    return steps


def test_the_program_prints_what_stands_below_it() -> None:
    program, expected = blocks("python")[0], blocks("text")[0]
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
    """One shell runs all commands in order; after each, its output is compared."""
    port = free_port()
    script = ["set -eu"]
    expected: list[str] = []
    for text in blocks("console"):
        for command, output in read_session(text):
            moved = command.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            script += [f"echo '@@{len(expected)}'", moved]
            if moved.endswith("&"):
                script += [
                    "SERVER=$!",
                    'trap "kill -TERM $SERVER; wait $SERVER" EXIT',
                    f"until curl -s -o /dev/null 127.0.0.1:{port}/health/live; do sleep 0.1; done",
                ]
            expected.append(output.strip())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AUTONOMICS_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AUTONOMICS_PORT": str(port),
    }
    with subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            said, complaints = shell.communicate(timeout=WITHIN_S)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, complaints
    outputs = [
        part.partition("\n")[2].strip() for part in re.split(r"^@@", said, flags=re.MULTILINE)[1:]
    ]
    for output, wanted in zip(outputs, expected, strict=True):
        assert not wanted or output == wanted
    story = (tmp_path / "story.txt").read_text()
    assert "ent.quota_near_limit" in story
