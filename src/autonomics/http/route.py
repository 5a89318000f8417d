"""One row of the route table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

import attrs

from autonomics.actors.message import Role
from autonomics.http.exchange import Answer, Exchange, Refused

Method = Literal["GET", "POST", "DELETE"]

EVERYBODY: Final[frozenset[Role]] = frozenset(("operator", "admin", "tenant", "push"))
OWNERS: Final[frozenset[Role]] = frozenset(("operator", "admin", "tenant"))
ADMINS: Final[frozenset[Role]] = frozenset(("operator", "admin"))


@attrs.frozen(kw_only=True)
class Route:
    """A method on a path, who may use it, and what answers; the reference page is made of these.

    `query` lists the parameters it takes: any other is refused rather than overlooked.
    """

    method: Method
    path: str
    name: str
    roles: frozenset[Role]
    answer: Callable[[Exchange], Awaitable[Answer | Refused]]
    about: str
    query: tuple[str, ...] = ()
