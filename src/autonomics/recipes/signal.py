"""One message about a tenant in the form that recipes read.

All values are canonical: no float (decimals are strings), integers within ±(2^53-1), no lone
surrogate. So a signal's record can be hashed, stored and read back to an equal signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias, cast

from attrs import field, frozen

from autonomics.errors import InvalidSignal

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000
MAX_STRING: Final = 262_144
MAX_TEXT: Final = 16_384
MAX_NAME: Final = 512
MAX_INTEGER: Final = 2**53 - 1


def _check_name(_signal: object, attribute: object, value: str) -> None:
    if len(value) > MAX_NAME:
        name = getattr(attribute, "name", "value")
        raise InvalidSignal.expected(f"signal {name}", f"at most {MAX_NAME} characters", value)


def _check_labels(_signal: object, _attribute: object, value: Mapping[str, str]) -> None:
    for key, text in value.items():
        if len(key) > MAX_NAME or len(text) > MAX_NAME:
            raise InvalidSignal.expected("signal label", f"at most {MAX_NAME} characters", key)


def _check_text(_signal: object, _attribute: object, value: str) -> None:
    if len(value) > MAX_TEXT:
        raise InvalidSignal.expected("signal text", f"at most {MAX_TEXT} characters", value)


def _check_moment(_signal: object, _attribute: object, value: datetime | None) -> None:
    if value is not None and value.utcoffset() != timedelta(0):
        raise InvalidSignal.expected("signal event_at", "an aware UTC datetime", value)


@frozen(kw_only=True)
class Signal:
    """A normalised message. Empty text means that the message did not say.

    `fields` holds the whole message as it came, so that nothing is lost where `kind` is `unknown`.
    """

    kind: str = field(validator=_check_name)
    resource_type: str = field(default="", validator=_check_name)
    labels: Mapping[str, str] = field(factory=dict[str, str], validator=_check_labels)
    severity: str = field(default="", validator=_check_name)
    status: str = field(default="", validator=_check_name)
    text: str = field(default="", validator=_check_text)
    value: str | None = None
    event_at: datetime | None = field(default=None, validator=_check_moment)
    source: str = field(default="", validator=_check_name)
    message_id: str = field(default="", validator=_check_name)
    closed: bool = False
    fields: Mapping[str, Json] = field(factory=dict[str, Json])

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        return {
            "kind": self.kind,
            "resource_type": self.resource_type,
            "labels": dict(self.labels),
            "severity": self.severity,
            "status": self.status,
            "text": self.text,
            "value": self.value,
            "event_at": None if self.event_at is None else moment_text(self.event_at),
            "source": self.source,
            "message_id": self.message_id,
            "closed": self.closed,
            "fields": dict(self.fields),
        }


_STRINGS: Final = (
    "kind",
    "resource_type",
    "severity",
    "status",
    "text",
    "source",
    "message_id",
)


def parse_signal(record: object) -> Signal:
    """Read what `Signal.record` wrote; raise InvalidSignal on anything else."""
    if not isinstance(record, dict):
        raise InvalidSignal.expected("signal record", "an object", record)
    row = cast("dict[str, Json]", record)
    expected = {*_STRINGS, "labels", "value", "event_at", "closed", "fields"}
    if set(row) != expected:
        raise InvalidSignal.expected("keys of a signal record", f"{sorted(expected)}", sorted(row))
    strings = {name: _string(name, row[name]) for name in _STRINGS}
    labels, tree, closed = row["labels"], row["fields"], row["closed"]
    if not isinstance(labels, dict) or not isinstance(tree, dict) or not isinstance(closed, bool):
        raise InvalidSignal.expected("labels, fields and closed", "two objects and a flag", row)
    return Signal(
        **strings,
        labels={key: _string("label", text) for key, text in labels.items()},
        value=None if row["value"] is None else _string("value", row["value"]),
        event_at=None if row["event_at"] is None else parse_moment(row["event_at"]),
        closed=closed,
        fields=tree,
    )


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidSignal.expected(f"signal {name}", "a text", value)
    return value


def moment_text(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_moment(text: object) -> datetime:
    """Read an RFC 3339 moment; nanoseconds are cut to microseconds. Raise InvalidSignal."""
    if isinstance(text, str) and 20 <= len(text) <= 40 and text[10] in "Tt ":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            try:
                return moment.astimezone(UTC)
            except OverflowError:
                pass
    raise InvalidSignal.expected("moment", "RFC 3339 with an offset", text)


def decimal_text(value: Decimal) -> str:
    """Write a finite decimal in its one canonical form: no exponent, no trailing zero."""
    if value == 0:
        return "0"
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) + len(digits) > 400:
        raise InvalidSignal.expected("decimal", "finite and of at most 400 digits", value)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def canonical_tree(message: Mapping[Any, object]) -> dict[str, Json]:
    """Turn decoded JSON into canonical values; raise InvalidSignal beyond the limits.

    Floats become decimal texts, as do integers beyond 2^53-1; NaN and infinities keep their names.
    """
    budget = [MAX_NODES]
    tree = _canonical(message, MAX_DEPTH, budget)
    return cast("dict[str, Json]", tree)


def _canonical(value: object, depth: int, budget: list[int]) -> Json:
    budget[0] -= 1
    if depth == 0 or budget[0] < 0:
        raise InvalidSignal.expected(
            "signal", f"at most {MAX_DEPTH} levels deep and {MAX_NODES} values large", value
        )
    match value:
        case None | bool():
            return value
        case int():
            return value if -MAX_INTEGER <= value <= MAX_INTEGER else _integer_text(value)
        case float() | Decimal():
            return _number_text(value)
        case str():
            return _clean(value)
        case list() | tuple():
            items = cast("list[object]", value)
            return [_canonical(item, depth - 1, budget) for item in items]
        case Mapping():
            pairs = cast("Mapping[object, object]", value)
            return {
                _clean_key(key): _canonical(item, depth - 1, budget) for key, item in pairs.items()
            }
        case _:
            raise InvalidSignal.expected("signal", "made of JSON values", value)


def _integer_text(value: int) -> str:
    if value.bit_length() > 1024:
        raise InvalidSignal.expected("integer in a signal", "at most 1024 bits", value.bit_length())
    return str(value)


def _number_text(value: float | Decimal) -> str:
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    return decimal_text(number) if number.is_finite() else str(number)


def _clean(text: str) -> str:
    if len(text) > MAX_STRING:
        raise InvalidSignal.expected("text in a signal", f"at most {MAX_STRING} characters", text)
    if text.isascii():
        return text
    # A lone surrogate can't be written as UTF-8, which re2 and every receipt need.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean_key(key: object) -> str:
    if not isinstance(key, str) or len(key) > MAX_NAME:
        raise InvalidSignal.expected(
            "key in a signal", f"a text of at most {MAX_NAME} characters", key
        )
    return _clean(key)
