"""Which functions get their workers from a zygote that has boto3 in it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_WORDS = (b"boto3", b"botocore")
_MOST_FILES = 200
_MOST_BYTES = 4 << 20
_MOST_DEEP = 4


@cache
def folder() -> str:
    """Return the folder of packages in which the host's boto3 lies, empty when it has none. Imports nothing."""
    found = importlib.util.find_spec("boto3")
    return str(Path(found.origin).parent.parent) if found is not None and found.origin else ""


def packages(root: Path, opt: Path | None) -> str:
    """Return the folder that a function's zygote is to have boto3 from, empty for the plain zygote.

    That is the host's for code that mentions boto3, unless the function or one of its layers brings its own: then that
    is the one it was tested with. Looks into the first files of the code only, so that a big bundle costs little; code
    that is not found to use boto3 does not see it.
    """
    own = [root, *((opt / "python",) if opt is not None else ())]
    own += opt.glob("python/lib/python3*/site-packages") if opt is not None else ()
    if any((place / word.decode()).is_dir() for place in own for word in _WORDS):
        return ""
    mentioned = any(_mentions(place) for place in own[:2])
    return folder() if mentioned else ""


def _mentions(root: Path) -> bool:
    left = _MOST_BYTES
    for count, path in enumerate(_sources(root)):
        if count >= _MOST_FILES or left <= 0:
            break
        try:
            with path.open("rb") as file:
                text = file.read(left)
        except OSError:  # the import of the handler says so
            continue
        left -= len(text)
        if any(word in text for word in _WORDS):
            return True
    return False


def _sources(root: Path) -> Iterator[Path]:
    """Yield Python files, those nearest to the root first within each folder, without folders of installed packages."""
    for place, names, files in os.walk(root):
        here = Path(place)
        if len(here.relative_to(root).parts) >= _MOST_DEEP:
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith((".", "__")) and name != "node_modules")
        yield from (here / name for name in sorted(files) if name.endswith(".py"))
