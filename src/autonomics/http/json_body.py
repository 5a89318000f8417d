"""Read JSON from a stranger: strict, bounded, one clear refusal for each way to be wrong.

The standard library alone would let NaN and 1e999 through to the digests, keep the last of two
equal keys, and answer deep nesting with a RecursionError.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn, cast

from autonomics.errors import DoorRefused

DEPTH_LIMIT = 64
SIZE_LIMIT_BYTES = 1024 * 1024
INTEGER_DIGITS = 400

# A string is one match even if nothing closes it, so that the scan is linear in the body's length.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(
    body: bytes, *, depth_limit: int = DEPTH_LIMIT, size_limit_bytes: int = SIZE_LIMIT_BYTES
) -> Any:
    """Return the value of a UTF-8 JSON text; DoorRefused with a code for each kind of fault."""
    if len(body) > size_limit_bytes:
        raise DoorRefused(
            f"expected the body to be at most {size_limit_bytes} bytes, got {len(body)}",
            "body_too_large",
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DoorRefused(
            f"expected the body to be UTF-8, got the byte 0x{body[error.start]:02x}"
            f" at offset {error.start}",
            "body_not_utf8",
        ) from None
    _expect_depth(body, depth_limit)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except json.JSONDecodeError as error:
        raise DoorRefused(
            f"expected the body to be one JSON value: {error.msg}"
            f" at line {error.lineno} column {error.colno}",
            "body_not_json",
        ) from None
    if "\\u" in text:
        _expect_scalars(value)
    return value


def read_json_object(
    body: bytes, *, depth_limit: int = DEPTH_LIMIT, size_limit_bytes: int = SIZE_LIMIT_BYTES
) -> dict[str, Any]:
    """Return the object that a body holds; any other JSON value is refused."""
    value = read_json(body, depth_limit=depth_limit, size_limit_bytes=size_limit_bytes)
    if not isinstance(value, dict):
        raise DoorRefused(
            f"expected the body to be a JSON object, got {_json_type(value)}", "body_not_object"
        )
    return cast("dict[str, Any]", value)


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"


def _expect_depth(body: bytes, limit: int) -> None:
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(body):
        match found[0]:
            case b"[" | b"{":
                depth += 1
                if depth > limit:
                    raise DoorRefused(
                        f"expected the body to nest at most {limit} deep,"
                        f" got more at offset {found.start()}",
                        "body_too_deep",
                    )
            case b"]" | b"}":
                depth -= 1
            case _:
                pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = next(name for name, times in counted.items() if times > 1)
        raise DoorRefused(
            f"expected the keys of an object to be different, got {_cut(twice)} twice",
            "duplicate_key",
        )
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise DoorRefused(f"expected numbers to be JSON numbers, got {name}", "number_out_of_range")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise DoorRefused(
            f"expected numbers to fit a double, got {_cut(text)}", "number_out_of_range"
        )
    return value


def _bounded(text: str) -> int:
    if len(text) > INTEGER_DIGITS:
        raise DoorRefused(
            f"expected integers to have at most {INTEGER_DIGITS} digits, got {len(text)}",
            "number_out_of_range",
        )
    return int(text)


def _expect_scalars(value: object) -> None:
    """Refuse half of a surrogate pair: no UTF-8 text and no digest can hold it."""
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise DoorRefused(
                    f"expected strings to be free of lone surrogates, got {_cut(item)}",
                    "body_not_json",
                )
        elif isinstance(item, dict):
            waiting.extend(cast("dict[object, object]", item).keys())
            waiting.extend(cast("dict[object, object]", item).values())
        elif isinstance(item, list):
            waiting.extend(cast("list[object]", item))


def _cut(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "...")
