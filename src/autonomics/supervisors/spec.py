"""What a supervisor is told about a child: how to start, stop and restart it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import attrs

from autonomics.errors import InvalidSpec
from autonomics.runtime import Behaviour, ExitReason, is_clean

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]


if TYPE_CHECKING:
    from typing_extensions import TypeVar as WithDefault

    B_co = WithDefault("B_co", bound=Behaviour, covariant=True, default=Any)
else:
    B_co = TypeVar("B_co", bound=Behaviour, covariant=True)


@attrs.frozen(kw_only=True)
class ChildSpec(Generic[B_co]):
    """How one child is started, stopped and restarted; all times in seconds.

    `restart`: `permanent` is always started again, `transient` unless it ended in a clean way,
    `temporary` never, and is forgotten. `grace_s` 0 cancels at once; a supervisor as child gets
    all the time it needs, whatever stands here, for a finite grace would leave its children behind.
    `confirm_s` is the wait after a cancel before a child counts as a zombie.

    `significant`: its end may end the supervisor (see `auto_shutdown`). `held`: once it is stopped
    or finished, only `restart_child` brings it back; OTP's group restarts would revive it.

    `spacing_s` is a pause before each restart, doubled up to `spacing_most_s` until the child has
    lived that long; the supervisor serves its API meanwhile. Only with a pause may a child go
    without `spends_budget`: it is then started again for ever, and its supervisor never gives up
    because of it. `beside_zombie` allows a new incarnation while the old one can't be ended.
    """

    id: str
    start: Callable[[], B_co]
    restart: Restart = "permanent"
    grace_s: float = 5.0
    init_deadline_s: float = 5.0
    confirm_s: float = 1.0
    name: str | None = None
    significant: bool = False
    held: bool = False
    spacing_s: float = 0.0
    spacing_most_s: float = 30.0
    spends_budget: bool = True
    beside_zombie: bool = False

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidSpec.expected("id", "a non-empty string", self.id)
        if not callable(self.start):
            raise InvalidSpec.expected("start", "a callable without arguments", self.start)
        check_choice("restart", get_args(Restart), self.restart)
        for name in ("grace_s", "init_deadline_s", "confirm_s", "spacing_s", "spacing_most_s"):
            check_seconds(name, getattr(self, name))
        for name in ("significant", "held", "spends_budget", "beside_zombie"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidSpec.expected(name, "a boolean", getattr(self, name))
        if self.significant and self.restart == "permanent":
            raise InvalidSpec(
                f"child {self.id!r} may not be significant: it is permanent and never ends for good"
            )
        if not self.spends_budget and not self.spacing_s:
            raise InvalidSpec(
                f"child {self.id!r} may not go without budget: it has no spacing_s and would spin"
            )

    def wants_restart(self, reason: ExitReason) -> bool:
        """Decide whether this end calls for a restart."""
        if self.restart == "transient":
            return not is_clean(reason)
        return self.restart == "permanent"


@attrs.frozen
class FailedToStartChild:
    """Why a supervisor did not start: this child did not."""

    id: str
    reason: object


def check_choice(name: str, choices: tuple[str, ...], value: object) -> None:
    """Raise InvalidSpec unless the value is one of the words."""
    if value not in choices:
        raise InvalidSpec.expected(name, f"one of {', '.join(choices)}", value)


def check_seconds(name: str, value: object) -> None:
    """Raise InvalidSpec unless the value is a number of seconds; infinity is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSpec.expected(name, "a number of seconds", value)
    if math.isnan(value) or value < 0:
        raise InvalidSpec.expected(name, "zero or more seconds", value)
