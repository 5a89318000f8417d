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
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

from autonomics.errors import InvalidInput
from autonomics.testing.discovery_schema import (
    NotConforming,
    Schema,
    SchemaCheck,
    check_error,
)
from autonomics.testing.field_selector import Selection, parse_fields, parse_mask


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
            self._checker(method.id, is_request=True).check(
                "body", cast("Schema", method.document["request"]), found
            )
        return method

    def check_response(self, http_method: str, target: str, status: int, body: object) -> Method:
        """Check an answer: the method's schema below 400, else google.rpc.Status in `error`."""
        method = self.find(http_method, target)
        found = _parse_body(method, body)
        if status < 400:
            schema = cast("Schema", method.document["response"])
            self._checker(method.id, is_request=False).check("body", schema, found)
        else:
            check_error(method.id, status, found)
        return method

    def check_value(self, schema: str, value: object, *, is_request: bool = False) -> None:
        """Check one value against a schema by its name."""
        self._checker(self.name, is_request=is_request).check("value", {"$ref": schema}, value)

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
            self._checker(method.id, is_request=True).check(place, parameter, value)

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

    def _checker(self, method: str, *, is_request: bool) -> SchemaCheck:
        return SchemaCheck(self.document["schemas"], method, is_request)

    def resolve(self, schema: Schema) -> Schema:
        """Follow a `$ref`."""
        return self.schema(schema["$ref"]) if "$ref" in schema else schema


def _parse_body(method: Method, body: object) -> object:
    if not isinstance(body, bytes):
        return body
    if not body:
        return None
    try:
        return cast("object", json.loads(body))
    except ValueError:
        raise NotConforming(method.id, "body", "JSON", body) from None


__all__ = ["Discovery", "Method", "NotConforming", "load_document"]


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
