"""What a planned call means for a Cloud Run service: the body of its patch, and whether it took.

A field mask can't name an element of a list or a key of a map (google.protobuf.FieldMask), so a
path below one is sent as the whole list or map, with all else in it as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final, cast

from attrs import frozen

from autonomics.errors import EffectFailed, InvalidInput
from autonomics.recipes.effector import PlannedCall, ReadBack
from autonomics.recipes.path import MISSING, Path, parse_path, walk
from autonomics.recipes.quantity import read_number

_INDEX: Final = "#"
_SETTABLE: Final[tuple[Path, ...]] = (
    ("annotations",),
    ("labels",),
    ("scaling",),
    ("template", "containers", _INDEX, "image"),
    ("template", "containers", _INDEX, "resources"),
    ("template", "maxInstanceRequestConcurrency"),
    ("template", "scaling"),
    ("template", "timeout"),
    ("traffic",),
)
"""What a plan may name, or anything below. Facts show all of it, so that a before-image is whole:
to restore what was seen of a larger part would erase what was not, such as a container's env."""
_MAPS: Final = frozenset({"annotations", "labels"})
_OUTPUT_ONLY: Final = frozenset({"buildInfo"})
"""What containers show and a request may not hold."""


@frozen
class Change:
    """A plan's paths, and what of them goes over the wire."""

    planned: PlannedCall
    paths: Mapping[str, Path]
    wire_paths: tuple[Path, ...]

    @property
    def update_mask(self) -> str:
        """The `updateMask` that covers the plan's paths."""
        return ",".join(".".join(path) for path in self.wire_paths)

    def build_body(self, service: Mapping[str, Any]) -> dict[str, Any]:
        """Build the patch on the service as it is now: name, etag, and what the mask names.

        A path that the plan masks and does not set is cleared.
        """
        tree = deepcopy(dict(service))
        for text, path in self.paths.items():
            if text in self.planned.set:
                _put(tree, path, deepcopy(self.planned.set[text]), text)
            else:
                _clear(tree, path)
        body: dict[str, Any] = {"name": self.planned.resource, "etag": service["etag"]}
        for path in self.wire_paths:
            value = walk(tree, path)
            if value is not MISSING:
                _put(body, path, _writable(value), ".".join(path))
        return body

    def judge(self, service: Mapping[str, Any]) -> ReadBack:
        """Say whether the service has what the plan sets, or what was there before."""
        if self._holds(service, self.planned.set):
            return "applied"
        return "not_applied" if self._holds(service, self.planned.before) else "unknown"

    def _holds(self, service: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
        return all(
            _is_same(walk(service, path), values.get(text, MISSING), path)
            for text, path in self.paths.items()
        )


def read_change(planned: PlannedCall) -> Change:
    """Read a plan's paths; raise EffectFailed if one is none that a plan may set."""
    extra = sorted(set(planned.set) - set(planned.mask))
    if extra or not planned.mask:
        raise EffectFailed(f"expected the mask to name all that is set, got {extra} beside it")
    paths: dict[str, Path] = {}
    for text in planned.mask:
        try:
            paths[text] = parse_path(text)
        except InvalidInput as error:
            raise EffectFailed(str(error)) from None
        if not any(_is_below(paths[text], prefix) for prefix in _SETTABLE):
            raise EffectFailed(f"may not set {text}: it is none of the fields that plans change")
    return Change(planned, paths, _wire_paths(paths.values()))


def _is_below(path: Path, prefix: Path) -> bool:
    return len(path) >= len(prefix) and all(
        segment.isdecimal() if expected is _INDEX else segment == expected
        for segment, expected in zip(path, prefix, strict=False)
    )


def _wire_paths(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Cut each path at its first list or map, and leave out what another one covers."""
    cut = {tuple(_cut(path)) for path in paths}
    return tuple(
        sorted(
            path
            for path in cut
            if not any(other != path and path[: len(other)] == other for other in cut)
        )
    )


def _cut(path: Path) -> Iterator[str]:
    for segment in path:
        if segment.isdecimal():
            return
        yield segment
        if segment in _MAPS:
            return


def _put(node: object, path: Path, value: object, text: str) -> None:
    """Set a value; objects on the way are made, elements of lists are not."""
    segment, rest = path[0], path[1:]
    if isinstance(node, list):
        items = cast("list[object]", node)
        if not segment.isdecimal() or int(segment) >= len(items):
            raise EffectFailed(f"the service has no element for {text}")
        if rest:
            _put(items[int(segment)], rest, value, text)
        else:
            items[int(segment)] = value
        return
    if not isinstance(node, dict) or segment.isdecimal():
        raise EffectFailed(f"the service has no place for {text}")
    pairs = cast("dict[str, object]", node)
    if not rest:
        pairs[segment] = value
        return
    if pairs.get(segment) is None:
        pairs[segment] = {}
    _put(pairs[segment], rest, value, text)


def _clear(tree: object, path: Path) -> None:
    parent = walk(tree, tuple(path[:-1]))
    if isinstance(parent, dict):
        cast("dict[str, object]", parent).pop(path[-1], None)


def _writable(value: object) -> object:
    """Leave out of containers what only answers hold."""
    if not isinstance(value, list):
        return value
    return [
        {
            key: part
            for key, part in cast("dict[str, object]", item).items()
            if key not in _OUTPUT_ONLY
        }
        if isinstance(item, dict)
        else item
        for item in cast("list[object]", value)
    ]


def _is_same(present: object, expected: object, path: Path) -> bool:
    """Compare as proto3 JSON does: a zero value may be left out, and an int64 is a text.

    Quantities are compared by their size: 1Gi may come back as 1024Mi. Labels are texts.
    """
    if _is_zero(present) and _is_zero(expected):
        return True
    pair: tuple[object, object] = (present, expected)
    match pair:
        case (dict(), dict()):
            left, right = cast("tuple[dict[str, object], dict[str, object]]", pair)
            keys = left.keys() | right.keys()
            return all(
                _is_same(left.get(key, MISSING), right.get(key, MISSING), path) for key in keys
            )
        case (list(), list()):
            rows = cast("tuple[list[object], list[object]]", pair)
            return len(rows[0]) == len(rows[1]) and all(
                _is_same(left, right, path) for left, right in zip(*rows, strict=True)
            )
        case _:
            return _is_same_scalar(present, expected, is_text=path[0] in _MAPS)


def _is_same_scalar(present: object, expected: object, *, is_text: bool) -> bool:
    if isinstance(present, bool) or isinstance(expected, bool):
        return present is expected
    if present == expected:
        return True
    number = None if is_text else _read_number(present)
    return number is not None and number == _read_number(expected)


def _read_number(value: object) -> Decimal | None:
    """Read a number; a plan holds decimals as texts, an answer of the API as doubles."""
    return read_number(Decimal(repr(value)) if isinstance(value, float) else value)


def _is_zero(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_zero(part) for part in cast("dict[str, object]", value).values())
    return value is MISSING or value in (None, False, 0, "", [])


def secrets_of(service: Mapping[str, Any]) -> set[str]:
    """Collect the texts of a service's containers that may be secret: env, args and command."""
    found: set[str] = set()
    containers = walk(service, ("template", "containers"))
    for container in cast("list[object]", containers) if isinstance(containers, list) else []:
        for key in ("env", "args", "command"):
            _collect(walk(container, (key,)), found)
    return found


def _collect(value: object, found: set[str]) -> None:
    if isinstance(value, str):
        found.add(value)
    elif isinstance(value, dict):
        pairs = cast("dict[str, object]", value)
        for key, part in pairs.items():
            if key != "name":
                _collect(part, found)
    elif isinstance(value, list):
        for part in cast("list[object]", value):
            _collect(part, found)
