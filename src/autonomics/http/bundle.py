"""A bundle as a tar stream, the same bytes for the same files."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath

import trio

from autonomics.errors import InvalidInput

MEDIA_TYPE = "application/x-tar"


async def stream_tar(files: Iterator[tuple[str, bytes]]) -> AsyncIterator[bytes]:
    """Yield a tar archive of the files in their order; no time, owner or mode of ours is in it."""
    written = 0
    for path, data in files:
        _expect_inside(path)
        entry = tarfile.TarInfo(path)
        entry.size = len(data)
        entry.mode = 0o644
        header = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        padding = -len(data) % tarfile.BLOCKSIZE
        written += len(header) + len(data) + padding
        yield header
        yield data + bytes(padding)
        # The bytes may come out of memory without a wait; others want to be served in between.
        await trio.lowlevel.checkpoint()
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(written + end) % tarfile.RECORDSIZE)


def _expect_inside(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise InvalidInput.expected("path", "relative and inside the bundle", path)
