"""Callbacks that may be plain or async."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import TypeVar

T = TypeVar("T")


async def settle(answer: T | Awaitable[T]) -> T:
    """Return what a callback answered, having awaited it if it was a coroutine."""
    if isawaitable(answer):
        return await answer
    return answer
