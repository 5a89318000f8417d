"""What a supervisor remembers about one child between its incarnations."""

from __future__ import annotations

from typing import Literal

import attrs

from autonomics.runtime.actor import Kind
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.reason import ExitReason
from autonomics.supervisors.spec import ChildSpec

ChildState = Literal[
    "starting", "running", "stopping", "stopped", "waiting", "restarting", "zombie"
]


@attrs.define(eq=False)
class Child:
    """One row of a supervisor's table.

    States: `stopped` by an operator or finished; `waiting` for a group restart to reach it;
    `restarting` has a retry under way, on the queue or on a timer; `zombie` has an incarnation
    that can't be ended.

    Invariant: `incarnation` is None exactly in `stopped`, `waiting` and `restarting`, but for a
    zombie whose restart is `due`: that one stays `zombie` until its task ends.
    """

    key: str
    spec: ChildSpec
    kind: Kind = "actor"
    state: ChildState = "waiting"
    incarnation: Incarnation | None = None
    restarts: int = 0
    failed_starts: int = 0
    last_exit: ExitReason | None = None
    started_at_s: float = 0.0
    is_due: bool = False
    # A retry carries the token of its time; whoever starts or stops the child in between makes it
    # stale by counting on.
    token: int = 0
    _pause_s: float = 0.0

    def next_pause_s(self, now: float) -> float:
        """Seconds to wait before the next restart; doubles until the child has proved itself."""
        spec = self.spec
        proved = self.state != "restarting" and now - self.started_at_s > spec.spacing_most_s
        if proved or not self._pause_s:
            self._pause_s = spec.spacing_s
        else:
            self._pause_s = min(self._pause_s * 2, spec.spacing_most_s)
        return self._pause_s


@attrs.frozen
class Exited:
    """To the supervisor itself: a child's incarnation ended."""

    incarnation: Incarnation
    reason: ExitReason


@attrs.frozen
class NotStarted:
    """To the supervisor itself: an incarnation that it did not wait for has not come up in time."""

    child: Child
    incarnation: Incarnation


@attrs.frozen
class Retry:
    """To the supervisor itself: try to start this child again.

    A message and not a loop, so that API calls and a stop are served between two attempts.
    `is_paid` when the budget was charged before the pause.
    """

    child: Child
    token: int
    is_paid: bool = False
