"""What the world gives an actor that the domain may not take for itself: time and randomness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs


@attrs.frozen
class Source:
    """`clock` gives an aware UTC datetime, `random_bytes` that many bytes fit for keys.

    `monotonic` gives seconds for measuring how long something took, and for nothing else.
    """

    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    random_bytes: Callable[[int], bytes]
