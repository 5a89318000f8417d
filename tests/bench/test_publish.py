from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import compare, gate_ir, page, plot, publish, suite


def test_results_are_kept_as_printed_and_the_page_written_from_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, list[str]] = {}
    order: list[str] = []

    for name, module in {"gate": gate_ir, "suite": suite, "compare": compare}.items():

        def measure(arguments: Sequence[str], name: str = name) -> int:
            given[name] = list(arguments)
            sys.stdout.write(json.dumps({"of": name}))
            return 1

        monkeypatch.setattr(module, "main", measure)
    for name, module in {"page": page, "plot": plot}.items():

        def write(arguments: Sequence[str], name: str = name) -> int:
            order.append(name)
            return 0

        monkeypatch.setattr(module, "main", write)
    monkeypatch.setattr(page, "RESULTS", tmp_path)

    assert publish.main(["--python", "pykka=/somewhere"]) == 0

    kept = {file.stem: json.loads(file.read_text())["of"] for file in tmp_path.iterdir()}
    assert kept == {"gate": "gate", "suite": "suite", "compare": "compare"}
    assert "--update-baseline" in given["gate"]
    assert "--python=pykka=/somewhere" in given["compare"]
    assert order == ["page", "plot"]
    assert capsys.readouterr().out == ""
