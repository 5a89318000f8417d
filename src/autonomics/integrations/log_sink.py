"""Write telemetry as log lines: JSON for machines, readable text on a terminal, nothing secret.

What an event carries is all that is written. No context variable is read: a task keeps the
context of whoever started it, so an actor restarted during a request would carry its id for ever.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, cast

import attrs
import structlog

from autonomics.runtime import CrashReport
from autonomics.telemetry import Listener

LogFormat = Literal["auto", "json", "text"]

REDACTED: Final = "[redacted]"
TEXT_LIMIT: Final = 2000
DEPTH_LIMIT: Final = 6

_SECRET_NAME: Final = re.compile(
    r"(?:^|[^a-z])(?:authorization|bearer|cookie|credentials?|keys?|passphrase|passw(?:or)?d|pepper"
    r"|private|secrets?|seed|tokens?)(?:$|[^a-z])|(?:api|signing|private)key",
    re.IGNORECASE,
)
# Names that only look like secrets.
_PLAIN_NAMES: Final = frozenset(("key_id", "idempotency_key_hash"))
_SECRET_TEXT: Final = (
    (re.compile(r"aut_([0-9A-Za-z]{8})_[0-9A-Za-z]{20,}"), r"aut_\1_" + REDACTED),
    (re.compile(r"\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]+", re.IGNORECASE), r"\1 " + REDACTED),
    (
        re.compile(
            r"\b(token|secret|password|passwd|api_?key|authorization)(['\"]?\s*[=:]\s*['\"]?)"
            r"(?!\[redacted\])(?!bearer |basic )[^\s'\"&,;)}]+",
            re.IGNORECASE,
        ),
        r"\1\2" + REDACTED,
    ),
)


def _now() -> datetime:
    return datetime.now(UTC)


def open_log_sink(
    stream: TextIO | None = None,
    log_format: LogFormat = "auto",
    clock: Callable[[], datetime] = _now,
) -> Listener:
    """Return a listener for `telemetry.subscribe` that writes one line per event.

    `auto` is text where the stream is a terminal, else JSON; the stream is standard error unless
    another is given.
    """
    out: TextIO = stream or sys.stderr
    is_text = log_format == "text" or (log_format == "auto" and out.isatty())
    logger: Any = structlog.wrap_logger(
        structlog.WriteLogger(out),
        processors=[_Stamp(clock), _spread, _text_renderer(out) if is_text else _render_json],
        wrapper_class=structlog.BoundLogger,
    )

    def write(event: str, fields: Mapping[str, object]) -> None:
        logger.info(event, fields=fields)

    return write


class _Stamp:
    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def __call__(
        self, _logger: object, _method: str, line: MutableMapping[str, Any]
    ) -> Mapping[str, Any]:
        at = self._clock().astimezone(UTC).replace(tzinfo=None)
        return {"at": f"{at.isoformat(timespec='milliseconds')}Z", **line}


def _spread(
    _logger: object, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the fields beside time and event; a field of the same name gets an underscore."""
    spread: dict[str, Any] = {"at": line["at"], "event": line["event"]}
    for name, value in line["fields"].items():
        spread[f"{name}_" if name in spread else name] = redact(name, value)
    return spread


def _render_json(_logger: object, _method: str, line: MutableMapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False)


def _text_renderer(stream: TextIO) -> Callable[..., str]:
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), timestamp_key="at", pad_event_to=0, sort_keys=False
    )

    def render(logger: Any, method: str, line: MutableMapping[str, Any]) -> str:
        shown = {name: _printable(value) for name, value in line.items() if value is not None}
        return console(logger, method, shown)

    return render


def _printable(value: Any) -> Any:
    """Take the controls out of a text: a log line must not move a terminal's cursor."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    if isinstance(value, dict | list):
        return _printable(json.dumps(value))
    return value


def redact(name: str, value: object, depth: int = 0) -> Any:
    """Return a value fit for a log: JSON, bounded, without what its name or its form calls secret.

    An exception becomes its type and text; what is no JSON becomes its repr.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if name not in _PLAIN_NAMES and _SECRET_NAME.search(name):
        return REDACTED
    match value:
        case str():
            return _scrub(value)
        case float():
            return value if abs(value) < float("inf") else repr(value)
        case CrashReport():
            return redact(name, attrs.asdict(value, recurse=False), depth)
        case BaseException():
            return _scrub(f"{type(value).__name__}: {value}")
        case Mapping() if depth < DEPTH_LIMIT:
            rows = cast("Mapping[object, object]", value)
            return {_scrub(str(key)): redact(str(key), row, depth + 1) for key, row in rows.items()}
        case list() | tuple() | set() | frozenset() if depth < DEPTH_LIMIT:
            items = cast("Iterable[object]", value)
            return [redact("", item, depth + 1) for item in items]
        case _:
            return _scrub(repr(value))


def _scrub(text: str) -> str:
    for pattern, instead in _SECRET_TEXT:
        text = pattern.sub(instead, text)
    if len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}... ({len(text)} characters)"
    return text
