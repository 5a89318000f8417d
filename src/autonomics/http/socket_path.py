"""Unix sockets in folders whose path is longer than a socket address may be."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

from autonomics.errors import CommandFailed

NAME = "control.sock"
ADDRESS_LIMIT_BYTES = 107
"""`sun_path` holds 108 bytes on Linux, the closing NUL among them; elsewhere a few less."""


@contextmanager
def short_address(path: Path) -> Generator[str]:
    """Give an address for `path` that fits; it holds as long as the block.

    A path that is too long is reached through its folder's descriptor, which Linux alone offers.
    Rejected: changing the working directory, which all threads share.
    """
    if len(os.fsencode(path)) <= ADDRESS_LIMIT_BYTES:
        yield str(path)
        return
    if sys.platform != "linux":
        raise CommandFailed(f"the path of the control socket is too long: {path}")
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def is_serving(path: Path) -> bool:
    """Tell whether a server answers on this socket; a stale file is no server."""
    try:
        with short_address(path) as address:
            stream = await trio.open_unix_socket(address)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return False
    except OSError as error:
        raise CommandFailed(f"can't open the control socket {path}: {error.strerror}") from None
    await stream.aclose()
    return True
