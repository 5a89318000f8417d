from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from autonomics.__main__ import main

READY_WITHIN_S = 40.0
STOP_WITHIN_S = 20.0


def clean_environ() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("AUTONOMICS_")}


def run_process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "autonomics", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environ(),
    )


class ServerProcess:
    """`autonomics serve` as a process; the lines of its log are read as they come."""

    def __init__(self, data: Path, *words: str) -> None:
        self.data = data
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "autonomics", "serve", "--data", str(data), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environ(),
        )
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_log(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if line.startswith("{"):
                self._lines.put(line)
        self._lines.put("")

    def _read_output(self) -> None:
        assert self.popen.stdout is not None
        self.output.extend(self.popen.stdout)

    def wait_for(self, event: str) -> dict[str, Any]:
        while line := self._lines.get(timeout=READY_WITHIN_S):
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"{event} never came, but {self.events[-3:]}")

    def wait_ready(self) -> ServerProcess:
        self.url = str(self.wait_for("serve.ready")["url"])
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.popen.wait(timeout=STOP_WITHIN_S)
        for thread in self._threads:
            thread.join(timeout=STOP_WITHIN_S)
        return code

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("AUTONOMICS_"):
            monkeypatch.delenv(name)


Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    started: list[ServerProcess] = []

    def start(data: Path, *words: str) -> ServerProcess:
        started.append(ServerProcess(data, *words))
        return started[-1]

    yield start
    for server in started:
        server.close()


@attrs.frozen
class Shell:
    """Runs command lines in this process on one data folder."""

    data: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr; for commands without a data folder."""
        self.capsys.readouterr()
        code = main(words)
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def on_data(self, *words: str) -> tuple[int, str, str]:
        return self.run(*words, "--data", str(self.data))

    def say(self, *words: str) -> str:
        code, out, err = self.on_data(*words)
        assert (code, err) == (0, ""), (code, err)
        return out

    def value(self, *words: str) -> Any:
        """Return the one JSON value that a command prints."""
        return json.loads(self.say(*words, "--json"))

    def fail(self, *words: str) -> tuple[int, str]:
        """Return exit code and the one line of a command that has to fail."""
        code, out, err = self.on_data(*words)
        return expect_one_line(code, out, err)


def expect_one_line(code: int, out: str, err: str) -> tuple[int, str]:
    assert code != 0
    assert out == ""
    assert err.startswith("autonomics: "), err
    assert err.count("\n") == 1, err
    assert err.endswith("\n"), err
    return code, err.removeprefix("autonomics: ").rstrip("\n")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell on a folder that is not there yet."""
    return Shell(tmp_path / "data", capsys)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder fresh from `init`."""
    data = tmp_path_factory.mktemp("template") / "data"
    made = run_process("init", "--data", str(data))
    assert (made.returncode, made.stderr) == (0, "")
    return data


@pytest.fixture
def new_house(shell: Shell, template: Path) -> Shell:
    """A shell on a new data folder of its own."""
    shutil.copytree(template, shell.data)
    return shell


@pytest.fixture(scope="session", params=["no server", "a server"])
def route(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A data folder that no server holds, or that one does: commands must not tell the two apart.

    All tests share the two: each uses a tenant of its own.
    """
    data = shutil.copytree(template, tmp_path_factory.mktemp("route") / "data")
    if request.param == "no server":
        yield data
        return
    server = ServerProcess(data, "--port", "0")
    try:
        server.wait_ready()
        yield data
        assert server.end() == 0
    finally:
        server.close()


@pytest.fixture(scope="session")
def served(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on a folder with the tenants acme and globex, for tests that let it live."""
    data = shutil.copytree(template, tmp_path_factory.mktemp("served") / "data")
    for tenant in ("acme", "globex"):
        made = run_process("tenants", "create", tenant, "--plan", "standard", "--data", str(data))
        assert made.returncode == 0
    server = ServerProcess(data, "--port", "0")
    try:
        yield server.wait_ready()
        assert server.end() == 0
    finally:
        server.close()


@pytest.fixture
def house(route: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell on the shared folder, by both ways."""
    return Shell(route, capsys)


def digest_folder(folder: Path) -> Mapping[str, bytes | None]:
    """Give everything below a folder by name, folders as None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
