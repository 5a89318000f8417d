"""A runtime with scripted children and their common log: what a supervisor's tests need."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
from trio.testing import wait_all_tasks_blocked

from autonomics import telemetry
from autonomics.runtime import ActorRef, Runtime, open_runtime
from autonomics.supervisors import ChildSpec, Supervisor
from autonomics.testing.scripted import Script, Step

Event = tuple[str, dict[str, object]]


@attrs.define
class Stage:
    """Start scripted trees in `runtime` and read in `log` what happened to them, in order."""

    runtime: Runtime
    log: list[Any] = attrs.field(factory=list[Any])
    scripts: dict[str, Script] = attrs.field(factory=dict[str, Script])

    def script(self, id: str, inits: Sequence[Step] = (None,), ending: Any = None) -> Script:  # noqa: A002 - the word of the field
        """Write a script that logs here."""
        self.scripts[id] = Script(id, self.log, inits, ending)
        return self.scripts[id]

    def child(
        self,
        id: str,  # noqa: A002 - the word of the field
        *,
        inits: Sequence[Step] = (None,),
        ending: Any = None,
        **spec: Any,
    ) -> ChildSpec:
        """Spec of a scripted child; other arguments are the ChildSpec's."""
        return ChildSpec(id=id, start=self.script(id, inits, ending), **spec)

    def sub(
        self,
        id: str,  # noqa: A002 - the word of the field
        *children: ChildSpec,
        spec: dict[str, Any] | None = None,
        **flags: Any,
    ) -> ChildSpec:
        """Spec of a supervisor as child; other arguments are the Supervisor's."""
        return ChildSpec(id=id, start=lambda: Supervisor(children, **flags), **(spec or {}))

    async def supervise(self, *children: ChildSpec, name: str = "s", **flags: Any) -> ActorRef:
        """Start a supervisor with a window so long that only a test's own limits matter."""
        with_defaults: dict[str, Any] = {"within_s": 3600, **flags}
        return await self.runtime.start(lambda: Supervisor(children, **with_defaults), name=name)

    def find(self, path: str) -> ActorRef | None:
        """Find who has the path and whose task has not ended."""
        return {ref.path: ref for ref in self.runtime.living()}.get(path)

    def at(self, path: str) -> ActorRef:
        """Find who has the path; KeyError if nobody."""
        found = self.find(path)
        if found is None:
            raise KeyError(path)
        return found

    async def crash(self, *paths: str) -> None:
        """Crash them in one step and let the consequences play out."""
        for path in paths:
            self.at(path).cast(RuntimeError("died"))
        await wait_all_tasks_blocked()


@asynccontextmanager
async def open_stage() -> AsyncGenerator[Stage]:
    """Open a runtime with an empty log."""
    async with open_runtime() as runtime:
        yield Stage(runtime)


@contextmanager
def recording(id: str = "recording") -> Generator[list[Event]]:  # noqa: A002 - the word of the field
    """Collect every telemetry event of a `with` block."""
    seen: list[Event] = []
    with telemetry.listening(id, lambda event, fields: seen.append((event, dict(fields)))):
        yield seen
