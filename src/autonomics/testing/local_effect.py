"""Changes that took place in the local cloud, and which of them were made twice."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from autonomics.recipes.signal import Json


@frozen(kw_only=True)
class Effect:
    """One accepted patch that changed something. `before` and `after` go by the mask's paths.

    The API carries no idempotency key, so there is none here: `etag` is what the caller sent.
    """

    resource: str
    mask: tuple[str, ...]
    before: Mapping[str, Json] = field(repr=False)
    after: Mapping[str, Json] = field(repr=False)
    generation: int
    etag: str | None
    call: str = "run.services.patch"

    @property
    def change(self) -> str:
        """Name what was asked for: the same patch has the same name, whenever it comes."""
        asked = json.dumps([self.resource, sorted(self.mask), dict(self.after)], sort_keys=True)
        return f"{hashlib.sha256(asked.encode()).hexdigest()[:12]} on {self.resource}"


def count_doubled(effects: Iterable[Effect]) -> dict[str, int]:
    """Count the effects per change, where there was more than one.

    A second patch that changes nothing is no effect. One that does, though it asks for the same,
    has undone what somebody did in between: a roll-back, or a change by hand.
    """
    counts = Counter(effect.change for effect in effects)
    return {change: count for change, count in counts.items() if count > 1}
