"""Google's two ways to name a part of a message, read and applied.

`fields` (a system parameter of every method) selects what an answer holds: `name,template/scaling`
or `template(containers(image))`. `updateMask` (google.protobuf.FieldMask) says what a patch sets:
dotted paths, of which only the last segment may be a list or a map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, cast

from autonomics.errors import InvalidInput

Selection = dict[str, "Selection"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_@*-]+|[(),/.]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_fields(text: str) -> Selection:
    """Read a `fields` selector into a tree; a leaf selects everything below it."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text.replace(" ", ""):
        raise InvalidInput.expected("fields", "names joined by , / ( )", text)
    selection, rest = _parse_list(tokens, text)
    if rest:
        raise InvalidInput.expected("fields", "with each bracket opened", text)
    return selection


def _parse_list(tokens: list[str], text: str) -> tuple[Selection, list[str]]:
    found: Selection = {}
    while True:
        node = found
        while True:
            if not tokens or tokens[0] in "(),/.":
                raise InvalidInput.expected("fields", "without an empty name", text)
            name, tokens = tokens[0], tokens[1:]
            node = node.setdefault(name, {})
            if not tokens or tokens[0] not in "/.":
                break
            tokens = tokens[1:]
        if tokens and tokens[0] == "(":
            inner, tokens = _parse_list(tokens[1:], text)
            if not tokens or tokens[0] != ")":
                raise InvalidInput.expected("fields", "with each bracket closed", text)
            node.update(inner)
            tokens = tokens[1:]
        if not tokens or tokens[0] != ",":
            return found, tokens
        tokens = tokens[1:]


def select(value: object, selection: Selection) -> Any:
    """Give a copy of what is selected; a list is selected element by element."""
    if not selection or "*" in selection:
        return deepcopy(value)
    if isinstance(value, list):
        return [select(item, selection) for item in cast("list[object]", value)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value)
        return {name: select(pairs[name], selection[name]) for name in selection if name in pairs}
    return value


def parse_mask(text: str) -> tuple[tuple[str, ...], ...]:
    """Read an `updateMask` into its paths."""
    paths = tuple(tuple(path.split(".")) for path in text.split(","))
    for path in paths:
        if path != ("*",) and not all(_NAME.fullmatch(segment) for segment in path):
            raise InvalidInput.expected(
                "updateMask", "dotted paths of field names", ".".join(path) or text
            )
    return paths
