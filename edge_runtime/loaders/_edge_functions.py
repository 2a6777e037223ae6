"""Check what a function in `edge.yaml` points at: its code, its handler and its environment."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_runtime.loaders._edge_schema import Function
from edge_runtime.loaders._yaml import Document, Where, shown

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(r"_HANDLER|_X_AMZN_TRACE_ID|LAMBDA_TASK_ROOT|LAMBDA_RUNTIME_DIR|AWS_LAMBDA_.*")
"""AWS Lambda developer guide, "Defined runtime environment variables": those that it sets and nobody else may."""
_SUFFIXES = {"python": (".py",), "nodejs": (".js", ".mjs", ".cjs")}
_ENDS = {"python": (".py", "/__init__.py"), "nodejs": _SUFFIXES["nodejs"]}


def environment(values: Mapping[str, object], where: Where, document: Document) -> None:
    """Note variables that no process can have, and those that the runtime sets itself."""
    for key, value in values.items():
        here = (*where, key)
        if not _VARIABLE.fullmatch(key):
            document.add(here, "is no name of a variable; allowed: letters, digits and _, no digit first")
        elif _RESERVED.fullmatch(key):
            document.add(here, "is set by the runtime itself")
        if isinstance(value, dict | list):
            document.add(here, f"{shown(value)} is no text; put it in quotes")


def code(path: Path, part: Function, where: Where, document: Document) -> None:
    """Note when there is no code at `path`, or when the handler's file is not in it."""
    here = (*where, "handler")
    kind = next((kind for kind in _SUFFIXES if part.runtime.startswith(kind)), "")
    module = part.handler.rpartition(".")[0]
    if kind and not module:
        document.add(here, f"{shown(part.handler)} names no function in a file; write file.function, as in app.handler")
    if ".." in part.handler or part.handler.startswith("/"):
        document.add(here, f"{shown(part.handler)} leads out of {shown(part.code)}")
        return
    try:
        files = _Files(path)
        wanted = _wanted(kind, part.handler) if module else []
        if wanted and not any(files.has(name) for name in wanted):
            there = ", ".join(sorted(n for n in files.top() if n.endswith(_SUFFIXES[kind]))[:8]) or "none"
            document.add(here, f"{shown(part.handler)} needs {wanted[0]} in {part.code}; files there: {there}")
    except (OSError, zipfile.BadZipFile) as error:
        document.add((*where, "code"), f"{shown(part.code)} {_why(error)}")


def layers(paths: Sequence[Path], written: Sequence[str], where: Where, document: Document) -> None:
    """Note layers that are neither a folder nor a zip."""
    for index, (path, text) in enumerate(zip(paths, written, strict=True)):
        try:
            _Files(path).top()
        except (OSError, zipfile.BadZipFile) as error:
            document.add((*where, index), f"{shown(text)} {_why(error)}")


def _wanted(kind: str, handler: str) -> list[str]:
    """Return the files of which one must hold the handler; none for a runtime that looks for itself."""
    if kind == "nodejs":  # dir/file.export.nested
        folder, _, last = handler.rpartition("/")
        stem = f"{folder}/{last.partition('.')[0]}".lstrip("/")
    else:  # dir/package.module.function
        stem = handler.rpartition(".")[0].replace(".", "/")
    return [stem + end for end in _ENDS.get(kind, ())]


class _Files:
    """The files of a folder or of a zip. A folder is not walked through: it may hold a whole virtual environment."""

    def __init__(self, path: Path) -> None:
        """Look at `path`. Raises: OSError, BadZipFile."""
        self._folder = path if path.is_dir() else None
        self._names: frozenset[str] = frozenset()
        if self._folder is None:
            if path.exists() and path.suffix != ".zip":
                raise NotADirectoryError
            with zipfile.ZipFile(path) as archive:
                self._names = frozenset(archive.namelist())

    def has(self, name: str) -> bool:
        """Tell whether there is a file of that path."""
        return (self._folder / name).is_file() if self._folder else name in self._names

    def top(self) -> list[str]:
        """Return the names at the top."""
        return [p.name for p in self._folder.iterdir()] if self._folder else [n for n in self._names if "/" not in n]


def _why(error: OSError | zipfile.BadZipFile) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there; it is looked for beside this file"
    if isinstance(error, NotADirectoryError):
        return "is neither a folder nor a .zip"
    if isinstance(error, zipfile.BadZipFile):
        return f"is no zip: {error}"
    return f"cannot be read: {error.strerror}"
