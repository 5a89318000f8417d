"""Reading the recipes that the package brings along: the I/O that the pure room leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


def read_bundled_library() -> list[tuple[str, bytes]]:
    """Give the library's files as (name, bytes), recipes and fixtures, sorted by name."""
    return sorted(_walk(files("autonomics.recipes") / "library", ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        elif entry.name.endswith((".toml", ".json")):
            yield name, entry.read_bytes()
