"""What can go wrong between a caller and the local cloud, and with what runs in it."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from attrs import field, frozen

from autonomics.errors import InvalidInput

STATUS_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The name that google.rpc.Code has for a code of HTTP, where it has one alone or first."""
_MESSAGE: Final = re.compile(r"(\d{3})(?: ([A-Z_]+))?(?:: (.+))?")


@frozen
class Late:
    """Answer after so many seconds; the effect comes at their end, or at their begin."""

    by_s: float
    has_effect_first: bool = False


@frozen
class Fail:
    """Answer with an error, having done nothing: `429`, `503 UNAVAILABLE`, `404 NOT_FOUND: why`."""

    message: str = "503 UNAVAILABLE"
    retry_after_s: int | None = None
    code: int = field(init=False)
    status: str = field(init=False)
    reason: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Read the message; raise InvalidInput if it is none, or its code is no error's."""
        found = _MESSAGE.fullmatch(self.message)
        code = int(found[1]) if found is not None else 0
        name = (found[2] if found is not None else None) or STATUS_NAMES.get(code)
        if found is None or code < 400 or name is None:
            raise InvalidInput.expected("message", "like `503 UNAVAILABLE: why`", self.message)
        for attribute, value in (
            ("code", code),
            ("status", name),
            ("reason", found[3] or f"{name} by script"),
        ):
            object.__setattr__(self, attribute, value)


@frozen
class Conflict:
    """Answer as if somebody else had changed the service meanwhile."""


@frozen
class Lost:
    """Break the connection before or after the effect: the caller can't know which."""

    has_effect: bool = True


@frozen
class Hang:
    """Never answer, with or without the effect: the caller's deadline has to end it."""

    has_effect: bool = True


Fault: TypeAlias = "Late | Fail | Conflict | Lost | Hang"


@frozen
class NeverReady:
    """An image whose container does not come up: its revision fails, and gets no traffic."""

    revision_reason: str = "HEALTH_CHECK_CONTAINER_ERROR"
    message: str = (
        "The user provided container failed to start and listen on port defined by PORT=8080"
        " environment variable within the allocated timeout."
    )


@frozen
class CrashesLater:
    """An image whose container comes up, and exits so many seconds after its revision is ready.

    As on the platform the revision stays ready; only its logs, and its requests, tell.
    """

    after_s: float = 0.0
    exit_code: int = 1


Fate: TypeAlias = "NeverReady | CrashesLater"
