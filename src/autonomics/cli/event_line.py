"""Events as lines on stderr: JSON for machines, words for a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from autonomics.cli.output import show_controls
from autonomics.config import Settings

WriteEvent = Callable[[str, Mapping[str, object]], None]


def open_event_lines(settings: Settings, stream: TextIO | None = None) -> WriteEvent:
    """Return what writes an event as one line, in the format that the settings ask for."""
    stream = sys.stderr if stream is None else stream
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    lay_out = _lay_out_text if is_text else _lay_out_json

    def write(event: str, fields: Mapping[str, object]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stream.write(f"{lay_out(at, event, fields)}\n")
        stream.flush()

    return write


def _lay_out_json(at: str, event: str, fields: Mapping[str, object]) -> str:
    return json.dumps({"at": at, "event": event, **fields}, default=repr)


def _lay_out_text(at: str, event: str, fields: Mapping[str, object]) -> str:
    words = [f"{name}={_word(value)}" for name, value in fields.items() if value is not None]
    return show_controls(" ".join([at[11:], event, *words])).replace("\n", "\\n")


def _word(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value) if isinstance(value, str | int) else repr(value)
    return json.dumps(text) if " " in text else text
