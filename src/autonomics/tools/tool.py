"""One tool: what it takes, what it gives, what it says of itself, and what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar, Union, cast

import attrs
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from autonomics.actors.control_plane import ControlPlane
from autonomics.tools.caller import Caller
from autonomics.tools.refusal import Refusal, refuse

SHOWN: Final = 80


class Arguments(BaseModel):
    """What a tool takes: exactly the named arguments, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Gives(BaseModel):
    """What a tool gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)


A = TypeVar("A", bound=Arguments)
G = TypeVar("G", bound=Gives)


@attrs.frozen(kw_only=True)
class Tool(Generic[A, G]):
    """A row of the table of tools; `answer` returns a refusal for an act that may not be.

    A question that is answered with no is an answer. What AutonomicsError an `answer` raises is
    told to the caller as a refusal.
    """

    name: str
    title: str
    about: str
    takes: type[A]
    gives: type[G]
    answer: Callable[[ControlPlane, Caller, A], Awaitable[G | Refusal]]
    is_read_only: bool = True
    is_destructive: bool = False
    is_idempotent: bool = True
    is_open_world: bool = False

    def read(self, arguments: Mapping[str, Any]) -> A | Refusal:
        """Read the arguments; a refusal names all that is wrong with them."""
        try:
            return self.takes.model_validate(arguments)
        except ValidationError as error:
            known = tuple(self.takes.model_fields)
            wrong = "; ".join(
                _describe(cast("dict[str, Any]", row), known) for row in error.errors()
            )
            return refuse("invalid_arguments", f"{self.name}: {wrong}")

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        return self.takes.model_json_schema(schema_generator=_Terse)

    def output_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the structured content: the answer, or a refusal.

        There are clients that hold an error's content to it too, and would drop the refusal else.
        """
        either: Any = Union[self.gives, Refusal]  # noqa: UP007 - the types are values here
        schema = TypeAdapter(either).json_schema(mode="serialization", schema_generator=_Terse)
        return {"type": "object", **schema}


class _Terse(GenerateJsonSchema):
    """Leaves out the titles of members, which only repeat their names: agents pay for each word."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Say no."""
        return False


def _describe(row: dict[str, Any], known: tuple[str, ...]) -> str:
    """Say one thing that is wrong in the words of the house."""
    name = ".".join(str(step) for step in row["loc"]) or "arguments"
    match row["type"]:
        case "extra_forbidden":
            return f"unknown argument {name[:SHOWN]!a}{did_you_mean(name, known)}"
        case "missing":
            return f"expected {name} to be given, got nothing"
        case "value_error":
            return str(row["ctx"]["error"])
        case _:
            # "Input should be a valid string" and its like, for all kinds of the library.
            _, _, constraint = str(row["msg"]).partition(" should ")
            shown = ascii(row["input"])
            shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
            return f"expected {name} to {constraint or 'be otherwise'}, got {shown}"


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Return the end of a message about an unknown name."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(known)}" if known else "; it takes none"
