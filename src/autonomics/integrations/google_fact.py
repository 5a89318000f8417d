"""Answering a question about Google's world: arguments checked, deadline held, failures told."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import trio

from autonomics.errors import EffectFailed, InvalidInput
from autonomics.integrations.google_api import one_line
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.recipes.signal import Json

Answer = Callable[[FactRequest], Awaitable[dict[str, Json]]]


async def answer_fact(request: FactRequest, clock: Callable[[], datetime], answer: Answer) -> Fact:
    """Answer within the request's deadline; dated by its begin, for that is what it is sure of."""
    read_at = clock()
    try:
        with trio.fail_after(request.timeout_s):
            value = await answer(request)
    except trio.TooSlowError:
        error = f"no answer within {request.timeout_s:g} s"
    except (EffectFailed, InvalidInput) as failure:
        error = one_line(str(failure))
    else:
        return Fact(key=request.key, value=value, read_at=read_at)
    return Fact(key=request.key, read_at=read_at, error=error)


def check_arguments(
    request: FactRequest, required: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """Raise InvalidInput if an argument is missing or unknown."""
    known = {*required, *optional}
    for name in required:
        if name not in request.args:
            raise InvalidInput(f"expected {request.call} to have the argument {name}")
    for name in request.args:
        if name not in known:
            raise InvalidInput(f"unknown argument {suggest(name, known)} of {request.call}")


def suggest(name: str, known: Iterable[str]) -> str:
    """Show an unknown name, with the known one that is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"{name!r} (did you mean {near[0]}?)" if near else repr(name)


def read_integer(request: FactRequest, name: str, default: int, low: int, high: int) -> int:
    """Read an argument that is a number; raise InvalidInput outside its bounds."""
    text = request.args.get(name, str(default))
    is_number = text.isascii() and text.isdecimal() and len(text) <= 9
    if not is_number or not low <= int(text) <= high:
        raise InvalidInput.expected(name, f"an integer from {low} to {high}", text)
    return int(text)
