"""`export`: a tenant's log as a folder that a stranger can verify."""

from __future__ import annotations

import os
import re
import shlex
import tarfile
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import USAGE, CommandParser
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
    parser.add_argument(
        "--incident",
        metavar="RECEIPT",
        help="write the evidence of the incident around this receipt alone, redacted",
    )
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Write the bundle, or an incident out of it, and print how it is verified."""
    out: Path = options.out
    _expect_empty(out)
    if options.incident is None:
        count, vkey = _take(options, out)
        verified = out
    else:
        seq = _read_seq(options.incident)
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "bundle"
            _, vkey = _take(options, bundle)
            count = _put(out, partial(_write_incident, bundle, options.incident))
        verified = out / "proofs" / f"{seq:010d}.tlog-proof"
    step = f"autonomics verify {shlex.quote(str(verified))} --vkey {shlex.quote(vkey)}"
    if options.json:
        print_json({"out": str(out), "files": count, "vkey": vkey, "next": step})
        return
    print_text(f"Wrote {count} files to {out}.")
    print_text(f"Next: {step}")


def _take(options: Namespace, out: Path) -> tuple[int, str]:
    """Download the tenant's bundle to `out`; return how many files it has, and the log's key."""

    async def take(client: Client) -> tuple[int, str]:
        vkey = str(await client.get(path_to("tenants", options.tenant, "vkey"))).strip()
        with tempfile.TemporaryFile() as tar:
            async with client.download(path_to("tenants", options.tenant, "export")) as chunks:
                async for chunk in chunks:
                    tar.write(chunk)
            tar.seek(0)
            return unpack(tar, out), vkey

    taken: tuple[int, str] = ask(options, take)
    return taken


def _read_seq(receipt: str) -> int:
    """Sequence number of a receipt's id, `<log>.<number>`, or of the number alone."""
    number = receipt.rpartition(".")[2]
    if not re.fullmatch("[0-9]{1,15}", number):
        raise CommandFailed(
            f"expected --incident to be the id of a receipt, got {receipt!r}", USAGE
        )
    return int(number)


def _write_incident(bundle: Path, receipt: str, out: Path) -> int:
    from autonomics.receipts.export import read_bundle
    from autonomics.receipts.incident import export_incident

    def read(name: str) -> bytes | None:
        path = bundle / name
        return path.read_bytes() if path.is_file() else None

    receipts, checkpoint = read_bundle(read)
    seq, log = _read_seq(receipt), receipt.rpartition(".")[0]
    if seq >= len(receipts) or log not in ("", receipts[0].origin.rpartition("/")[2]):
        raise CommandFailed(f"there is no receipt {receipt} in the tenant's log")
    verifier = (bundle / "verify.py").read_bytes()
    count = 0
    for name, data in export_incident(receipts, checkpoint, seq, verifier):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        _write_durably(out / name, [data])
        count += 1
    return count


def _expect_empty(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CommandFailed(f"{out} is there and is no folder")
    if out.is_dir() and any(out.iterdir()):
        raise CommandFailed(f"{out} is not empty; name a new folder")


def unpack(tar: IO[bytes], out: Path) -> int:
    """Unpack plain files to `out`; return their number.

    The stream is a stranger's: a name that leads out, a link or a name twice is refused, and a
    stream that breaks off leaves nothing at `out`.
    """
    try:
        return _put(out, partial(_unpack_all, tar))
    except tarfile.TarError as error:
        raise CommandFailed(f"the export broke off: {error}") from None


def _put(out: Path, write: Callable[[Path], int]) -> int:
    """Write into a folder beside `out` and put it in place once it is whole."""
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=parent) as pending:
            folder = Path(pending) / "bundle"
            folder.mkdir()
            count = write(folder)
            folder.replace(out)
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
            _write_durably(target, iter(partial(content.read, 1 << 20), b""))
            count += 1
    if not (bundle / "checkpoint").is_file():
        raise CommandFailed("the export broke off: it has no checkpoint")
    return count


def _write_durably(path: Path, chunks: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


COMMANDS = (Command(None, "write a tenant's log as a bundle", add_arguments, run),)
