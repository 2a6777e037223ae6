"""Check `link.jobs` in `edge.yaml`: what AWS IoT jobs may do on this device."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edge_runtime.app import JobsSpec
from edge_runtime.loaders._edge_schema import Link
from edge_runtime.loaders._validate import choices
from edge_runtime.loaders._yaml import Document, Where, shown
from edge_runtime.pure.jobs import public_key

_MOST_BYTES = 10_000
"""A file with one public key has about a hundred bytes."""


def jobs(
    part: Link, functions: Collection[str], base: Path, document: Document
) -> tuple[JobsSpec | None, tuple[Path, ...]]:
    """Return what jobs may do, None without them, and the files that say so; note what is wrong.

    `functions` are the names of those that are declared; relative paths begin at `base`.
    """
    if part.jobs is None:
        return None, ()
    where: Where = ("link", "jobs")
    if part.driver == "greengrass":
        document.add(where, "they cannot be told through the nucleus: deploy with Greengrass itself, or take paho")
    for index, name in enumerate(part.jobs.run):
        if name not in functions:
            text = f"there is no function {shown(name)}{choices(name, functions)}"
            document.add((*where, "run", index), text)
    files: list[Path] = []
    keys = [_key(text, base, (*where, "keys", index), document, files) for index, text in enumerate(part.jobs.keys)]
    return JobsSpec(tuple(part.jobs.run), part.jobs.restart, tuple(key.hex() for key in keys)), tuple(files)


def _key(text: str, base: Path, where: Where, document: Document, files: list[Path]) -> bytes:
    try:
        return public_key(text)
    except ValueError:
        path = (base / text).absolute()
    if text.startswith("~"):
        document.add(where, "what ~ means depends on who runs the host; write the path in full")
        return b""
    files.append(path)
    try:
        with path.open("rb") as file:
            return public_key(file.read(_MOST_BYTES).decode("ascii", "replace"))
    except OSError as error:
        document.add(where, f"{shown(text)} cannot be read: {error.strerror or error}")
    except ValueError as error:
        document.add(where, f"{shown(text)}: {error}")
    return b""
