"""The runtime without its metrics and its trace, to count what these take of a call.

Nobody can switch them off, so the statements are taken out of the running code for as long as a
case takes. One that is not found where it is said to be ends the case: what has changed must be
looked at again.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from autonomics.runtime import Actor, ActorRef
from autonomics.runtime.mailbox import Mailbox

Cuts = Mapping[Callable[..., Any], tuple[tuple[str, str], ...]]

METRICS_AND_TRACE: Final[Cuts] = {
    ActorRef.call: (
        ("trace = caller.trace if caller is not None else TRACE.get()", "trace = None"),
    ),
    Mailbox.pop: (
        # The greatest depth.
        ("length = len(queue)\n    if length > self._peak:\n        self._note_peak(length)", ""),
        ("self.handled += 1", ""),
    ),
    # Since when the oldest message has been waiting.
    Mailbox.wake: (("self._since_s = self.now_s() if now_s is None else now_s", ""),),
    Actor._serve: (  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - to take it apart
        ("kind, message, slot, incarnation.trace = envelope", "kind, message, slot, _ = envelope"),
        ("mailbox.look()", ""),
    ),
}


@contextmanager
def without(cuts: Cuts) -> Generator[None]:
    """Run a block with these statements replaced; ValueError if one is not there just once."""
    kept = {function: function.__code__ for function in cuts}
    changed = {function: recompile(function, pairs) for function, pairs in cuts.items()}
    try:
        for function, code in changed.items():
            function.__code__ = code
        yield
    finally:
        for function, code in kept.items():
            function.__code__ = code


def recompile(function: Callable[..., Any], cuts: tuple[tuple[str, str], ...]) -> Any:
    """Compile a function's source anew with statements replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in cuts:
        if source.count(old) != 1:
            raise ValueError(
                f"expected {old!r} once in {function.__qualname__}, got {source.count(old)}"
            )
        source = source.replace(old, new)
    # Annotations stay words, as in the module that it comes from.
    scope: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{source}", dict(function.__globals__), scope)
    return scope[function.__name__].__code__
