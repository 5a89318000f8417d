"""Pages whose commands run as they stand: a console block is a session of one shell.

A line that begins with `$ ` is a command, and goes on while lines end in a backslash. What stands
below it is its output. `...` stands for output that nobody can foretell, or that is left out.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from autonomics.config import PREFIX

ADDRESS: Final = "127.0.0.1:8080"
WITHIN_S: Final = 90
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "@@"


@attrs.frozen
class Step:
    """A command, and the output that the page shows below it."""

    command: str
    shown: str

    def is_met_by(self, output: str) -> bool:
        """Tell whether a command that printed this did what the page shows."""
        pattern = ".*".join(re.escape(part) for part in self.shown.split("..."))
        return re.fullmatch(pattern, output, re.DOTALL) is not None


def read_blocks(page: str, language: str) -> list[str]:
    """Return what stands in the fenced blocks of a language, in order."""
    return [text for found, text in _BLOCK.findall(page) if found == language]


def read_steps(page: str) -> list[Step]:
    """Return the commands of all console blocks, in order."""
    steps: list[Step] = []
    for text in read_blocks(page, "console"):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            size = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
            steps.append(Step("\n".join(lines[:size]), "\n".join(lines[size:]).strip()))
    return steps


def run_steps(
    steps: Iterable[Step], folder: Path, environ: Mapping[str, str]
) -> list[tuple[Step, str]]:
    """Run all commands in one shell in `folder`; return each with what it printed.

    A command that ends in `&` is a server: the next one waits until it is ready, and it is stopped
    in the end. Its port is free wherever a page says 8080. AssertionError if a command fails.
    """
    ordered = list(steps)
    port = _find_port()
    script = ["set -eu"]
    for place, step in enumerate(ordered):
        command = step.command.replace(ADDRESS, f"127.0.0.1:{port}")
        script += [f"echo '{_MARK}{place}'", command]
        if command.endswith("&"):
            ready = f"curl -sf -o ready 127.0.0.1:{port}/health/ready"
            script += [
                "SERVER=$!",
                'trap "kill -TERM $SERVER; wait $SERVER" EXIT',
                f"until {ready}; do kill -0 $SERVER; sleep 0.1; done",
            ]
    said = _run("\n".join(script), folder, _settle(environ, port))
    parts = re.split(rf"^{_MARK}\d+\n", said, flags=re.MULTILINE)[1:]
    return [(step, part.strip()) for step, part in zip(ordered, parts, strict=True)]


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _settle(environ: Mapping[str, str], port: int) -> dict[str, str]:
    """Put this interpreter's commands first, and no setting but the port."""
    foreign = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    return {**foreign, "PATH": path, f"{PREFIX}PORT": str(port)}


def _run(script: str, folder: Path, environ: Mapping[str, str]) -> str:
    with subprocess.Popen(  # noqa: S603 - the commands are those of our own pages
        ["bash", "-c", script],  # noqa: S607 - readers too run the shell that they have
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
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
    last = said.rpartition(_MARK)[2]
    assert shell.returncode == 0, f"exit {shell.returncode} after command {last}\n{complaints}"
    return said
