from __future__ import annotations

import io
import sys

import pytest

from autonomics.cli.output import print_json, print_table, print_text, show_controls


def test_a_strangers_words_do_not_move_the_cursor_or_turn_the_text() -> None:
    assert show_controls("a\x1b[2Jb\r\x9b\u202ec") == r"a\x1b[2Jb\r\x9b\u202ec"
    assert show_controls("Grüße,\n\tEnde") == "Grüße,\n\tEnde"


def test_what_the_terminal_can_not_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_text("ü")
    stream.flush()
    assert stream.buffer.getvalue() == b"\\xfc\n"


def test_half_a_surrogate_pair_is_printed_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("\ud800")
    print_json({"a": "\ud800"})
    assert capsys.readouterr().out == '\\ud800\n{\n  "a": "\\ud800"\n}\n'


def test_a_table_is_as_wide_as_its_widest_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "of"), [("longer", None), ("x", True), ("\x07", False)])
    assert capsys.readouterr().out == "ID      OF\nlonger  -\nx       yes\n\\x07    no\n"
