"""What a value has to be by a schema of a discovery document, and by google.rpc.Status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import field, frozen

Schema = Mapping[str, Any]

_WRITABLE: Final = frozenset({"name", "etag"})
_FORMATS: Final = {
    "int64": re.compile(r"-?[0-9]{1,19}"),
    "uint64": re.compile(r"[0-9]{1,20}"),
    "google-datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"),
    "google-duration": re.compile(r"-?\d{1,12}(\.\d{1,9})?s"),
    "byte": re.compile(r"[A-Za-z0-9+/_-]*={0,2}"),
}
_NOT_A_NUMBER: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_STATUS_NAMES: Final = {
    400: {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    409: {"ABORTED", "ALREADY_EXISTS"},
    412: {"FAILED_PRECONDITION"},
    429: {"RESOURCE_EXHAUSTED"},
    499: {"CANCELLED"},
    500: {"INTERNAL", "UNKNOWN", "DATA_LOSS"},
    501: {"UNIMPLEMENTED"},
    503: {"UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}


class NotConforming(AssertionError):
    """A request or an answer is not one of the API's."""

    def __init__(self, method: str, path: str, rule: str, value: object) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 200 else f"{shown[:200]}..."
        super().__init__(f"{method}: expected {path} to be {rule}, got {shown}")
        self.method, self.path, self.rule, self.value = method, path, rule, value


@frozen
class SchemaCheck:
    """Checks values against schemas of one document; `method` stands in what is raised.

    In a request, what is read-only has to be left out.
    """

    schemas: Mapping[str, Schema] = field(repr=False)
    method: str
    is_request: bool

    def check(self, path: str, schema: Schema, value: object) -> None:
        """Check a value at a path; raise NotConforming."""
        resolved = self.schemas[schema["$ref"]] if "$ref" in schema else schema
        if "enum" in schema and value not in schema["enum"]:
            raise NotConforming(self.method, path, f"one of {schema['enum']}", value)
        match resolved.get("type"):
            case "object":
                self._check_object(path, resolved, value)
            case "array":
                if not isinstance(value, list):
                    raise NotConforming(self.method, path, "a list", value)
                for index, item in enumerate(cast("list[object]", value)):
                    self.check(f"{path}[{index}]", resolved["items"], item)
            case "any":
                pass
            case kind:
                if not _is_scalar(str(kind), resolved.get("format"), value):
                    rule = f"{kind} {resolved.get('format', '')}".strip()
                    raise NotConforming(self.method, path, rule, value)

    def _check_object(self, path: str, schema: Schema, value: object) -> None:
        pairs = _object(self.method, path, value)
        properties = cast("Schema", schema.get("properties", {}))
        others = schema.get("additionalProperties")
        if "@type" in pairs and others is not None:
            self._check_any(path, pairs)
            return
        for name, item in pairs.items():
            place = f"{path}.{name}"
            if name in properties:
                is_kept = properties[name].get("readOnly", False) and name not in _WRITABLE
                if self.is_request and is_kept:
                    raise NotConforming(self.method, place, "left out: it is read-only", item)
                self.check(place, properties[name], item)
            elif others is not None:
                self.check(place, others, item)
            else:
                rule = f"a property of {schema.get('id', 'the object')}"
                raise NotConforming(self.method, place, rule, item)

    def _check_any(self, path: str, value: Mapping[str, object]) -> None:
        """Check a google.protobuf.Any by its type, where the document knows that type."""
        words = str(value["@type"]).rpartition("/")[2].split(".")
        name = "".join(word[:1].upper() + word[1:] for word in words)
        if name in self.schemas:
            inner = {key: item for key, item in value.items() if key != "@type"}
            self.check(path, {"$ref": name}, inner)


def _is_scalar(kind: str, form: str | None, value: object) -> bool:
    match kind:
        case "string":
            pattern = _FORMATS.get(form or "")
            return isinstance(value, str) and (pattern is None or bool(pattern.fullmatch(value)))
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return is_whole and -(2**31) <= cast("int", value) < 2**32
        case "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number or value in _NOT_A_NUMBER
        case _:
            return False


def check_error(method: str, status: int, body: object) -> None:
    """Check google.rpc.Status as the HTTP mapping writes it (AIP-193)."""
    whole = _object(method, "body", body)
    if set(whole) != {"error"}:
        raise NotConforming(method, "body", "an object with one member `error`", body)
    found = _object(method, "body.error", whole["error"])
    if extra := set(found) - {"code", "message", "status", "details"}:
        raise NotConforming(method, "body.error", "code, message, status, details", sorted(extra))
    if found.get("code") != status:
        raise NotConforming(method, "body.error.code", str(status), found.get("code"))
    if not isinstance(found.get("message"), str):
        raise NotConforming(method, "body.error.message", "a text", found.get("message"))
    names = _STATUS_NAMES.get(status, {found.get("status")})
    if found.get("status") not in names:
        raise NotConforming(method, "body.error.status", f"one of {names}", found.get("status"))
    for detail in cast("list[object]", found.get("details", [])):
        if "@type" not in _object(method, "body.error.details", detail):
            raise NotConforming(method, "body.error.details", "typed objects", detail)


def _object(method: str, path: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise NotConforming(method, path, "an object", value)
    return cast("Mapping[str, object]", value)
