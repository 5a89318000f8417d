"""Turn a message from outside into a Signal, whatever it is.

A message of a known family gets its kind; anything else is kept whole as kind `unknown`, and no
recipe matches that. A value of the wrong type counts as not there: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from autonomics.errors import InvalidSignal
from autonomics.recipes.normalise_alert import (
    read_monitoring_incident,
    read_prometheus_alert,
    read_quota,
)
from autonomics.recipes.normalise_cloud import read_api_error, read_log_entry, read_text
from autonomics.recipes.signal import MAX_NAME, Json, Signal, canonical_tree

Tree: TypeAlias = "dict[str, Json]"

# The first reader that knows the message decides. The families with the plainest mark come first.
_READERS: Final[tuple[Callable[[Tree], dict[str, Any] | None], ...]] = (
    read_quota,
    read_monitoring_incident,
    read_log_entry,
    read_prometheus_alert,
    read_api_error,
    read_text,
)


def normalise(message: object, *, source: str = "", message_id: str = "") -> Signal:
    """Read a decoded JSON object as a Signal.

    `source` and `message_id` come from the door; without a message id, the message's own is taken.
    Raises InvalidSignal for what is no object, and beyond the limits of `signal.py`.
    """
    if not isinstance(message, Mapping):
        raise InvalidSignal.expected("signal", "a JSON object", message)
    tree = canonical_tree(cast("Mapping[Any, object]", message))
    found: dict[str, Any] | None = None
    for read in _READERS:
        found = read(tree)
        if found is not None:
            break
    known: dict[str, Any] = {"kind": "unknown"} if found is None else found
    own_id = str(known.pop("own_id", ""))
    if not message_id and len(own_id) <= MAX_NAME:
        message_id = own_id
    return Signal(source=source, message_id=message_id, fields=tree, **known)
