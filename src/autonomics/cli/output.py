"""What commands print: one JSON value for programs, aligned columns for people."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def print_json(value: Any) -> None:
    """Print one JSON value; ASCII, so that no terminal and no half surrogate spoils it."""
    print(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print one JSON value on a line of its own, at once."""
    print(json.dumps(value, separators=(",", ":")), flush=True)


def print_text(text: str) -> None:
    """Print what may hold a stranger's words: control characters are shown, not obeyed."""
    encoding = sys.stdout.encoding or "utf-8"
    print(show_controls(text).encode(encoding, "backslashreplace").decode(encoding))


def show_controls(text: str) -> str:
    """Write control characters, and those that turn the direction of text, as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[place]) for row in [list(head), *cells]) for place in range(len(head))]
    for row in [[name.upper() for name in head], *cells]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_text(line.rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ("yes" if value else "no") if isinstance(value, bool) else show_controls(str(value))
