"""The commands of the guide serve the shop as they stand there, but for the port."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from .server_process import python, serving, tool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/embedding.md"
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)[0]


@pytest.mark.parametrize("line", COMMANDS.splitlines())
def test_a_command_of_the_guide_serves_the_shop(line: str) -> None:
    name, *args = shlex.split(line.replace("8000", "0"))
    if "uvloop" in args:
        pytest.importorskip("uvloop")
    if name == "gunicorn":
        args += ["--no-control-socket", "--workers", "1"]
    with serving(python(*args) if name == "python" else tool(name, *args)) as server:
        assert server.ask("POST", "/take/4") == (200, {"left": 6})
        assert server.ask("POST", "/deliver/6")[0] == 202
        assert server.ask("GET", "/wait/12") == (200, {"there": 12})
        # uvicorn alone ends by the signal that it was sent.
        assert server.stop() == (-15 if name == "uvicorn" else 0)
        assert server.count("locked up with 12 left") == 1
        assert not server.count("Traceback")
