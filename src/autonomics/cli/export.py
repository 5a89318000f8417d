"""`export`: a tenant's log as a folder that a stranger can verify."""

from __future__ import annotations

import os
import shlex
import tarfile
import tempfile
from argparse import Namespace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask, path_to
from autonomics.errors import CommandFailed

if TYPE_CHECKING:
    from autonomics.http.client import Client


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument("tenant", metavar="TENANT", help="whose log")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder, or an empty one"
    )
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Write the bundle, and print how it is verified."""
    out: Path = options.out
    _expect_empty(out)

    async def take(client: Client) -> tuple[int, str]:
        vkey = str(await client.get(path_to("tenants", options.tenant, "vkey"))).strip()
        with tempfile.TemporaryFile() as tar:
            async with client.download(path_to("tenants", options.tenant, "export")) as chunks:
                async for chunk in chunks:
                    tar.write(chunk)
            tar.seek(0)
            return unpack(tar, out), vkey

    count, vkey = ask(options, take)
    step = f"autonomics verify {shlex.quote(str(out))} --vkey {shlex.quote(vkey)}"
    if options.json:
        print_json({"out": str(out), "files": count, "vkey": vkey, "next": step})
        return
    print_text(f"Wrote {count} files to {out}.")
    print_text(f"Next: {step}")


def _expect_empty(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CommandFailed(f"{out} is there and is no folder")
    if out.is_dir() and any(out.iterdir()):
        raise CommandFailed(f"{out} is not empty; name a new folder")


def unpack(tar: IO[bytes], out: Path) -> int:
    """Unpack plain files into a folder beside `out` and put it in place; return their number.

    The stream is a stranger's: a name that leads out, a link or a name twice is refused, and a
    stream that breaks off leaves nothing at `out`.
    """
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=parent) as pending:
            bundle = Path(pending) / "bundle"
            bundle.mkdir()
            count = _unpack_all(tar, bundle)
            bundle.replace(out)
    except tarfile.TarError as error:
        raise CommandFailed(f"the export broke off: {error}") from None
    except OSError as error:
        raise CommandFailed(f"can't write {out}: {(error.strerror or '').lower()}") from None
    return count


def _unpack_all(tar: IO[bytes], bundle: Path) -> int:
    count = 0
    with tarfile.open(fileobj=tar, mode="r:") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or not path.parts or not member.isreg():
                raise CommandFailed(f"the export holds {member.name!a}, which is no plain file")
            content = archive.extractfile(member)
            assert content is not None  # A regular file has content.
            target = bundle.joinpath(*path.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while chunk := content.read(1 << 20):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            count += 1
    if not (bundle / "checkpoint").is_file():
        raise CommandFailed("the export broke off: it has no checkpoint")
    return count


COMMANDS = (Command(None, "write a tenant's log as a bundle", add_arguments, run),)
