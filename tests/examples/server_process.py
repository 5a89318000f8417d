"""A server of its own process: what it prints, what it answers, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
LIMIT_S: Final = 60
"""After so long a test fails; none ever waits for it."""


class ServerProcess:
    """One run of a server, with a port of the system's choice."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        # A session of its own, so that nothing of it can be left unnoticed.
        self.process = subprocess.Popen(
            command,
            cwd=EXAMPLES,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.text = ""
        self._news = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until so many places of its output match; list what is in the pattern's group."""
        with self._news:
            self._news.wait_for(lambda: self._is_over or self.count(pattern) >= count, LIMIT_S)
            found = [str(match) for match in re.findall(pattern, self.text)]
        assert len(found) >= count, f"{found} of {count} {pattern!r} in:\n{self.text}"
        return found

    def count(self, pattern: str) -> int:
        """Count the places of its output that match."""
        return len(re.findall(pattern, self.text))

    def open(self) -> HTTPConnection:
        """Connect to it."""
        port = int(self.wait_for(r"http://127\.0\.0\.1:(\d+)")[0])
        return HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Send a request; its status, and what the body says if that is JSON."""
        connection = self.open()
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            is_json = answer.getheader("content-type", "").startswith("application/json")
            return answer.status, json.loads(body) if is_json else None
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit status, once nothing of it is left."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        status = self.process.wait(LIMIT_S)
        # The pipe is at its end when every process that could write into it has gone.
        self._reader.join(LIMIT_S)
        assert self._is_over, f"something is left of it:\n{self.text}"
        return status

    def clear(self) -> None:
        """End what is left of it, by force."""
        if not self._is_over:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.text += line
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()


@contextmanager
def serving(command: list[str], **env: str) -> Generator[ServerProcess]:
    """Run a server for the length of a `with` block; nothing is left of it afterwards."""
    server = ServerProcess(command, env)
    try:
        yield server
    finally:
        server.clear()


def python(*args: str) -> list[str]:
    """Make the command of a program that treats every warning as an error."""
    return [sys.executable, "-W", "error", *args]


def tool(name: str, *args: str) -> list[str]:
    """Make the command of a program that is installed beside Python."""
    return [str(Path(sys.executable).with_name(name)), *args]
