"""Holds requests and answers to the discovery documents that Google publishes of its APIs.

    run = load_document("run.v2")
    run.check_request("PATCH", "/v2/projects/p/locations/l/services/s?updateMask=traffic", body)
    run.check_response("GET", "/v2/projects/p/locations/l/services/s", 200, answer)

The documents come with google-api-python-client, which only tests need. What breaks one raises
`NotConforming`, with the method, the place of the value, the rule and the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

from autonomics.errors import InvalidInput
from autonomics.testing.field_selector import Selection, parse_fields, parse_mask

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
class Method:
    """One method of the API, as its document has it."""

    id: str
    http_method: str
    flat_path: re.Pattern[str]
    document: Schema = field(repr=False)

    def reaches(self, http_method: str, path: str) -> bool:
        """Tell whether a request goes to this method."""
        return http_method == self.http_method and self.flat_path.fullmatch(path) is not None


@frozen
class Discovery:
    """One API: its methods and the schemas of what they take and give."""

    name: str
    document: Schema = field(repr=False)
    methods: tuple[Method, ...] = field(repr=False)

    @property
    def host(self) -> str:
        """The API's own host."""
        return urlsplit(str(self.document["baseUrl"])).netloc

    def schema(self, name: str) -> Schema:
        """Find a schema by its name."""
        return cast("Schema", self.document["schemas"][name])

    def find(self, http_method: str, target: str) -> Method:
        """Find the method that a request goes to; raise NotConforming if there is none."""
        path = urlsplit(target).path
        for method in self.methods:
            if method.reaches(http_method, path):
                return method
        raise NotConforming(self.name, "request", "to a method of the API", f"{http_method} {path}")

    def check_request(self, http_method: str, target: str, body: object = None) -> Method:
        """Check method, path, query and body; `body` is parsed JSON or its bytes, None if none.

        `target` may be a whole URL; its host is not looked at. Returns the method it goes to.
        """
        method = self.find(http_method, target)
        parts = urlsplit(target)
        self._check_path(method, parts.path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self._check_query(method, query)
        found = _parse_body(method, body)
        if "request" not in method.document:
            if found is not None:
                raise NotConforming(method.id, "body", "absent", found)
        elif found is None:
            raise NotConforming(method.id, "body", "a message", found)
        else:
            _Check(self, method.id, is_request=True).check(
                "body", cast("Schema", method.document["request"]), found
            )
        return method

    def check_response(self, http_method: str, target: str, status: int, body: object) -> Method:
        """Check an answer: the method's schema below 400, else google.rpc.Status in `error`."""
        method = self.find(http_method, target)
        found = _parse_body(method, body)
        if status < 400:
            schema = cast("Schema", method.document["response"])
            _Check(self, method.id, is_request=False).check("body", schema, found)
        else:
            _check_error(method.id, status, found)
        return method

    def check_value(self, schema: str, value: object, *, is_request: bool = False) -> None:
        """Check one value against a schema by its name."""
        _Check(self, self.name, is_request=is_request).check("value", {"$ref": schema}, value)

    def _check_path(self, method: Method, path: str) -> None:
        template = re.escape(f"/{method.document['path']}")
        template = re.sub(r"\\{\\\+(\w+)\\}", r"(?P<\1>.+)", template)
        template = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", template)
        matched = re.fullmatch(template, path)
        if matched is None:
            raise NotConforming(method.id, "path", f"like {method.document['path']}", path)
        for name, value in matched.groupdict().items():
            pattern = method.document["parameters"][name].get("pattern", ".*")
            if re.search(pattern, unquote(value)) is None:
                raise NotConforming(method.id, f"path.{name}", f"like {pattern}", value)

    def _check_query(self, method: Method, query: list[tuple[str, str]]) -> None:
        own = cast("Schema", method.document.get("parameters", {}))
        known = {**cast("Schema", self.document["parameters"]), **own}
        seen: set[str] = set()
        for name, text in query:
            parameter = known.get(name)
            if parameter is None or parameter["location"] != "query":
                raise NotConforming(method.id, f"query.{name}", "a parameter of the method", text)
            if name in seen and not parameter.get("repeated", False):
                raise NotConforming(method.id, f"query.{name}", "given once", text)
            seen.add(name)
            self._check_parameter(method, name, parameter, text)
        for name, parameter in own.items():
            is_missing = parameter.get("required", False) and parameter["location"] == "query"
            if is_missing and name not in seen:
                raise NotConforming(method.id, f"query.{name}", "given", None)

    def _check_parameter(self, method: Method, name: str, parameter: Schema, text: str) -> None:
        place = f"query.{name}"
        if name == "fields":
            try:
                selection = parse_fields(text)
            except InvalidInput as error:
                raise NotConforming(method.id, place, "a selector", text) from error
            self._check_selection(method, cast("Schema", method.document["response"]), selection)
        elif parameter.get("format") == "google-fieldmask":
            try:
                paths = parse_mask(text)
            except InvalidInput as error:
                raise NotConforming(method.id, place, "a field mask", text) from error
            for path in paths:
                self._check_mask(method, place, path)
        else:
            value: object = text
            if parameter["type"] == "boolean":
                value = {"true": True, "false": False}.get(text, text)
            elif parameter["type"] == "integer" and re.fullmatch(r"-?\d+", text):
                value = int(text)
            _Check(self, method.id, is_request=True).check(place, parameter, value)

    def _check_mask(self, method: Method, place: str, path: tuple[str, ...]) -> None:
        """Follow a path of a mask; a list or a map may only be its last segment."""
        if path == ("*",):
            return
        schema = self.resolve(cast("Schema", method.document["request"]))
        for index, segment in enumerate(path):
            shown = ".".join(path)
            if schema.get("type") == "array" or "additionalProperties" in schema:
                rule = f"a path that ends at its list or map {'.'.join(path[:index])}"
                raise NotConforming(method.id, place, rule, shown)
            found = schema.get("properties", {}).get(segment)
            if found is None:
                raise NotConforming(method.id, place, "paths of the request's schema", shown)
            if found.get("readOnly", False):
                raise NotConforming(method.id, place, "paths that may be written", shown)
            schema = self.resolve(found)

    def _check_selection(self, method: Method, schema: Schema, selection: Selection) -> None:
        schema = self.resolve(schema)
        if schema.get("type") == "array":
            schema = self.resolve(schema["items"])
        if "additionalProperties" in schema or "*" in selection:
            return
        for name, below in selection.items():
            found = schema.get("properties", {}).get(name)
            if found is None:
                rule = "a selector of fields of the response's schema"
                raise NotConforming(method.id, "query.fields", rule, name)
            self._check_selection(method, found, below)

    def resolve(self, schema: Schema) -> Schema:
        """Follow a `$ref`."""
        return self.schema(schema["$ref"]) if "$ref" in schema else schema


@frozen
class _Check:
    """One value's way through its schema."""

    of: Discovery
    method: str
    is_request: bool

    def check(self, path: str, schema: Schema, value: object) -> None:
        resolved = self.of.resolve(schema)
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
        if name in self.of.document["schemas"]:
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


def _parse_body(method: Method, body: object) -> object:
    if not isinstance(body, bytes):
        return body
    if not body:
        return None
    try:
        return cast("object", json.loads(body))
    except ValueError:
        raise NotConforming(method.id, "body", "JSON", body) from None


def _check_error(method: str, status: int, body: object) -> None:
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


@cache
def load_document(name: str) -> Discovery:
    """Load a discovery document by API and version, such as `run.v2` or `monitoring.v3`.

    Raises ModuleNotFoundError, with what to install, where google-api-python-client is missing.
    """
    try:
        folder = files("googleapiclient") / "discovery_cache" / "documents"
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "autonomics.testing.discovery needs google-api-python-client: "
            "install it, or autonomics[dev]"
        ) from None
    try:
        document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput.expected("document", "an API and its version", name) from None
    return Discovery(name=name, document=document, methods=tuple(_methods(document)))


def _methods(node: Schema) -> Iterator[Method]:
    for found in node.get("methods", {}).values():
        flat = str(found.get("flatPath", found["path"]))
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(f"/{flat}"))
        yield Method(found["id"], found["httpMethod"], re.compile(pattern), found)
    for below in node.get("resources", {}).values():
        yield from _methods(below)
