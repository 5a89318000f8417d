"""Lines of bytes on stdin and stdout, read and written without holding anybody up.

A read of stdin can't be interrupted, so it is done in a thread that is left behind at the end.
Rejected: making the descriptor non-blocking, which a file does not allow and which would hold for
every process that shares it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import attrs
import trio

from autonomics.http.mcp_bridge import LINE_LIMIT_BYTES, LineTooLong

CHUNK_BYTES = 65_536


@attrs.define
class StdioLines:
    """The two descriptors of one session."""

    _stdin: int
    _stdout: int
    _limit_bytes: int = LINE_LIMIT_BYTES
    _buffer: bytearray = attrs.Factory(bytearray)
    _searched: int = 0
    _is_at_end: bool = False
    _writing: trio.Lock = attrs.Factory(trio.Lock)

    async def next_line(self) -> bytes | None:
        """Return the next line; the last one may lack its newline. Raises LineTooLong."""
        is_too_long = False
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0 or (self._is_at_end and self._buffer):
                end = end if end >= 0 else len(self._buffer)
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if is_too_long or len(line) > self._limit_bytes:
                    raise LineTooLong
                return line
            if self._is_at_end:
                if is_too_long:
                    raise LineTooLong
                return None
            if len(self._buffer) > self._limit_bytes:
                is_too_long = True
                self._buffer.clear()
            self._searched = len(self._buffer)
            chunk = await trio.to_thread.run_sync(
                os.read, self._stdin, CHUNK_BYTES, abandon_on_cancel=True
            )
            self._is_at_end = not chunk
            self._buffer += chunk

    async def write_line(self, line: bytes) -> None:
        """Write a line; BrokenPipeError where nobody reads any more."""
        async with self._writing:
            write = partial(_write_all, self._stdout, line + b"\n")
            await trio.to_thread.run_sync(write, abandon_on_cancel=True)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def claimed_stdio() -> Generator[StdioLines]:
    """Give stdin and stdout to one session: whatever else is printed meanwhile goes to stderr."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield StdioLines(0, wire)
    finally:
        sys.stdout.flush()
        os.dup2(wire, 1)
        os.close(wire)
