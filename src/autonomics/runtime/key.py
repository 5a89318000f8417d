"""What may stand for a thing in a table: any hashable value."""

from __future__ import annotations

from typing import Any

import attrs

from autonomics.errors import InvalidInput


def check_hashable(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse a value that can't be a key; an attrs validator."""
    try:
        hash(value)
    except TypeError:
        raise InvalidInput.expected(attribute.name, "hashable", value) from None
